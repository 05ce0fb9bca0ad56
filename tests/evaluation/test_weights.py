"""Sample weights: a weight of 2 counts like two equal rows."""

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.evaluation import cross_validation, intervals, metrics, paired
from workflow.evaluation.ranking import ranking_metric
from workflow.models import blending, estimators
from workflow.models.estimators import Preparation
from workflow.models.intervals import conformal_quantiles
from workflow.parallel.executors import no_progress_bar

RANDOM = np.random.default_rng(0)
TRUE, PREDICTED = RANDOM.uniform(1, 9, 60), RANDOM.uniform(1, 9, 60)
WEIGHT = RANDOM.integers(0, 4, 60).astype(float)
OURS = [
    metrics.r2_score,
    metrics.mean_absolute_error,
    metrics.mean_squared_error,
    metrics.root_mean_squared_error,
    metrics.mean_absolute_percentage_error,
    metrics.root_mean_squared_log_error,
    metrics.mean_pinball_loss,
]
MAE = ranking_metric("mean_absolute_error", {})


@pytest.mark.parametrize("metric", OURS)
def test_weighted_metrics_are_those_of_scikit_learn(metric):
    expected = getattr(sklearn.metrics, metric.__name__)(TRUE, PREDICTED, sample_weight=WEIGHT)
    assert metric(TRUE, PREDICTED, weight=WEIGHT) == pytest.approx(expected, rel=1e-12)
    two = metric(np.array([TRUE, TRUE]), np.array([PREDICTED, TRUE]), weight=WEIGHT)
    assert two == pytest.approx([expected, float(metric(TRUE, TRUE))], rel=1e-12)


@pytest.mark.parametrize("metric", [*OURS, metrics.median_absolute_error])
def test_a_weight_counts_like_equal_rows(metric):
    often = np.repeat(np.arange(60), WEIGHT.astype(int))
    if metric is metrics.median_absolute_error and len(often) % 2 == 0:
        often = often[1:]  # of an even number, the median would be between two
        weight = np.bincount(often, minlength=60).astype(float)
    else:
        weight = WEIGHT
    assert metric(TRUE, PREDICTED, weight=weight) == pytest.approx(metric(TRUE[often], PREDICTED[often]), rel=1e-12)


def test_intervals_and_differences_resample_weights_with_their_rows():
    found = metrics.scores_with_intervals({"mae": metrics.mean_absolute_error}, TRUE, PREDICTED, 0, weight=WEIGHT)
    assert found["mae_low"] < metrics.mean_absolute_error(TRUE, PREDICTED, weight=WEIGHT) < found["mae_high"]
    assert found["mae"] == metrics.mean_absolute_error(TRUE, PREDICTED, weight=WEIGHT)
    one_row = np.eye(60)[5] * 3  # all other rows count for nothing
    only = paired.difference(TRUE, PREDICTED, TRUE + 1, MAE, 0, one_row)
    assert only.value == pytest.approx(abs(TRUE[5] - PREDICTED[5]) - 1)


def test_a_constant_minimizes_the_weighted_error():
    target, weight = np.array([1.0, 2.0, 3.0, 9.0] * 5), np.array([0.0, 0.0, 1.0, 0.0] * 5)
    assert MAE.best_constant(target, weight) == 3
    assert ranking_metric("root_mean_squared_error", {}).best_constant(target, weight) == 3


def test_the_weights_of_a_blend_minimize_the_weighted_error():
    true = np.arange(20.0)
    predicted = np.column_stack([np.where(true < 10, true, 0), np.where(true < 10, 0, true)])
    for weight, best in ((true < 10, 0), (true >= 10, 1)):
        found = blending.fit_weights(predicted, true, MAE.error, weight.astype(float))
        assert found[best] == 1


def test_quantiles_of_residuals_are_weighted():
    residuals, weight = np.arange(200.0), np.repeat([1.0, 0.0], 100)
    expected = conformal_quantiles(np.arange(100.0), 0.9)
    assert conformal_quantiles(residuals, 0.9, weight)[1] == pytest.approx(expected[1], abs=1)
    assert intervals.coverage(np.array([0.0, 5.0]), np.zeros(2), np.ones(2), np.array([3.0, 1.0])) == 0.75
    assert intervals.effective_rows(4, np.array([1.0, 1, 0, 0])) == 2


