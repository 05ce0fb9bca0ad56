"""Cross-validation: out-of-fold predictions and their scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone

from workflow.data.sampling import evenly_spaced_positions
from workflow.evaluation.metrics import CROSS_VALIDATED, scores
from workflow.evaluation.ranking import RankingMetric
from workflow.models import estimators
from workflow.parallel.executors import ProgressBar, run_in_threads

MAX_SAMPLE_ROWS = (4_000, 1_000)  # of a fold, to learn from and to test on
ENOUGH_ROWS = 1_500  # to test on, in all folds; on more, errors differ by chance no less


def cross_val_predict_and_refit(
    estimator: BaseEstimator,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    progress_bar: ProgressBar,
    weight: pd.Series | None = None,
) -> tuple[BaseEstimator, pd.DataFrame]:
    """Predict each fold by a clone that is fitted on the others, and fit one more clone on all rows.

    Args:
        estimator: unfitted, and left so.
        features: (rows, features).
        target: (rows,).
        folds: (training positions, test positions) of each.
        progress_bar: wraps an iterable of known length.
        weight: sample weights, (rows,).

    Returns:
        The clone that is fitted on all rows; and the out-of-fold predictions, a frame of `fold`, `row` (position),
        `true`, `predicted` and, if there are weights, `weight`: (tested rows, 4 or 5).
    """

    def fit_or_predict(fold: int | None) -> Any:
        if fold is None:
            return estimators.fit(clone(estimator), features, target, weight)
        return predict_fold(estimator, features, target, folds[fold], weight).assign(fold=fold)

    # The fit on all rows takes longest, so it starts first.
    fitted, *parts = run_in_threads(fit_or_predict, [None, *range(len(folds))], progress_bar)
    return fitted, concatenate_folds(parts)


def concatenate_folds(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the out-of-fold predictions from those of each fold, which have the column `fold` already."""
    table = pd.concat(parts, ignore_index=True)
    return table[["fold", *(name for name in table if name != "fold")]]


def predict_fold(
    estimator: BaseEstimator,
    features: pd.DataFrame,
    target: pd.Series,
    fold: tuple[Any, ...],
    weight: pd.Series | None = None,
) -> pd.DataFrame:
    """Fit a clone on the training rows of a fold and predict its test rows.

    Args:
        estimator: unfitted, and left so.
        features: (rows, features).
        target: (rows,).
        fold: (training positions, test positions).
        weight: sample weights, (rows,).

    Returns:
        See `fold_predictions`.
    """
    train, test = fold
    own = estimators.weight_at(weight, train)
    fitted = estimators.fit(clone(estimator), features.iloc[train], target.iloc[train], own)
    return fold_predictions(target, test, estimators.predict(fitted, features.iloc[test]), weight)


def fold_predictions(
    target: pd.Series, positions: np.ndarray, predicted: np.ndarray, weight: pd.Series | None = None
) -> pd.DataFrame:
    """Return `row` (position), `true`, `predicted` and, if there are weights, `weight` of the rows at `positions`."""
    table = pd.DataFrame({"row": positions, "true": target.iloc[positions].to_numpy(), "predicted": predicted})
    return table if weight is None else table.assign(weight=weight.iloc[positions].to_numpy())


def weight_of(predictions: pd.DataFrame) -> np.ndarray | None:
    """Return the sample weights of predictions, (rows,), if they have any."""
    return predictions["weight"].to_numpy() if "weight" in predictions else None


def error_on_sample(
    estimator: BaseEstimator,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    metric: RankingMetric,
    progress_bar: ProgressBar,
    weight: pd.Series | None = None,
) -> float:
    """Return the mean error over the folds of clones that are fitted and tested on samples of the rows.

    Args:
        estimator: unfitted, and left so.
        features: (rows, features).
        target: (rows,).
        folds: (training positions, test positions) of each; as many are used, the last ones, as have `ENOUGH_ROWS`.
        metric: that is averaged.
        progress_bar: wraps an iterable of known length.
        weight: sample weights, (rows,).
    """
    sizes = np.cumsum([min(len(test), MAX_SAMPLE_ROWS[1]) for _, test in reversed(folds)])
    used = folds[-1 - int(np.searchsorted(sizes[:-1], ENOUGH_ROWS)) :]

    def error(fold: tuple[Any, ...]) -> float:
        pairs = zip(fold, MAX_SAMPLE_ROWS, strict=True)
        sample = tuple(positions[evenly_spaced_positions(len(positions), limit)] for positions, limit in pairs)
        predictions = predict_fold(estimator, features, target, sample, weight)
        true, predicted = predictions["true"].to_numpy(), predictions["predicted"].to_numpy()
        return float(metric.error(true, predicted, weight=weight_of(predictions)))

    return float(np.mean(run_in_threads(error, used, progress_bar)))


def cross_validation_scores(oof_predictions: pd.DataFrame, metric: RankingMetric) -> dict[str, float]:
    """Return the mean over the folds of each metric (`cv_…`) and its standard deviation (`cv_…_std`).

    Args:
        oof_predictions: as `cross_val_predict_and_refit` returns them.
        metric: which is added to the common ones.

    Raises UserError if the metric is no finite number.
    """
    folds = [fold_scores(fold, metric) for _, fold in oof_predictions.groupby("fold")]
    for fold in folds:
        metric.check_score(fold[metric.name], "in a fold of the cross-validation")
    return mean_scores(folds)


def fold_scores(predictions: pd.DataFrame, metric: RankingMetric) -> dict[str, float]:
    """Return the metrics of one fold, from its `true`, `predicted` and any `weight`."""
    true, predicted = predictions["true"].to_numpy(), predictions["predicted"].to_numpy()
    scored = CROSS_VALIDATED | {metric.name: metric.function}
    return scores(scored, true, predicted, weight=weight_of(predictions))


def mean_scores(folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over the folds of each metric (`cv_…`) and its standard deviation (`cv_…_std`)."""
    table = pd.DataFrame(folds).add_prefix("cv_")
    return table.mean().to_dict() | table.std(ddof=0).add_suffix("_std").to_dict()
