"""Prediction intervals from out-of-fold residuals.

Split conformal prediction with the residuals of cross-validation instead of those of a calibration set: Vovk 2015,
Cross-conformal predictors; Barber et al. 2021, Predictive inference with the jackknife+. Coverage of new rows is
guaranteed only if they are distributed like the training rows; coverage of the test set is measured.
"""

import math

import numpy as np
import pandas as pd

from workflow.models.rounding import LOGARITHMS

LOWEST = {"log": np.finfo(float).tiny, "log1p": 0.0}  # value of the target whose logarithm is taken
NOMINAL_COVERAGE = 0.9  # fraction of rows whose true value should lie in the interval


def conformal_quantile(oof_predictions: pd.DataFrame, target_transform: str) -> float:
    """Return the half-width of a prediction interval, on the scale that the estimator is fitted on.

    It is the smallest out-of-fold |residual| that reaches `NOMINAL_COVERAGE`, with the correction for finite samples.

    Args:
        oof_predictions: as `cross_validation.cross_val_predict_and_refit` returns them.
        target_transform: one of `estimators.TARGET_TRANSFORMS`.
    """
    true = to_training_scale(oof_predictions["true"], target_transform)
    residuals = np.sort(np.abs(true - to_training_scale(oof_predictions["predicted"], target_transform)))
    rank = min(len(residuals), math.ceil((len(residuals) + 1) * NOMINAL_COVERAGE))
    return float(residuals[rank - 1])


def prediction_interval(predicted: np.ndarray, quantile: float, target_transform: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and the upper ends of prediction intervals, in units of the target: two of (rows,).

    Args:
        predicted: (rows,).
        quantile: see `conformal_quantile`.
        target_transform: one of `estimators.TARGET_TRANSFORMS`.
    """
    middle = to_training_scale(predicted, target_transform)
    inverse = LOGARITHMS[target_transform][1] if target_transform in LOGARITHMS else np.asarray
    return inverse(middle - quantile), inverse(middle + quantile)


def coverage(true: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Return the fraction of intervals that contain the true value, ends included; takes arrays of (rows,)."""
    return float(((low <= true) & (true <= high)).mean())


def to_training_scale(values: np.ndarray | pd.Series, target_transform: str) -> np.ndarray:
    """Transform values of the target to the scale that the estimator is fitted on: (rows,).

    A blend may predict what has no logarithm, because some of its members are fitted on the target itself.
    """
    numbers = np.asarray(values)
    if target_transform not in LOGARITHMS:
        return numbers
    return LOGARITHMS[target_transform][0](np.maximum(numbers, LOWEST[target_transform]))
