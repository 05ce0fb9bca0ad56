import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn_metrics
from sklearn import model_selection

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation import cross_validation, metrics
from workflow.evaluation.ranking import ranking_metric
from workflow.models import estimators

CONTRACT = Contract("price", {"winery": Column("categorical"), "year": Column("numeric"), "price": Column("numeric")})
MAE = ranking_metric("mean_absolute_error", {})
RANKING = metrics.by_name(metrics.root_mean_squared_log_error, metrics.mean_pinball_loss)
values = arrays(float, 30, elements=st.floats(0.01, 1e6))


@settings(max_examples=100, deadline=None)
@given(values, values)
def test_metrics_are_those_of_scikit_learn(true, predicted):
    for name, metric in (metrics.applicable_metrics(true) | metrics.TRAINING | RANKING).items():
        expected = getattr(sklearn_metrics, name)(true, predicted)
        if metric is metrics.r2_score and np.ptp(true) == 0:
            continue  # scikit-learn returns 0 or 1 by convention
        assert metric(true, predicted) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(arrays(float, (3, 30), elements=st.floats(0.01, 1e6)), arrays(float, (3, 30), elements=st.floats(0.01, 1e6)))
def test_metrics_score_along_an_axis(true, predicted):
    for metric in (metrics.applicable_metrics(true[0]) | metrics.TRAINING | RANKING).values():
        rows = [float(metric(*pair)) for pair in zip(true, predicted, strict=True)]
        np.testing.assert_allclose(metric(true, predicted, axis=1), rows, rtol=1e-9)
        np.testing.assert_allclose(metric(true.T, predicted.T, axis=0), rows, rtol=1e-9)


def test_r2_of_a_constant_target_is_0():
    assert metrics.r2_score(np.ones(5), np.arange(5.0)) == 0
    assert metrics.r2_score(np.array([0, 0.1]), np.array([0, 0.2])) == pytest.approx(-1)


@pytest.mark.parametrize("rows", [50, 300])
def test_confidence_intervals_agree_with_a_plain_bootstrap(monkeypatch, rows):
    monkeypatch.setattr(metrics, "MAX_BOOTSTRAP_ROWS", 200)
    random = np.random.default_rng(0)
    true = random.normal(size=rows)
    predicted = true + random.normal(size=rows)
    found = metrics.scores_with_intervals(metrics.applicable_metrics(true), true, predicted, 0, "baseline_")
    assert found == metrics.scores_with_intervals(metrics.applicable_metrics(true), true, predicted, 0, "baseline_")
    assert found != metrics.scores_with_intervals(metrics.applicable_metrics(true), true, predicted, 1, "baseline_")
    resamples = random.integers(0, rows, (20_000, rows))
    for metric_name, metric in metrics.TEST.items():
        name = f"baseline_{metric_name}"
        low, high = np.percentile(metric(true[resamples], predicted[resamples]), [2.5, 97.5])
        width = high - low
        assert found[name] == metric(true, predicted)
        assert found[f"{name}_high"] - found[f"{name}_low"] == pytest.approx(width, rel=0.1 if rows == 50 else 0.35)
        assert found[f"{name}_low"] == pytest.approx(low, abs=(0.1 if rows == 50 else 0.4) * width)


def test_up_to_the_maximum_all_rows_are_resampled(monkeypatch):
    true = np.random.default_rng(0).normal(size=200)
    whole = metrics.scores_with_intervals(metrics.applicable_metrics(true), true, true + 1 + true**2, 0)
    monkeypatch.setattr(metrics, "MAX_BOOTSTRAP_ROWS", 200)
    assert metrics.scores_with_intervals(metrics.applicable_metrics(true), true, true + 1 + true**2, 0) == whole


def no_progress_bar(items, total):
    return items


