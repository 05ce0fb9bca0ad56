import functools
import itertools
import math
import os

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
    estimator = estimators.build(model, TERMS, encoder, "log" if log_target else "identity", 0, model_params)
    return estimators.fit(estimator, rows[TERMS.features], rows["price"])


@pytest.mark.parametrize("model", catalog.MODELS)
@pytest.mark.parametrize("encoder", estimators.ENCODERS)
@pytest.mark.parametrize("log_target", [True, False])
def test_a_model_comes_back_from_its_file(rows, tmp_path, model, encoder, log_target):
    estimator = fitted(rows, model, encoder, log_target)
    skops.io.dump(estimator, tmp_path / "model.skops")
    found = model_files.load(tmp_path / "model.skops", [model])
    expected = estimators.predict(estimator, rows[TERMS.features])
    np.testing.assert_array_equal(estimators.predict(found, rows[TERMS.features]), expected)


def test_a_file_with_other_types_is_refused(rows, tmp_path):
    skops.io.dump(fitted(rows, "rf"), tmp_path / "model.skops")
    with pytest.raises(UserError, match="types it should not"):
        model_files.load(tmp_path / "model.skops", ["linear"])


@pytest.mark.parametrize("model", catalog.MODELS)
@pytest.mark.parametrize("hostile", [os.system, eval, functools.partial(os.system, "true"), np.load])
def test_a_hostile_file_is_refused(rows, tmp_path, model, hostile):
    estimator = fitted(rows, model, log_target=False)
    estimator.transformer_ = FunctionTransformer(inverse_func=hostile)  # called with the predictions
    skops.io.dump(estimator, tmp_path / "model.skops")
    with pytest.raises(UserError, match="types it should not"):
        model_files.load(tmp_path / "model.skops", [model])


@pytest.mark.parametrize("encoder", estimators.ENCODERS)
def test_a_category_never_seen_is_no_error(rows, encoder):
    unseen = rows[TERMS.features].head(3).assign(winery=["Z", None, "A"]).astype({"winery": "str"})
    assert np.isfinite(estimators.predict(fitted(rows, "rf", encoder), unseen)).all()


def test_log_target_needs_prices_of_0_or_more():
    with pytest.raises(UserError, match="log_target=true needs a price of 0 or more, but the lowest is -1"):
        estimators.choose_target_transform("true", pd.Series([-1, 5], name="price"))


def test_a_target_that_is_sometimes_0_is_learned_as_the_logarithm_of_1_more(rows):
    prices = rows["price"].where(rows.index > 3, 0)
    estimator = estimators.build("linear", TERMS, "target", "log1p", 0, {})
    predicted = estimators.predict(estimators.fit(estimator, rows[TERMS.features], prices), rows[TERMS.features])
    inside = estimator.regressor_.predict(rows[TERMS.features])
    np.testing.assert_allclose(predicted, np.expm1(inside))
    assert estimators.target_expression(estimator, "price") == "log(1 + price)"


@pytest.mark.parametrize(
    ("log_target", "prices", "expected"),
    [
        ("auto", [1, 2, 3, 100], "log"),
        ("auto", [0, 2, 3, 100], "log1p"),
        ("auto", [-1, 2, 3, 100], "identity"),
        ("auto", [1, 2, 3, 4], "identity"),
        ("true", [1, 2, 3, 4], "log"),
        ("true", [0, 2, 3, 4], "log1p"),
        ("false", [1, 2, 3, 100], "identity"),
    ],
)
def test_the_logarithm_is_for_what_is_not_negative_and_skewed(log_target, prices, expected):
    assert estimators.choose_target_transform(log_target, pd.Series(prices)) == expected


PROSE = Contract("price", {"notes": Column("text"), "year": Column("numeric"), "price": Column("numeric")})


@pytest.fixture(scope="module")
def prose(rows) -> pd.DataFrame:
    """Rows whose notes say what the winery does for the price."""
    told = rows["winery"].map({"A": "A plain red", "B": "Rather a good red", "C": "Grand, great!"})
    return rows.assign(notes=(told + " of " + rows.index.astype(str)).astype("str"))


@pytest.mark.parametrize("model", catalog.MODELS)
def test_prose_is_read_by_its_words(rows, prose, tmp_path, model):
    estimator = estimators.build(model, PROSE, "auto", "log", 0, {}, 500)
    estimators.fit(estimator, prose[PROSE.features].head(150), prose["price"].head(150))
    skops.io.dump(estimator, tmp_path / "model.skops")
    estimator = model_files.load(tmp_path / "model.skops", [model])
    notes = ["GRAND and great: 9999", "a plain red", "", None, "…", "words never seen"]
    asked = pd.DataFrame({"notes": pd.Series(notes, dtype="str"), "year": 2005.0})
    predicted = estimators.predict(estimator, asked)
    assert np.isfinite(predicted).all()
    assert predicted[2] == predicted[3] == predicted[4]
    if model != "dummy":
        assert predicted[0] > 1.2 * predicted[1]
    values, _ = shapley.explain(
        estimator,
        asked,
        prose[PROSE.features].head(40),
        catalog.get_model(model).explainer,
        0,
        lambda items, total: items,
    )
    moved = predicted - estimators.predict(estimator, prose[PROSE.features].head(40)).mean()
    np.testing.assert_allclose(values.sum(axis=1), moved, rtol=1e-6, atol=1e-9)


