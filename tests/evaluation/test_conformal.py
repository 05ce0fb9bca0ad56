import numpy as np
import pandas as pd
import pytest

from workflow.evaluation import conformal


@pytest.mark.parametrize("target_transform", ["identity", "log", "log1p"])
def test_prediction_intervals_cover_their_nominal_fraction_of_new_rows(target_transform):
    random = np.random.default_rng(0)

    def rows(count: int) -> pd.DataFrame:
        predicted = random.uniform(10, 100, count)
        noise = random.standard_t(3, count)
        true = predicted + noise if target_transform == "identity" else predicted * np.exp(noise / 20)
        return pd.DataFrame({"true": true, "predicted": predicted})

    new = rows(20_000)
    quantile = conformal.conformal_quantile(rows(5000), target_transform)
    low, high = conformal.prediction_interval(new["predicted"].to_numpy(), quantile, target_transform)
    assert (low < new["predicted"]).all()
    assert ((low <= new["true"]) & (new["true"] <= high)).mean() == pytest.approx(conformal.NOMINAL_COVERAGE, abs=0.01)


@pytest.mark.parametrize(("rows", "expected"), [(9, 9), (19, 18), (100, 91), (3, 3)])
def test_the_quantile_has_the_finite_sample_rank_of_split_conformal_prediction(rows, expected):
    residuals = np.arange(1.0, rows + 1) * [(-1) ** row for row in range(rows)]
    oof_predictions = pd.DataFrame({"true": residuals, "predicted": 0.0})
    assert conformal.conformal_quantile(oof_predictions, "identity") == expected  # ⌈0.9 (rows + 1)⌉, but at most rows


def test_the_ends_of_an_interval_belong_to_it():
    low, high = np.array([1.0, 1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0, 2.0])
    assert conformal.coverage(np.array([1.0, 2.0, 0.9, 2.1]), low, high) == 0.5
