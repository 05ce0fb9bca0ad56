"""How predictions change with the value of a feature."""

import numpy as np
import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation.effects import ACCUMULATED, PARTIAL_DEPENDENCE, effects, most_important


@pytest.fixture(scope="module")
def background() -> pd.DataFrame:
    random = np.random.default_rng(0)
    x = random.normal(0, 1, 100)
    rows = {"x": x, "twin": x + random.normal(0, 0.1, 100), "alone": random.uniform(0, 1, 100), "constant": 1.0}
    kind = pd.Series(random.choice(["a", "b", None], 100, p=[0.5, 0.3, 0.2]), dtype="str")
    return pd.DataFrame(rows).assign(kind=kind)


def predict(rows: pd.DataFrame) -> np.ndarray:
    """Return 10 alone + 3 if b + 2 x + 5 (x − twin)², which is large only for rows that do not exist."""
    away = 5 * (rows["x"] - rows["twin"]) ** 2
    return (10 * rows["alone"] + 3 * (rows["kind"] == "b") + 2 * rows["x"] + away).to_numpy()


def test_an_uncorrelated_number_and_a_category_have_partial_dependence_with_the_rows_as_lines(background):
    found = effects(predict, background, ["alone", "kind", "constant"])
    assert found["feature"].unique().tolist() == ["alone", "kind"]
    assert set(found["method"]) == {PARTIAL_DEPENDENCE}
    alone, kind = (part.reset_index(drop=True) for _, part in found.groupby("feature"))
    np.testing.assert_allclose(np.diff(alone["effect"]), 10 * np.diff(alone["number"]))
    assert alone["number"].iloc[[0, -1]].tolist() == [background["alone"].min(), background["alone"].max()]
    assert kind["value"].tolist() == ["a", "b"]
    assert kind["number"].isna().all()
    assert kind["effect"].diff()[1] == pytest.approx(3)
    with_a = predict(background.assign(kind="a"))
    assert kind["effect"][0] == pytest.approx(with_a.mean())
    np.testing.assert_allclose(kind.filter(like="ice_").iloc[0], with_a[:20])


def test_a_correlated_number_has_accumulated_local_effects_which_do_not_leave_the_data(background):
    found = effects(predict, background, ["x"])
    assert set(found["method"]) == {ACCUMULATED}
    assert found.filter(like="ice_").isna().all(axis=None)
    slope = (found["effect"].iloc[-1] - found["effect"].iloc[0]) / (found["number"].iloc[-1] - found["number"].iloc[0])
    assert slope == pytest.approx(2, abs=2)
    far = predict(background.assign(x=background["x"].max())).mean()
    assert far - predict(background).mean() > 5 * (found["effect"].max() - predict(background).mean())
    assert np.interp(background["x"], found["number"], found["effect"]).mean() == pytest.approx(
        predict(background).mean()
    )


def test_missing_values_and_constant_features_are_left_out(background):
    rows = background.assign(alone=background["alone"].where(background.index > 50))
    assert len(effects(predict, rows, ["alone"])) == 11
    assert effects(predict, background.assign(x=np.nan), ["x", "constant"]).empty


def test_the_most_important_features_are_no_texts():
    kinds = {"a": "numeric", "b": "text", "c": "categorical", "y": "numeric"}
    contract = Contract("y", {name: Column(kind) for name, kind in kinds.items()})
    shap_values = pd.DataFrame({"a": [1.0, -1.0], "b": [9.0, 9.0], "c": [-3.0, 0.0]})
    assert most_important(shap_values, contract) == ["c", "a"]
    assert most_important(shap_values, contract, 1) == ["c"]
