"""Two predictions of the same rows, compared."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from tabular.learning import scoring

ERRORS = {
    metric.__name__: metric
    for metric in (scoring.mean_absolute_error, scoring.root_mean_squared_error, scoring.median_absolute_error)
}


@dataclass(frozen=True)
class Difference:
    """How much larger one error is than another, with its 95 % interval, in units of the target."""

    value: float
    low: float
    high: float


def difference(true: np.ndarray, predicted: np.ndarray, other: np.ndarray, error: str, seed: int) -> Difference:
    """By how much the error of `predicted` is larger than that of `other`; the rows are resampled in pairs.

    The interval is that of a percentile bootstrap, narrowed where not all rows are resampled: see
    `scoring.scores_with_intervals`.

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

    value = float(larger(true, predicted, other))
    chosen = np.random.default_rng(seed).permutation(len(true))[: scoring.ROWS]
    sample = (true[chosen], predicted[chosen], other[chosen])
    found = bootstrap(
        sample,
        larger,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=scoring.RESAMPLES,
        batch=max(1, 10**7 // len(chosen)),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    narrowing, middle = np.sqrt(len(chosen) / len(true)), float(larger(*sample))
    ends = (float(value + (end - middle) * narrowing) for end in (found.low, found.high))
    return Difference(value, *ends)
