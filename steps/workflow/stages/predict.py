"""Predict: the rows of a file as the file has them, a chunk at a time, with prediction intervals."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workflow.data import contract, split
from workflow.data.contract import CoercedValues, Contract
from workflow.data.findings import Finding
from workflow.data.own_features import OwnFeatures
from workflow.data.rejections import coercion_findings, rejection_findings
from workflow.data.sampling import evenly_spaced_positions
from workflow.errors import UserError
from workflow.evaluation import metrics
from workflow.evaluation.intervals import interval_columns, interval_scores
from workflow.models import estimators
from workflow.parallel.executors import iterate_in_threads

if TYPE_CHECKING:
    from workflow.data.tables import Table
    from workflow.evaluation.contributions import Explainer
    from workflow.models.estimators import Estimator
    from workflow.models.intervals import IntervalModel

PREDICTION = "prediction"
WEIGHT = "sample weight"  # column of tested rows
INTERVAL = ("prediction_low", "prediction_high")
DRIFT_SAMPLE_ROWS = 20_000
EXPLAINED_ROWS = 200  # at once: each such part takes a second or more, so that the time left is soon known


@dataclass(frozen=True)
class Predictor:
    """Everything needed to predict the rows of a chunk, in any process.

    Attributes:
        estimator: fitted.
        contract: of its training set.
        intervals: from which the prediction intervals are computed.
        levels: of the intervals.
        training_hashes: the `split.content_hashes` of the training set.
        drift_fraction: of the rows of a chunk that drift is measured on.
        features: the function of the user that derives columns, if there is one.
        contributions: names of the columns that `explained` will add; empty if it will not.
    """

    estimator: "Estimator"
    contract: Contract
    intervals: "IntervalModel"
    levels: list[float]
    training_hashes: pd.Series
    drift_fraction: float
    features: OwnFeatures | None = None
    contributions: Sequence[str] = ()

    def __call__(self, rows: pd.DataFrame) -> "Chunk":
        """Predict the rows of a chunk.

        Raises UserError for a column that is missing, and for one that is called like a column of the output.
        """
        features = self.contract.select(self.contract.raw_features)
        contract.check_columns(rows, features, "is it the file for this model?")
        typed_already = contract.is_typed_by(rows, self.contract)
        typed, rejected = contract.check(rows, features, typed_already)
        if self.features:
            typed = self.features.extend(typed, self.contract)
        predictions = self.predict(typed)
        if taken := [name for name in (*predictions, *self.contributions) if name in rows]:
            raise UserError(f"column {', '.join(taken)} of the data is called like a column of the output; rename it")
        chunk = Chunk(
            predicted=pd.concat([rows.loc[typed.index], predictions], axis=1),
            rows=len(rows),
            rejected=rejected,
            coerced={} if typed_already else contract.coerced_values(rows, typed, features),
            sample=typed.iloc[evenly_spaced_positions(len(typed), math.ceil(self.drift_fraction * len(typed)))],
            typed=typed if self.contributions else None,
        )
        if self.contract.target in rows:
            self.add_true_values(chunk, rows, typed, predictions, typed_already)
        return chunk

    def predict(self, typed: pd.DataFrame) -> pd.DataFrame:
        """Return the predictions of typed rows with the ends of their intervals: (rows, 1 + 2 · levels)."""
        predicted = estimators.predict(self.estimator, typed) if len(typed) else np.empty(0)
        ends = self.ends(typed, predicted)
        return pd.DataFrame({PREDICTION: predicted, **interval_columns(INTERVAL, ends)}, index=typed.index)

    def ends(self, typed: pd.DataFrame, predicted: np.ndarray) -> dict[float, tuple[np.ndarray, np.ndarray]]:
        """Return the lower and the upper ends of the prediction intervals, each (rows,), by level."""
        sizes, labels = self.intervals.sizes(typed, predicted), self.intervals.labels_of(typed)
        return {level: self.intervals.around(predicted, sizes, level, labels) for level in self.levels}

    def add_true_values(
        self, chunk: "Chunk", rows: pd.DataFrame, typed: pd.DataFrame, predictions: pd.DataFrame, typed_already: bool
    ) -> None:
        """Add to a chunk the true values of its rows beside their predictions, except for training rows."""
        target = self.contract.target
        weight = [name for name in [self.contract.weight] if name and name in rows]
        true, _ = contract.check(rows, self.contract.select([target, *weight]), typed_already)
        contract.check_weights(true, replace(self.contract, weight=weight[0] if weight else None))
        known = typed.join(true, how="inner")
        seen = split.row_hashes(known[self.contract.content]).isin(self.training_hashes).to_numpy()
        chunk.seen = int(seen.sum())
        unseen = known.loc[~seen, [target, *weight]].rename(columns=dict.fromkeys(weight, WEIGHT))
        chunk.tested = unseen.join(predictions)


@dataclass
class Chunk:
    """The result for a chunk of rows.

    Attributes:
        predicted: the readable rows with their predictions.
        rows: how many there were.
        rejected: a row per rejected value.
        coerced: values that were unreadable and taken as missing, by column.
        sample: of the readable rows, typed, to measure drift on.
        typed: the readable rows, typed, if they are to be explained.
        seen: rows that were in the training set.
        tested: the target of the others with their predictions, if the file has it.
    """

    predicted: pd.DataFrame
    rows: int
    rejected: pd.DataFrame
    coerced: dict[str, CoercedValues]
    sample: pd.DataFrame
    typed: pd.DataFrame | None = None
    seen: int = 0
    tested: pd.DataFrame | None = None


def explained(chunks: Iterable[Chunk], explainer: "Explainer", advance: Callable[[int], None]) -> Iterator[Chunk]:
    """Yield chunks whose rows have the contributions of the features beside their predictions.

    Args:
        chunks: of a `Predictor` that knows the columns of `explainer`.
        explainer: of its estimator.
        advance: called with the number of rows of each part that has been explained.
    """
    for chunk in chunks:
        if chunk.typed is not None:
            starts = range(0, max(1, len(chunk.typed)), EXPLAINED_ROWS)
            parts = []
            for part in iterate_in_threads(
                explainer, [chunk.typed[start : start + EXPLAINED_ROWS] for start in starts]
            ):
                advance(len(part))
                parts.append(part)
            chunk.predicted = pd.concat([chunk.predicted, pd.concat(parts)], axis=1)
        yield chunk


class Predictions:
    """What the chunks of a file add up to."""

    def __init__(self, table: "Table") -> None:
        """Start with the lines of the file that are no rows."""
        malformed = table.malformed
        self.rows: int = malformed["row"].nunique()
        self.notes = table.findings
        self.seen = 0
        self.rejections = [malformed]
        self.coerced: dict[str, CoercedValues] = {}
        self.samples: list[pd.DataFrame] = []
        self.tested: list[pd.DataFrame] = []

    def collect(self, chunks: Iterable[Chunk]) -> Iterator[pd.DataFrame]:
        """Yield the rows of each chunk with their predictions, and remember the rest."""
        for chunk in chunks:
            self.rows += chunk.rows
            self.seen += chunk.seen
            self.rejections.append(chunk.rejected)
            contract.add_coerced(self.coerced, chunk.coerced)
            self.samples.append(chunk.sample)
            if chunk.tested is not None:
                self.tested.append(chunk.tested)
            yield chunk.predicted

    @property
    def rejected(self) -> pd.DataFrame:
        """All rejected values, by line of the file."""
        return pd.concat(self.rejections).sort_values(["row", "column"], ignore_index=True)

    @property
    def sample(self) -> pd.DataFrame:
        """The rows to measure drift on."""
        return pd.concat(self.samples)

    @property
    def findings(self) -> list[Finding]:
        """What is odd about the file."""
        rejected = rejection_findings(self.rejected, self.rows, target="")
        return [*self.notes, *coercion_findings(self.coerced, self.rows), *rejected]

    def check_rejected(self) -> None:
        """Raise UserError if most rows were rejected: then the file is another one."""
        rejected = pd.concat(self.rejections)
        if rejected["row"].nunique() > self.rows / 2:
            row, column, value, reason = rejected.iloc[0]
            raise UserError(
                f"most of the {self.rows:,} rows break the contract of the model: column {column} {reason} (first:"
                f" {value!r} in line {row}); is it the file for this model?"
            )

    def scores(self, levels: list[float]) -> dict[str, float]:
        """Return the scores of the rows with a target that were not in training; empty if there are none."""
        if not self.tested or not sum(map(len, self.tested)):
            return {}
        tested = pd.concat(self.tested)
        weight = tested.pop(WEIGHT).to_numpy() if WEIGHT in tested else None
        true, predicted, *bounds = tested.to_numpy().T
        ends = dict(zip(levels, zip(bounds[::2], bounds[1::2], strict=True), strict=True))
        scored = metrics.applicable_metrics(true)
        return metrics.scores(scored, true, predicted, weight=weight) | interval_scores(true, ends, weight)
