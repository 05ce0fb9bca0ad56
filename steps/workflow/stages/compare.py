"""Compare: rank models by their cross-validated error."""

from collections.abc import Mapping

import pandas as pd

from workflow.data.findings import Finding
from workflow.evaluation.ranking import RankingMetric
from workflow.formatting import number


def score_names(metric: str) -> list[str]:
    """Return the scores on a leaderboard: those of the ranking metric, and of R² (of the error, if R² ranks).

    The last one is what the constant baseline has.
    """
    other = "mean_absolute_error" if metric == "r2_score" else "r2_score"
    cross_validated = [f"cv_{name}{end}" for name in (metric, other) for end in ("", "_std")]
    tested = [f"{name}{end}" for name in (metric, other) for end in ("", "_low", "_high")]
    return [*cross_validated, *tested, f"baseline_{metric}"]


def run(metric: RankingMetric, scores: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Return a leaderboard: a row of scores per model, the best cross-validated one first.

    Args:
        metric: that ranks.
        scores: of the train run and the evaluate run of each model.

    Returns:
        A frame with the column `model` and the `score_names`.
    """
    names = score_names(metric.name)
    table = pd.DataFrame([{"model": model} | {name: own[name] for name in names} for model, own in scores.items()])
    errors = metric.as_error(table[f"cv_{metric.name}"])
    return table.loc[errors.sort_values(kind="stable").index].reset_index(drop=True)


def baseline_findings(metric: RankingMetric, table: pd.DataFrame) -> list[Finding]:
    """Return a finding if the first of a leaderboard, or no model at all, beats a constant."""
    beating = [metric.beats_constant(row) for row in table.to_dict("records")]
    if beating[0]:
        return []
    first = table.iloc[0]
    score, constant = number(first[metric.name]), number(first[f"baseline_{metric.name}"])
    subject = f"the first, {first['model']}, does not beat" if any(beating) else "no model beats"
    message = (
        f"{subject} the constant baseline: {first['model']} has R² {first['cv_r2_score']:.2f} cross-validated and"
        f" {first['r2_score']:.2f} on the test set, and there {metric.name} {score} where the constant has {constant}"
    )
    remedy = "look at the other findings, or for better features"
    return [Finding("M002", message, remedy, figures={"r2": float(min(first["cv_r2_score"], first["r2_score"]))})]
