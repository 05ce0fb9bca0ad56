"""The metric that ranks models."""

import sys
from contextlib import nullcontext
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from workflow.errors import UserError
from workflow.evaluation import metrics
from workflow.evaluation.cross_validation import cross_validation_scores
from workflow.evaluation.ranking import ranking_metric
from workflow.models.catalog import BOOSTING_LOSSES

TRUE = np.array([1.0, 2.0, 4.0, 9.0])
PREDICTED = np.array([1.5, 2.0, 3.0, 5.0])


@pytest.fixture
def module(monkeypatch) -> ModuleType:
    """An importable module `costs`."""
    module = ModuleType("costs")
    monkeypatch.setitem(sys.modules, "costs", module)
    return module


@pytest.mark.parametrize("name", BOOSTING_LOSSES)
def test_a_metric_is_that_of_scikit_learn_and_less_error_is_better(name):
    metric = ranking_metric(name, {})
    expected = getattr(sklearn_metrics, name)(TRUE, PREDICTED)
    assert metric.function(TRUE, PREDICTED) == pytest.approx(expected)
    assert metric.error(TRUE, TRUE) < metric.error(TRUE, PREDICTED)
    assert metric.as_error(metric.error(TRUE, PREDICTED)) == pytest.approx(expected)


@pytest.mark.parametrize("name", BOOSTING_LOSSES)
def test_an_error_is_taken_of_each_row_of_predictions(name):
    metric = ranking_metric(name, {})
    found = metric.error(TRUE, np.array([PREDICTED, TRUE]))
    assert found.tolist() == [metric.error(TRUE, PREDICTED), metric.error(TRUE, TRUE)]


def test_an_argument_reaches_the_metric():
    found = ranking_metric("mean_pinball_loss", {"alpha": 0.9}).function(TRUE, PREDICTED)
    assert found == pytest.approx(sklearn_metrics.mean_pinball_loss(TRUE, PREDICTED, alpha=0.9))


def test_a_function_is_called_with_rows_and_its_own_arguments(module):
    module.cost = lambda y_true, y_pred, power=1: float((np.abs(y_true - y_pred) ** power).mean())
    metric = ranking_metric("costs.cost", {"power": 2})
    assert metric.error(TRUE, PREDICTED) == pytest.approx(((TRUE - PREDICTED) ** 2).mean())
    assert metric.error(TRUE, np.array([PREDICTED, TRUE])).tolist() == [metric.error(TRUE, PREDICTED), 0]
    low, high = metrics.bootstrap_interval(metric.function, (TRUE, PREDICTED), 0)
    assert low < metric.function(TRUE, PREDICTED) < high


