"""The leaderboard as a table of texts."""

import math

import pandas as pd

TITLE = "Leaderboard, by cross-validated error"


def readable(table: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Return a leaderboard as texts: scores with their standard deviation or confidence interval.

    The winner is starred if it beats a constant in R².

    Args:
        table: as `stages.compare.run` returns it.
        unit: of the target.
    """
    error = f"error {unit}".strip()
    best = table["mean_absolute_error"][0]
    decimals = max(0, 2 - math.floor(math.log10(best or 1)))  # three significant digits of the winner's error

    def amount(value: float) -> str:
        return f"{value:,.{decimals}f}"

    lines = [
        {
            "model": row.model + (" ★" if row.Index == 0 and min(row.cv_r2_score, row.r2_score) > 0 else ""),
            f"CV {error}": f"{amount(row.cv_mean_absolute_error)} ± {amount(row.cv_mean_absolute_error_std)}",
            "CV R²": f"{row.cv_r2_score:.3f} ± {row.cv_r2_score_std:.3f}",
            f"test {error} (95 %)": f"{amount(row.mean_absolute_error)}"
            f" ({amount(row.mean_absolute_error_low)}–{amount(row.mean_absolute_error_high)})",
            "test R² (95 %)": f"{row.r2_score:.3f} ({row.r2_score_low:.2f}–{row.r2_score_high:.2f})",
        }
        for row in table.itertuples()
    ]
    return pd.DataFrame(lines)
