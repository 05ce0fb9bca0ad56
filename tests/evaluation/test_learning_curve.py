import numpy as np
import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation import learning_curve
from workflow.evaluation.power_law import gain_of_twice_the_rows
from workflow.evaluation.ranking import ranking_metric
from workflow.models import estimators
from workflow.models.estimators import Preparation
from workflow.parallel.executors import no_progress_bar

MAE = ranking_metric("mean_absolute_error", {})
COLUMNS = {"x": Column("numeric", monotonic="increasing"), "z": Column("numeric"), "y": Column("numeric")}


def curve_of(slope: float, noise: float) -> pd.DataFrame:
    random, rows = np.random.default_rng(0), np.repeat([100, 200, 400, 800], [4, 4, 2, 1])
    return pd.DataFrame({"rows": rows, "score": 50 * rows**slope * np.exp(random.normal(0, noise, len(rows)))})


def test_a_power_law_is_extrapolated():
    gain, low, high = gain_of_twice_the_rows(curve_of(-0.3, 0))
    assert (gain, low, high) == pytest.approx((1 - 2**-0.3,) * 3, abs=1e-6)
    gain, low, high = gain_of_twice_the_rows(curve_of(-0.3, 0.03))
    assert low < 1 - 2**-0.3 < high


def test_a_flat_curve_promises_nothing():
    gain, low, high = gain_of_twice_the_rows(curve_of(0, 0.03))
    assert low < 0 < high
    assert abs(gain) < 0.05


@pytest.mark.parametrize("model", ["linear", "boosting"])
def test_clones_learn_from_parts_of_the_rows_and_are_scored_on_the_test_set(model):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": random.uniform(0, 1, 600), "z": random.uniform(0, 1, 600)})
    table.loc[:5, "z"] = np.nan  # an indicator column that clones on other rows lack
    table["y"] = 10 * table["x"] + np.sin(9 * table["x"]) + random.normal(0, 0.3, 600)
    columns = COLUMNS if model == "boosting" else {name: Column("numeric") for name in COLUMNS}
    sets = learning_curve.Sets(table[:400], table[400:], Contract("y", columns))
    built = estimators.build(model, sets.contract, "auto", Preparation(), 0, {}, 400)
    fitted = estimators.fit(built, sets.train[["x", "z"]], sets.train["y"])
    error = learning_curve.score_of(fitted, sets, MAE)
    curve = learning_curve.learning_curve(fitted, sets, error, MAE, no_progress_bar(""))
    assert curve["rows"].tolist() == [50] * 4 + [100] * 4 + [200] * 2 + [400]
    assert curve["score"].iloc[-1] == error
    part = sets.train.iloc[1::8]
    alone = learning_curve.fit_clone(fitted, part, sets.contract)
    assert learning_curve.score_of(alone, sets, MAE) == curve["score"].iloc[1]
    if model == "boosting":
        assert curve.groupby("rows")["score"].mean().is_monotonic_decreasing


def test_parts_that_are_too_small_are_left_out():
    table = pd.DataFrame({"x": np.arange(100.0), "z": 0.0, "y": np.arange(100.0)})
    sets = learning_curve.Sets(table, table, Contract("y", {name: Column("numeric") for name in COLUMNS}))
    fitted = learning_curve.fit_clone(
        estimators.build("linear", sets.contract, "auto", Preparation(), 0, {}, 100), table, sets.contract
    )
    curve = learning_curve.learning_curve(fitted, sets, 0.5, MAE, no_progress_bar(""))
    assert curve["rows"].tolist() == [50, 50, 100]
