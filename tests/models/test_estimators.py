import functools
import itertools
import math
import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.preprocessing import FunctionTransformer

from workflow.data import stored
from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.evaluation import shapley
from workflow.models import catalog, encoders, estimators, model_files
from workflow.reports import plots

CONTRACT = Contract(
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
    estimator = estimators.build(
        model, CONTRACT, encoder, estimators.Preparation("log" if log_target else "identity"), 0, model_params
    )
    return estimators.fit(estimator, rows[CONTRACT.features], rows["price"])


@pytest.mark.slow
@pytest.mark.parametrize("model", catalog.MODELS)
@pytest.mark.parametrize("encoder", estimators.ENCODERS)
@pytest.mark.parametrize("log_target", [True, False])
def test_a_model_predicts_the_same_after_loading(rows, tmp_path, model, encoder, log_target):
    estimator = fitted(rows, model, encoder, log_target)
    skops.io.dump(estimator, tmp_path / "model.skops")
    found = model_files.load(tmp_path / "model.skops", [model])
    expected = estimators.predict(estimator, rows[CONTRACT.features])
    np.testing.assert_array_equal(estimators.predict(found, rows[CONTRACT.features]), expected)


def test_a_file_with_other_types_is_refused(rows, tmp_path):
    skops.io.dump(fitted(rows, "rf"), tmp_path / "model.skops")
    with pytest.raises(UserError, match="unexpected types"):
        model_files.load(tmp_path / "model.skops", ["linear"])


@pytest.mark.parametrize("model", catalog.MODELS)
@pytest.mark.parametrize("hostile", [os.system, eval, functools.partial(os.system, "true"), np.load])
def test_a_hostile_file_is_refused(rows, tmp_path, model, hostile):
    estimator = fitted(rows, model, log_target=False)
    estimator.transformer_ = FunctionTransformer(inverse_func=hostile)  # called with the predictions
    skops.io.dump(estimator, tmp_path / "model.skops")
    with pytest.raises(UserError, match="unexpected types"):
        model_files.load(tmp_path / "model.skops", [model])


@pytest.mark.parametrize("encoder", estimators.ENCODERS)
def test_an_unseen_category_is_accepted(rows, encoder):
    unseen = rows[CONTRACT.features].head(3).assign(winery=["Z", None, "A"]).astype({"winery": "str"})
    assert np.isfinite(estimators.predict(fitted(rows, "rf", encoder), unseen)).all()


def test_log_target_needs_a_non_negative_target():
    with pytest.raises(UserError, match="log_target=true: the lowest price is -1, expected 0 or more"):
        estimators.target_transforms("true", pd.Series([-1, 5], name="price"))


def test_log_target_with_zeros_fits_log1p(rows):
    prices = rows["price"].where(rows.index > 3, 0)
    estimator = estimators.build("linear", CONTRACT, "target", estimators.Preparation("log1p"), 0, {})
    predicted = estimators.predict(estimators.fit(estimator, rows[CONTRACT.features], prices), rows[CONTRACT.features])
    inside = estimator.regressor_.predict(rows[CONTRACT.features])
    np.testing.assert_allclose(predicted, np.expm1(inside))
    assert estimators.target_expression(estimator, "price") == "log(1 + price)"


@pytest.mark.parametrize(
    ("log_target", "prices", "expected"),
    [
        ("auto", [1, 2, 3, 100], ["log", "identity"]),
        ("auto", [0, 2, 3, 100], ["log1p", "identity"]),
        ("auto", [*range(1, 50), 1000], ["log"]),
        ("auto", [-1, 2, 3, 100], ["identity"]),
        ("auto", [1, 2, 3, 4], ["identity", "log"]),
        ("true", [1, 2, 3, 4], ["log"]),
        ("true", [0, 2, 3, 4], ["log1p"]),
        ("false", [1, 2, 3, 100], ["identity"]),
    ],
)
def test_auto_prefers_the_logarithm_of_a_skewed_target_and_never_that_of_a_negative_one(log_target, prices, expected):
    assert estimators.target_transforms(log_target, pd.Series(prices)) == expected


PROSE = Contract("price", {"notes": Column("text"), "year": Column("numeric"), "price": Column("numeric")})


@pytest.fixture(scope="module")
def prose(rows) -> pd.DataFrame:
    """Rows whose notes depend on the winery, and so predict the price."""
    wording = rows["winery"].map({"A": "A plain red", "B": "Rather a good red", "C": "Grand, great!"})
    return rows.assign(notes=(wording + " of " + rows.index.astype(str)).astype("str"))


@pytest.mark.parametrize("model", catalog.MODELS)
def test_words_of_a_text_predict_and_are_explained(rows, prose, tmp_path, model):
    estimator = estimators.build(model, PROSE, "auto", estimators.Preparation("log"), 0, {}, 500)
    estimators.fit(estimator, prose[PROSE.features].head(150), prose["price"].head(150))
    skops.io.dump(estimator, tmp_path / "model.skops")
    estimator = model_files.load(tmp_path / "model.skops", [model])
    notes = ["GRAND and great: 9999", "a plain red", "", None, "…", "words never seen"]
    new_rows = pd.DataFrame({"notes": pd.Series(notes, dtype="str"), "year": 2005.0})
    predicted = estimators.predict(estimator, new_rows)
    assert np.isfinite(predicted).all()
    assert predicted[2] == predicted[3] == predicted[4]
    if model != "dummy":
        assert predicted[0] > 1.2 * predicted[1]
    values, _ = shapley.explain(
        estimator,
        new_rows,
        prose[PROSE.features].head(40),
        catalog.get_model(model).explainer,
        0,
        lambda items, total: items,
    )
    moved = predicted - estimators.predict(estimator, prose[PROSE.features].head(40)).mean()
    np.testing.assert_allclose(values.sum(axis=1), moved, rtol=1e-6, atol=1e-9)


def test_texts_without_a_word_and_a_single_row_are_accepted(prose):
    for rows in (prose.head(3).assign(notes="…"), prose.head(1)):
        estimator = estimators.build("boosting", PROSE, "auto", estimators.Preparation(), 0, {}, 500)
        estimators.fit(estimator, rows[PROSE.features], rows["price"])
        assert np.isfinite(estimators.predict(estimator, rows[PROSE.features])).all()


NAMES = ["self", "a__b", "verbose", "price ($) and ($)", "$\\frac{$", "a\nb", "<b>x</b>", "x" * 300]


@pytest.mark.parametrize("name", NAMES)
def test_a_column_may_have_any_name(rows, tmp_path, name):
    contract = Contract(name, {"year": Column("numeric"), f"{name}2": Column("categorical"), name: Column("numeric")})
    frame = rows[["year", "winery", "price"]].set_axis(list(contract.columns), axis=1)
    estimator = estimators.build("linear", contract, "onehot", estimators.Preparation("log"), 0, {})
    estimators.fit(estimator, frame[contract.features], frame[name])
    skops.io.dump(estimator, tmp_path / "model.skops")
    estimator = model_files.load(tmp_path / "model.skops", ["linear"])
    sample = frame[contract.features].head(5)
    values, _ = shapley.explain(estimator, sample, sample, None, 0, lambda items, total: items)
    figures = [
        plots.importance(values, contract.target_label, "linear"),
        plots.beeswarm(values, shapley.colour_values(estimator, sample), contract.target_label, "linear"),
    ]
    for figure in figures:
        assert plots.save(figure, tmp_path / "picture.png").startswith(b"\x89PNG")


def test_explaining_in_smaller_chunks_gives_the_same_values(rows, monkeypatch):
    estimator, features = fitted(rows, encoder="onehot"), rows[CONTRACT.features]

    def values():
        return shapley.explain(estimator, features.head(5), features.tail(20), None, 0, lambda items, total: items)[0]

    whole = values()
    monkeypatch.setattr(shapley, "CHUNK_CELLS", 100)
    pd.testing.assert_frame_equal(values(), whole, check_exact=False, rtol=1e-12)


def test_plots_of_many_features_show_the_most_important():
    values = pd.DataFrame(np.arange(2000.0)[None] * np.ones((5, 1)), columns=[f"c{i}" for i in range(2000)])
    figure = plots.importance(values, "price", "linear")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "c1999"
    assert axes.get_ylabel() == f"the {plots.MAX_FEATURES} most important of 2,000 features"
    assert figure.get_size_inches()[1] < 12


def test_regressor_params_are_strings_by_the_names_of_the_package():
    estimator = estimators.build("knn", CONTRACT, "target", estimators.Preparation(), 0, {"n_neighbors": 7})
    found = estimators.regressor_params(estimator)
    assert found["n_neighbors"] == "7"
    assert found["p"] == "2"


def test_model_params_take_precedence_over_our_defaults(rows):
    assert catalog.regressor("extra_trees", 7, {"min_samples_split": 9}).get_params() == {
        **catalog.regressor("extra_trees", 7, {}).get_params(),
        "min_samples_split": 9,
    }
    assert catalog.regressor("rf", 7, {}).random_state == 7


@pytest.mark.parametrize("model", ["rf", "knn", "boosting"])
def test_the_number_of_threads_does_not_change_predictions(rows, model):
    from threadpoolctl import threadpool_limits

    results = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            results.append(estimators.predict(fitted(rows, model), rows[CONTRACT.features]))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("model", ["linear", "boosting"])
def test_predictions_in_chunks_equal_those_of_all_rows(rows, monkeypatch, model):
    estimator = fitted(rows, model)
    whole = estimators.predict(estimator, rows[CONTRACT.features])
    monkeypatch.setattr(stored, "CHUNK_ROWS", 7)
    np.testing.assert_allclose(estimators.predict(estimator, rows[CONTRACT.features]), whole, rtol=1e-12)


@pytest.mark.parametrize("encoder", estimators.ENCODERS)
@pytest.mark.parametrize(
    ("model", "log_target", "tolerance"),
    [
        ("linear", True, 1e-9),
        ("linear", False, 1e-9),
        ("knn", False, 1e-9),
        ("rf", True, 1e-9),
        ("rf", False, 1e-6),
        ("boosting", True, 1e-9),
        ("boosting", False, 1e-6),
    ],
)
def test_shapley_values_add_up_to_the_prediction(rows, model, encoder, log_target, tolerance):
    estimator, features = fitted(rows, model, encoder, log_target), rows[CONTRACT.features]
    explainer = catalog.MODELS[model].explainer
    values, base = shapley.explain(estimator, features.head(5), features, explainer, 0, lambda items, total: items)
    predicted = estimators.predict(estimator, features.head(5))
    assert list(values.columns) == CONTRACT.features
    np.testing.assert_allclose(values.sum(axis=1) + base, predicted, rtol=tolerance)


def test_permutation_values_agree_with_exact_ones(rows):
    estimator, features = fitted(rows, "rf", log_target=False), rows[CONTRACT.features]
    arguments = (estimator, features.head(20), features.head(100))
    exact, _ = shapley.explain(*arguments, "tree", 0, lambda items, total: items)
    sampled, _ = shapley.explain(*arguments, None, 0, lambda items, total: items)
    assert np.corrcoef(exact.to_numpy().ravel(), sampled.to_numpy().ravel())[0, 1] > 0.999


@pytest.mark.parametrize("encoder", ["target", "onehot"])
@pytest.mark.parametrize("model", ["rf", "extra_trees", "boosting"])
def test_leaves_summed_along_walks_give_the_same_values_as_predictions_of_each_step(rows, monkeypatch, model, encoder):
    estimator, features = fitted(rows, model, encoder, log_target=True), rows[CONTRACT.features]
    arguments = (estimator, features.head(20), features.tail(60), "tree", 0, lambda items, total: items)
    predicted, base = shapley.explain(*arguments)
    monkeypatch.setattr(shapley, "PREDICTED_MAX_FEATURES", 0)
    summed, same = shapley.explain(*arguments)
    assert base == same
    pd.testing.assert_frame_equal(summed, predicted, rtol=1e-9, atol=1e-9)


def test_many_features_have_fewer_permutations_of_other_background_rows(rows, monkeypatch):
    estimator, features = fitted(rows, "knn"), rows[CONTRACT.features]
    n_features = len(features.columns)
    assert shapley.affordable_permutations(n_features) == 200
    monkeypatch.setattr(shapley, "PREDICTIONS", 100 * (n_features + 1))
    assert shapley.affordable_permutations(n_features) == 50
    assert shapley.affordable_permutations(100 * n_features) == shapley.MIN_BACKGROUND
    values, base = shapley.explain(estimator, features.head(5), features, None, 0, lambda items, total: items)
    assert base == pytest.approx(estimators.predict(estimator, features.head(50)).mean())
    np.testing.assert_allclose(values.sum(axis=1) + base, estimators.predict(estimator, features.head(5)), rtol=1e-9)


@pytest.mark.parametrize("logarithmic", [True, False])
def test_linear_models_are_explained_exactly(logarithmic):
    random = np.random.default_rng(1)
    background, row = random.normal(size=(100, 5)), np.array([1.0, -2.0, 0.5, 3.0, 0.3])
    regress = Ridge().fit(background, background @ [1.0, -0.5, 0.3, 0.8, 0.1])
    members = np.eye(4)[[0, 1, 2, 3, 3]]  # the last two come from one feature, and are switched together
    found = shapley.linear_shapley_values(regress, row[None], background, sparse.csr_array(members), logarithmic)

    def output(x):
        return np.exp(regress.predict(x)) if logarithmic else regress.predict(x)

    expected = shapley_values(output, row, background, members.argmax(axis=1))
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)


