"""Work in threads or processes whose number cannot change a result."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
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

Track = Callable[[Iterable[Any], int], Iterable[Any]]  # shows progress over an iterable of a known length
Each = Callable[[Callable[[Any], Any], Iterable[Any], int], Iterator[Any]]  # as `iterate_in_threads`
others: list[Each] = []
AHEAD = 4  # items per thread that are taken before the first of them is done


def single_blas_thread() -> threadpool_limits:
    """A context in which BLAS and OpenMP compute in one thread: with several, sums end in other last bits."""
    return threadpool_limits(1)


def run_in_threads(function: Callable[[Any], Any], items: Sequence[Any], track: Track) -> list[Any]:
    """`function` of each item, in order, computed by as many threads as there are cores, or `elsewhere`."""
    return list(track(iterate_in_threads(function, items), len(items)))


def iterate_in_threads(function: Callable[[Any], Any], items: Iterable[Any], ahead: int = 0) -> Iterator[Any]:
    """As `run_in_threads`, one after the other as they are done.

    Few items are taken `ahead`, because all may not fit into memory: so many for each core, if it is not said how many.
    Threads, not processes: a process would import scikit-learn again, and the heavy parts release the GIL.
    """
    if others:
        yield from others[-1](function, items, ahead)
        return

    libraries = ThreadpoolController()  # looked for once: ten milliseconds for each item add up

    def single(item: Any) -> Any:
        with libraries.limit(limits=1):  # OpenMP's limit belongs to a thread, and this is another one
            return function(item)

    # One here too, so that the threads, in leaving theirs, restore this and nothing higher.
    with libraries.limit(limits=1), ThreadPool(cpu_count()) as pool:
        started = (pool.apply_async(single, (item,)).get for item in items)
        yield from prefetch(started, lambda: ahead or AHEAD * cpu_count())


def iterate_in_processes(function: Callable[[Any], Any], items: Iterable[Any], ahead: int = 0) -> Iterator[Any]:
    """As `iterate_in_threads`, in processes, for much work that holds Python's lock often, as that of small trees does.

    They take seconds to start, and stay for the next call. Raises UserError if one of them dies.
    """
    enough = ahead or AHEAD * cpu_count()
    processes = min(cpu_count(), enough)  # more would have nothing to do
    if others or processes == 1:
        yield from iterate_in_threads(function, items, ahead)
        return
    warnings.filterwarnings("ignore", "A worker stopped while")  # one that has grown, which is replaced
    pool = get_reusable_executor(processes)
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "function.pickle"  # which holds the data, and is sent once
            path.write_bytes(cloudpickle.dumps(function))
            yield from prefetch((pool.submit(call, path, item).result for item in items), lambda: enough)
    except BrokenProcessPool as error:
        reason = "perhaps for want of memory; -P max_rows= takes fewer rows"
        raise UserError(f"a process at work has died, {reason}") from error
    except BaseException:
        for process in active_children():  # not kill_workers=True, which ends in a KeyError if items still wait
            if process.name.startswith("LokyProcess"):
                process.terminate()
        pool.shutdown()
        raise


def call(path: Path, item: Any) -> Any:
    """The value, at an item, of a function that is pickled in a file."""
    function = unpickled(path)
    threadpool_limits(1)  # for good: the process has nothing else to do
    return function(item)


@lru_cache(maxsize=1)
def unpickled(path: Path) -> Callable[[Any], Any]:
    """The function in a file."""
    function: Callable[[Any], Any] = cloudpickle.loads(path.read_bytes())
    return function


def prefetch(started: Iterable[Callable[[], Any]], ahead: Callable[[], int]) -> Iterator[Any]:
    """The results of what is `started` one after the other, so many of them `ahead` of the one that is waited for."""
    waiting: deque[Callable[[], Any]] = deque()
    for result in started:
        waiting.append(result)
        if len(waiting) >= ahead():
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


@contextmanager
def use_executor(each: Each) -> Iterator[None]:
    """A context in which `each` computes what threads of this process would."""
    others.append(each)
    try:
        yield
    finally:
        others.pop()
