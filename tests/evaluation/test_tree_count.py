import numpy as np
import pandas as pd
import pytest
from sklearn import model_selection

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation import cross_validation, tree_count
from workflow.models import catalog, estimators

TERMS = Contract("price", {"winery": Column("categorical"), "year": Column("numeric"), "price": Column("numeric")})
MOST = {"max_iter": 30}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Prices of which little can be learned, and much by heart."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"winery": random.choice(list("ABCDEFGH"), 300), "year": random.normal(2010, 5, 300)})
    prices = np.exp((frame["year"] - 2000) / 10 + random.normal(0, 1, 300))
    return frame.astype({"winery": "str"}).assign(price=prices)


def built(scale: str = "log", most: dict | None = None):
    return estimators.build("boosting", TERMS, "auto", scale, 0, most or MOST, 300)


def fitted_and_tested(rows: pd.DataFrame, estimator, counted: str):
    folds = list(model_selection.KFold(3, shuffle=True, random_state=0).split(rows))
    told = []

    def track(items, total):
        for item in items:
            told.append(total)
            yield item

    fitted, found = tree_count.cross_val_predict_and_refit(
        estimator, counted, rows[TERMS.features], rows["price"], folds, track
    )
    assert told == [4, 4, 4, 4]
    return fitted, found, folds


@pytest.mark.parametrize("scale", ["identity", "log"])
def test_stages_are_the_models_that_would_have_been_with_so_many_trees(rows, scale):
    features = rows[TERMS.features]
    staged = tree_count.staged_predict(estimators.fit(built(scale), features, rows["price"]), features)
    assert staged.shape == (30, 300)
    for count in (1, 7, 30):
        alone = estimators.fit(built(scale, {"max_iter": count}), features, rows["price"])
        np.testing.assert_array_equal(staged[count - 1], estimators.predict(alone, features))


def test_as_many_trees_as_err_least_and_a_fold_does_not_count_for_itself(rows):
    fitted, found, folds = fitted_and_tested(rows, built(), "max_iter")
    features, prices = rows[TERMS.features], rows["price"]
    errors, predicted = {}, {}  # with so many trees, in so many folds
    for fold, (train, test) in enumerate(folds):
        alone = estimators.fit(built(), features.iloc[train], prices.iloc[train])
        for count, stage in enumerate(tree_count.staged_predict(alone, features.iloc[test]), start=1):
            predicted[count, fold], errors[count, fold] = stage, np.abs(np.log(stage / prices.iloc[test])).sum()

    def best(known: list[int]) -> int:
        sums = {count: sum(errors[count, fold] for fold in known) for count in range(1, 31)}
        return min(count for count in sums if round(sums[count] / min(sums.values()), 3) == 1)

    counts = [best([other for other in range(3) if other != fold]) for fold in range(3)]
    assert len({*counts, best([0, 1, 2])}) > 1  # else this would not tell one from the other
    for fold, count in enumerate(counts):
        np.testing.assert_array_equal(found["predicted"][found["fold"] == fold], predicted[count, fold])
    assert fitted.regressor[-1].max_iter == fitted.regressor_[-1].n_iter_ == best([0, 1, 2]) < 30
    assert list(found.columns) == ["fold", "row", "true", "predicted"]
    np.testing.assert_array_equal(found["true"], prices.iloc[found["row"]])


def test_nothing_is_counted_that_need_not_be(rows):
    fitted, found, folds = fitted_and_tested(rows, built(), "")
    expected, frame = cross_validation.cross_val_predict_and_refit(
        built(), rows[TERMS.features], rows["price"], folds, lambda items, total: items
    )
    pd.testing.assert_frame_equal(found, frame)
    assert fitted.regressor_[-1].n_iter_ == expected.regressor_[-1].n_iter_ == 30


SLOW, QUICK = {"learning_rate": 1e-9}, {"learning_rate": 0.1}


@pytest.mark.parametrize(
    ("own", "choices", "rate"),
    [(SLOW, [QUICK], 0.1), (QUICK, [SLOW], 0.1), (SLOW, [], 1e-9), (SLOW, [SLOW, QUICK], 0.1), (QUICK, [QUICK], 0.1)],
)
def test_the_parameters_that_err_least(rows, own, choices, rate):
    halves = np.arange(150), np.arange(150, 300)
    features, prices, told = rows[TERMS.features], rows["price"], []

    def track(items, total):
        told.append(total)
        return items

    found = tree_count.select_params_on_holdout(built(most=MOST | own), choices, features, prices, halves, track)
    assert found.regressor[-1].learning_rate == rate
    assert found.regressor[-1].max_iter == 30
    assert not hasattr(found, "regressor_")
    assert told == [len(choices) + 1] * bool(choices)


def test_parameters_are_chosen_on_a_sample(rows, monkeypatch):
    seen = []
    monkeypatch.setattr(tree_count, "SAMPLE", (40, 20))
    fit, staged = estimators.fit, tree_count.staged_predict
    monkeypatch.setattr(
        estimators, "fit", lambda estimator, *given: seen.append(len(given[0])) or fit(estimator, *given)
    )
    monkeypatch.setattr(
        tree_count, "staged_predict", lambda fitted, given: seen.append(len(given)) or staged(fitted, given)
    )
    halves = np.arange(150), np.arange(150, 300)
    tree_count.select_params_on_holdout(
        built(), [QUICK], rows[TERMS.features], rows["price"], halves, lambda items, total: items
    )
    assert sorted(seen) == [20, 20, 40, 40]


@pytest.mark.parametrize(
    ("model", "given", "shape", "count"),
    [
        ("boosting", {}, (2_000, 100), 2),
        ("boosting", {}, (1_999, 100), 0),
        ("boosting", {}, (2_000, 101), 0),
        ("boosting", {"max_iter": 5}, (2_000, 100), 0),
        ("rf", {}, (2_000, 100), 0),
    ],
)
def test_what_is_chosen(model, given, shape, count):
    choices = catalog.candidate_params(model, given, *shape)
    assert len(choices) == count
    for chosen in choices:
        catalog.regressor(model, 0, chosen)


def test_the_least_number_of_those_that_err_as_little():
    assert tree_count.best_count(np.array([3.0, 2.0, 1.0004, 1.0, 1.0])) == 3
    assert tree_count.best_count(np.array([3.0, 2.0, 1.0006, 1.0, 1.0])) == 4
    assert tree_count.best_count(np.array([3.0, 0.0, 0.0])) == 2


@pytest.mark.parametrize(
    ("model", "given", "rows", "counted"),
    [
        ("boosting", {"learning_rate": 0.3}, 10_000, "max_iter"),
        ("boosting", {}, 10_001, ""),
        ("boosting", {"max_iter": 5}, 300, ""),
        ("boosting", {"early_stopping": True}, 300, ""),
        ("rf", {}, 300, ""),
        ("sklearn.svm.SVR", {}, 300, ""),
    ],
)
def test_what_is_counted(model, given, rows, counted):
    assert catalog.iteration_param(model, given, rows) == counted
