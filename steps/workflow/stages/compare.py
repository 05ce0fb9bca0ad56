"""Compare: rank models by their cross-validated error."""

from collections.abc import Mapping

import pandas as pd

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
