"""The pictures of a search for better parameters, whose trials are rows: `error`, `given_up` and parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow.reports.plots import ACCENT, INK, SOFT, empty_figure
from workflow.reports.report import number, percent

WHERE = 0.02  # of a line's width: the distance of a label from its axis


def history(trials: pd.DataFrame, error: str) -> Figure:
    """The `error` of each trial, and the least so far."""
    figure, axes = empty_figure(7, 4)
    done, others = trials[~trials["given_up"]], trials[trials["given_up"]]
    axes.scatter(done.index, done["error"], s=22, color=ACCENT, linewidths=0, label="tested on all folds")
    axes.plot(others.index, np.zeros(len(others)), "|", color=INK, transform=axes.get_xaxis_transform(), clip_on=False,
              label="given up early")  # fmt: skip
    least = done["error"].cummin().reindex(trials.index).ffill()
    axes.step(trials.index, least, where="post", color=INK, linewidth=1, label="least so far")
    best, usual = done["error"].min(), done["error"].quantile(0.9)
    axes.set_ylim(top=usual + max(usual - best, usual / 100))  # one absurd trial would leave no room for the others
    axes.set(xlabel="trial", ylabel=f"cross-validated {error}", title="The error from trial to trial")
    axes.legend(frameon=False, fontsize=9)
    return figure


def importances(shares: Mapping[str, float]) -> Figure:
    """How much of the error's variation each parameter accounts for."""
    figure, axes = empty_figure(7, 1.2 + 0.34 * len(shares))
    names = list(shares)[::-1]
    bars = axes.barh(names, [shares[name] for name in names], color=ACCENT, height=0.7)
    axes.bar_label(bars, [percent(shares[name]) for name in names], padding=3, fontsize=9, color=INK)
    axes.set(xlabel="share of the variation of the error", title="What matters")
    axes.xaxis.set_major_formatter(lambda value, _: percent(value))
    axes.margins(x=0.12)
    return figure


def coordinates(trials: pd.DataFrame, space: Mapping[str, tuple[list[Any], bool]], error: str) -> Figure:
    """Each trial as a line through its parameters, and to its error; the best tenth is dark.

    Args:
        trials: those that came to the end.
        space: by parameter, its ends or choices, and whether its scale is logarithmic.
        error: what the error is called.
    """
    figure, axes = empty_figure(max(7, 1.3 * len(space) + 2), 4.5)
    ends = [trials["error"].min(), trials["error"].max()]
    columns = {name: places(trials[name], *scale) for name, scale in space.items()}
    lines = np.column_stack([*columns.values(), places(trials["error"], ends, False)])
    best = (trials["error"] <= trials["error"].quantile(0.1)).to_numpy()
    for chosen, colour, width in ((~best, SOFT, 0.8), (best, ACCENT, 1.8)):
        if chosen.any():
            axes.plot(lines[chosen].T, color=colour, linewidth=width)
    labels = [scale for scale, _ in space.values()] + [ends]
    for place, marks in enumerate(labels):
        axes.axvline(place, color=INK, linewidth=0.8)
        for mark, height in zip(marks, np.linspace(0, 1, len(marks)), strict=True):
            shown = number(mark) if isinstance(mark, int | float) else str(mark)
            axes.annotate(shown, (place + WHERE, height), fontsize=8, color=INK, va="bottom" if height < 1 else "top")
    axes.set_xticks(range(len(labels)), [*space, error], rotation=20, ha="right")
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title("What goes together: the best tenth of the trials is dark")
    return figure


def places(values: pd.Series, marks: list[Any], logarithmic: bool) -> np.ndarray:
    """Where values lie between the first and the last of `marks`, from 0 to 1: (trials,)."""
    if not all(isinstance(mark, int | float) for mark in marks) or len(marks) != 2:
        return values.map({mark: place for place, mark in enumerate(marks)}).to_numpy() / max(1, len(marks) - 1)
    scale = np.log if logarithmic else np.asarray
    low, high = (float(scale(mark)) for mark in marks)
    return (scale(values.to_numpy(float)) - low) / ((high - low) or 1)
