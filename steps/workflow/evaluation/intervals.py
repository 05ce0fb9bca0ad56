"""Fit prediction intervals from out-of-fold predictions, and score them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from workflow.data.contract import Contract
from workflow.data.sampling import evenly_spaced_positions
from workflow.evaluation.metrics import level_suffixes, mean
from workflow.models import estimators
from workflow.models.estimators import NOMINAL_LEVEL, Preparation
from workflow.models.intervals import (
    MIN_TAIL_ROWS,
    SCALE_MODEL,
    IntervalModel,
    labels_in,
    scale_features,
    to_training_scale,
)
from workflow.parallel.executors import ProgressBar, run_in_threads

MAX_ROWS = 20_000  # more do not change the intervals
MIN_IMPROVEMENT = 0.01  # of the interval score, for which the width depends on the row
LEAST_QUANTILE = 0.1  # of the sizes of residuals: no row is taken to be more certain
# The size that four of five residuals of similar rows do not exceed: of the quantiles and means that were tried, it has
# the best interval score (docs/decisions.md). Small trees, because sizes of residuals are noisy.
SCALE_PARAMS: dict[str, Any] = {
    "loss": "quantile",
    "quantile": 0.8,
    "learning_rate": 0.03,
    "max_iter": 150,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 20,
    "early_stopping": False,
}


def fit(
    oof_predictions: pd.DataFrame,
    rows: pd.DataFrame,
    contract: Contract,
    target_transform: str,
    seed: int,
    progress_bar: ProgressBar,
) -> IntervalModel:
    """Fit prediction intervals, of one width or with a width by row, whichever has the better interval score.

    The sizes of the residuals of each fold are predicted by a model that is fitted on those of the other folds.

    Args:
        oof_predictions: as `cross_validation.cross_val_predict_and_refit` returns them.
        rows: the training rows.
        contract: of the rows.
        target_transform: of the estimator: one of `estimators.TARGET_TRANSFORMS`.
        seed: of the model of sizes.
        progress_bar: wraps an iterable of known length.
    """
    oof = oof_predictions.iloc[evenly_spaced_positions(len(oof_predictions), MAX_ROWS)]
    own, true, predicted = rows.iloc[oof["row"]], oof["true"].to_numpy(), oof["predicted"].to_numpy()
    unsorted = unsorted_model(oof, own, contract, target_transform)
    constant, residuals, weight = sorted_model(unsorted), unsorted.residuals, unsorted.weight
    sizes = pd.Series(np.abs(residuals).astype(np.float32).astype(float))  # rounded: see `models/rounding.py`
    least = float(sizes.quantile(LEAST_QUANTILE))
    if len(oof) < MIN_TAIL_ROWS or not least:
        return constant
    features = scale_features(own[contract.features], predicted, contract.target)
    unfitted = scale_estimator(contract, seed, len(oof))
    scale, expected = cross_fit(unfitted, features, sizes, oof["fold"].to_numpy(), progress_bar)
    expected = np.maximum(expected, least)
    scaled = sorted_model(replace(unsorted, residuals=residuals / expected, scale=scale, least_scale=least))
    of_one_width = interval_score(
        true, *constant.around(predicted, np.ones(len(oof)), NOMINAL_LEVEL), NOMINAL_LEVEL, weight
    )
    by_row = interval_score(true, *scaled.around(predicted, expected, NOMINAL_LEVEL), NOMINAL_LEVEL, weight)
    return scaled if by_row < (1 - MIN_IMPROVEMENT) * of_one_width else constant


def unsorted_model(oof: pd.DataFrame, rows: pd.DataFrame, contract: Contract, target_transform: str) -> IntervalModel:
    """Return an interval model of one width, with residuals, weights and labels in the order of the `rows`."""
    true, predicted = (to_training_scale(oof[name], target_transform) for name in ("true", "predicted"))
    weight = oof["weight"].to_numpy() if "weight" in oof else None
    group = contract.group if contract.group in contract.features else ""
    labels = labels_in(rows[group]) if group else None
    return IntervalModel(contract.target, target_transform, true - predicted, weight, group or "", labels)


def sorted_model(model: IntervalModel) -> IntervalModel:
    """Return an interval model with its residuals, their weights and labels in ascending order of the residuals."""
    order = np.argsort(model.residuals, kind="stable")
    weight, labels = (None if each is None else each[order] for each in (model.weight, model.labels))
    return replace(model, residuals=model.residuals[order], weight=weight, labels=labels)


def scale_estimator(contract: Contract, seed: int, rows: int) -> Any:
    """Return an unfitted estimator of sizes of residuals from `scale_features`, for a number of rows."""
    columns = {name: replace(column, monotonic="") for name, column in contract.columns.items()}
    with_prediction = replace(contract, target="", columns=columns)  # makes a feature of the target's column
    return estimators.build(SCALE_MODEL, with_prediction, "auto", Preparation(), seed, SCALE_PARAMS, rows)


def cross_fit(
    estimator: Any, features: pd.DataFrame, target: pd.Series, fold: np.ndarray, progress_bar: ProgressBar
) -> tuple[Any, np.ndarray]:
    """Fit a clone on all rows, and predict each fold by one that is fitted on the others.

    Args:
        estimator: unfitted, and left so.
        features: (rows, features).
        target: (rows,).
        fold: of each row: (rows,).
        progress_bar: wraps an iterable of known length.

    Returns:
        The clone that is fitted on all rows, and the predictions: (rows,).
    """
    folds = list(np.unique(fold))

    def fit_without(left_out: int | None) -> Any:
        inside = np.full(len(fold), True) if left_out is None else fold != left_out
        return estimators.fit(clone(estimator), features[inside], target[inside])

    fitted, *by_fold = run_in_threads(fit_without, [None, *folds], progress_bar)
    predicted = np.empty(len(fold))
    for left_out, own in zip(folds, by_fold, strict=True):
        predicted[fold == left_out] = estimators.predict(own, features[fold == left_out])
    return fitted, predicted


def interval_score(
    true: np.ndarray, low: np.ndarray, high: np.ndarray, level: float, weight: np.ndarray | None = None
) -> float:
    """Return the mean interval score, in units of the target: lower is better (Gneiting and Raftery 2007, eq. 43).

    It is the width, plus 2 / (1 − `level`) times the distance by which an interval misses the true value. Takes arrays
    of (rows,), `weight` of sample weights.
    """
    missed = np.maximum(low - true, 0) + np.maximum(true - high, 0)
    return float(mean(high - low + 2 / (1 - level) * missed, -1, weight))


def coverage(true: np.ndarray, low: np.ndarray, high: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Return the fraction of intervals that contain the true value, ends included; takes arrays of (rows,)."""
    return float(mean((low <= true) & (true <= high), -1, weight))