@pytest.fixture(scope="module")
def noise() -> pd.DataFrame:
    """Rows whose target is independent of the features: a model can only memorize it."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"winery": random.choice(list("ABCDEFGH"), 300), "year": random.normal(2010, 5, 300)})
    return frame.assign(price=random.normal(50, 10, 300))


@pytest.mark.parametrize("model", ["linear", "knn", "rf"])
def test_cross_validated_scores_are_those_of_scikit_learn(noise, model):
    estimator = estimators.build(
        model, CONTRACT, "target", estimators.Preparation(), 0, {"n_estimators": 10} if model == "rf" else {}
    )
    folds = list(model_selection.KFold(5, shuffle=True, random_state=0).split(noise))
    arguments = (noise[CONTRACT.features], noise["price"])
    fitted, oof_predictions = cross_validation.cross_val_predict_and_refit(
        estimator, *arguments, folds, no_progress_bar
    )
    found = cross_validation.cross_validation_scores(oof_predictions, MAE)
    names = {"r2_score": "r2", "mean_absolute_error": "neg_mean_absolute_error"}
    expected = model_selection.cross_validate(estimator, *arguments, cv=folds, scoring=names)
    for name in names:
        values = np.abs(expected[f"test_{name}"]) if name != "r2_score" else expected[f"test_{name}"]
        assert found[f"cv_{name}"] == pytest.approx(values.mean(), rel=1e-12)
        assert found[f"cv_{name}_std"] == pytest.approx(values.std(), rel=1e-9)
    assert not hasattr(estimator, "regressor_")
    refitted = estimators.fit(estimator, *arguments)
    np.testing.assert_array_equal(fitted.predict(arguments[0]), refitted.predict(arguments[0]))


@pytest.mark.parametrize("model", ["linear", "knn", "rf", "extra_trees"])
def test_no_model_scores_on_noise(noise, model):
    estimator = estimators.build(
        model, CONTRACT, "target", estimators.Preparation(), 0, {"n_neighbors": 1} if model == "knn" else {}
    )
    folds = list(model_selection.KFold(5, shuffle=True, random_state=0).split(noise))
    _, oof_predictions = cross_validation.cross_val_predict_and_refit(
        estimator, noise[CONTRACT.features], noise["price"], folds, no_progress_bar
    )
    found = cross_validation.cross_validation_scores(oof_predictions, MAE)
    assert found["cv_r2_score"] < 0.05
    assert found["cv_mean_absolute_error"] > 7.5  # the constant baseline has 8


@pytest.mark.parametrize("rows", [100, 1000])
def test_confidence_intervals_cover_the_true_error(monkeypatch, rows):
    monkeypatch.setattr(metrics, "N_RESAMPLES", 400)
    monkeypatch.setattr(metrics, "MAX_BOOTSTRAP_ROWS", 200)  # so 1,000 rows are sampled first
    random = np.random.default_rng(0)
    true_error = np.sqrt(2 / np.pi)  # the mean absolute value of a standard normal number
    covered, centred, below, above = 0, 0, 0.0, 0.0
    for _ in range(200):
        true = np.zeros(rows)
        found = metrics.scores_with_intervals({"mean_absolute_error": MAE.function}, true, random.normal(size=rows), 0)
        low, high = found["mean_absolute_error_low"], found["mean_absolute_error_high"]
        covered += low < true_error < high
        centred += low < found["mean_absolute_error"] < high
        below += found["mean_absolute_error"] - low
        above += high - found["mean_absolute_error"]
    assert 0.9 < covered / 200 < 0.99
    assert centred == 200
    assert above == pytest.approx(below, rel=0.2)


def test_confidence_intervals_contain_the_score_and_narrow_with_more_rows():
    random = np.random.default_rng(0)
    true = random.lognormal(3, 1, 4000)
    predicted = true * random.lognormal(0, 0.3, 4000)
    few = metrics.scores_with_intervals(metrics.applicable_metrics(true), true[:100], predicted[:100], 0)
    many = metrics.scores_with_intervals(metrics.applicable_metrics(true), true, predicted, 0)
    for found in (few, many):
        assert found["mean_absolute_error_low"] < found["mean_absolute_error"] < found["mean_absolute_error_high"]
    width = {name: found["r2_score_high"] - found["r2_score_low"] for name, found in (("few", few), ("many", many))}
    assert width["many"] < width["few"]


@pytest.mark.parametrize("lowest", [0, -5])
def test_percentage_errors_are_left_out_unless_the_target_is_positive(lowest):
    true = np.arange(1.0, 101.0)
    name = "mean_absolute_percentage_error"
    assert name in metrics.scores_with_intervals(metrics.applicable_metrics(true), true, true + 1, 0)
    assert name in metrics.segments(true, true + 1)
    true[0] = lowest
    assert not any(
        name in found for found in metrics.scores_with_intervals(metrics.applicable_metrics(true), true, true + 1, 0)
    )
    assert name not in metrics.segments(true, true + 1)


def test_segments_cover_all_rows_from_low_to_high():
    true = np.arange(1.0, 101.0)
    table = metrics.segments(true, true + 2)
    assert table["rows"].tolist() == [25] * 4
    assert table["from"].tolist() == [1, 26, 51, 76]
    assert table["to"].tolist() == [25, 50, 75, 100]
    assert table["bias"].tolist() == [2] * 4
    assert table["mean_absolute_error"].tolist() == [2] * 4
    assert table.index.tolist() == [0, 1, 2, 3]


def test_ties_merge_segments():
    true = np.array([5.0] * 60 + [7.0, 8, 9, 10] * 10)
    table = metrics.segments(true, true - 1)
    assert table["rows"].tolist() == [80, 20]
    assert table["bias"].tolist() == [-1, -1]


def test_the_largest_errors_come_first_and_ties_in_order():
    assert metrics.worst(np.array([1.0, 2.0, 3.0]), np.array([1.5, 9.0, 0.0]), 2).tolist() == [1, 2]
    assert metrics.worst(np.zeros(50), np.ones(50)).tolist() == list(range(10))


def test_errors_stand_next_to_the_target_in_front():
    found = metrics.with_errors(pd.DataFrame({"wine": ["b", "c"], "price": [2.0, 3.0]}), "price", np.array([9.0, 0.0]))
    assert list(found.columns) == ["price", "predicted", "error", "wine"]
    assert found.to_numpy().tolist() == [[2, 9, 7, "b"], [3, 0, -3, "c"]]


def test_of_equal_errors_the_first_row_is_the_worse():
    true = np.zeros(40)
    predicted = np.tile([1.0, -1.0], 20)
    assert metrics.worst(true, predicted, 3).tolist() == [0, 1, 2]
