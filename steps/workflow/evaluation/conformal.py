"""Prediction intervals from what cross-validation predicted of rows that a model had not seen.

Split conformal prediction, with the residuals of cross-validation in the place of those of a part held out: Vovk 2015,
Cross-conformal predictors; Barber et al. 2021, Predictive inference with the jackknife+. The promise that the intervals
hold a share of new rows rests on their being like the old ones; what they hold of the test part is measured.
"""

import math

import numpy as np
import pandas as pd

from workflow.models.rounding import LOGARITHMS

LEVEL = 0.9  # share of rows whose true value an interval is to hold


def conformal_quantile(tested: pd.DataFrame, scale: str) -> float:
    """How far a true value is from its prediction at most, on the `scale` that was learned, in `LEVEL` of the rows.

    Args:
        tested: as `cross_validation.cross_val_predict_and_refit` gives it.
        scale: of `estimators.TARGET_TRANSFORMS`.
    """
    far = np.sort(np.abs(to_training_scale(tested["true"], scale) - to_training_scale(tested["predicted"], scale)))
    return float(far[min(len(far), math.ceil((len(far) + 1) * LEVEL)) - 1])


def interval(predicted: np.ndarray, half: float, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper end of each prediction's interval, in units of the target: two of (rows,)."""
    middle = to_training_scale(predicted, scale)
    back = LOGARITHMS[scale][1] if scale in LOGARITHMS else np.asarray
    return back(middle - half), back(middle + half)


def coverage(true: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """The share of intervals that hold the true value, their ends included: of arrays of (rows,)."""
    return float(((low <= true) & (true <= high)).mean())


def to_training_scale(values: np.ndarray | pd.Series, scale: str) -> np.ndarray:
    """Values of the target on the scale on which it is learned: (rows,)."""
    numbers = np.asarray(values)
    return LOGARITHMS[scale][0](numbers) if scale in LOGARITHMS else numbers
