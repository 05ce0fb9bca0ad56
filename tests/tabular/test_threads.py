"""Work in threads: what comes out is in order, and not all that goes in is held at once."""

import time

from joblib import cpu_count

from tabular.learning import threads


def test_results_are_in_the_order_of_what_went_in():
    def later(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return -number

    assert list(threads.each_in_threads(later, range(50))) == [-number for number in range(50)]


def test_few_items_are_taken_ahead():
    taken = []
    results = threads.each_in_threads(lambda number: number, (taken.append(number) or number for number in range(1000)))
    assert not taken
    for done in range(10):
        assert next(results) == done
        assert len(taken) == done + threads.AHEAD * cpu_count()
