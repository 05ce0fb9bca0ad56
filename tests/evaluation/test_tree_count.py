import numpy as np
import pandas as pd
import pytest
from sklearn import model_selection

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation import cross_validation, tree_count
from workflow.evaluation.ranking import ranking_metric
from workflow.models import catalog, estimators

CONTRACT = Contract("price", {"winery": Column("categorical"), "year": Column("numeric"), "price": Column("numeric")})
MAE = ranking_metric("mean_absolute_error", {})
MAX_TREES = {"max_iter": 30}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Rows with much noise, on which more trees soon overfit."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"winery": random.choice(list("ABCDEFGH"), 300), "year": random.normal(2010, 5, 300)})
    prices = np.exp((frame["year"] - 2000) / 10 + random.normal(0, 1, 300))
    return frame.astype({"winery": "str"}).assign(price=prices)


def unfitted(target_transform: str = "log", model_params: dict | None = None):
    return estimators.build(
        "boosting", CONTRACT, "auto", estimators.Preparation(target_transform), 0, model_params or MAX_TREES, 300
    )


def cross_validated(rows: pd.DataFrame, estimator, counted: str):
    folds = list(model_selection.KFold(3, shuffle=True, random_state=0).split(rows))
    totals = []

    def progress_bar(items, total):
        for item in items:
            totals.append(total)
            yield item

    fitted, found = tree_count.cross_val_predict_and_refit(
        estimator, counted, rows[CONTRACT.features], rows["price"], folds, MAE, progress_bar
    )
    assert totals == [4, 4, 4, 4]
    return fitted, found, folds


@pytest.mark.parametrize("target_transform", ["identity", "log"])
def test_stages_equal_models_with_that_number_of_trees(rows, target_transform):
    features = rows[CONTRACT.features]
    staged = tree_count.staged_predict(estimators.fit(unfitted(target_transform), features, rows["price"]), features)
    assert staged.shape == (30, 300)
    for count in (1, 7, 30):
        alone = estimators.fit(unfitted(target_transform, {"max_iter": count}), features, rows["price"])
        np.testing.assert_array_equal(staged[count - 1], estimators.predict(alone, features))


def test_the_number_of_trees_errs_least_and_that_of_a_fold_is_chosen_on_the_others(rows):
    fitted, found, folds = cross_validated(rows, unfitted(), "max_iter")
    features, prices = rows[CONTRACT.features], rows["price"]
    errors, predicted = {}, {}  # by number of trees and fold
    for fold, (train, test) in enumerate(folds):
        alone = estimators.fit(unfitted(), features.iloc[train], prices.iloc[train])
        for count, stage in enumerate(tree_count.staged_predict(alone, features.iloc[test]), start=1):
            predicted[count, fold], errors[count, fold] = stage, np.abs(stage - prices.iloc[test]).sum()

    def best(known: list[int]) -> int:
        sums = {count: sum(errors[count, fold] for fold in known) for count in range(1, 31)}
        return min(count for count in sums if round(sums[count] / min(sums.values()), 3) == 1)

    counts = [best([other for other in range(3) if other != fold]) for fold in range(3)]
    assert len({*counts, best([0, 1, 2])}) > 1  # else the test could not tell them apart
    for fold, count in enumerate(counts):
        np.testing.assert_array_equal(found["predicted"][found["fold"] == fold], predicted[count, fold])
    assert fitted.regressor[-1].max_iter == fitted.regressor_[-1].n_iter_ == best([0, 1, 2]) < 30
    assert list(found.columns) == ["fold", "row", "true", "predicted"]
    np.testing.assert_array_equal(found["true"], prices.iloc[found["row"]])


def test_without_an_iteration_param_all_trees_are_kept(rows):
    fitted, found, folds = cross_validated(rows, unfitted(), "")
    expected, frame = cross_validation.cross_val_predict_and_refit(
        unfitted(), rows[CONTRACT.features], rows["price"], folds, lambda items, total: items
    )
    pd.testing.assert_frame_equal(found, frame)
    assert fitted.regressor_[-1].n_iter_ == expected.regressor_[-1].n_iter_ == 30


SLOW, QUICK = {"learning_rate": 1e-9}, {"learning_rate": 0.1}


@pytest.mark.parametrize(
    ("own", "candidates", "learning_rate"),
    [(SLOW, [QUICK], 0.1), (QUICK, [SLOW], 0.1), (SLOW, [], 1e-9), (SLOW, [SLOW, QUICK], 0.1), (QUICK, [QUICK], 0.1)],
)
def test_the_params_that_err_least_on_the_holdout_are_selected(rows, own, candidates, learning_rate):
    halves = np.arange(150), np.arange(150, 300)
    features, prices, totals = rows[CONTRACT.features], rows["price"], []

    def progress_bar(items, total):
        totals.append(total)
        return items

    found = tree_count.select_params_on_holdout(
        unfitted(model_params=MAX_TREES | own), candidates, features, prices, halves, MAE, progress_bar
    )
    assert found.regressor[-1].learning_rate == learning_rate
    assert found.regressor[-1].max_iter == 30
    assert not hasattr(found, "regressor_")
    assert totals == [len(candidates) + 1] * bool(candidates)


