"""A blend: a weighted mean of fitted models, whose weights come from what cross-validation predicted with each."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingRegressor
from sklearn.frozen import FrozenEstimator

DECIMALS = 3  # of a weight: no score hangs on more


def tested_by_all(parts: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
    """What the blended models were tested on, and what they predicted.

    Args:
        parts: as `scoring.cross_validate` gives them for the same folds, by model.

    Returns:
        A frame of `fold`, `row` and `true`, and an array of (rows, models).
    """
    first = next(iter(parts.values()))
    return first[["fold", "row", "true"]], np.column_stack([part["predicted"] for part in parts.values()])


def weights_of(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Non-negative weights that add up to 1, by least squares: Breiman 1996, Stacked regressions. (models,)

    Where no positive weight helps, the model with the least squared error is alone.

    Args:
        predicted: (rows, models) of rows that the models have not seen.
        true: (rows,).
    """
    found, _ = nnls(predicted, true)
    if found.sum() == 0:
        found[((predicted - true[:, None]) ** 2).sum(axis=0).argmin()] = 1
    return np.round(found / found.sum(), DECIMALS)


def cross_validate(tested: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
    """What blends predict of each fold whose weights come from the other folds: `tested` with the column `predicted`.

    Takes what `tested_by_all` gives.
    """
    blended = np.empty(len(tested))
    for fold in tested["fold"].unique():
        inside = (tested["fold"] == fold).to_numpy()
        weights = weights_of(predicted[~inside], tested["true"].to_numpy()[~inside])
        blended[inside] = predicted[inside] @ weights
    return tested.assign(predicted=blended)


def blend(
    models: Mapping[str, TransformedTargetRegressor], weights: np.ndarray, features: pd.DataFrame, target: pd.Series
) -> VotingRegressor:
    """The weighted mean of fitted `models`, less those that weigh nothing. They are not fitted again."""
    kept = {name: (model, weight) for (name, model), weight in zip(models.items(), weights, strict=True) if weight}
    voters = [(name, FrozenEstimator(model)) for name, (model, _) in kept.items()]
    return VotingRegressor(voters, weights=[float(weight) for _, weight in kept.values()]).fit(features, target)


def parts_of(
    estimator: TransformedTargetRegressor | VotingRegressor, model: str = ""
) -> dict[str, tuple[float, TransformedTargetRegressor]]:
    """The models of a fitted blend, by name, with their shares of it; of another estimator, itself as `model`."""
    if not isinstance(estimator, VotingRegressor):
        return {model: (1.0, estimator)}
    whole = sum(estimator.weights)
    return {
        name: (weight / whole, voter.estimator)
        for (name, voter), weight in zip(estimator.estimators, estimator.weights, strict=True)
    }
