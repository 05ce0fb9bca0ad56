import os

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.model_selection import KFold
from sklearn.preprocessing import FunctionTransformer

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.evaluation import cross_validation
from workflow.evaluation.ranking import ranking_metric
from workflow.models import blending, estimators, model_files

CONTRACT = Contract("price", {name: Column("numeric") for name in ("year", "rating", "price")})
MAE = ranking_metric("mean_absolute_error", {}).error
STEP = blending.SMALLEST_STEP
MEMBERS = ("linear", "rf", "boosting")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(300, 2)), columns=["year", "rating"])
    return frame.assign(price=np.exp(frame["year"] + np.sign(frame["rating"]) + random.normal(0, 0.2, 300)))


@pytest.fixture(scope="module")
def models(rows):
    built = {
        model: estimators.build(model, CONTRACT, "target", estimators.Preparation("log"), 0, {}, 300)
        for model in MEMBERS
    }
    return {model: estimators.fit(own, rows[CONTRACT.features], rows["price"]) for model, own in built.items()}


def test_the_weights_of_an_exact_mixture_are_recovered():
    random = np.random.default_rng(0)
    predicted = random.uniform(0, 100, (500, 4))
    np.testing.assert_allclose(
        blending.fit_weights(predicted, predicted @ [0.5, 0, 0.3, 0.2], MAE), [0.5, 0, 0.3, 0.2], atol=STEP
    )


def test_weights_resist_outliers_many_rows_and_large_units():
    random = np.random.default_rng(0)
    predicted = random.uniform(0, 100, (100_000, 3))
    true = predicted @ [0.6, 0.4, 0]
    true[::100] = 1e6
    np.testing.assert_allclose(blending.fit_weights(predicted, true, MAE), [0.6, 0.4, 0], atol=STEP)
    np.testing.assert_allclose(blending.fit_weights(predicted * 1e12, true * 1e12, MAE), [0.6, 0.4, 0], atol=STEP)


def test_weights_are_non_negative_and_add_up_to_1():
    random = np.random.default_rng(0)
    true = random.normal(50, 10, 500)
    predicted = np.column_stack([true + random.normal(0, 5, 500), -true])
    np.testing.assert_array_equal(blending.fit_weights(predicted, true, MAE), [1, 0])


@pytest.mark.parametrize("outlier", [1e20, -1e300, np.inf])
def test_an_extreme_prediction_does_not_break_the_solver(outlier):
    true = np.random.default_rng(0).normal(50, 10, 500)
    predicted = np.column_stack([true + 1, true - 1, true])
    predicted[3, 2] = outlier
    np.testing.assert_array_equal(blending.fit_weights(predicted, true, MAE), [0.5, 0.5, 0])


def test_the_best_model_gets_all_weight_where_mixing_does_not_help():
    true = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(blending.fit_weights(np.column_stack([-9 * true, -true]), true, MAE), [0, 1])


@pytest.mark.parametrize("metric", ["root_mean_squared_error", "r2_score", "median_absolute_error"])
def test_weights_make_the_error_of_another_metric_least(metric):
    """No weights on a grid have a lower error; squared errors have one minimum, others may have several."""
    random = np.random.default_rng(1)
    true = random.normal(50, 10, 300)
    predicted = true[:, None] + random.normal(0, [5, 6, 9], (300, 3))
    error = ranking_metric(metric, {}).error
    found = error(true, predicted @ blending.fit_weights(predicted, true, error))
    assert found < min(error(true, alone) for alone in predicted.T)
    grid = [(a / 20, b / 20, (20 - a - b) / 20) for a in range(21) for b in range(21 - a)]
    least = min(error(true, predicted @ weights) for weights in grid)
    assert found <= least + (0.02 * abs(least) if metric == "median_absolute_error" else 1e-6)


def test_the_weights_of_a_fold_are_fitted_on_the_others():
    """In each fold another of two models is right, so weights from the fold itself would predict it exactly."""
    oof = pd.DataFrame({"fold": [0, 0, 1, 1], "row": range(4), "true": [1.0, 2.0, 3.0, 4.0]})
    predicted = np.array([[1.0, 9.0], [2.0, 9.0], [9.0, 3.0], [9.0, 4.0]])
    blended = blending.cross_validate(oof, predicted, MAE)
    assert blended.drop(columns="predicted").equals(oof)
    assert (blended["predicted"] > 8).all()


def test_a_blend_does_not_score_on_noise():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(300, 3)), columns=["year", "rating", "price"])
    folds = list(KFold(5, shuffle=True, random_state=0).split(frame))
    oof_predictions = {
        model: cross_validation.cross_val_predict_and_refit(
            estimators.build(model, CONTRACT, "target", estimators.Preparation(), 0, {}, 300),
            frame[CONTRACT.features],
            frame["price"],
            folds,
            lambda items, total: items,
        )[1]
        for model in MEMBERS
    }
    blended = blending.cross_validate(*blending.stack_oof_predictions(oof_predictions), MAE)
    found = cross_validation.cross_validation_scores(blended, ranking_metric("mean_absolute_error", {}))
    assert found["cv_r2_score"] < 0.05


def test_a_blend_is_the_weighted_mean_of_its_members_without_refitting(rows, models):
    found = blending.blend(models, np.array([0.25, 0, 0.75]))
    apart = {model: estimators.predict(own, rows[CONTRACT.features]) for model, own in models.items()}
    expected = 0.25 * apart["linear"] + 0.75 * apart["boosting"]
    np.testing.assert_allclose(estimators.predict(found, rows[CONTRACT.features]), expected, rtol=1e-12)
    assert blending.blend_members(found) == {"linear": (0.25, models["linear"]), "boosting": (0.75, models["boosting"])}
    assert blending.blend_members(models["rf"], "rf") == {"rf": (1.0, models["rf"])}
    assert estimators.target_expression(found, "price") == "log(price)"
    assert estimators.regressor_params(found) == {"weights": "linear 0.250, boosting 0.750"}


def test_a_blend_is_the_same_after_loading_and_other_types_are_refused(rows, models, tmp_path):
    found = blending.blend(models, np.array([0.25, 0.25, 0.5]))
    skops.io.dump(found, tmp_path / "model.skops")
    read = model_files.load(tmp_path / "model.skops", MEMBERS)
    expected = estimators.predict(found, rows[CONTRACT.features])
    np.testing.assert_array_equal(estimators.predict(read, rows[CONTRACT.features]), expected)
    with pytest.raises(UserError, match="model file of linear, rf: unexpected types"):
        model_files.load(tmp_path / "model.skops", ["linear", "rf"])
    hostile = estimators.build("linear", CONTRACT, "target", estimators.Preparation("log"), 0, {})
    estimators.fit(hostile, rows[CONTRACT.features], rows["price"]).transformer_ = FunctionTransformer(
        inverse_func=os.system
    )
    skops.io.dump(
        blending.blend({"linear": hostile}, np.array([1.0])),
        tmp_path / "model.skops",
    )
    with pytest.raises(UserError, match="unexpected types"):
        model_files.load(tmp_path / "model.skops", MEMBERS)
