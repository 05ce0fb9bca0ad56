"""Predictions of the test sets of several models, whose rows are recognized by their values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workflow.data import split
from workflow.data.contract import Contract
from workflow.data.stored import StoredRows
from workflow.evaluation.paired import Difference, difference
from workflow.evaluation.ranking import RankingMetric


@dataclass(frozen=True)
class ScoredRows:
    """Test rows and their predictions.

    Attributes:
        ids: hashes of the rows: equal in two sets where the rows are, and only once in each: (rows,) of uint64.
        true: the target: (rows,).
        predicted: (rows,).
        weight: sample weights, if there are any: (rows,).
    """

    ids: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    weight: np.ndarray | None = None

    def error(self, metric: RankingMetric) -> float:
        """Return the error of all predictions."""
        return float(metric.error(self.true, self.predicted, weight=self.weight))

    def take(self, positions: np.ndarray) -> "ScoredRows":
        """Return the rows at `positions`."""
        weight = None if self.weight is None else self.weight[positions]
        return ScoredRows(self.ids[positions], self.true[positions], self.predicted[positions], weight)


def shared_columns(contracts: Sequence[Contract]) -> list[str]:
    """Return the columns that the rows of all contracts have, in the order of the first: rows are recognized by them.

    Folds, weights and derived columns are left out, and columns that are numbers in one contract and texts in another.
    """
    first, *others = contracts
    return [
        name
        for name in first.content
        if all(name in each.content and each.columns[name].kind == first.columns[name].kind for each in others)
    ]


def scored_rows(
    predictions: pd.DataFrame, training_set: StoredRows, test_set: StoredRows, contract: Contract, columns: list[str]
) -> ScoredRows:
    """Return the test rows that an evaluate run has scored.

    Args:
        predictions: `true`, `predicted` and perhaps `weight` of the rows that were not seen in training.
        training_set: rows of the preprocess run.
        test_set: rows of the preprocess run.
        contract: of both.
        columns: by which rows are recognized: see `shared_columns`.
    """
    ids = unique_ids(test_set, columns)
    if len(predictions) < len(test_set):
        seen = split.content_hashes(test_set, contract).isin(split.content_hashes(training_set, contract))
        ids = ids[~seen.to_numpy()]
    weight = predictions["weight"].to_numpy() if "weight" in predictions else None
    return ScoredRows(ids, predictions["true"].to_numpy(), predictions["predicted"].to_numpy(), weight)


def unique_ids(rows: StoredRows, columns: list[str]) -> np.ndarray:
    """Return a hash of `columns` per row, and of how many equal rows stand before it: (rows,) of uint64.

    Integers and floats of the same value have the same hash.
    """
    chunks = [
        split.row_hashes(chunk.astype(dict.fromkeys(chunk.select_dtypes("number"), float)))
        for chunk in rows.select(columns).chunks()
    ]
    hashes = pd.concat(chunks, ignore_index=True)
    return split.row_hashes(pd.DataFrame({"hash": hashes, "before": hashes.groupby(hashes).cumcount()})).to_numpy()


def shared_difference(one: ScoredRows, other: ScoredRows, metric: RankingMetric, seed: int) -> tuple[int, Difference]:
    """Return how many rows both have scored, and the error of `other` minus that of `one` on these, in pairs.

    Raises ValueError if they share no row.
    """
    _, left, right = np.intersect1d(one.ids, other.ids, assume_unique=True, return_indices=True)
    if not len(left):
        raise ValueError("they share no test row")
    first, second = one.take(left), other.take(right)
    found = difference(second.true, second.predicted, first.predicted, metric, seed, second.weight)
    return len(left), found
