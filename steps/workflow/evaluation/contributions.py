"""Contributions of the features to the prediction of any row: its SHAP values, as columns of an output."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from workflow.data.sampling import random_positions
from workflow.errors import UserError
from workflow.evaluation import shapley
from workflow.models import blending
from workflow.models.catalog import get_model
from workflow.parallel.executors import ProgressBar, in_this_thread, no_progress_bar, single_blas_thread, use_executor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflow.data.stored import StoredRows
    from workflow.models.estimators import Estimator

PREFIX, BASE = "contribution_", "base"


@dataclass(frozen=True)
class Explainer:
    """Everything needed to explain predictions, in any process.

    Attributes:
        estimator: fitted.
        model: its name; of a blend, its members have theirs.
        background: see `background_rows`.
        seed: of the evaluate run, whose values it repeats for the same rows.
    """

    estimator: "Estimator"
    model: str
    background: pd.DataFrame
    seed: int

    @property
    def columns(self) -> list[str]:
        """The names of the columns of contributions.

        Raises UserError for a feature that is called like the base.
        """
        if BASE in self.background:
            raise UserError(f"explain=true: the feature {BASE} would be called like the base; rename it in the data")
        return [f"{PREFIX}{name}" for name in (*self.background, BASE)]

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return contributions that add up to the prediction, in units of the target: (rows, features + 1).

        The last one is the mean prediction of the background. Computes in one thread, as a part of many rows.
        """
        if rows.empty:
            return pd.DataFrame(columns=self.columns, index=rows.index, dtype=float)
        with use_executor(in_this_thread):
            values, base = shap_values(
                self.estimator, self.model, rows, self.background, self.seed, no_progress_bar("")
            )
        return values.assign(**{BASE: base}).set_axis(self.columns, axis=1)


def background_rows(training_set: "StoredRows", features: "Sequence[str]", seed: int) -> pd.DataFrame:
    """Return the training rows whose values stand for "unknown": (`shapley.BACKGROUND` or fewer, features)."""
    positions = random_positions(len(training_set), shapley.BACKGROUND, seed)
    return training_set.take(positions)[[*features]]


def shap_values(
    estimator: "Estimator",
    model: str,
    rows: pd.DataFrame,
    background: pd.DataFrame,
    seed: int,
    progress_bar: ProgressBar,
) -> tuple[pd.DataFrame, float]:
    """Return the SHAP values of rows, (rows, features), and the mean prediction that they start from.

    Shapley values are linear in what they explain, so those of a blend are the weighted mean of its members'.

    Args:
        estimator: fitted.
        model: its name.
        rows: to explain: (rows, features).
        background: see `background_rows`.
        seed: of the permutations.
        progress_bar: wraps an iterable of known length.
    """
    members = blending.blend_members(estimator, model)
    with single_blas_thread():
        explained = [
            (weight, *shapley.explain(member, rows, background, get_model(name).explainer, seed, progress_bar))
            for name, (weight, member) in members.items()
        ]
    return sum(weight * values for weight, values, _ in explained), sum(weight * base for weight, _, base in explained)
