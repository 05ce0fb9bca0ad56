"""Two predictions of the same rows, compared."""

from dataclasses import dataclass

import numpy as np

from workflow.evaluation import metrics

ERRORS = {
    metric.__name__: metric
    for metric in (metrics.mean_absolute_error, metrics.root_mean_squared_error, metrics.median_absolute_error)
}


@dataclass(frozen=True)
class Difference:
    """How much larger one error is than another, with its 95 % interval, in units of the target."""

    value: float
    low: float
    high: float


def difference(true: np.ndarray, predicted: np.ndarray, other: np.ndarray, error: str, seed: int) -> Difference:
    """By how much the error of `predicted` is larger than that of `other`; rows are resampled in pairs.

    Args:
        true: (rows,).
        predicted: (rows,).
        other: (rows,).
        error: of `ERRORS`.
        seed: of the resampling.
    """
    metric = ERRORS[error]

    def larger(t: np.ndarray, p: np.ndarray, o: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(metric(t, p, axis) - metric(t, o, axis))

    columns = (true, predicted, other)
    return Difference(float(larger(*columns)), *metrics.interval(larger, columns, seed))
