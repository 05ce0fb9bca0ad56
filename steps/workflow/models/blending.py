"""A blend: a weighted mean of fitted models, whose weights come from what cross-validation predicted with each."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import linprog
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingRegressor

from workflow.data.sampling import evenly_spaced_positions

DECIMALS = 3  # of a weight: no score hangs on more
ROWS = 20_000  # that weights are found from
ABSURD = 1e9  # times the usual size of the target: more is no worse, and the solver could not take it


def stack_oof_predictions(parts: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
    """What the blended models were tested on, and what they predicted.

    Args:
        parts: as `cross_validation.cross_val_predict_and_refit` gives them for the same folds, by model.

    Returns:
        A frame of `fold`, `row` and `true`, and an array of (rows, models).
    """
    first = next(iter(parts.values()))
    return first[["fold", "row", "true"]], np.column_stack([part["predicted"] for part in parts.values()])


def fit_mae_weights(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Non-negative weights that add up to 1, with the least absolute error, by which models are ranked: (models,).

    Breiman 1996, Stacked regressions, but for the squares; the sum of absolute errors is least where a linear programme
    is, whose dual has a constraint for each model and is solved soon: Wagner 1959, Linear programming techniques for
    regression analysis. Of many rows, `ROWS` are enough.

    Args:
        predicted: (rows, models) of rows that the models have not seen.
        true: (rows,).
    """
    chosen = evenly_spaced_positions(len(true), ROWS)
    unit = np.abs(true[chosen]).mean() or 1.0  # else what the solver takes for nothing may be something
    predicted, true = np.clip(predicted[chosen] / unit, -ABSURD, ABSURD), true[chosen] / unit
    rows, models = predicted.shape
    found = linprog(
        np.append(-true, 1),
        A_ub=np.column_stack([predicted.T, -np.ones(models)]),
        b_ub=np.zeros(models),
        bounds=[(-1, 1)] * rows + [(None, None)],
    )
    return np.round(-found.ineqlin.marginals, DECIMALS) + 0.0  # which makes of -0.0 what it is


def cross_validate(tested: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
    """What blends predict of each fold whose weights come from the other folds: `tested` with the column `predicted`.

    Takes what `stack_oof_predictions` gives.
    """
    blended = np.empty(len(tested))
    for fold in tested["fold"].unique():
        inside = (tested["fold"] == fold).to_numpy()
        weights = fit_mae_weights(predicted[~inside], tested["true"].to_numpy()[~inside])
        blended[inside] = predicted[inside] @ weights
    return tested.assign(predicted=blended)


def blend(models: Mapping[str, TransformedTargetRegressor], weights: np.ndarray) -> VotingRegressor:
    """The weighted mean of fitted `models`, less those that weigh nothing. They are not fitted again."""
    kept = {name: float(weight) for name, weight in zip(models, weights, strict=True) if weight}
    voting = VotingRegressor([(name, None) for name in kept], weights=list(kept.values()))
    voting.estimators_ = [models[name] for name in kept]  # `fit` would keep each three times, and so would the file
    return voting


def blend_members(
    estimator: TransformedTargetRegressor | VotingRegressor, model: str = ""
) -> dict[str, tuple[float, TransformedTargetRegressor]]:
    """The models of a blend, by name, with their shares of it; of another estimator, itself as `model`."""
    if not isinstance(estimator, VotingRegressor):
        return {model: (1.0, estimator)}
    names, whole = [name for name, _ in estimator.estimators], sum(estimator.weights)
    return {
        name: (weight / whole, part)
        for name, weight, part in zip(names, estimator.weights, estimator.estimators_, strict=True)
    }
