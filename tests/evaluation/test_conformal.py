import numpy as np
import pandas as pd
import pytest

from workflow.evaluation import conformal


@pytest.mark.parametrize("scale", ["identity", "log", "log1p"])
def test_an_interval_holds_its_share_of_new_rows(scale):
    random = np.random.default_rng(0)

    def rows(count: int) -> pd.DataFrame:
        predicted = random.uniform(10, 100, count)
        noise = random.standard_t(3, count)
        true = predicted + noise if scale == "identity" else predicted * np.exp(noise / 20)
        return pd.DataFrame({"true": true, "predicted": predicted})

    new = rows(20_000)
    low, high = conformal.interval(new["predicted"].to_numpy(), conformal.conformal_quantile(rows(5000), scale), scale)
    assert (low < new["predicted"]).all()
    assert ((low <= new["true"]) & (new["true"] <= high)).mean() == pytest.approx(conformal.LEVEL, abs=0.01)


@pytest.mark.parametrize(("rows", "expected"), [(9, 9), (19, 18), (100, 91), (3, 3)])
def test_the_rank_of_split_conformal_prediction(rows, expected):
    tested = pd.DataFrame({"true": np.arange(1.0, rows + 1) * [(-1) ** each for each in range(rows)], "predicted": 0.0})
    assert conformal.conformal_quantile(tested, "identity") == expected  # ⌈0.9 (rows + 1)⌉, or the largest there is


def test_coverage_counts_the_ends():
    low, high = np.array([1.0, 1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0, 2.0])
    assert conformal.coverage(np.array([1.0, 2.0, 0.9, 2.1]), low, high) == 0.5
