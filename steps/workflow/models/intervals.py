"""Prediction intervals, and the file that keeps what they are computed from with a model.

Split conformal prediction with the residuals of cross-validation instead of those of a calibration set: Vovk 2015,
Cross-conformal predictors; Barber et al. 2021, Predictive inference with the jackknife+. Each residual is divided by
the size that is typical of rows like its own, so that the width of an interval depends on the row: Lei et al. 2018,
Distribution-free predictive inference for regression, section 5.2. Coverage of new rows is guaranteed only if they are
distributed like the training rows; coverage of the test set is measured.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED

import numpy as np
import pandas as pd

from workflow.errors import UserError
from workflow.models import estimators, model_files
from workflow.models.estimators import NOMINAL_LEVEL
from workflow.models.rounding import LOGARITHMS

if TYPE_CHECKING:
    from workflow.models.estimators import Estimator

SCALE_MODEL = "mean_boosting"  # the model in the catalog that the scale is built from
LOWEST = {"log": np.finfo(float).tiny, "log1p": 0.0}  # value of the target whose logarithm is taken
MIN_TAIL_ROWS = 100  # with fewer residuals, both ends of an interval are equally far from the prediction


@dataclass(frozen=True)
class IntervalModel:
    """What the prediction intervals of a fitted estimator are computed from, at any level.

    Attributes:
        target: of the estimator.
        target_transform: one of `estimators.TARGET_TRANSFORMS`, on whose scale all else is measured.
        residuals: true − predicted of each row that was left out in cross-validation, divided by its typical size, in
            ascending order: (rows,).
        weight: sample weights of the residuals, if there are any: (rows,).
        group: a feature; a value of it with `MIN_TAIL_ROWS` residuals has intervals from these alone. Empty for none.
        labels: the value of the group of each residual, as a text: (rows,).
        scale: predicts the typical size from the features and the prediction; None if it is 1 for all rows.
        least_scale: smallest typical size.
    """

    target: str
    target_transform: str
    residuals: np.ndarray
    weight: np.ndarray | None = None
    group: str = ""
    labels: np.ndarray | None = None
    scale: "Estimator | None" = None
    least_scale: float = 0.0

    def predict(self, features: pd.DataFrame, predicted: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper ends of prediction intervals, in units of the target: two of (rows,).

        Args:
            features: (rows, features).
            predicted: (rows,).
            level: fraction of the rows whose true value should lie in the interval, between 0 and 1.

        Raises UserError for a level so close to 1 that there are too few residuals for it.
        """
        sizes, labels = self.sizes(features, predicted), self.labels_of(features)
        return self.around(predicted, sizes, level, labels)

    def around(
        self, predicted: np.ndarray, sizes: np.ndarray, level: float, labels: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what `predict` does, given the `sizes` and `labels_of` the rows: (rows,) each."""
        below, above = self.quantiles(level, labels)
        middle = to_training_scale(predicted, self.target_transform)
        inverse = LOGARITHMS[self.target_transform][1] if self.target_transform in LOGARITHMS else np.asarray
        return inverse(middle + below * sizes), inverse(middle + above * sizes)

    def quantiles(self, level: float, labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the `conformal_quantiles` of each row, its group's if that is known: two of (rows,), or of ()."""
        below, above = map(np.asarray, conformal_quantiles(self.residuals, level, self.weight))
        if labels is None or self.labels is None:
            return below, above
        below, above = np.full(len(labels), below), np.full(len(labels), above)
        for label in np.unique(labels):
            own = self.labels == label
            if own.sum() >= MIN_TAIL_ROWS and level <= highest_level(int(own.sum())):
                weight = None if self.weight is None else self.weight[own]
                pair = conformal_quantiles(self.residuals[own], level, weight)
                below[labels == label], above[labels == label] = pair
        return below, above

    def labels_of(self, features: pd.DataFrame) -> np.ndarray | None:
        """Return the value of the group of each row, as a text: (rows,); None if there are no groups."""
        return labels_in(features[self.group]) if self.group else None

    def sizes(self, features: pd.DataFrame, predicted: np.ndarray) -> np.ndarray:
        """Return the typical size of the residual of each row: (rows,)."""
        if self.scale is None or not len(features):
            return np.ones(len(features))
        rows = scale_features(features, predicted, self.target)
        return np.maximum(estimators.predict(self.scale, rows), self.least_scale)


def labels_in(values: pd.Series) -> np.ndarray:
    """Return the values of a column as texts: (rows,)."""
    return values.astype(str).fillna("").to_numpy(dtype="U")


def scale_features(features: pd.DataFrame, predicted: np.ndarray, target: str) -> pd.DataFrame:
    """Return the features with the prediction in the column of the target: (rows, features + 1)."""
    return features.assign(**{target: predicted})


def conformal_quantiles(residuals: np.ndarray, level: float, weight: np.ndarray | None = None) -> tuple[float, float]:
    """Return between which residuals a new one lies with a probability of at least `level`.

    From `MIN_TAIL_ROWS` residuals on, each tail has half of the rest; of fewer, the largest sizes bound both. Ranks
    have the correction for finite samples.

    Args:
        residuals: in ascending order, (rows,).
        level: between 0 and 1.
        weight: sample weights, (rows,); a new row has their mean (Tibshirani et al. 2019, Conformal prediction under
            covariate shift).

    Raises UserError for a level so close to 1 that no residual bounds it; but not for the nominal one.
    """
    rows = len(residuals)
    tails, highest = number_of_tails(rows), highest_level(rows)
    if level > max(highest, NOMINAL_LEVEL):
        raise UserError(f"level={level:g}: at most {highest:.3g} is possible with {rows:,} cross-validated rows")
    if tails == 1:
        order = np.argsort(np.abs(residuals), kind="stable")
        sizes, own = np.abs(residuals)[order], None if weight is None else weight[order]
        size = sizes[conformal_position(rows, level, own)]
        return float(-size), float(size)
    upper = 1 - (1 - level) / 2
    backwards = None if weight is None else weight[::-1]
    lowest = residuals[::-1][conformal_position(rows, upper, backwards)]
    return float(lowest), float(residuals[conformal_position(rows, upper, weight)])


def number_of_tails(rows: int) -> int:
    """Return 2 if both ends of an interval have a quantile of their own, from so many residuals; else 1."""
    return 2 if rows >= MIN_TAIL_ROWS else 1


def highest_level(rows: int) -> float:
    """Return the highest level that so many residuals bound."""
    return 1 - number_of_tails(rows) / (rows + 1)


def conformal_position(rows: int, level: float, weight: np.ndarray | None = None) -> int:
    """Return the position of the value that a new one exceeds with a probability of at most 1 − `level`, or the last.

    Args:
        rows: number of values, in ascending order.
        level: between 0 and 1.
        weight: of the values, (rows,).
    """
    weight = np.ones(rows) if weight is None else weight
    reached = weight.cumsum() / (weight.sum() + weight.mean())
    return min(rows - 1, int(np.searchsorted(np.round(reached, 9), np.round(level, 9))))


def to_training_scale(values: np.ndarray | pd.Series, target_transform: str) -> np.ndarray:
    """Transform values of the target to the scale that the estimator is fitted on: (rows,).

    A blend may predict what has no logarithm, because some of its members are fitted on the target itself.
    """
    numbers = np.asarray(values)
    if target_transform not in LOGARITHMS:
        return numbers
    return LOGARITHMS[target_transform][0](np.maximum(numbers, LOWEST[target_transform]))


def save(intervals: IntervalModel, path: Path) -> None:
    """Write an interval model to a skops file."""
    import skops.io

    skops.io.dump(vars(intervals), path, compression=ZIP_DEFLATED)  # most of the file is text


def load(path: Path) -> IntervalModel:
    """Load the interval model in a skops file; UserError if it has types that none has."""
    return IntervalModel(**model_files.load(path, [SCALE_MODEL]))
