"""Learning curve: the error of a model that is fitted on fewer rows, and what more rows may bring."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from sklearn.base import clone

from workflow.data.contract import Contract
from workflow.evaluation.ranking import RankingMetric
from workflow.models import estimators
from workflow.parallel.executors import ProgressBar, run_in_threads

if TYPE_CHECKING:
    from workflow.models.estimators import Estimator

PARTS = (8, 4, 2)  # the training rows are divided by
MAX_REPEATS = 4  # with other rows
MIN_PART_ROWS = 30
MAX_ROWS = 20_000  # to learn from, and to test on


@dataclass(frozen=True)
class Sets:
    """Training rows and test rows, with the contract of both."""

    train: pd.DataFrame
    test: pd.DataFrame
    contract: Contract


def learning_curve(
    estimator: "Estimator", sets: Sets, error: float, metric: RankingMetric, progress_bar: ProgressBar
) -> pd.DataFrame:
    """Fit clones on an eighth, a quarter and a half of the training rows, and score them on the test rows.

    Args:
        estimator: fitted on all training rows; its parameters stay, the number of trees too.
        sets: what to learn from, and what to test on.
        error: of `estimator` on the test rows, by the metric.
        metric: to score with.
        progress_bar: wraps an iterable of known length.

    Returns:
        `rows` that it is fitted on and `score`: a line per clone, and the last one of all rows.
    """
    jobs = [
        (divisor, offset)
        for divisor in PARTS
        if len(sets.train) // divisor >= MIN_PART_ROWS
        for offset in range(min(divisor, MAX_REPEATS))
    ]

    def score(job: tuple[int, int]) -> dict[str, float]:
        divisor, offset = job
        rows = sets.train.iloc[offset::divisor]
        return {"rows": len(rows), "score": score_of(fit_clone(estimator, rows, sets.contract), sets, metric)}

    smaller = run_in_threads(score, jobs, progress_bar)
    return pd.DataFrame([*smaller, {"rows": len(sets.train), "score": error}], columns=["rows", "score"])


def fit_clone(estimator: Any, rows: pd.DataFrame, contract: Contract) -> Any:
    """Return a clone that is fitted on rows."""
    unfitted = estimators.with_constraints(clone(estimator), contract)
    weight = rows[contract.weight] if contract.weight else None
    return estimators.fit(unfitted, rows[contract.features], rows[contract.target], weight)


def score_of(estimator: Any, sets: Sets, metric: RankingMetric) -> float:
    """Return the metric of a fitted estimator on the test rows."""
    predicted = estimators.predict(estimator, sets.test[sets.contract.features])
    weight = sets.test[sets.contract.weight].to_numpy() if sets.contract.weight else None
    true = sets.test[sets.contract.target].to_numpy()
    return float(metric.as_error(metric.error(true, predicted, weight=weight)))