def shapley_values(output, row: np.ndarray, background: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return Shapley values by their definition, over all coalitions of features: (features,)."""
    columns = range(owners.max() + 1)

    def worth(coalition: tuple[int, ...]) -> float:
        return output(np.where(np.isin(owners, coalition), row, background)).mean()

    values = np.zeros(len(columns))
    for column in columns:
        others = [other for other in columns if other != column]
        for size in columns:
            weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(columns))
            for coalition in itertools.combinations(others, size):
                values[column] += weight * (worth((*coalition, column)) - worth(coalition))
    return values


@pytest.mark.parametrize(
    ("output", "tolerance"),
    [
        (lambda x: 3 * x[:, 0] - x[:, 1], 1e-12),
        (lambda x: x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3] + x[:, 1], 1e-12),  # an order and its reverse cancel out
        (lambda x: np.exp(x.sum(axis=1) / 3), 0.02),
    ],
)
def test_permutations_approximate_shapley_values(output, tolerance):
    random = np.random.default_rng(1)
    background, row = random.normal(size=(100, 4)), np.array([1.0, -2.0, 0.5, 3.0])
    outputs = shapley.predicted_outputs(SimpleNamespace(predict=output), background, np.arange(4))
    found = shapley.permutation_shapley_values(outputs, row[None], (100, 2, 4), 0, lambda items, _: items)
    expected = shapley_values(output, row, background, np.arange(4))
    np.testing.assert_allclose(found[0], expected, atol=tolerance * np.abs(expected).max())


def test_features_that_the_model_ignores_have_shapley_value_0(rows):
    estimator = fitted(rows, "dummy")
    values, _ = shapley.explain(
        estimator, rows[CONTRACT.features].head(3), rows[CONTRACT.features], None, 0, lambda items, total: items
    )
    assert (values == 0).all(axis=None)


@pytest.mark.parametrize("model", ["linear", "knn", "sklearn.linear_model.LinearRegression"])
def test_models_that_would_extrapolate_clip_extreme_numbers(rows, model):
    estimator = fitted(rows, model)
    far, further = (rows[CONTRACT.features].head(1).assign(rating=rating) for rating in (100, 10**9))
    np.testing.assert_array_equal(estimators.predict(estimator, far), estimators.predict(estimator, further))


def test_rare_categories_share_a_column(rows, monkeypatch):
    monkeypatch.setattr(encoders, "MAX_CATEGORIES", 3)
    contract = Contract("price", {"winery": Column("categorical"), "price": Column("numeric")})
    encode = encoders.column_encoders(contract, "onehot", 0).fit(rows[["winery"]], rows["price"])  # A, B, C and missing
    assert encode.transform(rows[["winery"]]).shape[1] == 3
    assert encoders.encoded_column_owners(encode).shape == (1, 3)


def test_the_auto_encoder_depends_on_the_model(rows):
    assert estimators.resolve_encoder("linear", "auto") == "onehot"
    assert estimators.resolve_encoder("linear", "target") == estimators.resolve_encoder("rf", "auto") == "target"
    found = fitted(rows, "linear", "auto").regressor_[0].named_transformers_["categories"][0]
    assert type(found).__name__ == "OneHotEncoder"


def test_an_encoded_column_changes_only_with_the_feature_that_owns_it(rows):
    contract = Contract(
        "price",
        {
            "year": Column("numeric"),  # with missing values: an indicator column follows all numbers
            "winery": Column("categorical"),
            "day": Column("date"),
            "rating": Column("numeric"),
            "colour": Column("categorical"),
            "empty": Column("numeric"),
            "price": Column("numeric"),
        },
    )
    frame = rows.assign(day=np.arange(200.0), colour=np.where(rows.index % 3, "red", "white"), empty=np.nan)
    for encoder in ("target", "onehot", "ordinal"):
        encode = encoders.column_encoders(contract, encoder, 0).fit(frame[contract.features], frame["price"])
        members = encoders.encoded_column_owners(encode)
        before = encode.transform(frame[contract.features].head(1))
        for column, mine in zip(contract.features, members, strict=True):
            other = {"winery": "Z", "colour": "Z", "year": np.nan}.get(column, 10.0)
            after = encode.transform(frame[contract.features].head(1).assign(**{column: other}))
            changed = np.ravel(shapley.dense(after) != shapley.dense(before))
            assert changed.any() or column == "empty"
            assert not (changed & ~mine).any()
        assert (members.sum(axis=0) == 1).all()
