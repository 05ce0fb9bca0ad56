"""Work in threads and processes: what comes out is in order, and not all that goes in is held at once."""

import multiprocessing
import os
import time

import pytest
from joblib import cpu_count

from workflow.errors import UserError
from workflow.parallel import executors


def test_results_are_in_the_order_of_what_went_in():
    def later(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return -number

    assert list(executors.iterate_in_threads(later, range(50))) == [-number for number in range(50)]


def test_processes_do_as_threads_do():
    def later(number: int) -> tuple[int, int]:
        time.sleep(0.05 if number == 0 else 0)
        return -number, os.getpid()

    results = list(executors.iterate_in_processes(later, range(50)))
    assert [number for number, _ in results] == [-number for number in range(50)]
    assert os.getpid() not in {process for _, process in results}


def test_a_process_that_dies_is_told_of():
    with pytest.raises(UserError, match="has died, perhaps for want of memory"):
        list(executors.iterate_in_processes(lambda number: os._exit(1), range(3)))
    assert list(executors.iterate_in_processes(abs, range(3))) == [0, 1, 2]


def test_what_is_left_early_ends_quietly():
    for _ in range(8):
        results = executors.iterate_in_processes(lambda number: time.sleep(0.01) or number, range(1000), 50)
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        results.close()
    assert not [process for process in multiprocessing.active_children() if "Loky" in process.name]
    assert list(executors.iterate_in_processes(abs, range(3))) == [0, 1, 2]


@pytest.mark.parametrize("each", [executors.iterate_in_threads, executors.iterate_in_processes])
@pytest.mark.parametrize(("said", "ahead"), [(0, executors.AHEAD * cpu_count()), (3, 3)])
def test_few_items_are_taken_ahead(each, said, ahead):
    taken = []
    items = (taken.append(number) or number for number in range(1000))
    results = each(lambda number: number, items, said)
    assert not taken
    for done in range(10):
        assert next(results) == done
        assert len(taken) == done + ahead
