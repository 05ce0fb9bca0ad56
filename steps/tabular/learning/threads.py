"""Work in threads whose number cannot change a result."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

Track = Callable[[Iterable[Any], int], Iterable[Any]]  # shows progress over an iterable of a known length


def one_thread() -> threadpool_limits:
    """A context in which BLAS and OpenMP compute in one thread: with several, sums end in other last bits."""
    return threadpool_limits(1)


def in_threads(function: Callable[[Any], Any], items: Sequence[Any], track: Track) -> list[Any]:
    """`function` of each item, in order, computed by as many threads as there are cores.

    Threads, not processes: a process would import scikit-learn again, and the heavy parts release the GIL.
    """

    def single(item: Any) -> Any:
        with one_thread():  # OpenMP's limit belongs to a thread, and this is another one
            return function(item)

    with one_thread():  # so that the threads, in leaving theirs, restore this and nothing higher
        results = Parallel(n_jobs=-1, backend="threading", return_as="generator")(
            delayed(single)(item) for item in items
        )
        return list(track(results, len(items)))