def test_prose_without_a_word_and_one_row_are_no_error(prose):
    for rows in (prose.head(3).assign(notes="…"), prose.head(1)):
        estimator = estimators.build("boosting", PROSE, "auto", "identity", 0, {}, 500)
        estimators.fit(estimator, rows[PROSE.features], rows["price"])
        assert np.isfinite(estimators.predict(estimator, rows[PROSE.features])).all()


NAMES = ["self", "a__b", "verbose", "price ($) and ($)", "$\\frac{$", "a\nb", "<b>x</b>", "x" * 300]


@pytest.mark.parametrize("name", NAMES)
def test_a_column_may_have_any_name(rows, tmp_path, name):
    terms = Contract(name, {"year": Column("numeric"), f"{name}2": Column("categorical"), name: Column("numeric")})
    frame = rows[["year", "winery", "price"]].set_axis(list(terms.columns), axis=1)
    estimator = estimators.build("linear", terms, "onehot", "log", 0, {})
    estimators.fit(estimator, frame[terms.features], frame[name])
    skops.io.dump(estimator, tmp_path / "model.skops")
    estimator = model_files.load(tmp_path / "model.skops", ["linear"])
    sample = frame[terms.features].head(5)
    values, _ = shapley.explain(estimator, sample, sample, None, 0, lambda items, total: items)
    figures = [
        plots.importance(values, terms.target_label, "linear"),
        plots.beeswarm(values, shapley.colour_values(estimator, sample), terms.target_label, "linear"),
    ]
    for figure in figures:
        assert plots.save(figure, tmp_path / "picture.png").startswith(b"\x89PNG")


def test_many_columns_are_explained_in_parts_of_a_size(rows, monkeypatch):
    estimator, features = fitted(rows, encoder="onehot"), rows[TERMS.features]

    def values():
        return shapley.explain(estimator, features.head(5), features.tail(20), None, 0, lambda items, total: items)[0]

    whole = values()
    monkeypatch.setattr(shapley, "CELLS", 100)
    pd.testing.assert_frame_equal(values(), whole, check_exact=False, rtol=1e-12)


def test_pictures_of_many_columns_show_those_that_matter():
    values = pd.DataFrame(np.arange(2000.0)[None] * np.ones((5, 1)), columns=[f"c{place}" for place in range(2000)])
    figure = plots.importance(values, "price", "linear")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "c1999"
    assert axes.get_ylabel() == f"the {plots.BARS} of 2,000 columns that move it most"
    assert figure.get_size_inches()[1] < 12


def test_the_regressor_tells_its_parameters():
    estimator = estimators.build("knn", TERMS, "target", "identity", 0, {"n_neighbors": 7})
    found = estimators.parameters_of(estimator, taken={"p", "encoder"})
    assert found["n_neighbors"] == "7"
    assert found["regress__p"] == "2"
    assert "p" not in found


def test_model_params_go_above_our_defaults(rows):
    assert catalog.regressor("extra_trees", 7, {"min_samples_split": 9}).get_params() == {
        **catalog.regressor("extra_trees", 7, {}).get_params(),
        "min_samples_split": 9,
    }
    assert catalog.regressor("rf", 7, {}).random_state == 7


@pytest.mark.parametrize("model", ["rf", "knn", "boosting"])
def test_the_number_of_threads_changes_nothing(rows, model):
    from threadpoolctl import threadpool_limits

    results = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            results.append(estimators.predict(fitted(rows, model), rows[TERMS.features]))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("model", ["linear", "boosting"])
def test_predictions_in_pieces_are_those_of_all_rows(rows, monkeypatch, model):
    estimator = fitted(rows, model)
    whole = estimators.predict(estimator, rows[TERMS.features])
    monkeypatch.setattr(stored, "CHUNK_ROWS", 7)
    np.testing.assert_allclose(estimators.predict(estimator, rows[TERMS.features]), whole, rtol=1e-12)


def test_the_baseline_is_the_mean_on_the_scale_of_the_model(rows):
    baseline = estimators.baseline(fitted(rows), rows["price"])
    expected = np.full(len(rows), np.exp(np.log(rows["price"]).mean()))
    np.testing.assert_allclose(estimators.predict(baseline, rows[TERMS.features]), expected, rtol=1e-6)


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
def test_shapley_values_add_up(rows, model, encoder, log_target, tolerance):
    estimator, features = fitted(rows, model, encoder, log_target), rows[TERMS.features]
    explainer = catalog.MODELS[model].explainer
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


