from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.evaluation import intervals
from workflow.models import intervals as interval_models
from workflow.models.estimators import NOMINAL_LEVEL
from workflow.models.intervals import IntervalModel, conformal_quantiles
from workflow.parallel.executors import no_progress_bar

CONTRACT = Contract("y", {"x": Column("numeric"), "y": Column("numeric")})
BAR = no_progress_bar("")


def rows_of(count: int, target_transform: str, noise_of) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return features, and predictions whose errors have the size `noise_of(x)` on the scale of the transform."""
    random = np.random.default_rng(count)
    x, predicted = random.uniform(0, 1, count), random.uniform(10, 100, count)
    noise = noise_of(x) * random.standard_t(3, count)
    true = predicted + 10 * noise if target_transform == "identity" else predicted * np.exp(noise / 20)
    table = pd.DataFrame({"fold": np.arange(count) % 5, "row": np.arange(count), "true": true, "predicted": predicted})
    return pd.DataFrame({"x": x, "y": true}), table


def fit(features: pd.DataFrame, oof: pd.DataFrame, target_transform: str) -> IntervalModel:
    return intervals.fit(oof, features, CONTRACT, target_transform, 0, BAR)


@pytest.mark.parametrize("target_transform", ["identity", "log", "log1p"])
def test_intervals_cover_their_level_of_new_rows(target_transform):
    model = fit(*rows_of(3_000, target_transform, lambda x: 0.2 + x), target_transform)
    features, new = rows_of(20_000, target_transform, lambda x: 0.2 + x)
    for level in (0.5, 0.9, 0.98):
        low, high = model.predict(features[["x"]], new["predicted"].to_numpy(), level)
        assert (low < new["predicted"]).all()
        assert intervals.coverage(new["true"].to_numpy(), low, high) == pytest.approx(level, abs=0.02)


def test_the_width_depends_on_the_row_where_the_size_of_errors_does():
    model = fit(*rows_of(3_000, "identity", lambda x: 0.1 + 2 * x), "identity")
    features, new = rows_of(8_000, "identity", lambda x: 0.1 + 2 * x)
    low, high = model.predict(features[["x"]], new["predicted"].to_numpy(), 0.9)
    certain, true = (features["x"] < 0.2).to_numpy(), new["true"].to_numpy()
    assert (high - low)[certain].mean() < (high - low)[~certain].mean() / 2
    for part in (certain, ~certain):
        assert intervals.coverage(true[part], low[part], high[part]) == pytest.approx(0.9, abs=0.05)


def test_each_large_group_is_covered():
    contract = Contract("y", CONTRACT.columns | {"g": Column("categorical")}, group="g")
    features, oof = rows_of(4_000, "identity", np.ones_like)
    random = np.random.default_rng(0)
    features["g"] = np.where(random.uniform(size=4_000) < 0.25, "skew", "plain")
    features.loc[:20, "g"] = "rare"
    skew = (features["g"] == "skew").to_numpy()  # its errors are as large as the others', but all on one side
    errors = oof["true"] - oof["predicted"]
    oof["true"] = oof["predicted"] + np.where(skew, errors.abs(), errors)
    model = intervals.fit(oof, features, contract, "identity", 0, BAR)
    true, predicted = oof["true"].to_numpy(), oof["predicted"].to_numpy()
    low, high = model.predict(features[["x", "g"]], predicted, 0.5)
    for part in (skew, ~skew):
        assert intervals.coverage(true[part], low[part], high[part]) == pytest.approx(0.5, abs=0.03)
    together = replace(model, group="", labels=None).predict(features[["x", "g"]], predicted, 0.5)
    assert intervals.coverage(true[skew], *(ends[skew] for ends in together)) > 0.53
    low, high = model.predict(features[["x", "g"]][:20], predicted[:20], 0.5)
    np.testing.assert_array_equal(low, together[0][:20])  # a small group has the intervals of all rows


def test_all_intervals_have_one_width_where_the_size_of_errors_does_not_depend_on_the_row():
    model = fit(*rows_of(3_000, "identity", np.ones_like), "identity")
    assert model.scale is None
    low, high = model.predict(pd.DataFrame({"x": [0.1, 0.9]}), np.array([10.0, 90.0]), 0.9)
    assert np.ptp(high - low) == pytest.approx(0, abs=1e-9)


def test_few_rows_and_perfect_predictions_have_intervals_too():
    features, oof = rows_of(50, "identity", lambda x: x)
    assert fit(features, oof, "identity").scale is None
    features, oof = rows_of(500, "identity", lambda x: 0 * x)
    low, high = fit(features, oof, "identity").predict(features[["x"]], oof["predicted"].to_numpy(), 0.9)
    assert (high == low).all()


@pytest.mark.parametrize(("rows", "expected"), [(9, 9), (19, 18), (3, 3)])
def test_few_residuals_have_the_finite_sample_rank_of_split_conformal_prediction(rows, expected):
    residuals = np.sort(np.arange(1.0, rows + 1) * [(-1) ** row for row in range(rows)])
    assert conformal_quantiles(residuals, 0.9) == (-expected, expected)  # ⌈0.9 (rows + 1)⌉, but at most rows


def test_each_tail_has_its_own_rank():
    residuals = np.arange(1.0, 200)  # 199 of them: ⌈0.95 · 200⌉ = 190 is the upper rank, 10 the lower
    assert conformal_quantiles(residuals, 0.9) == (10, 190)


def test_a_level_that_no_residual_bounds_is_refused():
    residuals = np.arange(200.0)
    conformal_quantiles(residuals, 0.99)
    with pytest.raises(UserError, match=r"level=0.995: at most 0.99 is possible with 200 cross-validated rows"):
        conformal_quantiles(residuals, 0.995)
    conformal_quantiles(residuals[:5], NOMINAL_LEVEL)


def test_an_interval_model_is_the_same_after_it_was_saved(tmp_path: Path):
    features, oof = rows_of(600, "log", lambda x: 0.1 + x)
    features["g"], oof["weight"] = np.where(features["x"] < 0.5, "é", "b"), 2.0
    contract = Contract("y", CONTRACT.columns | {"g": Column("categorical")}, group="g")
    model = intervals.fit(oof, features, contract, "log", 0, BAR)
    interval_models.save(model, tmp_path / "intervals.skops")
    loaded = interval_models.load(tmp_path / "intervals.skops")
    assert model.scale is not None
    for level in (0.5, 0.9):
        given = features[["x", "g"]], oof["predicted"].to_numpy(), level
        np.testing.assert_array_equal(loaded.predict(*given), model.predict(*given))


def test_the_ends_of_an_interval_belong_to_it():
    low, high = np.array([1.0, 1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0, 2.0])
    assert intervals.coverage(np.array([1.0, 2.0, 0.9, 2.1]), low, high) == 0.5


def test_the_interval_score_adds_to_the_width_what_is_missed():
    true, low, high = np.array([1.5, 0.0, 3.0]), np.ones(3), np.full(3, 2.0)
    assert intervals.interval_score(true, low, high, 0.9) == pytest.approx(1 + (0 + 20 + 20) / 3)


def test_metrics_of_further_levels_end_in_the_level():
    ends = {0.9: (np.zeros(4), np.ones(4)), 0.995: (np.zeros(4), np.full(4, 3.0))}
    found = intervals.interval_scores(np.array([0.5, 0.5, 0.5, 2.0]), ends)
    assert (found["interval_coverage"], found["interval_width"]) == (0.75, 1)
    assert (found["interval_coverage_99.5"], found["interval_width_99.5"]) == (1, 3)
    assert found["interval_coverage_low"] < 0.75 < found["interval_coverage_high"] < 1
