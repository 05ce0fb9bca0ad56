"""What an estimator predicts of a test part, which may be larger than the memory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workflow.data import split
from workflow.data.contract import Contract
from workflow.data.stored import StoredRows
from workflow.errors import UserError
from workflow.evaluation import metrics
from workflow.models import estimators

if TYPE_CHECKING:
    from workflow.models.estimators import Estimator


@dataclass(frozen=True)
class TestPredictions:
    """The rows of a test part that were not seen in training, and what is predicted of them: arrays of (rows,)."""

    places: np.ndarray  # in the test part
    ids: pd.Series  # what `split.row_hashes` says
    true: np.ndarray
    predicted: np.ndarray
    typical: np.ndarray  # what the baseline answers
    seen: int  # other rows of it, which were
    leaked: dict[str, float]  # what scores would read with those, if there are any


def predict_test_set(
    estimator: "Estimator", training: StoredRows, test: StoredRows, terms: Contract
) -> TestPredictions:
    """Test an estimator that has learned from the training part. Raises UserError if every test row was seen there."""
    ids = split.hash_rows(test)
    seen = ids.isin(split.hash_rows(training))
    if seen.all():
        raise UserError("every test row is in the training part too: no score would be honest; drop duplicates")
    target, unseen = test[terms.target], np.flatnonzero(~seen)
    true = target.to_numpy()
    predicted = predictions(estimator, test, terms)
    baseline = estimators.baseline(estimator, training[terms.target])
    return TestPredictions(
        unseen,
        ids[unseen],
        true[unseen],
        predicted[unseen],
        estimators.predict(baseline, target.iloc[unseen].to_frame()),
        int(seen.sum()),
        metrics.scores(metrics.applicable_metrics(true), true, predicted, "leaked_") if seen.any() else {},
    )


def predictions(estimator: "Estimator", rows: StoredRows, terms: Contract) -> np.ndarray:
    """What an estimator predicts of all rows: (rows,)."""
    return np.concatenate([estimators.predict(estimator, piece[terms.features]) for piece in rows.chunks()])
