"""The page of a retraining: what has changed between the champion's data and the new data, and the decision."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from workflow.evaluation.drift import LARGE_DRIFT
from workflow.formatting import percent
from workflow.reports.drift_report import drift_section
from workflow.reports.model_report import METRIC_NAMES
from workflow.reports.report import Page, Section

ROWS = {
    "rows_in": "rows in the file",
    "rows_rejected": "rejected",
    "rows_duplicate": "exact duplicates",
    "rows_train": "training rows",
    "rows_test": "test rows",
}
ASKING_TEXT = (
    " A feature has drifted, and so asks for another model, if its drift, or the change of its fraction of missing"
    f" values, is at least {percent(LARGE_DRIFT)}; of a hundred rows or fewer, chance makes that."
)
SCORES_TEXT = "On the test rows of the new data, without rows that either model was trained on."
NOT_COMPARED_TEXT = "Not compared: the champion was trained on all test rows of the new data."


@dataclass(frozen=True)
class Retrained:
    """The result of a retraining.

    Attributes:
        decision: in a sentence or two.
        before: metrics of the preprocess run of the champion.
        now: metrics of that of the new data.
        drifts: a row per feature, as `evaluation.drift.drift` returns it.
        scores: of the champion and of the new model, by metric; empty if they cannot be compared.
        checks: of the promotion, as a table; None if the model is the champion already.
    """

    decision: str
    before: Mapping[str, float]
    now: Mapping[str, float]
    drifts: pd.DataFrame
    scores: Mapping[str, tuple[float, float]]
    checks: pd.DataFrame | None


def retrain_report(retrained: Retrained, name: str, version: str, addresses: Mapping[str, str]) -> Page:
    """Return the page about a retraining.

    Args:
        retrained: its result.
        name: of the registered model.
        version: that was the champion.
        addresses: pages to link to, by name.
    """
    champion = f"version {version}"
    rows = [(label, int(retrained.before[key]), int(retrained.now[key])) for key, label in ROWS.items()]
    scores = [(METRIC_NAMES.get(metric, metric), *values) for metric, values in retrained.scores.items()]
    sections = [
        Section("Rows", table=pd.DataFrame(rows, columns=["", champion, "new"])),
        drift_section(retrained.drifts, ASKING_TEXT),
        Section("Scores", SCORES_TEXT, pd.DataFrame(scores, columns=["metric", champion, "new"]))
        if scores
        else Section("Scores", NOT_COMPARED_TEXT),
        Section("Rules", table=retrained.checks),
    ]
    return Page(f"{name}, trained again", retrained.decision, sections, addresses=addresses)
