"""Predictions of the rows of a file as the file has them, a chunk at a time."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workflow.data import contract, split
from workflow.data.sampling import evenly_spaced_positions
from workflow.errors import UserError
from workflow.evaluation import conformal
from workflow.models import estimators

if TYPE_CHECKING:
    from workflow.models.estimators import Estimator

PREDICTION = ["prediction", "prediction_low", "prediction_high"]
SAMPLE = 20_000  # rows of a file that drift is measured on


@dataclass(frozen=True)
class Predictor:
    """What is needed to predict the rows of a chunk, anywhere."""

    estimator: "Estimator"
    terms: contract.Contract
    half: float  # of an interval, on the scale that the estimator has learned
    columns: list[str]  # of the training part
    learned: pd.Series  # what `split.row_hashes` says of it
    share: float  # of the rows of a chunk that drift is measured on

    def __call__(self, rows: pd.DataFrame) -> "Chunk":
        """What becomes of a chunk of rows.

        Raises UserError for a column that is not there, and for one with the name of a prediction.
        """
        features, target = self.terms.select(self.terms.features), self.terms.select([self.terms.target])
        contract.check_columns(rows, features, "is it the file for this model?")
        if taken := [name for name in PREDICTION if name in rows]:
            raise UserError(f"column {', '.join(taken)} of the data has the name of one of the output's; rename it")
        as_it_is, scale = contract.is_typed_by(rows, self.terms), estimators.target_transform_of(self.estimator)
        typed, faults = contract.check(rows, features, as_it_is)
        predicted = estimators.predict(self.estimator, typed) if len(typed) else np.empty(0)
        found = pd.DataFrame(
            dict(zip(PREDICTION, (predicted, *conformal.interval(predicted, self.half, scale)), strict=True)),
            index=typed.index,
        )
        made = Chunk(
            pd.concat([rows.loc[typed.index], found], axis=1),
            len(rows),
            faults,
            typed.iloc[evenly_spaced_positions(len(typed), math.ceil(self.share * len(typed)))],
        )
        if self.terms.target in rows:
            true, _ = contract.check(rows, target, as_it_is)
            known = typed.join(true, how="inner")
            seen = split.row_hashes(known[self.columns]).isin(self.learned).to_numpy()
            made.seen = int(seen.sum())
            made.tested = known.loc[~seen, [self.terms.target]].join(found)
        return made


@dataclass
class Chunk:
    """What has become of a chunk of rows."""

    predicted: pd.DataFrame  # its rows that can be read, with their predictions
    rows: int
    rejected: pd.DataFrame
    sample: pd.DataFrame
    seen: int = 0  # rows that were in training
    tested: pd.DataFrame | None = None  # the target of the others and its prediction, if the file has it
