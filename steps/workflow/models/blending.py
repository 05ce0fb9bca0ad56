"""Blends: weighted means of fitted models, with weights from their out-of-fold predictions."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import linprog
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingRegressor

from workflow.data.sampling import evenly_spaced_positions

WEIGHT_DECIMALS = 3  # finer weights do not change a score
MAX_WEIGHT_ROWS = 20_000  # more rows do not change the weights
MAX_RELATIVE_SIZE = 1e9  # predictions are clipped at this multiple of the mean |target|: the solver fails beyond


def stack_oof_predictions(oof_predictions: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
    """Stack the out-of-fold predictions of several models.

    Args:
        oof_predictions: by model, as `cross_validation.cross_val_predict_and_refit` returns them for the same folds.

    Returns:
        A frame of `fold`, `row` and `true`, and the predictions: (rows, models).
    """
    first = next(iter(oof_predictions.values()))
    return first[["fold", "row", "true"]], np.column_stack([own["predicted"] for own in oof_predictions.values()])


def fit_mae_weights(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Fit the weights with the least mean absolute error that are non-negative and add up to 1.

    Primal: minimise Σᵢ|yᵢ − (Pw)ᵢ| over w ≥ 0 with Σw = 1; write each |r| as the maximum of u·r over −1 ≤ u ≤ 1.
    Dual: maximise y·u − t over −1 ≤ uᵢ ≤ 1 and free t, subject to (Pᵀu)ⱼ ≤ t for each model j.
    It is small: besides bounds, one constraint per model, where the primal has two per row.
    The weights are the multipliers of these constraints; the column of t makes them add up to 1.

    Args:
        predicted: out-of-fold predictions, (rows, models); `MAX_WEIGHT_ROWS` evenly spaced rows are used.
        true: (rows,).

    Returns:
        Weights, rounded to `WEIGHT_DECIMALS`: (models,).

    References:
        Wagner 1959, Linear programming techniques for regression analysis; for squared errors, Breiman 1996, Stacked
        regressions.
    """
    sample = evenly_spaced_positions(len(true), MAX_WEIGHT_ROWS)
    unit = np.abs(true[sample]).mean() or 1.0  # rescale: the solver's tolerances would swamp a small target
    predicted = np.clip(predicted[sample] / unit, -MAX_RELATIVE_SIZE, MAX_RELATIVE_SIZE)
    true = true[sample] / unit
    rows, models = predicted.shape
    solution = linprog(
        np.append(-true, 1),
        A_ub=np.column_stack([predicted.T, -np.ones(models)]),
        b_ub=np.zeros(models),
        bounds=[(-1, 1)] * rows + [(None, None)],
    )
    return np.round(-solution.ineqlin.marginals, WEIGHT_DECIMALS) + 0.0  # turns -0.0 into 0.0


def cross_validate(oof: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
    """Return out-of-fold predictions of a blend: each fold is predicted with weights that are fitted on the others.

    Args:
        oof: `fold`, `row` and `true`, as `stack_oof_predictions` returns them.
        predicted: out-of-fold predictions of the models: (rows, models).

    Returns:
        `oof` with the column `predicted`.
    """
    blended = np.empty(len(oof))
    for fold in oof["fold"].unique():
        inside = (oof["fold"] == fold).to_numpy()
        weights = fit_mae_weights(predicted[~inside], oof["true"].to_numpy()[~inside])
        blended[inside] = predicted[inside] @ weights
    return oof.assign(predicted=blended)


def blend(models: Mapping[str, TransformedTargetRegressor], weights: np.ndarray) -> VotingRegressor:
    """Return the weighted mean of fitted models, without refitting them or keeping those of weight 0."""
    kept = {name: float(weight) for name, weight in zip(models, weights, strict=True) if weight}
    voting = VotingRegressor([(name, None) for name in kept], weights=list(kept.values()))
    voting.estimators_ = [models[name] for name in kept]  # `fit` would keep each model three times, also in the file
    return voting


def blend_members(
    estimator: TransformedTargetRegressor | VotingRegressor, model: str = ""
) -> dict[str, tuple[float, TransformedTargetRegressor]]:
    """Return the weight and the estimator of each member of a blend, by model.

    Any other estimator is its own only member, called `model`, with weight 1.
    """
    if not isinstance(estimator, VotingRegressor):
        return {model: (1.0, estimator)}
    names, total = [name for name, _ in estimator.estimators], sum(estimator.weights)
    return {
        name: (weight / total, member)
        for name, weight, member in zip(names, estimator.weights, estimator.estimators_, strict=True)
    }
