"""Predictions of the test sets of several models, whose rows are recognized by their values."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from workflow.data import split
from workflow.data.contract import Contract
from workflow.data.stored import StoredRows
from workflow.evaluation.paired import Difference, difference
from workflow.evaluation.ranking import RankingMetric

PREDICTION_COLUMNS = ("true", "predicted", "weight")  # the last only if there are sample weights


@dataclass(frozen=True)
class ScoredRows:
    """Test rows and their predictions.

    Attributes:
        rows: without folds, weights and derived columns: (rows, columns).
        predictions: the columns of `PREDICTION_COLUMNS`: (rows, 2 or 3).
    """

    rows: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def true(self) -> np.ndarray:
        """The target: (rows,)."""
        return self.predictions["true"].to_numpy()

    @property
    def predicted(self) -> np.ndarray:
        """The predictions: (rows,)."""
        return self.predictions["predicted"].to_numpy()

    @property
    def weight(self) -> np.ndarray | None:
        """Sample weights, if there are any: (rows,)."""
        return self.predictions["weight"].to_numpy() if "weight" in self.predictions else None

    def error(self, metric: RankingMetric) -> float:
        """Return the error of all predictions."""
        return float(metric.error(self.true, self.predicted, weight=self.weight))

    def take(self, positions: np.ndarray) -> "ScoredRows":
        """Return the rows at `positions`."""
        return ScoredRows(self.rows.iloc[positions], self.predictions.iloc[positions])

    def save(self, rows: Path, predictions: Path) -> None:
        """Write the rows and their predictions to two Parquet files."""
        self.rows.to_parquet(rows)
        self.predictions.to_parquet(predictions)


def load(rows: Path, predictions: Path) -> ScoredRows:
    """Read what `save` has written."""
    return ScoredRows(pd.read_parquet(rows), pd.read_parquet(predictions))


def scored_rows(
    predictions: pd.DataFrame, training_set: StoredRows, test_set: StoredRows, contract: Contract
) -> ScoredRows:
    """Return the test rows that an evaluate run has scored.

    Args:
        predictions: of the rows that were not seen in training, with the columns of `PREDICTION_COLUMNS`.
        training_set: rows of the preprocess run.
        test_set: rows of the preprocess run.
        contract: of both.
    """
    rows = pd.concat(test_set.select(contract.content).chunks(), ignore_index=True)
    if len(predictions) < len(rows):
        seen = split.content_hashes(test_set, contract).isin(split.content_hashes(training_set, contract))
        rows = rows[~seen]
    given = [name for name in PREDICTION_COLUMNS if name in predictions]
    return ScoredRows(rows.reset_index(drop=True), predictions[given])


def unique_ids(scored: Sequence[ScoredRows]) -> list[np.ndarray]:
    """Return a hash per row of each set, which is equal in two sets where the rows are, and unique in each: (rows,).

    Rows are recognized by the columns that all sets have as numbers, or all as something else, and by the target. Of
    equal rows in one set, the first is the first of another set. Integers and floats of the same value are equal.
    """
    first, *others = [each.rows for each in scored]
    shared = [
        name
        for name in first
        if all(name in each and is_numeric_dtype(each[name]) == is_numeric_dtype(first[name]) for each in others)
    ]
    found = []
    for each in scored:
        rows = each.rows[shared]
        comparable = rows.astype(dict.fromkeys(rows.select_dtypes("number"), float)).assign(**{"": each.true})
        hashes = split.row_hashes(comparable)
        found.append(pd.DataFrame({"hash": hashes, "before": hashes.groupby(hashes).cumcount()}))
    return [split.row_hashes(each).to_numpy() for each in found]


def shared_difference(one: ScoredRows, other: ScoredRows, metric: RankingMetric, seed: int) -> tuple[int, Difference]:
    """Return how many rows both have scored, and the error of `other` minus that of `one` on these, in pairs.

    Raises ValueError if they share no row.
    """
    ids, other_ids = unique_ids([one, other])
    _, left, right = np.intersect1d(ids, other_ids, assume_unique=True, return_indices=True)
    if not len(left):
        raise ValueError("they share no test row")
    first, second = one.take(left), other.take(right)
    return len(left), difference(second.true, second.predicted, first.predicted, metric, seed, second.weight)
