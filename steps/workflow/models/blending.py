"""Blends: weighted means of fitted models, with weights from their out-of-fold predictions."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingRegressor

from workflow.data.sampling import evenly_spaced_positions

ErrorFunction = Callable[..., Any]  # a number, of the true and the predicted target
FIRST_STEP, SMALLEST_STEP = 1 / 2, 1 / 1024  # of weights; finer ones do not change a score
MAX_WEIGHT_ROWS = 20_000  # more rows do not change the weights
LARGEST = 1e100  # prediction: an infinite one of weight 0 would make the blend NaN


def stack_oof_predictions(oof_predictions: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
    """Stack the out-of-fold predictions of several models.

    Args:
        oof_predictions: by model, as `cross_validation.cross_val_predict_and_refit` returns them for the same folds.

    Returns:
        A frame of `fold`, `row`, `true` and any `weight`, and the predictions: (rows, models).
    """
    first = next(iter(oof_predictions.values())).drop(columns="predicted")
    return first, np.column_stack([own["predicted"] for own in oof_predictions.values()])


def fit_weights(
    predicted: np.ndarray, true: np.ndarray, error: ErrorFunction, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Fit the weights with the least error that are non-negative and add up to 1.

    Starts with the best model alone, and moves weight from one model to another as long as that lowers the error; half
    as much when no move does. Any error will do, and for a convex one, such as the mean absolute error, the result is
    that of a linear programme to three digits.

    Args:
        predicted: out-of-fold predictions, (rows, models); `MAX_WEIGHT_ROWS` evenly spaced rows are used.
        true: (rows,).
        error: of true and predicted targets; it takes a `weight`, if there are sample weights.
        sample_weight: sample weights, (rows,).

    Returns:
        Weights, multiples of `SMALLEST_STEP`: (models,).

    References:
        Caruana et al. 2004, Ensemble selection from libraries of models; for squared errors, Breiman 1996, Stacked
        regressions.
    """
    sample = evenly_spaced_positions(len(true), MAX_WEIGHT_ROWS)
    predicted, true = np.clip(predicted[sample], -LARGEST, LARGEST), true[sample]
    if sample_weight is not None:
        error = partial(error, weight=sample_weight[sample])
    models = range(predicted.shape[1])
    alone = [error(true, predicted[:, model]) for model in models]
    best, step = min(alone), FIRST_STEP
    weights = np.eye(len(models))[alone.index(best)]
    while step >= SMALLEST_STEP:
        before = best
        for source, sink in permutations(models, 2):
            moved = min(step, weights[source])
            tried = weights + moved * (np.eye(len(models))[sink] - np.eye(len(models))[source])
            if moved and (found := error(true, predicted @ tried)) < best:
                best, weights = found, tried
        step = step if best < before else step / 2
    return weights


def cross_validate(oof: pd.DataFrame, predicted: np.ndarray, error: ErrorFunction) -> pd.DataFrame:
    """Return out-of-fold predictions of a blend: each fold is predicted with weights that are fitted on other rows.

    Args:
        oof: `fold`, `row`, `true` and any `weight`, as `stack_oof_predictions` returns them.
        predicted: out-of-fold predictions of the models: (rows, models).
        error: of true and predicted targets, which the weights make least.

    Returns:
        `oof` with the column `predicted`.
    """
    blended = np.empty(len(oof))
    for fold in oof["fold"].unique():
        inside = (oof["fold"] == fold).to_numpy()
        outside = ~oof["row"].isin(oof["row"][inside]).to_numpy()  # a repetition has the same rows in other folds
        own = oof["weight"].to_numpy()[outside] if "weight" in oof else None
        weights = fit_weights(predicted[outside], oof["true"].to_numpy()[outside], error, own)
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
