"""The pictures: figures that never touch pyplot, which costs half a second and keeps state."""

import math
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.scale import ScaleBase, SymmetricalLogScale

from workflow.data.sampling import evenly_spaced_positions
from workflow.reports.report import number

INK, ACCENT, SOFT, WARM = "#22303c", "#7b1e3a", "#c9ced3", "#d98e04"
DOTS = 5000  # more than that hide each other, and take their time
BARS = 25  # columns that a picture shows: those that move a prediction the most
LABEL = 40  # characters of a column's name
COLD_TO_WARM = LinearSegmentedColormap.from_list("cold_to_warm", ["#3b6fb6", "#b9a6b8", "#c02942"])
matplotlib.rcParams["text.parse_math"] = False  # a $ in a column's name is a dollar


def empty_figure(width: float = 7, height: float = 5) -> tuple[Figure, Axes]:
    """An empty figure of so many inches in the project's style."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    return figure, axes


def save(figure: Figure, path: Path) -> bytes:
    """Write the figure as a PNG file; the same figure is the same file. Returns its bytes."""
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path.read_bytes()


def rescale(axis: Axis, scale: str | ScaleBase) -> None:
    """Give an axis a scale, and labels that read 1,000 instead of 10³."""
    axis.axes.set(**{f"{axis.axis_name}scale": scale})  # type: ignore[attr-defined]  # x and y have it
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def plain_log_axis(axis: Axis) -> None:
    """Log scale with ticks that read 10, 100, 1,000."""
    rescale(axis, "log")
    axis.set_minor_formatter(lambda value, _: "")


def signed_log_axis(axis: Axis, typical: float) -> None:
    """Log scale in both directions from the power of ten below the `typical` size on, and linear up to there."""
    linear = 10.0 ** math.floor(math.log10(max(typical, 1e-9)))  # a power: the labels keep their distance
    rescale(axis, SymmetricalLogScale(axis, linthresh=linear))


def predictions(true: np.ndarray, predicted: np.ndarray, target: str, title: str) -> Figure:
    """Predicted against true values of the test part, on log axes where all are positive. Arrays of (rows,)."""
    figure, axes = empty_figure(6, 6)
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    axes.plot([low, high], [low, high], color=INK, linewidth=1, label="perfect")
    if low > 0:
        plain_log_axis(axes.xaxis)
        plain_log_axis(axes.yaxis)
        axes.fill_between([low, high], [low / 2, high / 2], [low * 2, high * 2], color=SOFT, alpha=0.35, lw=0,
                          label="within a factor of 2")  # fmt: skip
    shown = evenly_spaced_positions(len(true), DOTS)
    axes.scatter(true[shown], predicted[shown], s=14, alpha=0.55, color=ACCENT, linewidths=0)
    axes.set(xlabel=f"true {target}", ylabel=f"predicted {target}", title=title, aspect="equal")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def residuals(true: np.ndarray, predicted: np.ndarray, target: str, title: str) -> Figure:
    """Error (predicted − true) against the prediction, with its median in ten equal groups. Arrays of (rows,)."""
    figure, axes = empty_figure()
    error = predicted - true
    axes.axhline(0, color=INK, linewidth=1)
    shown = evenly_spaced_positions(len(error), DOTS)
    axes.scatter(predicted[shown], error[shown], s=14, alpha=0.5, color=ACCENT, linewidths=0)
    groups = pd.DataFrame({"predicted": predicted, "error": error}).groupby(
        pd.qcut(predicted, 10, duplicates="drop"), observed=True
    )
    medians = groups.median()
    axes.plot(medians["predicted"], medians["error"], "o-", color=WARM, linewidth=1.5, label="median of a tenth")
    if predicted.min() > 0:
        plain_log_axis(axes.xaxis)
    signed_log_axis(axes.yaxis, np.median(np.abs(error)))
    axes.set(xlabel=f"predicted {target}", ylabel=f"predicted − true {target}", title=title)
    axes.legend(frameon=False, fontsize=9)
    return figure


def importance(values: pd.DataFrame, target: str, title: str) -> Figure:
    """How much each raw column moves a prediction on average: mean |Shapley value|. `values` is (rows, columns)."""
    sizes = mean_sizes(values)
    figure, axes = empty_figure(7, 1.2 + 0.34 * len(sizes))
    bars = axes.barh(range(len(sizes)), sizes, color=ACCENT, height=0.7)
    axes.bar_label(bars, [number(size) for size in sizes], padding=3, fontsize=9, color=INK)
    name_columns(axes, sizes.index, values.shape[1])
    axes.set(xlabel=f"mean |SHAP value|: average move of the predicted {target}", title=title)
    axes.margins(x=0.12)
    return figure


def mean_sizes(values: pd.DataFrame) -> pd.Series:
    """The mean |Shapley value| of the `BARS` columns where it is largest, from low to high."""
    return values.abs().mean().sort_values().tail(BARS)


def name_columns(axes: Axes, columns: pd.Index, of: int) -> None:
    """Write the names of `columns` beside a picture's lines, and how many there are if not all are shown."""
    names = [column if len(column) <= LABEL else f"{column[: LABEL - 1]}…" for column in columns]
    axes.set_yticks(range(len(columns)), names)
    if len(columns) < of:
        axes.set_ylabel(f"the {len(columns)} of {of:,} columns that move it most")


