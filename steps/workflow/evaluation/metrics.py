"""Scores: of a prediction with its intervals, over cross-validation folds, and by price segment."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

RESAMPLES = 2000
ROWS = 5_000  # to resample at most: the cost of an interval does not grow beyond


# The metrics are those of sklearn.metrics, by their names there. We write them out because they score along an
# axis: the bootstrap has thousands of resamples, and scikit-learn would take them one at a time.
def r2_score(true: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    """Share of the variance of `true` that is explained; 0 where `true` does not vary."""
    residual = ((true - predicted) ** 2).sum(axis)
    total = ((true - true.mean(axis, keepdims=True)) ** 2).sum(axis)
    return np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), 0.0)


def mean_absolute_error(true: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of |true − predicted|, in units of the target."""
    return np.abs(true - predicted).mean(axis)


def mean_squared_error(true: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of (true − predicted)², in squared units of the target."""
    return ((true - predicted) ** 2).mean(axis)


def root_mean_squared_error(true: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    """Square root of the mean squared error, in units of the target."""
    return np.sqrt(mean_squared_error(true, predicted, axis))


def median_absolute_error(true: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    """Median of |true − predicted|, in units of the target."""
    return np.median(np.abs(true - predicted), axis)


def mean_absolute_percentage_error(true: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of |true − predicted| / true, where all are above 0, as a share: 0.3 is 30 %."""
    return (np.abs(true - predicted) / true).mean(axis)


TRAINING = (mean_absolute_error, mean_squared_error, root_mean_squared_error, r2_score)
CROSS_VALIDATED = (r2_score, mean_absolute_error, root_mean_squared_error)
TEST = (r2_score, mean_absolute_error, root_mean_squared_error, median_absolute_error)


def applicable_metrics(true: np.ndarray) -> tuple[Callable[..., Any], ...]:
    """The metrics of a test part of (rows,): a percentage among them only where all of `true` is above 0."""
    return (*TEST, mean_absolute_percentage_error) if (true > 0).all() else TEST


def scores(
    metrics: Iterable[Callable[..., Any]], true: np.ndarray, predicted: np.ndarray, prefix: str = ""
) -> dict[str, float]:
    """The value of each metric for one prediction: arrays of (rows,)."""
    return {prefix + metric.__name__: float(metric(true, predicted)) for metric in metrics}


def scores_with_intervals(true: np.ndarray, predicted: np.ndarray, seed: int, prefix: str = "") -> dict[str, float]:
    """Each test metric with its 95 % percentile bootstrap interval (`…_low`, `…_high`): Efron and Tibshirani 1993.

    Args:
        true: (rows,) of the target.
        predicted: (rows,).
        seed: of the resampling of rows.
        prefix: of the metrics' names.
    """
    metrics = applicable_metrics(true)
    found = scores(metrics, true, predicted, prefix)
    for metric in metrics:
        name = f"{prefix}{metric.__name__}"
        found[f"{name}_low"], found[f"{name}_high"] = interval(metric, (true, predicted), seed)
    return found


def interval(statistic: Callable[..., Any], columns: tuple[np.ndarray, ...], seed: int) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a statistic of `columns`, arrays of (rows,) that are resampled as one.

    Of more than `ROWS` rows, so many are resampled, and the interval is narrowed by the square root of their share:
    Politis, Romano and Wolf 1999, section 2.
    """
    rows = len(columns[0])
    chosen = np.random.default_rng(seed).permutation(rows)[:ROWS] if rows > ROWS else slice(None)
    sample = tuple(column[chosen] for column in columns)
    narrowing = np.sqrt(len(sample[0]) / rows)
    found = bootstrap(
        sample,
        statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        batch=max(1, 10**7 // len(sample[0])),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    of_all, of_chosen = float(statistic(*columns)), float(statistic(*sample))
    low, high = (float(of_all + (end - of_chosen) * narrowing) for end in (found.low, found.high))
    return low, high


def segments(true: np.ndarray, predicted: np.ndarray, count: int = 4) -> pd.DataFrame:
    """How the error differs from cheap to expensive: a row per quantile segment of the true value, (rows,).

    Columns: `from`, `to`, `rows`, `mean_absolute_error`, `mean_absolute_percentage_error` if all of `true` is above 0,
    and `bias`, the mean of predicted − true.
    """
    known = applicable_metrics(true)
    metrics = [metric for metric in (mean_absolute_error, mean_absolute_percentage_error) if metric in known]
    rows = []
    for positions in pd.Series(true).groupby(pd.qcut(true, count, duplicates="drop"), observed=True).indices.values():
        t, p = true[positions], predicted[positions]
        errors = scores(metrics, t, p)
        rows.append({"from": t.min(), "to": t.max(), "rows": len(t), **errors, "bias": float((p - t).mean())})
    return pd.DataFrame(rows).sort_values("from", ignore_index=True)


def worst(true: np.ndarray, predicted: np.ndarray, count: int = 10) -> np.ndarray:
    """The places of the `count` largest absolute errors, the largest first."""
    return np.argsort(-np.abs(predicted - true), kind="stable")[:count]


def with_errors(rows: pd.DataFrame, target: str, predicted: np.ndarray) -> pd.DataFrame:
    """The rows with what is predicted of them and how wrong that is; `target`, `predicted` and `error` come first."""
    shown = rows.assign(predicted=predicted, error=predicted - rows[target])
    first = [target, "predicted", "error"]
    return shown[[*first, *(name for name in shown if name not in first)]]
