import numpy as np
import pandas as pd
import pytest
import skops.io

from errors import UserError
from tabular import estimators, shapley
from tabular.columns import Column
from tabular.contract import Contract

TERMS = Contract(
    target="price",
    columns={
        "winery": Column("categorical"),
        "year": Column("numeric"),
        "rating": Column("numeric"),
        "price": Column("numeric"),
    },
)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "winery": random.choice(["A", "B", "C", None], 200),
            "year": random.choice([1999, 2005, np.nan], 200),
            "rating": random.normal(4, 0.3, 200),
        }
    ).astype({"winery": "str"})
    effect = frame["winery"].map({"A": 0.0, "B": 1.0, "C": 2.0}).fillna(0.5)
    return frame.assign(price=np.exp(effect + frame["rating"] + random.normal(0, 0.1, 200)))


def fitted(rows, model="linear", encoder="target", log_target=True, **model_params):
    estimator = estimators.build(model, TERMS, encoder, log_target, 0, model_params)
    return estimators.fit(estimator, rows[TERMS.features], rows["price"])


@pytest.mark.parametrize("model", estimators.MODELS)
@pytest.mark.parametrize("encoder", estimators.ENCODERS)
@pytest.mark.parametrize("log_target", [True, False])
def test_a_model_comes_back_from_its_file(rows, tmp_path, model, encoder, log_target):
    estimator = fitted(rows, model, encoder, log_target)
    skops.io.dump(estimator, tmp_path / "model.skops")
    found = estimators.load(tmp_path / "model.skops", model)
    expected = estimators.predict(estimator, rows[TERMS.features])
    np.testing.assert_array_equal(estimators.predict(found, rows[TERMS.features]), expected)


def test_a_file_with_other_types_is_refused(rows, tmp_path):
    skops.io.dump(fitted(rows, "rf"), tmp_path / "model.skops")
    with pytest.raises(UserError, match="types it should not"):
        estimators.load(tmp_path / "model.skops", "linear")


@pytest.mark.parametrize("encoder", estimators.ENCODERS)
def test_a_category_never_seen_is_no_error(rows, encoder):
    unseen = rows[TERMS.features].head(3).assign(winery=["Z", None, "A"]).astype({"winery": "str"})
    assert np.isfinite(estimators.predict(fitted(rows, "rf", encoder), unseen)).all()


def test_log_target_needs_positive_prices(rows):
    with pytest.raises(UserError, match="log_target=true needs price above 0, but the lowest is -1"):
        fitted(rows.assign(price=rows["price"].where(rows.index > 0, -1)))


def test_model_params_go_above_our_defaults(rows):
    assert estimators.regressor("extra_trees", 7, {"min_samples_split": 9}).get_params() == {
        **estimators.regressor("extra_trees", 7, {}).get_params(),
        "min_samples_split": 9,
    }
    assert estimators.regressor("rf", 7, {}).random_state == 7


@pytest.mark.parametrize("model", ["rf", "knn"])
def test_the_number_of_threads_changes_nothing(rows, model):
    from threadpoolctl import threadpool_limits

    results = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            results.append(estimators.predict(fitted(rows, model), rows[TERMS.features]))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("encoder", estimators.ENCODERS)
@pytest.mark.parametrize(
    ("model", "log_target", "tolerance"),
    [("linear", True, 1e-9), ("linear", False, 1e-9), ("knn", False, 1e-9), ("rf", True, 1e-9), ("rf", False, 0.02)],
)
def test_shapley_values_add_up(rows, model, encoder, log_target, tolerance):
    estimator, features = fitted(rows, model, encoder, log_target), rows[TERMS.features]
    explainer = estimators.MODELS[model].explainer
    values, base = shapley.explain(estimator, features.head(5), features, explainer, 0, lambda items, total: items)
    predicted = estimators.predict(estimator, features.head(5))
    assert list(values.columns) == TERMS.features
    np.testing.assert_allclose(values.sum(axis=1) + base, predicted, rtol=tolerance)


def test_permutations_agree_with_the_exact_explainer(rows):
    estimator, features = fitted(rows, "rf", log_target=False), rows[TERMS.features]
    arguments = (estimator, features.head(20), features.head(100))
    exact, _ = shapley.explain(*arguments, "tree", 0, lambda items, total: items)
    sampled, _ = shapley.explain(*arguments, None, 0, lambda items, total: items)
    assert np.corrcoef(exact.to_numpy().ravel(), sampled.to_numpy().ravel())[0, 1] > 0.999


def test_a_column_that_the_model_ignores_gets_nothing(rows):
    estimator = fitted(rows, "dummy")
    values, _ = shapley.explain(
        estimator, rows[TERMS.features].head(3), rows[TERMS.features], None, 0, lambda items, total: items
    )
    assert (values == 0).all(axis=None)
