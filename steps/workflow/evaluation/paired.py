"""Paired comparison of two sets of predictions of the same rows."""

from dataclasses import dataclass

import numpy as np

from workflow.evaluation import metrics

ERRORS = {
    metric.__name__: metric
    for metric in (metrics.mean_absolute_error, metrics.root_mean_squared_error, metrics.median_absolute_error)
}


@dataclass(frozen=True)
class Difference:
    """A difference of two errors with its 95 % confidence interval, in units of the target."""

    value: float
    low: float
    high: float


def difference(true: np.ndarray, predicted: np.ndarray, other: np.ndarray, error: str, seed: int) -> Difference:
    """Return the error of `predicted` minus that of `other`; the bootstrap resamples rows in pairs.

    Args:
        true: (rows,).
        predicted: (rows,).
        other: (rows,).
        error: name of one of `ERRORS`.
        seed: of the bootstrap.
    """
    metric = ERRORS[error]

    def metric_difference(t: np.ndarray, p: np.ndarray, o: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(metric(t, p, axis) - metric(t, o, axis))

    columns = (true, predicted, other)
    return Difference(float(metric_difference(*columns)), *metrics.bootstrap_interval(metric_difference, columns, seed))
