"""Predictions of a test set, in chunks, because it may be larger than memory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workflow.data import split
from workflow.data.contract import Contract
from workflow.data.own_features import OwnFeatures
from workflow.data.stored import StoredRows
from workflow.errors import UserError
from workflow.evaluation import metrics
from workflow.evaluation.ranking import RankingMetric
from workflow.models import estimators

if TYPE_CHECKING:
    from workflow.models.estimators import Estimator


@dataclass(frozen=True)
class TestPredictions:
    """Predictions of the test rows that were not seen in training.

    Attributes:
        positions: of these rows in the test set: (rows,).
        ids: their hashes, see `split.content_hashes`: (rows,).
        true: the target: (rows,).
        predicted: (rows,).
        weight: sample weights, if there are any: (rows,).
        baseline: predictions of the constant baseline: (rows,).
        seen_rows: number of other test rows, which were seen in training.
        leaked_scores: test metrics (`leaked_…`) of all rows, seen ones included; empty if there are none.
    """

    positions: np.ndarray
    ids: pd.Series
    true: np.ndarray
    predicted: np.ndarray
    weight: np.ndarray | None
    baseline: np.ndarray
    seen_rows: int
    leaked_scores: dict[str, float]


def predict_test_set(
    estimator: "Estimator", training_set: StoredRows, test_set: StoredRows, contract: Contract, metric: RankingMetric
) -> TestPredictions:
    """Predict the test rows that a fitted estimator has not seen; UserError if it has seen them all.

    The baseline is the constant with the least error by `metric` on the training set.
    """
    ids = split.content_hashes(test_set, contract)
    seen = ids.isin(split.content_hashes(training_set, contract))
    if seen.all():
        raise UserError("every test row is in the training set too, so no score would be honest; drop duplicates")
    target, unseen = test_set[contract.target], np.flatnonzero(~seen)
    metric.check_target(target)
    true = target.to_numpy()
    predicted = predictions(estimator, test_set, contract)
    training_weight, weight = weights_in(training_set, contract), weights_in(test_set, contract)
    constant = metric.best_constant(training_set[contract.target].to_numpy(), training_weight)
    return TestPredictions(
        positions=unseen,
        ids=ids[unseen],
        true=true[unseen],
        predicted=predicted[unseen],
        weight=None if weight is None else weight[unseen],
        baseline=np.full(len(unseen), constant),
        seen_rows=int(seen.sum()),
        leaked_scores=(
            metrics.scores(metrics.applicable_metrics(true), true, predicted, "leaked_", weight) if seen.any() else {}
        ),
    )


def predictions(
    estimator: "Estimator", rows: StoredRows, contract: Contract, own: OwnFeatures | None = None
) -> np.ndarray:
    """Predict all rows, one chunk at a time: (rows,). A function `own` derives the columns that they do not have."""
    chunks = (own.extend(chunk, contract) if own else chunk for chunk in rows.chunks())
    return np.concatenate([estimators.predict(estimator, chunk[contract.features]) for chunk in chunks])


def weights_in(rows: StoredRows, contract: Contract) -> np.ndarray | None:
    """Return the sample weights of rows, (rows,), if the contract names any."""
    return rows[contract.weight].to_numpy() if contract.weight else None
