"""Paired comparison of two sets of predictions of the same rows."""

from dataclasses import dataclass

import numpy as np

from workflow.evaluation import metrics
from workflow.evaluation.ranking import RankingMetric


@dataclass(frozen=True)
class Difference:
    """A difference of two errors with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def difference(
    true: np.ndarray,
    predicted: np.ndarray,
    other: np.ndarray,
    metric: RankingMetric,
    seed: int,
    weight: np.ndarray | None = None,
) -> Difference:
    """Return the error of `predicted` minus that of `other`; the bootstrap resamples rows in pairs.

    Args:
        true: (rows,).
        predicted: (rows,).
        other: (rows,).
        metric: whose errors are compared.
        seed: of the bootstrap.
        weight: sample weights, resampled with their rows: (rows,).
    """

    def metric_difference(
        t: np.ndarray, p: np.ndarray, o: np.ndarray, axis: int = -1, weight: np.ndarray | None = None
    ) -> np.ndarray:
        return np.asarray(metric.error(t, p, axis, weight) - metric.error(t, o, axis, weight))

    statistic, columns = metrics.with_weight(metric_difference, (true, predicted, other), weight)
    return Difference(float(statistic(*columns)), *metrics.bootstrap_interval(statistic, columns, seed))
