import itertools
import math

import numpy as np
import pandas as pd
import pytest

from workflow.evaluation.attribution import attribute, coalitions_of, errors_of, merge, orders_of, resampled_error
from workflow.evaluation.ranking import ranking_metric
from workflow.evaluation.scored_rows import ScoredRows

METRIC = ranking_metric("mean_absolute_error", {})
PLAYERS = [("data",), ("code",), ("seed",)]


def scored(error: float, rows: int = 200, first: int = 0) -> ScoredRows:
    """Return rows whose absolute errors have a mean of `error`, and are the same ones in every set."""
    noise = np.random.default_rng(0).uniform(0.5, 1.5, 1000)[first : first + rows]
    place = np.arange(first, first + rows, dtype=float)
    return ScoredRows(
        pd.DataFrame({"place": place}),
        pd.DataFrame({"true": place, "predicted": place + error * noise / noise.mean()}),
    )


def test_the_parts_of_an_additive_change_are_those_of_each_cause():
    effects = {"data": 3.0, "code": -1.0, "seed": 0.5}
    orders = orders_of(PLAYERS, 8, seed=0)
    sets = {each: scored(10 + sum(effects[name] for name in each)) for each in coalitions_of(orders)}
    found = {each.causes[0]: each for each in attribute(orders, sets, METRIC, seed=0)}
    assert list(found) == ["data", "code", "seed"]  # the largest first
    for name, effect in effects.items():
        assert found[name].value == pytest.approx(effect)
        assert found[name].low < effect < found[name].high


def test_an_interaction_is_shared_by_its_causes():
    orders = orders_of(PLAYERS[:2], 4, seed=0)
    sets = {each: scored(10 + 4 * (len(each) == 2)) for each in coalitions_of(orders)}
    assert [each.value for each in attribute(orders, sets, METRIC, seed=0)] == pytest.approx([2, 2])


def test_without_a_change_of_the_score_every_part_and_its_interval_are_exactly_zero():
    orders = orders_of(PLAYERS, 8, seed=0)
    sets = {each: scored(10) for each in coalitions_of(orders)}
    assert {(each.value, each.low, each.high) for each in attribute(orders, sets, METRIC, seed=0)} == {(0.0, 0.0, 0.0)}


def test_the_parts_add_up_when_orders_are_sampled():
    players = [(str(place),) for place in range(9)]
    orders = orders_of(players, 32, seed=0)
    reached = coalitions_of(orders)
    assert len(reached) <= 32
    assert [order[::-1] in orders for order in orders] == [True] * len(orders)
    random = np.random.default_rng(1)
    sets = {each: scored(random.uniform(5, 20)) for each in sorted(reached, key=sorted)}
    parts = attribute(orders, sets, METRIC, seed=0)
    everything, nothing = frozenset(name for (name,) in players), frozenset()
    change = sets[everything].error(METRIC) - sets[nothing].error(METRIC)
    assert sum(part.value for part in parts) == pytest.approx(change)


def test_all_orders_are_taken_if_they_pass_through_few_enough_coalitions():
    assert len(orders_of(PLAYERS, 8, seed=0)) == 6
    assert len(coalitions_of(orders_of(PLAYERS, 7, seed=0))) <= 7
    assert orders_of([], 8, seed=0) == [()]
    assert len(orders_of([(str(n),) for n in range(20)], 2, seed=0)) == 2  # one pair at least


def test_a_score_that_is_better_when_greater_is_attributed_as_such():
    metric = ranking_metric("r2_score", {})
    orders = orders_of(PLAYERS[:1], 2, seed=0)
    sets = {frozenset(): scored(30), frozenset(["data"]): scored(10)}
    (part,) = attribute(orders, sets, metric, seed=0)
    assert part.value == pytest.approx(
        metric.as_error(sets[frozenset(["data"])].error(metric) - sets[frozenset()].error(metric))
    )
    assert part.value > 0


def test_a_row_is_drawn_equally_often_in_all_sets():
    """Paired: the errors of the same rows, shifted by a constant, differ by that constant in every resample."""
    one, other = scored(10), scored(10)
    other.predictions["predicted"] += 2
    errors = errors_of([one, other], METRIC, seed=0)
    assert np.ptp(errors[:, 1] - errors[:, 0]) < 1e-9
    unpaired = errors_of([one, scored(10, first=500)], METRIC, seed=0)
    assert np.ptp(unpaired[:, 1] - unpaired[:, 0]) > 0.1


@pytest.mark.parametrize(("true_change", "rows"), [(0.0, 400), (1.0, 400)])
def test_the_interval_of_a_paired_change_contains_it_in_most_samples(true_change, rows, monkeypatch):
    monkeypatch.setattr("workflow.evaluation.attribution.N_RESAMPLES", 200)
    hits, trials = 0, 40
    for trial in range(trials):
        random = np.random.default_rng(trial)
        true, place = np.zeros(rows), pd.DataFrame({"place": np.arange(float(rows))})
        before = random.normal(0, 5, rows)
        after = before + random.normal(0, 1, rows)
        after = np.sign(after) * (np.abs(after) + true_change)
        sets = {
            key: ScoredRows(place, pd.DataFrame({"true": true, "predicted": values}))
            for key, values in ((frozenset(), before), (frozenset(["data"]), after))
        }
        (part,) = attribute(orders_of(PLAYERS[:1], 2, seed=0), sets, METRIC, seed=trial)
        spread = math.sqrt(25 + 1) - 5  # of the normal distributions, whose mean absolute value is that of their scale
        expected = true_change + spread * math.sqrt(2 / math.pi)
        hits += part.low <= expected <= part.high
    assert hits >= 0.85 * trials


def test_what_cannot_be_run_apart_becomes_one_player():
    players = [("data",), ("code",), ("alpha",)]
    impossible = [
        frozenset(each)
        for size in range(4)
        for each in itertools.combinations(["data", "code", "alpha"], size)
        if ("code" in each) != ("alpha" in each)
    ]
    assert merge(players, impossible) == [("data",), ("code", "alpha")]


def test_the_error_of_resampled_rows_is_weighted():
    rows = pd.DataFrame({"true": [0.0, 0.0, 0.0], "predicted": [1.0, 2.0, 9.0], "weight": [1.0, 3.0, 5.0]})
    error = resampled_error(ScoredRows(pd.DataFrame(index=range(3)), rows), np.array([1, 2, 0]), METRIC)
    assert error == pytest.approx((1 * 1 + 2 * 2 * 3) / 7)
    assert math.isnan(resampled_error(ScoredRows(pd.DataFrame(index=range(3)), rows), np.zeros(3, int), METRIC))
