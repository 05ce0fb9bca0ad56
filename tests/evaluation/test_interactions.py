"""Which pairs of features act together."""

import numpy as np
import pandas as pd
import pytest

from workflow.evaluation.interactions import interactions

RANDOM = np.random.default_rng(0)
ROWS = pd.DataFrame(RANDOM.normal(0, 1, (30, 5)), columns=list("abcde"))


def test_a_product_interacts_and_a_sum_does_not():
    found = interactions(lambda rows: (rows["a"] * rows["b"] + 5 * rows["c"]).to_numpy(), ROWS, ["c", "a", "b"])
    assert found[["feature", "other"]].iloc[0].tolist() == ["a", "b"]
    assert found["strength"].tolist()[1:] == [0.0, 0.0]
    assert found["h"].tolist()[1:] == [0.0, 0.0]
    a, b = (ROWS[name].head(20) - ROWS[name].head(20).mean() for name in "ab")
    left = a * b - (a * b).mean()  # what the joint effect has beyond the effects of a and b
    assert found["strength"][0] == pytest.approx(np.sqrt((left**2).mean()))
    joint = (ROWS["a"] * ROWS["b"]).head(20)
    assert found["h"][0] == pytest.approx(found["strength"][0] / joint.std(ddof=0))


def test_the_most_important_features_are_paired_and_a_constant_has_no_interaction():
    found = interactions(lambda rows: np.ones(len(rows)), ROWS, list("abcde"))
    assert len(found) == 6
    assert "e" not in {*found["feature"], *found["other"]}
    assert (found[["strength", "h"]] == 0).all(axis=None)
    assert interactions(lambda rows: np.ones(len(rows)), ROWS, ["a"]).empty
