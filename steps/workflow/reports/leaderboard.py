"""The leaderboard as a table of texts."""

import math

import pandas as pd

from workflow.evaluation.ranking import IN_TARGET_UNIT, RankingMetric

METRIC_LABELS = {  # in a column's head; another metric has its name
    "mean_absolute_error": "error",
    "root_mean_squared_error": "RMSE",
    "r2_score": "R²",
    "mean_absolute_percentage_error": "percentage error",
    "root_mean_squared_log_error": "RMSLE",
    "median_absolute_error": "median error",
    "mean_pinball_loss": "pinball loss",
}


def label(metric: str, unit: str) -> str:
    """Return what a column of a metric is called, with the unit if the metric is in that of the target."""
    in_unit = metric in IN_TARGET_UNIT
    return f"{METRIC_LABELS.get(metric, metric)} {unit if in_unit else ''}".strip()


def title(metric: RankingMetric) -> str:
    """Return the title of a leaderboard."""
    return f"Leaderboard, by cross-validated {label(metric.name, '')}"


def readable(table: pd.DataFrame, metric: RankingMetric, unit: str) -> pd.DataFrame:
    """Return a leaderboard as texts: scores with their standard deviation or confidence interval.

    The winner is starred if it beats a constant.

    Args:
        table: as `stages.compare.run` returns it.
        metric: that ranks.
        unit: of the target.
    """
    names = [metric.name, "mean_absolute_error" if metric.name == "r2_score" else "r2_score"]
    starred = metric.beats_constant(table.iloc[0])
    shown = {"model": [f"{table['model'][0]} ★" if starred else table["model"][0], *table["model"][1:]]}
    for name in names:
        number, _ = formats(table[name][0], name)
        rows = table[[f"cv_{name}", f"cv_{name}_std"]].to_numpy()
        shown[f"CV {label(name, unit)}"] = [f"{number} ± {number}".format(*row) for row in rows]
    for name in names:
        number, end = formats(table[name][0], name)
        rows = table[[name, f"{name}_low", f"{name}_high"]].to_numpy()
        shown[f"test {label(name, unit)} (95 %)"] = [f"{number} ({end}–{end})".format(*row) for row in rows]
    return pd.DataFrame(shown)


def formats(value: float, metric: str) -> tuple[str, str]:
    """Return the formats of a metric and of the ends of its interval: three significant digits of the winner's value.

    R² has three decimals, and its ends two.
    """
    decimals = max(0, 2 - math.floor(math.log10(abs(value) or 1)))
    return ("{:,.3f}", "{:,.2f}") if metric == "r2_score" else (f"{{:,.{decimals}f}}",) * 2
