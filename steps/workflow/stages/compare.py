"""Compare: rank models by their cross-validated error."""

from collections.abc import Mapping

import pandas as pd

from workflow.data.findings import Finding

RANKING_METRIC = "mean_absolute_error"  # the cross-validated one ranks, and is what a search minimizes
SCORES = (
    "cv_mean_absolute_error",
    "cv_mean_absolute_error_std",
    "cv_r2_score",
    "cv_r2_score_std",
    "mean_absolute_error",
    "mean_absolute_error_low",
    "mean_absolute_error_high",
    "r2_score",
    "r2_score_low",
    "r2_score_high",
)


def run(metrics: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Return a leaderboard: a row of `SCORES` per model, the best first.

    Args:
        metrics: of the train run and the evaluate run of each model.

    Returns:
        A frame with the columns `model` and `SCORES`.
    """
    rows = [{"model": model} | {name: scores[name] for name in SCORES} for model, scores in metrics.items()]
    return pd.DataFrame(rows).sort_values(f"cv_{RANKING_METRIC}", kind="stable", ignore_index=True)


def baseline_findings(table: pd.DataFrame) -> list[Finding]:
    """Return a finding if the first of a leaderboard, or no model at all, beats a constant in R²."""
    first, r2 = table.iloc[0], table[["cv_r2_score", "r2_score"]].min(axis=1)
    if r2[0] > 0:
        return []
    subject = f"the first, {first['model']}, does not beat" if r2.max() > 0 else "no model beats"
    message = (
        f"{subject} the constant baseline: {first['model']} has R² {first['cv_r2_score']:.2f} cross-validated and"
        f" {first['r2_score']:.2f} on the test set"
    )
    remedy = "look at the other findings, or for better features"
    return [Finding("M002", message, remedy, figures={"r2": float(r2[0])})]
