"""How many trees: as many as err least in cross-validation."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor

from tabular.learning import estimators, scoring
from tabular.learning.rounding import LOGARITHMS
from tabular.learning.threads import Track, each_in_threads, one_thread

DECIMALS = 3  # of an error beside the least: fewer trees that err as little are as good


def fit_and_test(
    estimator: TransformedTargetRegressor,
    counted: str,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    track: Track,
) -> tuple[TransformedTargetRegressor, pd.DataFrame]:
    """As `scoring.fit_and_test`, with as many trees as err least, up to those of the parameter `counted`, if any.

    What is fitted on all rows gets the number that errs least over all folds. A fold is tested with the number that is
    best for the others, as a blend is with their weights: its rows do not decide on what they are tested with. Errors
    are absolute ones on the scale that is learned, where no dear row outweighs many cheap ones.
    """
    if not counted:
        return scoring.fit_and_test(estimator, features, target, folds, track)
    learned, _ = LOGARITHMS.get(estimators.scale_of(estimator), (np.asarray, None))
    staged: list[np.ndarray] = []
    errors: list[np.ndarray] = []

    def test(fold: tuple[Any, ...]) -> np.ndarray:
        train, tested = fold
        fitted = estimators.fit(clone(estimator), features.iloc[train], target.iloc[train])
        return staged_predict(fitted, features.iloc[tested])

    def fit(count: int) -> TransformedTargetRegressor:
        chosen = clone(estimator).set_params(**{f"regressor__regress__{counted}": count})
        return estimators.fit(chosen, features, target)

    def results() -> Iterator[Any]:
        for (_, tested), predicted in zip(folds, each_in_threads(test, folds), strict=True):
            staged.append(predicted)
            errors.append(np.abs(learned(predicted) - learned(target.iloc[tested].to_numpy())).sum(axis=1))
            yield predicted
        yield from each_in_threads(fit, [best_count(np.sum(errors, axis=0))])

    *_, fitted = track(results(), len(folds) + 1)
    counts = [best_count(np.sum(errors, axis=0) - own) for own in errors]
    parts = [
        scoring.tested_rows(target, tested, predicted[count - 1]).assign(fold=fold)
        for fold, ((_, tested), predicted, count) in enumerate(zip(folds, staged, counts, strict=True))
    ]
    return fitted, scoring.as_one(parts)


def best_count(errors: np.ndarray) -> int:
    """The least number of trees that errs as little as any; takes the error after each tree: (trees,)."""
    return int(np.round(errors / (errors.min() or 1), DECIMALS).argmin()) + 1


def staged_predict(estimator: TransformedTargetRegressor, features: pd.DataFrame) -> np.ndarray:
    """What an estimator would predict if it had ended after each of its trees: (trees, rows)."""
    with one_thread():
        encoded = estimator.regressor_[:-1].transform(features)
        staged = np.array([*estimator.regressor_[-1].staged_predict(encoded)])
        return estimator.transformer_.inverse_transform(staged.reshape(-1, 1)).reshape(staged.shape)