CONTRACT = Contract("y", {"x": Column("numeric"), "y": Column("numeric"), "w": Column("numeric")}, weight="w")


def test_a_weight_is_no_feature():
    assert CONTRACT.features == ["x"]
    assert CONTRACT.content == ["x", "y"]


@pytest.mark.parametrize("model", ["linear", "rf", "boosting", "mean_boosting"])
def test_models_are_fitted_with_weights(model):
    x = RANDOM.uniform(0, 1, 200)
    first = np.arange(200) < 100
    rows = pd.DataFrame({"x": x, "y": np.where(first, x, 10 + x)})
    estimator = estimators.build(model, CONTRACT, "auto", Preparation(), 0, {}, len(rows))
    estimators.check_takes_weights(estimator, model)
    weight = pd.Series(np.where(first, 1.0, 0.0))
    fitted = estimators.fit(estimator, rows[["x"]], rows["y"], weight)
    assert estimators.predict(fitted, rows[["x"]]).max() < 2  # rows without a weight are not learned
    folds = [(np.arange(0, 200, 2), np.arange(1, 200, 2))]
    _, oof = cross_validation.cross_val_predict_and_refit(
        estimator, rows[["x"]], rows["y"], folds, no_progress_bar(""), weight
    )
    assert oof["weight"].tolist() == weight.iloc[1::2].tolist()
    assert cross_validation.cross_validation_scores(oof, MAE)["cv_mean_absolute_error"] < 0.5


def test_a_model_that_takes_no_weights_is_refused():
    estimator = estimators.build("knn", CONTRACT, "auto", Preparation(), 0, {}, 50)
    with pytest.raises(UserError, match=r"^model=knn: cannot be fitted with sample weights; choose another"):
        estimators.check_takes_weights(estimator, "knn")


def test_an_own_metric_needs_the_argument_sample_weight(tmp_path, monkeypatch):
    (tmp_path / "weighing.py").write_text(
        "def plain(y_true, y_pred):\n    return abs(y_true - y_pred).mean()\n"
        "def own(y_true, y_pred, sample_weight=None):\n"
        "    return (abs(y_true - y_pred) * sample_weight).sum() / sample_weight.sum()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = ranking_metric("weighing.own", {}).error(TRUE, np.array([PREDICTED, TRUE]), weight=WEIGHT)
    assert found == pytest.approx([metrics.mean_absolute_error(TRUE, PREDICTED, weight=WEIGHT), 0])
    with pytest.raises(UserError, match=r"^metric=weighing.plain: takes no sample_weight, but the rows have weights"):
        ranking_metric("weighing.plain", {}).error(TRUE, PREDICTED, weight=WEIGHT)


def test_the_weighted_median_of_each_row_has_its_own_weights():
    values = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    weight = np.array([[1.0, 1.0, 9.0], [90.0, 1.0, 1.0]])
    assert metrics.median(values, -1, weight).tolist() == [3, 1]


def test_errors_of_segments_are_weighted():
    table = metrics.segments(TRUE, PREDICTED, 3, WEIGHT)
    for segment in table.itertuples():
        inside = (segment[1] <= TRUE) & (segment.to >= TRUE)
        errors = PREDICTED[inside] - TRUE[inside]
        assert segment.rows == inside.sum()
        assert segment.bias == pytest.approx(np.average(errors, weights=WEIGHT[inside]))
        assert segment.mean_absolute_error == pytest.approx(np.average(np.abs(errors), weights=WEIGHT[inside]))


def test_the_error_on_a_sample_is_weighted():
    rows = pd.DataFrame({"x": TRUE, "y": 2 * TRUE + RANDOM.normal(0, 1, 60)})
    contract = Contract("y", {name: Column("numeric") for name in rows})
    estimator = estimators.build("linear", contract, "target", Preparation(), 0, {})
    folds = [(np.arange(30), np.arange(30, 60)), (np.arange(30, 60), np.arange(30))]
    weight = pd.Series(np.tile([1.0, 50.0], 30))
    found = cross_validation.error_on_sample(estimator, rows[["x"]], rows["y"], folds, MAE, no_progress_bar(""), weight)
    expected = []
    for fold in folds:
        oof = cross_validation.predict_fold(estimator, rows[["x"]], rows["y"], fold, weight)
        expected.append(np.average(np.abs(oof["true"] - oof["predicted"]), weights=oof["weight"]))
    assert found == pytest.approx(np.mean(expected))
