"""Regression metrics, their bootstrap confidence intervals, and errors by segment of the target."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

N_RESAMPLES = 2000
MAX_BOOTSTRAP_ROWS = 5_000  # of more rows, a sample is resampled, so that the cost is bounded


def mean(values: np.ndarray, axis: int = -1, weight: np.ndarray | None = None) -> np.ndarray:
    """Return the mean along an axis, weighted if there is a `weight` that broadcasts to the values.

    It is NaN where all weights are 0, as in a few resamples of rows of which most have no weight.
    """
    if weight is None:
        return values.mean(axis)
    weight = np.broadcast_to(weight, values.shape)
    with np.errstate(invalid="ignore"):
        return (values * weight).sum(axis) / weight.sum(axis)


def median(values: np.ndarray, axis: int = -1, weight: np.ndarray | None = None) -> np.ndarray:
    """Return the median along the last axis; with a `weight`, the smallest value that half of the weight reaches."""
    if weight is None:
        return np.median(values, axis)
    order = np.argsort(values, axis, kind="stable")
    reached = np.take_along_axis(np.broadcast_to(weight, values.shape), order, axis).cumsum(axis)
    middle = (reached >= reached.take([-1], axis) / 2).argmax(axis)
    return np.take_along_axis(np.take_along_axis(values, order, axis), np.expand_dims(middle, axis), axis).squeeze(axis)


# The metrics of sklearn.metrics, by their names there, along an axis: the bootstrap scores thousands of resamples at
# once, where scikit-learn would take them one at a time. `weight` holds sample weights that broadcast to `true`.
def r2_score(true: np.ndarray, predicted: np.ndarray, axis: int = -1, weight: np.ndarray | None = None) -> np.ndarray:
    """Return the explained fraction of the variance of `true`; 0 where `true` is constant."""
    residual = mean((true - predicted) ** 2, axis, weight)
    center = np.expand_dims(mean(true, axis, weight), axis)
    total = mean((true - center) ** 2, axis, weight)
    return np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), 0.0)


def mean_absolute_error(
    true: np.ndarray, predicted: np.ndarray, axis: int = -1, weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the mean of |true − predicted|, in units of the target."""
    return mean(np.abs(true - predicted), axis, weight)


