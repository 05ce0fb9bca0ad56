"""The leaderboard: a row of scores per model, the best in cross-validation first."""

import math
from collections.abc import Mapping

import pandas as pd

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
ERROR = "mean_absolute_error"  # the cross-validated one ranks, and is what a search is to lower
TITLE = "Leaderboard, by cross-validated error"


def leaderboard(metrics: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """The `SCORES` among the metrics of each model: a row per model, with the columns `model` and `SCORES`.

    That with the least cross-validated error comes first.
    """
    rows = [{"model": model} | {name: found[name] for name in SCORES} for model, found in metrics.items()]
    return pd.DataFrame(rows).sort_values(f"cv_{ERROR}", kind="stable", ignore_index=True)


def readable(table: pd.DataFrame, unit: str) -> pd.DataFrame:
    """A leaderboard as people read it: texts, with each score beside its spread or interval, and the winner starred."""
    error = f"error {unit}".strip()
    decimals = max(0, 2 - math.floor(math.log10(table["mean_absolute_error"][0] or 1)))  # three digits of the best

    def amount(value: float) -> str:
        return f"{value:,.{decimals}f}"

    lines = [
        {
            "model": row.model + (" ★" if row.Index == 0 else ""),
            f"CV {error}": f"{amount(row.cv_mean_absolute_error)} ± {amount(row.cv_mean_absolute_error_std)}",
            "CV R²": f"{row.cv_r2_score:.3f} ± {row.cv_r2_score_std:.3f}",
            f"test {error} (95 %)": f"{amount(row.mean_absolute_error)}"
            f" ({amount(row.mean_absolute_error_low)}–{amount(row.mean_absolute_error_high)})",
            "test R² (95 %)": f"{row.r2_score:.3f} ({row.r2_score_low:.2f}–{row.r2_score_high:.2f})",
        }
        for row in table.itertuples()
    ]
    return pd.DataFrame(lines)