def test_params_are_selected_on_a_sample(rows, monkeypatch):
    sizes = []
    monkeypatch.setattr(tree_count, "MAX_HOLDOUT_TRAIN_ROWS", 40)
    monkeypatch.setattr(tree_count, "MAX_HOLDOUT_TEST_ROWS", 20)
    fit, staged = estimators.fit, tree_count.staged_predict
    monkeypatch.setattr(
        estimators, "fit", lambda estimator, *given: sizes.append(len(given[0])) or fit(estimator, *given)
    )
    monkeypatch.setattr(
        tree_count, "staged_predict", lambda fitted, given: sizes.append(len(given)) or staged(fitted, given)
    )
    halves = np.arange(150), np.arange(150, 300)
    tree_count.select_params_on_holdout(
        unfitted(), [QUICK], rows[CONTRACT.features], rows["price"], halves, MAE, lambda items, total: items
    )
    assert sorted(sizes) == [20, 20, 40, 40]


@pytest.mark.parametrize(
    ("model", "model_params", "shape", "count"),
    [
        ("boosting", {}, (2_000, 100), 2),
        ("boosting", {}, (1_999, 100), 0),
        ("boosting", {}, (2_000, 101), 0),
        ("boosting", {"max_iter": 5}, (2_000, 100), 0),
        ("rf", {}, (2_000, 100), 0),
    ],
)
def test_candidates_need_many_rows_few_columns_and_no_user_params(model, model_params, shape, count):
    candidates = catalog.candidate_params(model, model_params, *shape)
    assert len(candidates) == count
    for params in candidates:
        catalog.regressor(model, 0, params)


def test_of_equal_errors_the_smallest_number_of_trees_wins():
    assert tree_count.best_count(np.array([3.0, 2.0, 1.0004, 1.0, 1.0])) == 3
    assert tree_count.best_count(np.array([3.0, 2.0, 1.0006, 1.0, 1.0])) == 4
    assert tree_count.best_count(np.array([3.0, 0.0, 0.0])) == 2


@pytest.mark.parametrize(
    ("model", "model_params", "rows", "param"),
    [
        ("boosting", {"learning_rate": 0.3}, 10_000, "max_iter"),
        ("boosting", {}, 10_001, ""),
        ("boosting", {"max_iter": 5}, 300, ""),
        ("boosting", {"early_stopping": True}, 300, ""),
        ("rf", {}, 300, ""),
        ("sklearn.svm.SVR", {}, 300, ""),
    ],
)
def test_trees_are_counted_on_few_rows_unless_the_user_sets_them(model, model_params, rows, param):
    assert catalog.iteration_param(model, model_params, rows) == param


def test_a_grown_estimator_equals_one_that_was_fitted_with_all_trees(rows):
    features, prices = rows[CONTRACT.features], rows["price"]
    small = estimators.fit(unfitted(model_params={"max_iter": 7}), features, prices)
    grown = estimators.grow(small, features, prices, {"max_iter": 30})
    whole = tree_count.staged_predict(estimators.fit(unfitted(), features, prices), features)
    np.testing.assert_array_equal(tree_count.staged_predict(grown, features), whole)


@pytest.mark.parametrize(("maximum", "counts"), [(30, [30]), (100, [100]), (150, [100, 150]), (600, [100, 300, 600])])
def test_trees_are_grown_in_few_steps(maximum, counts):
    assert tree_count.growing_counts(maximum) == counts


def test_no_more_trees_are_grown_where_the_error_has_long_been_rising(rows, monkeypatch):
    """The rows are mostly noise: a few trees err least, and the maximum is never fitted."""
    monkeypatch.setattr(tree_count, "FIRST_COUNT", 40)
    fitted_counts, fit = [], estimators.fit
    monkeypatch.setattr(
        estimators, "fit", lambda own, *rows: fitted_counts.append(own.regressor[-1].max_iter) or fit(own, *rows)
    )
    monkeypatch.setattr(estimators, "grow", lambda *arguments: pytest.fail("grown"))
    estimator = unfitted(model_params={"max_iter": 600})
    folds = list(model_selection.KFold(3, shuffle=True, random_state=0).split(rows))
    fitted, _ = tree_count.cross_val_predict_and_refit(
        estimator, "max_iter", rows[CONTRACT.features], rows["price"], folds, MAE, lambda items, total: items
    )
    assert fitted_counts[:3] == [40, 40, 40]
    assert fitted.regressor_[-1].n_iter_ == fitted_counts[3] <= 24
