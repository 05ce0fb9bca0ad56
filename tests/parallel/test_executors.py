"""Threads and processes: results keep the order of the items, and only some items are in flight."""

import multiprocessing
import os
import time

import pytest
from joblib import cpu_count

from workflow.errors import UserError
from workflow.parallel import executors


def test_threads_yield_results_in_the_order_of_the_items():
    def negate(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return -number

    assert list(executors.iterate_in_threads(negate, range(50))) == [-number for number in range(50)]


def test_processes_yield_results_in_the_order_of_the_items():
    def negate(number: int) -> tuple[int, int]:
        time.sleep(0.05 if number == 0 else 0)
        return -number, os.getpid()

    results = list(executors.iterate_in_processes(negate, range(50)))
    assert [number for number, _ in results] == [-number for number in range(50)]
    assert os.getpid() not in {process for _, process in results}


def test_a_process_that_dies_raises_a_user_error_and_the_next_call_works():
    with pytest.raises(UserError, match="a worker process died, perhaps out of memory"):
        list(executors.iterate_in_processes(lambda number: os._exit(1), range(3)))
    assert list(executors.iterate_in_processes(abs, range(3))) == [0, 1, 2]


def test_closing_an_iterator_early_ends_its_processes():
    for _ in range(8):
        results = executors.iterate_in_processes(lambda number: time.sleep(0.01) or number, range(1000), 50)
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        results.close()
    assert not [process for process in multiprocessing.active_children() if "Loky" in process.name]
    assert list(executors.iterate_in_processes(abs, range(3))) == [0, 1, 2]


@pytest.mark.parametrize("iterate", [executors.iterate_in_threads, executors.iterate_in_processes])
@pytest.mark.parametrize(("prefetch_items", "in_flight"), [(0, executors.PREFETCH_PER_CORE * cpu_count()), (3, 3)])
def test_only_a_few_items_are_taken_before_their_turn(iterate, prefetch_items, in_flight):
    taken = []
    items = (taken.append(number) or number for number in range(1000))
    results = iterate(lambda number: number, items, prefetch_items)
    assert not taken
    for n_done in range(10):
        assert next(results) == n_done
        assert len(taken) == n_done + in_flight


@pytest.mark.parametrize("iterate", [executors.iterate_in_threads, executors.iterate_in_processes])
def test_another_executor_replaces_threads_and_processes_within_its_context_only(iterate):
    calls = []

    def executor(function, items, prefetch_items):
        calls.append(prefetch_items)
        return map(function, items)

    with executors.use_executor(executor):
        assert list(iterate(abs, range(3), 7)) == [0, 1, 2]
    assert list(iterate(abs, range(3), 7)) == [0, 1, 2]
    assert calls == [7]
