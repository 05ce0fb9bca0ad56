import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from tabular import scoring

values = arrays(float, 30, elements=st.floats(0.01, 1e6))


@settings(max_examples=100, deadline=None)
@given(values, values)
def test_metrics_are_those_of_scikit_learn(true, predicted):
    for metric in {*scoring.metrics_of(true), *scoring.TRAINING}:
        expected = getattr(metrics, metric.__name__)(true, predicted)
        if metric is scoring.r2_score and np.ptp(true) == 0:
            continue  # scikit-learn says 0 or 1 by convention
        assert metric(true, predicted) == pytest.approx(expected, rel=1e-6)


def test_intervals_hold_the_score_and_narrow_with_more_rows():
    random = np.random.default_rng(0)
    true = random.lognormal(3, 1, 4000)
    predicted = true * random.lognormal(0, 0.3, 4000)
    few = scoring.scores_with_intervals(true[:100], predicted[:100], 0)
    many = scoring.scores_with_intervals(true, predicted, 0)
    for found in (few, many):
        assert found["mean_absolute_error_low"] < found["mean_absolute_error"] < found["mean_absolute_error_high"]
    width = {name: found["r2_score_high"] - found["r2_score_low"] for name, found in (("few", few), ("many", many))}
    assert width["many"] < width["few"]


@pytest.mark.parametrize("lowest", [0, -5])
def test_a_percentage_is_only_of_what_is_above_zero(lowest):
    true = np.arange(1.0, 101.0)
    name = "mean_absolute_percentage_error"
    assert name in scoring.scores_with_intervals(true, true + 1, 0)
    assert name in scoring.segments(pd.Series(true), true + 1)
    true[0] = lowest
    assert not any(name in found for found in scoring.scores_with_intervals(true, true + 1, 0))
    assert name not in scoring.segments(pd.Series(true), true + 1)


def test_segments_cover_all_rows_from_low_to_high():
    true = pd.Series(np.arange(1.0, 101.0))
    table = scoring.segments(true, true.to_numpy() + 2)
    assert table["rows"].tolist() == [25] * 4
    assert table["from"].tolist() == [1, 26, 51, 76]
    assert table["bias"].tolist() == [2] * 4


def test_worst_rows_come_first():
    test = pd.DataFrame({"wine": list("abc"), "price": [1.0, 2.0, 3.0]})
    assert scoring.worst(test, "price", np.array([1.5, 9.0, 0.0]), 2)["wine"].tolist() == ["b", "c"]