def mean_squared_error(
    true: np.ndarray, predicted: np.ndarray, axis: int = -1, weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the mean of (true − predicted)², in squared units of the target."""
    return mean((true - predicted) ** 2, axis, weight)


def root_mean_squared_error(
    true: np.ndarray, predicted: np.ndarray, axis: int = -1, weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the square root of the mean squared error, in units of the target."""
    return np.sqrt(mean_squared_error(true, predicted, axis, weight))


def median_absolute_error(
    true: np.ndarray, predicted: np.ndarray, axis: int = -1, weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the median of |true − predicted|, in units of the target."""
    return median(np.abs(true - predicted), axis, weight)


def mean_absolute_percentage_error(
    true: np.ndarray, predicted: np.ndarray, axis: int = -1, weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the mean of |true − predicted| / true, for `true` above 0, as a fraction: 0.3 is 30 %."""
    return mean(np.abs(true - predicted) / true, axis, weight)


def root_mean_squared_log_error(
    true: np.ndarray, predicted: np.ndarray, axis: int = -1, weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the root mean squared difference of log(1 + y), for `true` of at least 0; a prediction below 0 is 0."""
    return root_mean_squared_error(np.log1p(true), np.log1p(np.maximum(predicted, 0)), axis, weight)


def mean_pinball_loss(
    true: np.ndarray,
    predicted: np.ndarray,
    axis: int = -1,
    weight: np.ndarray | None = None,
    alpha: float = 0.5,
) -> np.ndarray:
    """Return the mean pinball loss at the quantile `alpha`, in units of the target."""
    difference = true - predicted
    return mean(np.maximum(alpha * difference, (alpha - 1) * difference), axis, weight)


def by_name(*metrics: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Return metrics by their names."""
    return {metric.__name__: metric for metric in metrics}


TRAINING = by_name(mean_absolute_error, mean_squared_error, root_mean_squared_error, r2_score)
CROSS_VALIDATED = by_name(r2_score, mean_absolute_error, root_mean_squared_error)
TEST = by_name(r2_score, mean_absolute_error, root_mean_squared_error, median_absolute_error)
PERCENTAGE = by_name(mean_absolute_percentage_error)


def applicable_metrics(true: np.ndarray) -> dict[str, Callable[..., Any]]:
    """Return the test metrics for a target of (rows,): the percentage error only if all of it is above 0."""
    return TEST | PERCENTAGE if (true > 0).all() else TEST


def scores(
    metrics: Mapping[str, Callable[..., Any]],
    true: np.ndarray,
    predicted: np.ndarray,
    prefix: str = "",
    weight: np.ndarray | None = None,
) -> dict[str, float]:
    """Return the value of each metric for predictions of (rows,), by its name after `prefix`."""
    return {prefix + name: float(metric(true, predicted, **weighted(weight))) for name, metric in metrics.items()}


def weighted(weight: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the argument of a metric for sample weights of (rows,): none if there are none."""
    return {} if weight is None else {"weight": weight}


def scores_with_intervals(
    metrics: Mapping[str, Callable[..., Any]],
    true: np.ndarray,
    predicted: np.ndarray,
    seed: int,
    prefix: str = "",
    weight: np.ndarray | None = None,
) -> dict[str, float]:
    """Return each metric with its 95 % confidence interval (`…_low`, `…_high`).

    Args:
        metrics: by name.
        true: (rows,).
        predicted: (rows,).
        seed: of the bootstrap.
        prefix: of the metrics' names.
        weight: sample weights, resampled with their rows: (rows,).
    """
    found = scores(metrics, true, predicted, prefix, weight)
    for name, metric in metrics.items():
        low, high = bootstrap_interval(*with_weight(metric, (true, predicted), weight), seed)
        found |= {f"{prefix}{name}_low": low, f"{prefix}{name}_high": high}
    return found


def with_weight(
    statistic: Callable[..., Any], columns: tuple[np.ndarray, ...], weight: np.ndarray | None
) -> tuple[Callable[..., Any], tuple[np.ndarray, ...]]:
    """Return a statistic that takes sample weights of (rows,) as its last column, and the columns with them.

    Without weights, both are returned as they are.
    """
    if weight is None:
        return statistic, columns
    return lambda *arrays, axis=-1: statistic(*arrays[:-1], axis=axis, weight=arrays[-1]), (*columns, weight)


def level_suffixes(levels: Iterable[float]) -> list[str]:
    """Return what ends the names that belong to each level: nothing for the first, `_95` for another one of 0.95."""
    return ["" if place == 0 else f"_{100 * level:.10g}" for place, level in enumerate(levels)]


def bootstrap_interval(
    statistic: Callable[..., Any], columns: tuple[np.ndarray, ...], seed: int
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a statistic (Efron and Tibshirani 1993).

    With more than `MAX_BOOTSTRAP_ROWS` rows, that many are sampled and resampled, and the interval is narrowed by the
    square root of their fraction (Politis, Romano and Wolf 1999, section 2).

    Args:
        statistic: of `columns`, along an axis.
        columns: arrays of (rows,), whose rows are resampled together.
        seed: of sample and resamples.
    """
    from scipy.stats import bootstrap

    rows = len(columns[0])
    random = np.random.default_rng(seed)
    positions = random.permutation(rows)[:MAX_BOOTSTRAP_ROWS] if rows > MAX_BOOTSTRAP_ROWS else slice(None)
    sample = tuple(column[positions] for column in columns)
    narrowing = np.sqrt(len(sample[0]) / rows)  # valid for means and quantiles, not for a maximum
    interval = bootstrap(
        sample,
        statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=N_RESAMPLES,
        batch=max(1, 10**7 // len(sample[0])),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    of_all, of_sample = float(statistic(*columns)), float(statistic(*sample))
    low, high = (float(of_all + (end - of_sample) * narrowing) for end in (interval.low, interval.high))
    return low, high


def segments(true: np.ndarray, predicted: np.ndarray, count: int = 4, weight: np.ndarray | None = None) -> pd.DataFrame:
    """Return the errors by quantile of the target, lowest first.

    Args:
        true: (rows,).
        predicted: (rows,).
        count: number of quantiles; ties may leave fewer.
        weight: sample weights, of errors and bias: (rows,).

    Returns:
        A row per segment: `from`, `to`, `rows`, `mean_absolute_error`, `mean_absolute_percentage_error` if all of
        `true` is above 0, and `bias`, the mean of predicted − true.
    """
    metrics = by_name(mean_absolute_error) | (PERCENTAGE if (true > 0).all() else {})
    rows = []
    for positions in pd.Series(true).groupby(pd.qcut(true, count, duplicates="drop"), observed=True).indices.values():
        t, p = true[positions], predicted[positions]
        w = None if weight is None else weight[positions]
        errors = scores(metrics, t, p, weight=w)
        rows.append({"from": t.min(), "to": t.max(), "rows": len(t), **errors, "bias": float(mean(p - t, -1, w))})
    return pd.DataFrame(rows).sort_values("from", ignore_index=True)


def worst(true: np.ndarray, predicted: np.ndarray, count: int = 10) -> np.ndarray:
    """Return the positions of the `count` largest absolute errors, largest first."""
    return np.argsort(-np.abs(predicted - true), kind="stable")[:count]


def with_errors(rows: pd.DataFrame, target: str, predicted: np.ndarray) -> pd.DataFrame:
    """Return the rows with `predicted` and `error`, which is predicted − true, next to the target in front."""
    with_error = rows.assign(predicted=predicted, error=predicted - rows[target])
    first = [target, "predicted", "error"]
    return with_error[[*first, *(name for name in with_error if name not in first)]]