def beeswarm(values: pd.DataFrame, features: pd.DataFrame, target: str, title: str) -> Figure:
    """Every explained row as a dot per column: position is its Shapley value, colour the column's value.

    Args:
        values: (rows, columns) of Shapley values.
        features: (rows, columns) of numbers; missing ones are grey.
        target: name and unit of what is predicted.
        title: of the picture.
    """
    order = mean_sizes(values).index
    figure, axes = empty_figure(7.5, 1.4 + 0.42 * len(order))
    axes.axvline(0, color=INK, linewidth=1)
    for height, column in enumerate(order):
        ranks = features[column].rank(pct=True)
        dots = {
            "x": values[column],
            "y": height + vertical_offsets(values[column].to_numpy()),
            "s": 14,
            "linewidths": 0,
        }
        axes.scatter(**dots, c=SOFT, alpha=0.8)
        axes.scatter(**dots, c=ranks, cmap=COLD_TO_WARM, vmin=0, vmax=1, alpha=0.8, plotnonfinite=False)
    name_columns(axes, order, values.shape[1])
    signed_log_axis(axes.xaxis, values.abs().stack().median())
    axes.set(xlabel=f"SHAP value: move of the predicted {target}", title=title)
    colours = figure.colorbar(axes.collections[-1], ax=axes, ticks=[0, 1], aspect=40, pad=0.01)
    colours.ax.set_yticklabels(["low", "high"], fontsize=9)
    colours.set_label("value of the column", fontsize=9, labelpad=-18)
    colours.outline.set_visible(False)
    return figure


def vertical_offsets(positions: np.ndarray, bins: int = 60, height: float = 0.36) -> np.ndarray:
    """Vertical offsets that keep dots at close positions apart, within ±`height`: (rows,)."""
    edges = np.linspace(positions.min(), positions.max() + 1e-12, bins)
    bin_of = np.digitize(positions, edges)
    offsets = np.zeros(len(positions))
    for place in np.unique(bin_of):
        (members,) = np.nonzero(bin_of == place)
        ladder = np.arange(len(members)) - (len(members) - 1) / 2
        offsets[members] = np.clip(ladder * 0.09, -height, height)
    return offsets


def leaderboard(table: pd.DataFrame, target: str) -> Figure:
    """Cross-validated and test error of each model with their intervals.

    `table` has the columns `model`, `cv_mean_absolute_error`, `cv_mean_absolute_error_std`, `mean_absolute_error`,
    `mean_absolute_error_low` and `mean_absolute_error_high`, best model first.
    """
    figure, axes = empty_figure(7.5, 1.6 + 0.75 * len(table))
    places = np.arange(len(table))[::-1]
    error = "mean_absolute_error"
    axes.barh(places + 0.19, table[f"cv_{error}"], 0.34, xerr=table[f"cv_{error}_std"], color=ACCENT, ecolor=INK,
              capsize=3, label="cross-validated on the training part, ± spread over folds")  # fmt: skip
    reach = [table[error] - table[f"{error}_low"], table[f"{error}_high"] - table[error]]
    axes.barh(places - 0.19, table[error], 0.34, xerr=reach, color=SOFT, ecolor=INK, capsize=3,
              label="test part, 95 % interval")  # fmt: skip
    axes.set_yticks(places, table["model"])
    axes.set_xlim(0, None)
    axes.set(xlabel=f"mean absolute error of {target}", title="Best model first")
    figure.legend(loc="outside lower left", frameon=False, fontsize=9)
    return figure


def differences(larger: np.ndarray, unit: str, title: str) -> Figure:
    """By how much a challenger's error is larger than the champion's, row by row: (rows,), in units of the target."""
    figure, axes = empty_figure(7, 4)
    far = float(np.quantile(np.abs(larger), 0.98)) or 1.0
    axes.hist(np.clip(larger, -far, far), bins=41, range=(-far, far), color=SOFT)
    axes.axvline(0, color=INK, linewidth=1)
    axes.axvline(larger.mean(), color=ACCENT, linewidth=2, label=f"mean {number(larger.mean())}")
    suffix = f" ({unit})" if unit else ""
    axes.set(xlabel=f"challenger's error less the champion's{suffix}: left of 0 it is better", ylabel="test rows")
    axes.set_title(title)
    axes.legend(frameon=False, fontsize=9)
    return figure
