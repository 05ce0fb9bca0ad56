"""Monotonic constraints: the fitted models are asked."""

import numpy as np
import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract, parse_contract, with_constraints
from workflow.errors import UserError
from workflow.evaluation import intervals
from workflow.evaluation.ranking import ranking_metric
from workflow.evaluation.tree_count import select_and_cross_validate
from workflow.models import estimators
from workflow.models.catalog import loss_params
from workflow.models.estimators import Preparation
from workflow.parallel.executors import no_progress_bar

COLUMNS = {
    "town": Column("categorical"),
    "size": Column("numeric", monotonic="increasing"),
    "age": Column("numeric", monotonic="decreasing"),
    "day": Column("date"),
    "gap": Column("numeric"),
    "price": Column("numeric"),
}
CONTRACT = Contract("price", COLUMNS)
FREE = Contract("price", {name: Column(column.kind) for name, column in COLUMNS.items()})


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Return rows whose price rises with size and falls with age, but for much noise."""
    random, count = np.random.default_rng(0), 300
    size, age = random.uniform(0, 9, count).round(1), random.uniform(0, 50, count).round()
    gap = np.where(random.uniform(size=count) < 0.2, np.nan, random.uniform(size=count))
    price = np.exp(0.1 * size - 0.02 * age + random.normal(0, 0.5, count))
    town = pd.Series(random.choice(["a", "b"], count), dtype="str")
    return pd.DataFrame(
        {
            "town": town,
            "size": size,
            "age": age,
            "day": random.integers(0, 900, count) * 1.0,
            "gap": gap,
            "price": price,
        }
    )


def steps_of(estimator, rows: pd.DataFrame, name: str, sign: int) -> float:
    """Return the smallest step, in the direction of the constraint, of predictions along a grid of a column."""
    grid = np.linspace(rows[name].min(), rows[name].max(), 25)
    predicted = [estimators.predict(estimator, rows[CONTRACT.features].assign(**{name: value})) for value in grid]
    return float((sign * np.diff(predicted, axis=0)).min())


@pytest.mark.parametrize("model", ["boosting", "mean_boosting"])
@pytest.mark.parametrize("transform", ["identity", "log"])
def test_predictions_never_fall_against_a_constraint(rows, model, transform):
    fitted = {}
    for name, contract in (("constrained", CONTRACT), ("free", FREE)):
        estimator = estimators.build(model, contract, "auto", Preparation(transform), 0, {"max_iter": 150}, len(rows))
        folds = [(np.arange(150), np.arange(150, 300)), (np.arange(150, 300), np.arange(150))]
        fitted[name], _ = select_and_cross_validate(
            *(model, {}, estimator, rows[contract.features], rows["price"], folds),
            *(ranking_metric("mean_absolute_error", {}), no_progress_bar),
        )
    for name, sign in (("size", 1), ("age", -1)):
        assert steps_of(fitted["constrained"], rows, name, sign) >= 0
        assert steps_of(fitted["free"], rows, name, sign) < 0
    assert steps_of(fitted["constrained"], rows, "gap", 1) < 0  # another column is free


def test_models_without_constraints_are_refused():
    for model in ("linear", "rf", "knn", "sklearn.svm.SVR"):
        with pytest.raises(
            UserError, match=f"^model={model}: keeps no monotonic constraint of size, age; choose boosting"
        ):
            estimators.build(model, CONTRACT, "auto", Preparation(), 0, {}, 100)


def test_the_width_of_intervals_is_not_constrained():
    assert intervals.scale_estimator(CONTRACT, 0, 100).regressor[-1].monotonic_cst is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"town": "increasing"},
            "monotonic={town: increasing}: town: monotonic needs a column of kind",
        ),
        ({"day": "increasing"}, "monotonic={day: increasing}: day: monotonic needs"),
        ({"size": "up"}, "monotonic={size: up}: size has monotonic up; expected increasing or decreasing"),
        ({"sice": "increasing"}, "monotonic={sice: …}: no such feature; did you mean size?"),
        ({"price": "increasing"}, "monotonic={price: …}: no such feature"),
    ],
)
def test_constraints_that_are_not_possible_are_refused_in_one_line(given, words):
    with pytest.raises(UserError) as error:
        with_constraints(FREE, given)
    assert str(error.value).startswith(words)


def test_a_contract_file_may_have_constraints():
    columns = {"size": {"kind": "numeric", "monotonic": "increasing"}, "price": {"kind": "numeric"}}
    assert parse_contract({"target": "price", "columns": columns}).constraints == {"size": 1}
    assert with_constraints(CONTRACT, {"age": ""}).constraints == {"size": 1}


def test_losses_that_break_constraints_are_refused(rows):
    for loss in ({"loss": "absolute_error"}, {"loss": "quantile", "quantile": 0.9}):
        with pytest.raises(UserError, match=f"^model=boosting: with loss={loss['loss']} scikit-learn moves leaves"):
            estimators.build("boosting", CONTRACT, "auto", Preparation(), 0, loss, len(rows))
    assert loss_params("boosting", "mean_absolute_error", {}, constrained=True) == {}
    assert loss_params("boosting", "mean_pinball_loss", {}, constrained=True)["loss"] == "quantile"
