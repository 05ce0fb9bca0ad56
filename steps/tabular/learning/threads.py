"""Work in threads whose number cannot change a result."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from typing import Any

from joblib import cpu_count
from threadpoolctl import ThreadpoolController, threadpool_limits

Track = Callable[[Iterable[Any], int], Iterable[Any]]  # shows progress over an iterable of a known length

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]  # gives a function's value of each item, in order
others: list[Each] = []
AHEAD = 4  # items per thread that are taken before the first of them is done


def one_thread() -> threadpool_limits:
    """A context in which BLAS and OpenMP compute in one thread: with several, sums end in other last bits."""
    return threadpool_limits(1)


def in_threads(function: Callable[[Any], Any], items: Sequence[Any], track: Track) -> list[Any]:
    """`function` of each item, in order, computed by as many threads as there are cores, or `elsewhere`."""
    return list(track(each_in_threads(function, items), len(items)))


def each_in_threads(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """As `in_threads`, one after the other as they are done. Few items are taken ahead: all may not fit into memory.

    Threads, not processes: a process would import scikit-learn again, and the heavy parts release the GIL.
    """
    if others:
        yield from others[-1](function, items)
        return

    libraries = ThreadpoolController()  # looked for once: ten milliseconds for each item add up

    def single(item: Any) -> Any:
        with libraries.limit(limits=1):  # OpenMP's limit belongs to a thread, and this is another one
            return function(item)

    # One here too, so that the threads, in leaving theirs, restore this and nothing higher.
    with libraries.limit(limits=1), ThreadPool(cpu_count()) as pool:
        yield from in_order((pool.apply_async(single, (item,)).get for item in items), lambda: AHEAD * cpu_count())


def in_order(started: Iterable[Callable[[], Any]], ahead: Callable[[], int]) -> Iterator[Any]:
    """The results of what is `started` one after the other, so many of them `ahead` of the one that is waited for."""
    waiting: deque[Callable[[], Any]] = deque()
    for result in started:
        waiting.append(result)
        if len(waiting) >= ahead():
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


@contextmanager
def elsewhere(each: Each) -> Iterator[None]:
    """A context in which `each` computes what threads of this process would."""
    others.append(each)
    try:
        yield
    finally:
        others.pop()
