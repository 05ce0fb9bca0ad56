"""Figures about a search, whose trials are rows with the columns `error`, `pruned` and one per parameter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow.formatting import number, percent
from workflow.reports.plots import ACCENT, INK, SOFT, empty_figure

LABEL_OFFSET = 0.02  # between an axis and its tick labels, in distances between axes


@dataclass(frozen=True)
class Scale:
    """The axis of one parameter: its ticks are the ends of a range, or all choices."""

    ticks: Sequence[Any]
    logarithmic: bool = False


def history(trials: pd.DataFrame, error: str) -> Figure:
    """Plot the error of each trial and the best so far; `error` is what the axis calls it."""
    figure, axes = empty_figure(7, 4)
    complete, pruned = trials[~trials["pruned"]], trials[trials["pruned"]]
    axes.scatter(complete.index, complete["error"], s=22, color=ACCENT, linewidths=0, label="complete")
    axes.plot(pruned.index, np.zeros(len(pruned)), "|", color=INK, transform=axes.get_xaxis_transform(), clip_on=False,
              label="pruned")  # fmt: skip
    best_so_far = complete["error"].cummin().reindex(trials.index).ffill()
    axes.step(trials.index, best_so_far, where="post", color=INK, linewidth=1, label="best so far")
    best, high = complete["error"].min(), complete["error"].quantile(0.9)
    axes.set_ylim(top=high + max(high - best, high / 100))  # one outlier would leave no space for the others
    axes.set(xlabel="trial", ylabel=f"cross-validated {error}", title="Optimization history")
    axes.legend(frameon=False, fontsize=9)
    return figure


def importances(fractions: Mapping[str, float]) -> Figure:
    """Plot the fraction of the error's variance that each parameter explains."""
    figure, axes = empty_figure(7, 1.2 + 0.34 * len(fractions))
    names = list(fractions)[::-1]
    bars = axes.barh(names, [fractions[name] for name in names], color=ACCENT, height=0.7)
    axes.bar_label(bars, [percent(fractions[name]) for name in names], padding=3, fontsize=9, color=INK)
    axes.set(xlabel="fraction of the variance of the error", title="Parameter importance")
    axes.xaxis.set_major_formatter(lambda value, _: percent(value))
    axes.margins(x=0.12)
    return figure


def parallel_coordinates(trials: pd.DataFrame, scales: Mapping[str, Scale], error: str) -> Figure:
    """Plot each trial as a line through its parameters to its error; the best 10 % are dark.

    Args:
        trials: the complete ones.
        scales: of each parameter.
        error: what the axis calls the error.
    """
    figure, axes = empty_figure(max(7, 1.3 * len(scales) + 2), 4.5)
    all_scales = [*scales.values(), Scale([trials["error"].min(), trials["error"].max()])]
    columns = [*(trials[name] for name in scales), trials["error"]]
    lines = np.column_stack([relative_positions(*pair) for pair in zip(columns, all_scales, strict=True)])
    best = (trials["error"] <= trials["error"].quantile(0.1)).to_numpy()
    for chosen, colour, width in ((~best, SOFT, 0.8), (best, ACCENT, 1.8)):
        if chosen.any():
            axes.plot(lines[chosen].T, color=colour, linewidth=width)
    for x, scale in enumerate(all_scales):
        axes.axvline(x, color=INK, linewidth=0.8)
        for tick, height in zip(scale.ticks, np.linspace(0, 1, len(scale.ticks)), strict=True):
            text = number(tick) if isinstance(tick, int | float) else str(tick)
            axes.annotate(text, (x + LABEL_OFFSET, height), fontsize=8, color=INK, va="bottom" if height < 1 else "top")
    axes.set_xticks(range(len(all_scales)), [*scales, error], rotation=20, ha="right")
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title("Parallel coordinates: the best 10 % of the trials are dark")
    return figure


def relative_positions(values: pd.Series, scale: Scale) -> np.ndarray:
    """Return the positions of values between the first and the last tick, from 0 to 1: (trials,)."""
    ticks = scale.ticks
    if not all(isinstance(tick, int | float) for tick in ticks) or len(ticks) != 2:
        return values.map({tick: index for index, tick in enumerate(ticks)}).to_numpy() / max(1, len(ticks) - 1)
    transform = np.log if scale.logarithmic else np.asarray
    low, high = (float(transform(tick)) for tick in ticks)
    return (transform(values.to_numpy(float)) - low) / ((high - low) or 1)