def coverage_interval(covered: float, rows: float) -> tuple[float, float]:
    """Return the 95 % confidence interval of the `coverage` of so many rows (Wilson 1927)."""
    rows = max(1, round(rows))
    from scipy.stats import binomtest

    interval = binomtest(round(covered * rows), rows).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)


def effective_rows(rows: int, weight: np.ndarray | None) -> float:
    """Return how many rows of equal weight say as much as rows with these weights (Kish 1965)."""
    return rows if weight is None else float(weight.sum() ** 2 / (weight**2).sum())


def interval_scores(
    true: np.ndarray, ends: Mapping[float, tuple[np.ndarray, np.ndarray]], weight: np.ndarray | None = None
) -> dict[str, float]:
    """Return coverage with its 95 % confidence interval, mean width and score of prediction intervals, by metric.

    Args:
        true: (rows,).
        ends: lower and upper ends, each (rows,), by level; for the names of metrics, see `level_suffixes`.
        weight: sample weights, (rows,).
    """
    found: dict[str, float] = {}
    for suffix, (level, (low, high)) in zip(level_suffixes(ends), ends.items(), strict=True):
        covered = coverage(true, low, high, weight)
        least, most = coverage_interval(covered, effective_rows(len(true), weight))
        found |= {
            f"interval_coverage{suffix}": covered,
            f"interval_coverage{suffix}_low": least,
            f"interval_coverage{suffix}_high": most,
            f"interval_width{suffix}": float(mean(high - low, -1, weight)),
            f"interval_score{suffix}": interval_score(true, low, high, level, weight),
        }
    return found


def calibration(
    true: np.ndarray, ends: Mapping[float, tuple[np.ndarray, np.ndarray]], weight: np.ndarray | None = None
) -> pd.DataFrame:
    """Return the coverage of prediction intervals at each level: `level`, `coverage`, and its ends `low` and `high`.

    Args:
        true: (rows,).
        ends: lower and upper ends, each (rows,), by level.
        weight: sample weights, (rows,).
    """
    covered = {level: coverage(true, *pair, weight) for level, pair in ends.items()}
    known = effective_rows(len(true), weight)
    rows = [(level, each, *coverage_interval(each, known)) for level, each in covered.items()]
    return pd.DataFrame(rows, columns=["level", "coverage", "low", "high"])


def interval_columns(
    names: tuple[str, str], ends: Mapping[float, tuple[np.ndarray, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return lower and upper ends, each (rows,), by column: the two `names` with the `level_suffixes`."""
    suffixes = level_suffixes(ends)
    return {
        f"{name}{suffix}": values
        for suffix, pair in zip(suffixes, ends.values(), strict=True)
        for name, values in zip(names, pair, strict=True)
    }
