"""Figures, drawn without pyplot: its import takes half a second, and it keeps global state."""

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

from workflow.data.contract import Contract
from workflow.data.sampling import evenly_spaced_positions
from workflow.evaluation.ranking import RankingMetric
from workflow.formatting import number

INK, ACCENT, SOFT, WARM = "#22303c", "#7b1e3a", "#c9ced3", "#d98e04"
DPI = 110
MAX_POINTS = 5000  # of a scatter plot: more would hide each other, and take time
MAX_FEATURES = 25  # of a figure: the most important ones
MAX_LABEL_CHARACTERS = 40  # of the name of a feature
N_QUANTILES = 10  # of the predictions, each with its median residual
COLD_TO_WARM = LinearSegmentedColormap.from_list("cold_to_warm", ["#3b6fb6", "#b9a6b8", "#c02942"])
matplotlib.rcParams["text.parse_math"] = False  # a $ in the name of a column is a dollar sign


def empty_figure(width: float = 7, height: float = 5) -> tuple[Figure, Axes]:
    """Return an empty figure in the project's style; its size is in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    return figure, axes


def save(figure: Figure, path: Path) -> bytes:
    """Write a figure as a PNG file and return its bytes: the same for the same figure."""
    if layout := figure.get_layout_engine():  # once: matplotlib would lay out in a drawing of its own
        layout.execute(figure)
        figure.set_layout_engine(None)
    figure.savefig(path, metadata={"Software": None})
    return path.read_bytes()


def rescale(axis: Axis, scale: str | ScaleBase) -> None:
    """Set the scale of an axis, with labels such as 1,000 instead of 10³."""
    axis.axes.set(**{f"{axis.axis_name}scale": scale})  # type: ignore[attr-defined]  # x and y have it
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def plain_log_axis(axis: Axis) -> None:
    """Set a log scale with tick labels such as 10, 100 and 1,000."""
    rescale(axis, "log")
    axis.set_minor_formatter(lambda value, _: "")


def signed_log_axis(axis: Axis, typical_size: float) -> None:
    """Set a log scale in both directions, which is linear up to the power of ten below `typical_size`."""
    linear_up_to = 10.0 ** math.floor(math.log10(max(typical_size, 1e-9)))  # a power of ten: labels keep their distance
    rescale(axis, SymmetricalLogScale(axis, linthresh=linear_up_to))


def predictions(true: np.ndarray, predicted: np.ndarray, target: str, title: str) -> Figure:
    """Plot predicted against true values, on log axes if all are positive. Arrays of (rows,)."""
    figure, axes = empty_figure(6, 6)
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    axes.plot([low, high], [low, high], color=INK, linewidth=1, label="perfect prediction")
    if low > 0:
        plain_log_axis(axes.xaxis)
        plain_log_axis(axes.yaxis)
        axes.fill_between([low, high], [low / 2, high / 2], [low * 2, high * 2], color=SOFT, alpha=0.35, lw=0,
                          label="within a factor of 2")  # fmt: skip
    shown = evenly_spaced_positions(len(true), MAX_POINTS)
    axes.scatter(true[shown], predicted[shown], s=14, alpha=0.55, color=ACCENT, linewidths=0)
    axes.set(xlabel=f"true {target}", ylabel=f"predicted {target}", title=title, aspect="equal")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def residuals(true: np.ndarray, predicted: np.ndarray, target: str, title: str) -> Figure:
    """Plot residuals (predicted − true) against predictions, with the median per decile. Arrays of (rows,)."""
    figure, axes = empty_figure()
    residual = predicted - true
    axes.axhline(0, color=INK, linewidth=1)
    shown = evenly_spaced_positions(len(residual), MAX_POINTS)
    axes.scatter(predicted[shown], residual[shown], s=14, alpha=0.5, color=ACCENT, linewidths=0)
    groups = pd.DataFrame({"predicted": predicted, "residual": residual}).groupby(
        pd.qcut(predicted, N_QUANTILES, duplicates="drop"), observed=True
    )
    medians = groups.median()
    axes.plot(medians["predicted"], medians["residual"], "o-", color=WARM, linewidth=1.5, label="median per decile")
    if predicted.min() > 0:
        plain_log_axis(axes.xaxis)
    signed_log_axis(axes.yaxis, np.median(np.abs(residual)))
    axes.set(xlabel=f"predicted {target}", ylabel=f"predicted − true {target}", title=title)
    axes.legend(frameon=False, fontsize=9)
    return figure


def learning_curve(curve: pd.DataFrame, score: str, title: str) -> Figure:
    """Plot the score of a model against the number of training rows: single fits as dots, and their mean.

    Args:
        curve: as `learning_curve.learning_curve` returns it.
        score: what the score is called.
        title: of the figure.
    """
    figure, axes = empty_figure(6, 4)
    axes.plot(curve["rows"], curve["score"], ".", color=SOFT, markersize=8, label="fitted on some of the rows")
    means = curve.groupby("rows")["score"].mean()
    axes.plot(means.index, means, "o-", color=ACCENT, linewidth=2, label="mean")
    plain_log_axis(axes.xaxis)
    axes.set_xticks(means.index)
    axes.set(xlabel="training rows", ylabel=f"{score} on the test set", title=title)
    axes.legend(frameon=False, fontsize=9)
    return figure


def interval_calibration(calibration: pd.DataFrame, title: str) -> Figure:
    """Plot the coverage of prediction intervals against their level, with its confidence interval.

    Args:
        calibration: as `intervals.calibration` returns it.
        title: of the figure.
    """
    figure, axes = empty_figure(5.5, 5)
    level, covered = calibration["level"], calibration["coverage"]
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, label="as promised")
    errors = [covered - calibration["low"], calibration["high"] - covered]
    axes.errorbar(level, covered, np.maximum(errors, 0), fmt="o", color=ACCENT, capsize=3, label="test set, 95 % CI")
    axes.set(xlabel="level of the prediction intervals", ylabel="fraction of true values inside", title=title)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def importance(shap_values: pd.DataFrame, target: str, title: str) -> Figure:
    """Plot the mean |SHAP value| of each feature.

    Args:
        shap_values: (rows, features).
        target: name and unit of the target.
        title: of the figure.
    """
    sizes = largest_mean_sizes(shap_values)
    figure, axes = empty_figure(7, 1.2 + 0.34 * len(sizes))
    bars = axes.barh(range(len(sizes)), sizes, color=ACCENT, height=0.7)
    axes.bar_label(bars, [number(size) for size in sizes], padding=3, fontsize=9, color=INK)
    label_features(axes, sizes.index, shap_values.shape[1])
    axes.set(xlabel=f"mean |SHAP value|: mean effect on the predicted {target}", title=title)
    axes.margins(x=0.12)
    return figure


def largest_mean_sizes(shap_values: pd.DataFrame) -> pd.Series:
    """Return the `MAX_FEATURES` largest mean |SHAP values| by feature, in ascending order."""
    return shap_values.abs().mean().sort_values().tail(MAX_FEATURES)


def label_features(axes: Axes, features: pd.Index, n_features: int) -> None:
    """Label the rows of a figure with `features`; if these are not all `n_features`, say so."""
    limit = MAX_LABEL_CHARACTERS
    names = [feature if len(feature) <= limit else f"{feature[: limit - 1]}…" for feature in features]
    axes.set_yticks(range(len(features)), names)
    if len(features) < n_features:
        axes.set_ylabel(f"the {len(features)} most important of {n_features:,} features")


def beeswarm(shap_values: pd.DataFrame, feature_values: pd.DataFrame, target: str, title: str) -> Figure:
    """Plot each explained row as a dot per feature: at its SHAP value, coloured by the feature's value.

    Args:
        shap_values: (rows, features).
        feature_values: (rows, features) of numbers; missing ones are grey.
        target: name and unit of the target.
        title: of the figure.
    """
    features = largest_mean_sizes(shap_values).index
    figure, axes = empty_figure(7.5, 1.4 + 0.42 * len(features))
    axes.axvline(0, color=INK, linewidth=1)
    for height, feature in enumerate(features):
        ranks = feature_values[feature].rank(pct=True)
        dots = {
            "x": shap_values[feature],
            "y": height + vertical_offsets(shap_values[feature].to_numpy()),
            "s": 14,
            "linewidths": 0,
        }
        axes.scatter(**dots, c=SOFT, alpha=0.8)
        axes.scatter(**dots, c=ranks, cmap=COLD_TO_WARM, vmin=0, vmax=1, alpha=0.8, plotnonfinite=False)
    label_features(axes, features, shap_values.shape[1])
    signed_log_axis(axes.xaxis, shap_values.abs().stack().median())
    axes.set(xlabel=f"SHAP value: effect on the predicted {target}", title=title)
    colours = figure.colorbar(axes.collections[-1], ax=axes, ticks=[0, 1], aspect=40, pad=0.01)
    colours.ax.set_yticklabels(["low", "high"], fontsize=9)
    colours.set_label("feature value", fontsize=9, labelpad=-18)
    colours.outline.set_visible(False)
    return figure


def effects(table: pd.DataFrame, target: str) -> Figure:
    """Plot the effect of each feature on the prediction, with thin lines of single rows where there are any.

    Args:
        table: as `evaluation.effects.effects` returns it.
        target: name and unit of the target.
    """
    features = list(table["feature"].unique())
    columns = min(3, max(1, len(features)))
    rows = max(1, math.ceil(len(features) / columns))
    figure = Figure(figsize=(3.4 * columns, 3 * rows), dpi=DPI)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, feature in zip(grid.flat, features, strict=False):
        effect(axes, table[table["feature"] == feature], feature)
    for axes in grid.flat[len(features) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel(f"predicted {target}", fontsize=9)
    figure.subplots_adjust(0.25 / columns, 0.2 / rows, 0.99, 1 - 0.12 / rows, hspace=0.55, wspace=0.08)
    return figure


def effect(axes: Axes, table: pd.DataFrame, feature: str) -> None:
    """Plot the effect of one feature: a curve of a number, points of categories."""
    is_number = table["number"].notna().all()
    places = table["number"] if is_number else np.arange(len(table))
    lines = table.filter(regex=r"^ice_\d+$").dropna(axis=1)
    single, mean = ("-", "o-") if is_number else (".", "o")  # a line between two categories would say something
    axes.plot(places, lines, single, color=SOFT, linewidth=0.6, markersize=3)
    axes.plot(places, table["effect"], mean, color=ACCENT, linewidth=2, markersize=3 if is_number else 6)
    if not is_number:
        axes.set_xticks(places, [text[:10] for text in table["value"]], rotation=30, ha="right")
    title = feature if len(feature) <= MAX_LABEL_CHARACTERS else f"{feature[: MAX_LABEL_CHARACTERS - 1]}…"
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)


def vertical_offsets(positions: np.ndarray, bins: int = 60, height: float = 0.36) -> np.ndarray:
    """Return vertical offsets within ±`height` that keep dots at similar positions apart: (rows,)."""
    edges = np.linspace(positions.min(), positions.max() + 1e-12, bins)
    bin_numbers = np.digitize(positions, edges)
    offsets = np.zeros(len(positions))
    for bin_number in np.unique(bin_numbers):
        (members,) = np.nonzero(bin_numbers == bin_number)
        ladder = np.arange(len(members)) - (len(members) - 1) / 2
        offsets[members] = np.clip(ladder * 0.09, -height, height)
    return offsets


def leaderboard(table: pd.DataFrame, metric: RankingMetric, contract: Contract) -> Figure:
    """Plot the ranking metric of each model, cross-validated and on the test set.

    Args:
        table: as `stages.compare.run` returns it.
        metric: that ranks.
        contract: of the rows.
    """
    figure, axes = empty_figure(7.5, 1.6 + 0.75 * len(table))
    heights = np.arange(len(table))[::-1]
    error = metric.name
    axes.barh(heights + 0.19, table[f"cv_{error}"], 0.34, xerr=table[f"cv_{error}_std"], color=ACCENT, ecolor=INK,
              capsize=3, label="cross-validated on the training set, ± standard deviation over folds")  # fmt: skip
    interval = np.maximum([table[error] - table[f"{error}_low"], table[f"{error}_high"] - table[error]], 0)  # or raises
    axes.barh(heights - 0.19, table[error], 0.34, xerr=interval, color=SOFT, ecolor=INK, capsize=3,
              label="test set, 95 % confidence interval")  # fmt: skip
    axes.set_yticks(heights, table["model"])
    axes.set_xlim(*((None, None) if metric.greater_is_better else (0, None)))
    words = "R²" if metric.name == "r2_score" else metric.name if "." in metric.name else metric.name.replace("_", " ")
    target = contract.target_label if metric.has_target_unit else contract.target
    axes.set(xlabel=f"{words} of {target}", title="Best model first")
    figure.legend(loc="outside lower left", frameon=False, fontsize=9)
    return figure


def differences(error_differences: np.ndarray, unit: str, title: str) -> Figure:
    """Plot a histogram of differences of errors, row by row.

    Args:
        error_differences: absolute error of the challenger minus that of the champion: (rows,).
        unit: of the target.
        title: of the figure.
    """
    figure, axes = empty_figure(7, 4)
    limit = float(np.quantile(np.abs(error_differences), 0.98)) or 1.0
    mean = error_differences.mean()
    axes.hist(np.clip(error_differences, -limit, limit), bins=41, range=(-limit, limit), color=SOFT)
    axes.axvline(0, color=INK, linewidth=1)
    axes.axvline(mean, color=ACCENT, linewidth=2, label=f"mean {number(mean)}")
    suffix = f" ({unit})" if unit else ""
    axes.set(xlabel=f"challenger's absolute error − champion's{suffix}: below 0, it is better", ylabel="test rows")
    axes.set_title(title)
    axes.legend(frameon=False, fontsize=9)
    return figure
