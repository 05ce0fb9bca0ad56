"""Cross-validation: out-of-fold predictions and their scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone

from workflow.evaluation.metrics import CROSS_VALIDATED, scores
from workflow.models import estimators
from workflow.parallel.executors import Track, run_in_threads


def cross_val_predict_and_refit(
    estimator: BaseEstimator,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    track: Track,
) -> tuple[BaseEstimator, pd.DataFrame]:
    """A clone that is fitted on all rows; and what is predicted of each fold's by one that is fitted on the others.

    Args:
        estimator: unfitted, and left so.
        features: (rows, features).
        target: (rows,).
        folds: row numbers (train, test) of each.
        track: shows progress over an iterable of a known length.

    Returns:
        The fitted clone, and a frame of `fold`, `row` (its number), `true` and `predicted`: (rows that are tested, 4).
    """

    def fit_or_test(fold: int | None) -> Any:
        if fold is None:
            return estimators.fit(clone(estimator), features, target)
        return predict_fold(estimator, features, target, folds[fold]).assign(fold=fold)

    fitted, *parts = run_in_threads(fit_or_test, [None, *range(len(folds))], track)  # what takes longest begins first
    return fitted, concatenate_folds(parts)


def concatenate_folds(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The frame that `cross_val_predict_and_refit` returns, of one for each fold."""
    return pd.concat(parts, ignore_index=True)[["fold", "row", "true", "predicted"]]


def predict_fold(
    estimator: BaseEstimator, features: pd.DataFrame, target: pd.Series, fold: tuple[Any, ...]
) -> pd.DataFrame:
    """What `cross_val_predict_and_refit` says of one fold, without its number."""
    train, test = fold
    fitted = estimators.fit(clone(estimator), features.iloc[train], target.iloc[train])
    return fold_predictions(target, test, estimators.predict(fitted, features.iloc[test]))


def fold_predictions(target: pd.Series, rows: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """What is predicted of rows, by their numbers: (rows that are tested, 3)."""
    return pd.DataFrame({"row": rows, "true": target.iloc[rows].to_numpy(), "predicted": predicted})


def cross_validation_scores(tested: pd.DataFrame) -> dict[str, float]:
    """Mean over the folds of each metric (`cv_…`) and its standard deviation (`cv_…_std`).

    `tested` is as `cross_val_predict_and_refit` gives it.
    """
    return mean_scores([fold_scores(fold) for _, fold in tested.groupby("fold")])


def fold_scores(tested: pd.DataFrame) -> dict[str, float]:
    """The metrics of one fold."""
    return scores(CROSS_VALIDATED, tested["true"].to_numpy(), tested["predicted"].to_numpy())


def mean_scores(folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean over the folds of each of their metrics (`cv_…`), and its standard deviation (`cv_…_std`)."""
    table = pd.DataFrame(folds).add_prefix("cv_")
    return table.mean().to_dict() | table.std(ddof=0).add_suffix("_std").to_dict()
