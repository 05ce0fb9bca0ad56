import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from workflow.evaluation import metrics, paired
from workflow.evaluation.ranking import ranking_metric

MAE = ranking_metric("mean_absolute_error", {})


@pytest.fixture
def three() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The true target, predictions of it, and predictions with errors twice as large."""
    random = np.random.default_rng(0)
    true = random.normal(100, 20, 3000)
    noise = random.normal(0, 5, 3000)
    return true, true + noise, true + 2 * noise


@pytest.mark.parametrize("error", ["mean_absolute_error", "root_mean_squared_error", "median_absolute_error"])
def test_a_difference_has_the_sign_and_size_of_the_difference_of_errors(three, error):
    true, better, worse = three
    metric = ranking_metric(error, {})
    found = paired.difference(true, better, worse, metric, 0)
    expected = getattr(sklearn_metrics, error)(true, better) - getattr(sklearn_metrics, error)(true, worse)
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high < 0
    back = paired.difference(true, worse, better, metric, 0)
    assert back.value == pytest.approx(-expected)
    assert back.low > 0


def test_of_a_metric_where_greater_is_better_the_better_has_less_error(three):
    true, better, worse = three
    found = paired.difference(true, better, worse, ranking_metric("r2_score", {}), 0)
    assert found.value == pytest.approx(sklearn_metrics.r2_score(true, worse) - sklearn_metrics.r2_score(true, better))
    assert found.low < found.value < found.high < 0


def test_rows_are_resampled_in_pairs(three):
    true, better, _ = three
    found = paired.difference(true, better, better + 0.01 * np.sign(better - true), MAE, 0)
    assert found.high - found.low < 1e-6  # every row is worse by 0.01; unpaired resampling would hide it
    assert found.value == pytest.approx(-0.01)


def test_a_sample_of_rows_gives_about_the_interval_of_all_rows(three, monkeypatch):
    whole = paired.difference(*three, MAE, 0)
    monkeypatch.setattr(metrics, "MAX_BOOTSTRAP_ROWS", 500)
    few = paired.difference(*three, MAE, 0)
    assert few.value == whole.value
    assert few.high - few.low == pytest.approx(whole.high - whole.low, rel=0.2)
