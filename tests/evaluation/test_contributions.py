"""How much each feature contributes to a prediction, for any row of any model."""

import numpy as np
import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.evaluation.contributions import Explainer
from workflow.models import blending, estimators
from workflow.parallel.executors import iterate_in_threads
from workflow.stages.predict import Chunk, explained

FEATURES = ("winery", "year", "rating", "body", "acidity", "alcohol", "sugar", "age", "reviews")
CONTRACT = Contract(
    target="price",
    columns={name: Column("categorical" if name == "winery" else "numeric") for name in (*FEATURES, "price")},
)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.normal(4, 1, 150) for name in FEATURES})
    frame["winery"] = pd.Series(random.choice(["A", "B", "C", None], 150), dtype="str")
    frame.loc[::9, "year"] = np.nan
    effect = frame["winery"].map({"A": 0.0, "B": 1.0}).fillna(0.5) * frame["rating"]
    return frame.assign(price=np.exp(effect + frame["body"] / 4 + random.normal(0, 0.1, 150)))


def fitted(rows, model, transform, **params):
    estimator = estimators.build(model, CONTRACT, "auto", estimators.Preparation(transform), 0, params)
    return estimators.fit(estimator, rows[CONTRACT.features], rows["price"])


@pytest.fixture(scope="module")
def explainers(rows) -> dict[str, Explainer]:
    """Return an explainer of each kind of model, by name."""
    found = {
        "linear": fitted(rows, "linear", "identity"),
        "linear of the logarithm": fitted(rows, "linear", "log"),
        "knn": fitted(rows, "knn", "log1p"),
        "rf": fitted(rows, "rf", "identity", n_estimators=5),
        "rf of the logarithm": fitted(rows, "rf", "log", n_estimators=5),
        "boosting": fitted(rows, "boosting", "identity", max_iter=20),
        "sklearn.svm.SVR": fitted(rows, "sklearn.svm.SVR", "identity"),
    }
    members = {name: found[name] for name in ("linear", "knn", "boosting")}
    found["blend"] = blending.blend(members, np.array([0.5, 0.125, 0.375]))
    background = rows[CONTRACT.features].tail(20)
    return {name: Explainer(model, name.split(" ")[0], background, 0) for name, model in found.items()}


NAMES = [
    *("linear", "linear of the logarithm", "knn", "rf", "rf of the logarithm", "boosting"),
    *("sklearn.svm.SVR", "blend"),
]


@pytest.mark.parametrize("name", NAMES)
def test_contributions_add_up_to_the_prediction(rows, explainers, name):
    explainer, features = explainers[name], rows[CONTRACT.features].head(6)
    found = explainer(features)
    assert list(found) == [*(f"contribution_{feature}" for feature in FEATURES), "contribution_base"]
    predicted = estimators.predict(explainer.estimator, features)
    np.testing.assert_allclose(found.sum(axis=1), predicted, rtol=1e-6)
    assert found["contribution_rating"].abs().min() > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_contributions_of_a_row_do_not_depend_on_the_rows_around_it(rows, explainers, name):
    features = rows[CONTRACT.features].head(6)
    whole = explainers[name](features)
    parts = [features.iloc[4:], features.iloc[:1], features.iloc[1:4]]
    alone = pd.concat(iterate_in_threads(explainers[name], parts)).loc[features.index]
    pd.testing.assert_frame_equal(alone, whole, check_exact=True)


def test_the_contributions_of_a_blend_are_the_weighted_mean_of_its_members(rows, explainers):
    features = rows[CONTRACT.features].head(3)
    linear, knn, boosting, blend = (explainers[name](features) for name in ("linear", "knn", "boosting", "blend"))
    expected = 0.5 * linear + 0.125 * explainers["knn"](features) + 0.375 * boosting
    pd.testing.assert_frame_equal(blend, expected, rtol=1e-12)
    assert not np.allclose(knn, linear)


def test_a_feature_that_is_called_like_the_base_is_refused(rows, explainers):
    background = rows[["rating"]].rename(columns={"rating": "base"})
    with pytest.raises(UserError, match="the feature base would be called like the base; rename it"):
        _ = Explainer(explainers["linear"].estimator, "linear", background, 0).columns


def test_each_readable_row_of_a_chunk_is_explained_and_counted(rows, explainers, monkeypatch):
    monkeypatch.setattr("workflow.stages.predict.EXPLAINED_ROWS", 4)
    explainer, typed, counts = explainers["linear"], rows[CONTRACT.features], []
    chunks = [
        Chunk(part[["rating"]], len(part), pd.DataFrame(), {}, part, typed=part)
        for part in (typed.iloc[:6], typed.iloc[:0], typed.iloc[10:11])
    ]
    first, empty, last = (chunk.predicted for chunk in explained(chunks, explainer, counts.append))
    pd.testing.assert_frame_equal(first[explainer.columns], explainer(typed.iloc[:6]))
    pd.testing.assert_frame_equal(last[explainer.columns], explainer(typed.iloc[10:11]))
    assert list(empty) == ["rating", *explainer.columns]
    assert set(empty[explainer.columns].dtypes) == {np.dtype(float)}
    assert counts == [4, 2, 0, 1]
