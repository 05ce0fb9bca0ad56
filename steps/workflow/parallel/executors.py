"""Parallel computation in threads or processes; their number never changes a result."""

import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from multiprocessing import active_children
from multiprocessing.pool import ThreadPool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cloudpickle
from joblib import cpu_count
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import ThreadpoolController, threadpool_limits

from workflow.errors import UserError

ProgressBar = Callable[[Iterable[Any], int], Iterable[Any]]  # wraps an iterable of known length
Executor = Callable[[Callable[[Any], Any], Iterable[Any], int], Iterator[Any]]  # called like `iterate_in_threads`
current_executor: ContextVar[Executor | None] = ContextVar("current_executor", default=None)  # None: local threads
PREFETCH_PER_CORE = 4  # items in flight per core


def no_progress_bar(description: str) -> ProgressBar:
    """Return a progress bar that shows nothing."""
    return lambda items, total: items


def available_cores() -> int:
    """Return how many cores of this machine may compute; one where the workers of a cluster do."""
    return 1 if current_executor.get() else cpu_count()


def single_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS and OpenMP use one thread: with several, the last bits of sums differ."""
    return thread_pools(len(sys.modules)).limit(limits=1)


@lru_cache(maxsize=1)
def thread_pools(n_modules: int) -> ThreadpoolController:
    """Return the thread pools of all loaded libraries, searched for again once more modules are imported.

    The search takes ten milliseconds, and a small model is fitted and predicted with dozens of times.
    """
    return ThreadpoolController()


def run_in_threads(function: Callable[[Any], Any], items: Sequence[Any], progress_bar: ProgressBar) -> list[Any]:
    """Return `function(item)` for each item, computed as by `iterate_in_threads`."""
    return list(progress_bar(iterate_in_threads(function, items), len(items)))


def iterate_in_threads(function: Callable[[Any], Any], items: Iterable[Any], prefetch_items: int = 0) -> Iterator[Any]:
    """Yield `function(item)` for each item, in order, computed in one thread per core or by `use_executor`'s executor.

    Threads suffice: a process would have to import scikit-learn again, and the heavy parts release the GIL.

    Args:
        function: called once per item, with BLAS limited to one thread.
        items: consumed lazily, because all of them may not fit into memory.
        prefetch_items: how many items are in flight at once; 0 for `PREFETCH_PER_CORE` per core.
    """
    if executor := current_executor.get():
        yield from executor(function, items, prefetch_items)
        return

    def call_with_single_blas_thread(item: Any) -> Any:
        with single_blas_thread():  # OpenMP's limit belongs to a thread, so each worker thread sets it
            return function(item)

    # Limited here too: a worker thread that leaves its limit restores the one that it found, which must be 1 as well.
    with single_blas_thread(), ThreadPool(cpu_count()) as pool:
        pending = (pool.apply_async(call_with_single_blas_thread, (item,)).get for item in items)
        yield from prefetch(pending, lambda: prefetch_items or PREFETCH_PER_CORE * cpu_count())


def iterate_in_processes(
    function: Callable[[Any], Any], items: Iterable[Any], prefetch_items: int = 0
) -> Iterator[Any]:
    """Yield the same as `iterate_in_threads`, computed in processes: for work that often holds the GIL.

    Processes take seconds to start and are reused by the next call. Raises UserError if one of them dies.
    """
    in_flight = prefetch_items or PREFETCH_PER_CORE * cpu_count()
    n_processes = min(cpu_count(), in_flight)
    if current_executor.get() or n_processes == 1:
        yield from iterate_in_threads(function, items, prefetch_items)
        return
    warnings.filterwarnings("ignore", "A worker stopped while")  # loky replaces a worker whose memory has grown
    pool = get_reusable_executor(n_processes)
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "function.pickle"  # holds the data too, which each process reads only once
            path.write_bytes(cloudpickle.dumps(function))
            pending = (pool.submit(call_pickled, path, item).result for item in items)
            yield from prefetch(pending, lambda: in_flight)
    except BrokenProcessPool as error:
        remedy = "perhaps out of memory; pass -P max_rows=<n> to train on fewer rows"
        raise UserError(f"a worker process died, {remedy}") from error
    except BaseException:
        for process in active_children():  # kill_workers=True would raise a KeyError while items are waiting
            if process.name.startswith("LokyProcess"):
                process.terminate()
        pool.shutdown()
        raise


def call_pickled(path: Path, item: Any) -> Any:
    """Call the function that is pickled in a file."""
    function = unpickle(path)
    threadpool_limits(1)  # for good: the process does nothing else
    return function(item)


@lru_cache(maxsize=1)
def unpickle(path: Path) -> Callable[[Any], Any]:
    """Return the function that is pickled in a file; the last one is cached for the items that follow."""
    function: Callable[[Any], Any] = cloudpickle.loads(path.read_bytes())
    return function


def prefetch(pending: Iterable[Callable[[], Any]], max_in_flight: Callable[[], int]) -> Iterator[Any]:
    """Yield results in order while later ones are being computed.

    Args:
        pending: starts a computation whenever it is advanced, and yields a function that waits for the result.
        max_in_flight: returns how many computations may be started before the first result is waited for.
    """
    waiting: deque[Callable[[], Any]] = deque()
    for result in pending:
        waiting.append(result)
        if len(waiting) >= max_in_flight():
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def in_this_thread(function: Callable[[Any], Any], items: Iterable[Any], prefetch_items: int = 0) -> Iterator[Any]:
    """Yield the same as `iterate_in_threads`, computed one by one: an executor for work that is itself an item."""
    return map(function, items)


@contextmanager
def use_executor(executor: Executor) -> Iterator[None]:
    """Within the context, compute with `executor` instead of threads of this process."""
    token = current_executor.set(executor)
    try:
        yield
    finally:
        current_executor.reset(token)