def test_a_function_of_which_greater_is_better_is_negated(module):
    module.hits = lambda y_true, y_pred: (np.abs(y_true - y_pred) < 1).mean()
    metric = ranking_metric("costs.hits", {"greater_is_better": True})
    assert metric.error(TRUE, TRUE) == -1
    assert metric.best_constant(np.array([1.0, 5.0, 5.0, 5.2, 9.0])) == pytest.approx(5.0, abs=0.3)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("nowhere.cost", {}, "metric=nowhere.cost: no such function; expected an import path, such as my_metrics.cost"),
        ("costs.text", {}, "metric=costs.text: no such function"),
        ("builtins.max", {}, "metric=builtins.max: no such function"),
        (
            "costs.cost",
            {"greater": True},
            "metric_params={greater: …}: costs.cost has no such argument; it takes weight",
        ),
        (
            "costs.cost",
            {"greater_is_better": "True"},
            "metric_params={greater_is_better: True}: must be true or false",
        ),
        ("r2_score", {"alpha": 1}, "metric_params={alpha: …}: r2_score has no such argument"),
        ("mean_pinball_loss", {"alpha": 90}, "metric_params={alpha: 90}: must be a number between 0 and 1"),
        ("mean_pinball_loss", {"alpha": 0.0}, "metric_params={alpha: 0.0}: must be a number between 0 and 1"),
        (
            "mean_pinball_loss",
            {"beta": 1},
            "metric_params={beta: …}: mean_pinball_loss has no such argument; it takes alpha",
        ),
    ],
)
def test_what_is_no_metric_is_refused_in_one_line(module, name, params, message):
    module.text, module.cost = "text", lambda y_true, y_pred, weight=1: 0.0
    with pytest.raises(UserError) as error:
        ranking_metric(name, params)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (lambda y_true, y_pred: 1 / 0, "metric=costs.cost: ZeroDivisionError: division by zero"),
        (lambda y_true, y_pred: sys.exit(3), "metric=costs.cost: SystemExit: 3"),
        (lambda y_true, y_pred: "low", "metric=costs.cost: ValueError: could not convert string to float: 'low'"),
    ],
)
def test_a_function_that_fails_is_named(module, cost, message):
    module.cost = cost
    with pytest.raises(UserError) as error:
        ranking_metric("costs.cost", {}).error(TRUE, PREDICTED)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("cost", "params", "is_refused"),
    [
        (sklearn_metrics.explained_variance_score, {}, True),
        (sklearn_metrics.explained_variance_score, {"greater_is_better": True}, False),
        (sklearn_metrics.explained_variance_score, {"greater_is_better": False}, False),
        (sklearn_metrics.max_error, {}, False),
        (lambda y_true, y_pred: float(np.mean(y_pred - y_true)), {}, False),
        (lambda y_true, y_pred: float("nan"), {}, False),
    ],
)
def test_a_function_with_less_error_for_the_mean_needs_a_direction(module, cost, params, is_refused):
    module.cost = cost
    metric = ranking_metric("costs.cost", params)
    with pytest.raises(UserError, match="pass -P metric_params=") if is_refused else nullcontext():
        metric.check_direction(TRUE)


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_model_is_not_ranked_by_what_is_no_finite_number_in_one_fold(module, score):
    module.cost = lambda y_true, y_pred: score if y_true[0] == 1 else 0.0
    folds = pd.DataFrame({"true": TRUE, "predicted": PREDICTED, "fold": [0, 0, 1, 1]})
    with pytest.raises(UserError) as error:
        cross_validation_scores(folds, ranking_metric("costs.cost", {}))
    expected = "in a fold of the cross-validation; expected a finite number"
    assert str(error.value) == f"metric=costs.cost: {score} {expected}"


@pytest.mark.parametrize(
    ("name", "lowest", "expected"),
    [
        ("mean_absolute_percentage_error", 0, "above 0"),
        ("root_mean_squared_log_error", -1, "0 or more"),
    ],
)
def test_a_metric_refuses_a_target_that_it_does_not_apply_to(name, lowest, expected):
    metric = ranking_metric(name, {})
    metric.check_target(pd.Series([1.0, 2.0], name="price"))
    with pytest.raises(UserError) as error:
        metric.check_target(pd.Series([lowest, 2.0], name="price"))
    assert str(error.value).startswith(f"metric={name}: the lowest price is {lowest}, expected {expected}; ")


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("mean_absolute_error", {}, np.median),
        ("root_mean_squared_error", {}, np.mean),
        ("r2_score", {}, np.mean),
        ("mean_pinball_loss", {"alpha": 0.9}, lambda target: np.quantile(target, 0.9)),
    ],
)
def test_the_best_constant_is_what_the_metric_elicits(name, params, expected):
    target = np.random.default_rng(0).lognormal(size=999)
    assert ranking_metric(name, params).best_constant(target) == pytest.approx(expected(target), rel=0.02)


@pytest.mark.parametrize(
    ("name", "error", "r2", "expected"),
    [
        ("mean_absolute_error", 3.0, 0.1, True),
        ("mean_absolute_error", 3.0, -0.1, False),
        ("mean_absolute_error", 5.0, 0.1, False),
        ("mean_absolute_error", 4.0, 0.1, False),
        ("mean_absolute_error", 3.0, 0.0, False),
        ("mean_pinball_loss", 3.0, -0.1, True),
        ("mean_pinball_loss", 5.0, 0.1, False),
    ],
)
def test_a_model_beats_a_constant_by_the_metric_and_if_that_is_about_the_middle_by_r2(name, error, r2, expected):
    scores = {name: error, f"baseline_{name}": 4.0, "cv_r2_score": r2, "r2_score": r2}
    assert ranking_metric(name, {}).beats_constant(scores) is expected
