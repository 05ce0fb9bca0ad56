"""What an estimator predicts of a test part, which may be larger than the memory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from errors import UserError
from tabular.learning import estimators, scoring, split
from tabular.reading.contract import Contract
from tabular.reading.stored import Stored

if TYPE_CHECKING:
    from tabular.learning.estimators import Estimator


@dataclass(frozen=True)
class Tested:
    """The rows of a test part that were not seen in training, and what is predicted of them: arrays of (rows,)."""

    places: np.ndarray  # in the test part
    ids: pd.Series  # what `split.row_ids` says
    true: np.ndarray
    predicted: np.ndarray
    typical: np.ndarray  # what the baseline answers
    seen: int  # other rows of it, which were
    leaked: dict[str, float]  # what scores would read with those, if there are any


def test(estimator: "Estimator", training: Stored, test: Stored, terms: Contract) -> Tested:
    """Test an estimator that has learned from the training part. Raises UserError if every test row was seen there."""
    ids = split.ids_of(test)
    seen = ids.isin(split.ids_of(training))
    if seen.all():
        raise UserError("every test row is in the training part too: no score would be honest; drop duplicates")
    target, unseen = test[terms.target], np.flatnonzero(~seen)
    true = target.to_numpy()
    predicted = predictions(estimator, test, terms)
    baseline = estimators.baseline(estimator, training[terms.target])
    return Tested(
        unseen,
        ids[unseen],
        true[unseen],
        predicted[unseen],
        estimators.predict(baseline, target.iloc[unseen].to_frame()),
        int(seen.sum()),
        scoring.scores(scoring.metrics_of(true), true, predicted, "leaked_") if seen.any() else {},
    )


def predictions(estimator: "Estimator", rows: Stored, terms: Contract) -> np.ndarray:
    """What an estimator predicts of all rows: (rows,)."""
    return np.concatenate([estimators.predict(estimator, piece[terms.features]) for piece in rows.chunks()])
