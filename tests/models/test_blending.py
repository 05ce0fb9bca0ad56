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
from workflow.models import blending, estimators, model_files

TERMS = Contract("price", {name: Column("numeric") for name in ("year", "rating", "price")})
PARTS = ("linear", "rf", "boosting")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(300, 2)), columns=["year", "rating"])
    return frame.assign(price=np.exp(frame["year"] + np.sign(frame["rating"]) + random.normal(0, 0.2, 300)))


@pytest.fixture(scope="module")
def models(rows):
    built = {model: estimators.build(model, TERMS, "target", "log", 0, {}, 300) for model in PARTS}
    return {model: estimators.fit(own, rows[TERMS.features], rows["price"]) for model, own in built.items()}


def test_weights_are_those_of_the_mixture():
    random = np.random.default_rng(0)
    predicted = random.uniform(0, 100, (500, 4))
    np.testing.assert_allclose(blending.fit_mae_weights(predicted, predicted @ [0.5, 0, 0.3, 0.2]), [0.5, 0, 0.3, 0.2])


def test_a_few_absurd_errors_weigh_no_more_than_others_and_many_rows_no_longer():
    random = np.random.default_rng(0)
    predicted = random.uniform(0, 100, (100_000, 3))
    true = predicted @ [0.6, 0.4, 0]
    true[::100] = 1e6
    np.testing.assert_allclose(blending.fit_mae_weights(predicted, true), [0.6, 0.4, 0])
    np.testing.assert_allclose(blending.fit_mae_weights(predicted * 1e12, true * 1e12), [0.6, 0.4, 0])


def test_no_weight_is_negative_and_they_add_up():
    random = np.random.default_rng(0)
    true = random.normal(50, 10, 500)
    predicted = np.column_stack([true + random.normal(0, 5, 500), -true])
    np.testing.assert_array_equal(blending.fit_mae_weights(predicted, true), [1, 0])


@pytest.mark.parametrize("absurd", [1e20, -1e300, np.inf])
def test_an_absurd_prediction_is_no_error(absurd):
    true = np.random.default_rng(0).normal(50, 10, 500)
    predicted = np.column_stack([true + 1, true - 1, true])
    predicted[3, 2] = absurd
    np.testing.assert_array_equal(blending.fit_mae_weights(predicted, true), [0.5, 0.5, 0])


def test_the_best_is_alone_where_no_weight_helps():
    true = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(blending.fit_mae_weights(np.column_stack([-9 * true, -true]), true), [0, 1])


def test_a_fold_is_not_weighed_by_itself():
    """In each fold another of two models is right, so weights from the fold itself would be right as well."""
    tested = pd.DataFrame({"fold": [0, 0, 1, 1], "row": range(4), "true": [1.0, 2.0, 3.0, 4.0]})
    predicted = np.array([[1.0, 9.0], [2.0, 9.0], [9.0, 3.0], [9.0, 4.0]])
    blended = blending.cross_validate(tested, predicted)
    assert blended.drop(columns="predicted").equals(tested)
    assert (blended["predicted"] > 8).all()


def test_noise_has_no_score_in_a_blend():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(300, 3)), columns=["year", "rating", "price"])
    folds = list(KFold(5, shuffle=True, random_state=0).split(frame))
    tables = {
        model: cross_validation.cross_val_predict_and_refit(
            estimators.build(model, TERMS, "target", "identity", 0, {}, 300),
            frame[TERMS.features],
            frame["price"],
            folds,
            lambda items, total: items,
        )[1]
        for model in PARTS
    }
    found = cross_validation.cross_validation_scores(blending.cross_validate(*blending.stack_oof_predictions(tables)))
    assert found["cv_r2_score"] < 0.05


def test_a_blend_is_the_weighted_mean_of_models_that_are_not_fitted_again(rows, models):
    found = blending.blend(models, np.array([0.25, 0, 0.75]))
    apart = {model: estimators.predict(own, rows[TERMS.features]) for model, own in models.items()}
    expected = 0.25 * apart["linear"] + 0.75 * apart["boosting"]
    np.testing.assert_allclose(estimators.predict(found, rows[TERMS.features]), expected, rtol=1e-12)
    assert blending.blend_members(found) == {"linear": (0.25, models["linear"]), "boosting": (0.75, models["boosting"])}
    assert blending.blend_members(models["rf"], "rf") == {"rf": (1.0, models["rf"])}
    assert estimators.target_expression(found, "price") == "log(price)"
    assert estimators.parameters_of(found, ()) == {"weights": "linear 0.250, boosting 0.750"}


def test_a_blend_comes_back_from_its_file_and_brings_nothing_else(rows, models, tmp_path):
    found = blending.blend(models, np.array([0.25, 0.25, 0.5]))
    skops.io.dump(found, tmp_path / "model.skops")
    read = model_files.load(tmp_path / "model.skops", PARTS)
    expected = estimators.predict(found, rows[TERMS.features])
    np.testing.assert_array_equal(estimators.predict(read, rows[TERMS.features]), expected)
    with pytest.raises(UserError, match="model file of linear, rf holds types it should not"):
        model_files.load(tmp_path / "model.skops", ["linear", "rf"])
    hostile = estimators.build("linear", TERMS, "target", "log", 0, {})
    estimators.fit(hostile, rows[TERMS.features], rows["price"]).transformer_ = FunctionTransformer(
        inverse_func=os.system
    )
    skops.io.dump(
        blending.blend({"linear": hostile}, np.array([1.0])),
        tmp_path / "model.skops",
    )
    with pytest.raises(UserError, match="types it should not"):
        model_files.load(tmp_path / "model.skops", PARTS)
