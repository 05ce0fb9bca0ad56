"""The leaderboard: a row of scores per model, the best in cross-validation first."""

import math
from collections.abc import Mapping

import pandas as pd

SCORES = (
    "cv_r2_score",
    "cv_r2_score_std",
    "cv_mean_absolute_error",
    "cv_mean_absolute_error_std",
    "r2_score",
    "r2_score_low",
    "r2_score_high",
    "mean_absolute_error",
    "mean_absolute_error_low",
    "mean_absolute_error_high",
)


R2 = "cv_r2_score"


def leaderboard(metrics: Mapping[str, Mapping[str, float]], by: str = R2) -> pd.DataFrame:
    """The `SCORES` among the metrics of each model: a row per model, with the columns `model` and `SCORES`.

    The best comes first, `by` R² or an error.
    """
    rows = [{"model": model} | {name: found[name] for name in SCORES} for model, found in metrics.items()]
    return pd.DataFrame(rows).sort_values(by, ascending=by != R2, kind="stable", ignore_index=True)


def readable(table: pd.DataFrame, unit: str) -> pd.DataFrame:
    """A leaderboard as people read it: texts, with each score beside its spread or interval, and the winner starred."""
    error = f"error {unit}".strip()
    decimals = max(0, 2 - math.floor(math.log10(table["mean_absolute_error"][0] or 1)))  # three digits of the best

    def amount(value: float) -> str:
        return f"{value:,.{decimals}f}"

    lines = [
        {
            "model": row.model + (" ★" if row.Index == 0 else ""),
            "CV R²": f"{row.cv_r2_score:.3f} ± {row.cv_r2_score_std:.3f}",
            f"CV {error}": f"{amount(row.cv_mean_absolute_error)} ± {amount(row.cv_mean_absolute_error_std)}",
            "test R² (95 %)": f"{row.r2_score:.3f} ({row.r2_score_low:.2f}–{row.r2_score_high:.2f})",
            f"test {error} (95 %)": f"{amount(row.mean_absolute_error)}"
            f" ({amount(row.mean_absolute_error_low)}–{amount(row.mean_absolute_error_high)})",
        }
        for row in table.itertuples()
    ]
    return pd.DataFrame(lines)