def test_trees_of_a_logarithm_in_a_wide_table(rows, monkeypatch):
    estimator, features = fitted(rows, "boosting", log_target=True), rows[TERMS.features]
    arguments = (estimator, features.head(20), features.head(100), "tree", 0, lambda items, total: items)
    walked, base = shapley.explain(*arguments)
    monkeypatch.setattr(shapley, "MANY", 1)
    stretched, same = shapley.explain(*arguments)
    assert base == same
    assert not stretched.equals(walked)
    assert np.corrcoef(walked.to_numpy().ravel(), stretched.to_numpy().ravel())[0, 1] > 0.98
    predicted = estimators.predict(estimator, features.head(20))
    np.testing.assert_allclose(stretched.sum(axis=1) + base, predicted, rtol=1e-6)


@pytest.mark.parametrize("logarithmic", [True, False])
def test_linear_models_are_explained_exactly(logarithmic):
    random = np.random.default_rng(1)
    background, row = random.normal(size=(100, 5)), np.array([1.0, -2.0, 0.5, 3.0, 0.3])
    regress = Ridge().fit(background, background @ [1.0, -0.5, 0.3, 0.8, 0.1])
    members = np.eye(4)[[0, 1, 2, 3, 3]]  # the last two are of one raw column, and switched together
    found = shapley.linear_shapley_values(regress, row[None], background, sparse.csr_array(members), logarithmic)

    def output(x):
        return np.exp(regress.predict(x)) if logarithmic else regress.predict(x)

    expected = shapley_values(output, row, background, members.argmax(axis=1))
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)


def shapley_values(output, row: np.ndarray, background: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Shapley values by their definition, over all coalitions: (columns,). Columns of one owner are switched as one."""
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
def test_permutations_give_shapley_values(output, tolerance):
    random = np.random.default_rng(1)
    background, row = random.normal(size=(100, 4)), np.array([1.0, -2.0, 0.5, 3.0])
    found = shapley.permutation_shapley_values(
        output, row[None], background, np.eye(4, dtype=bool), 0, lambda items, _: items
    )
    expected = shapley_values(output, row, background, np.arange(4))
    np.testing.assert_allclose(found[0], expected, atol=tolerance * np.abs(expected).max())


def test_a_column_that_the_model_ignores_gets_nothing(rows):
    estimator = fitted(rows, "dummy")
    values, _ = shapley.explain(
        estimator, rows[TERMS.features].head(3), rows[TERMS.features], None, 0, lambda items, total: items
    )
    assert (values == 0).all(axis=None)


@pytest.mark.parametrize("model", ["linear", "knn", "sklearn.linear_model.LinearRegression"])
def test_a_number_far_from_all_others_moves_a_prediction_no_further(rows, model):
    estimator = fitted(rows, model)
    far, further = (rows[TERMS.features].head(1).assign(rating=rating) for rating in (100, 10**9))
    np.testing.assert_array_equal(estimators.predict(estimator, far), estimators.predict(estimator, further))


def test_rare_categories_share_a_column(rows, monkeypatch):
    monkeypatch.setattr(encoders, "MOST_CATEGORIES", 3)
    terms = Contract("price", {"winery": Column("categorical"), "price": Column("numeric")})
    encode = encoders.column_encoders(terms, "onehot", 0).fit(rows[["winery"]], rows["price"])  # A, B, C and missing
    assert encode.transform(rows[["winery"]]).shape[1] == 3
    assert encoders.encoded_column_owners(encode).shape == (1, 3)


def test_auto_is_the_encoder_that_a_model_does_best_with(rows):
    assert estimators.resolve_encoder("linear", "auto") == "onehot"
    assert estimators.resolve_encoder("linear", "target") == estimators.resolve_encoder("rf", "auto") == "target"
    found = fitted(rows, "linear", "auto").regressor_[0].named_transformers_["categories"][0]
    assert type(found).__name__ == "OneHotEncoder"


def test_an_encoded_column_belongs_to_the_raw_column_it_came_from(rows):
    terms = Contract(
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
        encode = encoders.column_encoders(terms, encoder, 0).fit(frame[terms.features], frame["price"])
        members = encoders.encoded_column_owners(encode)
        before = encode.transform(frame[terms.features].head(1))
        for column, mine in zip(terms.features, members, strict=True):
            other = {"winery": "Z", "colour": "Z", "year": np.nan}.get(column, 10.0)
            after = encode.transform(frame[terms.features].head(1).assign(**{column: other}))
            changed = np.ravel(shapley.dense(after) != shapley.dense(before))
            assert changed.any() or column == "empty"
            assert not (changed & ~mine).any()
        assert (members.sum(axis=0) == 1).all()
