"""The page that says why a score has changed between two results."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from workflow.formatting import number, percent
from workflow.reports.plots import ACCENT, INK, SOFT, empty_figure
from workflow.reports.report import Page, Picture, Section

METHOD = (
    "Everything that differs between the two results was changed step by step, in every order or in some of them, and"
    " each mixture was run. A cause is credited with how much its change moves the score, averaged over the orders (its"
    " Shapley value); the parts add up to the whole change. Intervals: 95 %, by a bootstrap of the test rows, of which"
    " every run has the same drawn."
)


@dataclass(frozen=True)
class Part:
    """A part of the change of a score.

    Attributes:
        cause: its name for people: `data`, `parameter model`, `chance (seed)`.
        change: what has changed.
        value: how much that moves the score.
        low: of its 95 % interval; None if it has none.
        high: of its 95 % interval; None if it has none.
    """

    cause: str
    change: str
    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """Return the part in a line."""
        return f"{self.cause} {signed(self.value)}{f' ({self.interval})' if self.interval else ''}"

    @property
    def interval(self) -> str:
        """Its interval as a text; empty if it has none."""
        return "" if self.low is None or self.high is None else f"{signed(self.low)} to {signed(self.high)}"


@dataclass(frozen=True)
class Explanation:
    """Why a score has changed.

    Attributes:
        score: its name, with that of the model: `mean_absolute_error of rf`.
        unit: of the score; empty if it has none.
        before: the recorded score of a.
        after: the recorded score of b.
        parts: that add up to the change, the largest first.
        runs: a row per run: `what`, `score`, `run`, `remark`.
    """

    score: str
    unit: str
    before: float
    after: float
    parts: Sequence[Part]
    runs: pd.DataFrame

    def __str__(self) -> str:
        """Return the explanation in a sentence."""
        unit = f" {self.unit}" if self.unit else ""
        head = f"{self.score} {number(self.before)} → {number(self.after)}{unit}"
        if not self.parts:
            return f"{head}: nothing differs that could change it"
        return f"{head} ({signed(self.after - self.before)}): {', '.join(map(str, self.parts))}"


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign; 0 has none."""
    return f"{value:+.{digits}g}" if value else "0"


def explanation_table(found: Explanation) -> pd.DataFrame:
    """Return the parts of the change as texts, a row each."""
    total = found.after - found.before
    lines = [
        {
            "cause": part.cause,
            "what changed": part.change,
            "moves the score by": signed(part.value, 4),
            "95 %": part.interval,
            "of the change": percent(part.value / total + 0.0) if total else "–",
        }
        for part in found.parts
    ]
    return pd.DataFrame(lines, columns=["cause", "what changed", "moves the score by", "95 %", "of the change"])


def explanation_report(found: Explanation, picture: Picture, origins: pd.DataFrame) -> Page:
    """Return the page.

    Args:
        found: why the score has changed.
        picture: of it.
        origins: a row per result: when, where and from which commit it was recorded.
    """
    text = str(found)
    sections = [
        Section("Compared", table=origins),
        Section("Why", METHOD, explanation_table(found), (picture,)),
        Section("Runs", "What each mixture of the two results scored.", found.runs),
    ]
    return Page(f"Why {found.score} changed", f"{text[0].upper()}{text[1:]}.", sections)


def waterfall(found: Explanation) -> Figure:
    """Plot the way from the score of a to that of b: a bar per part, with its interval."""
    figure, axes = empty_figure(7.5, 1.6 + 0.45 * len(found.parts))
    names, place = ["a", *(part.cause for part in found.parts), "b"], found.before
    ends = [found.before, found.after]
    for height, part in enumerate(found.parts, start=1):
        axes.barh(height, part.value, left=place, color=ACCENT, height=0.6)
        if part.low is not None and part.high is not None:
            axes.plot([place + part.low, place + part.high], [height, height], color=INK, linewidth=1.2)
            ends += [place + part.low, place + part.high]
        edge = max(place, place + part.value, *([place + part.high] if part.high is not None else []))
        axes.annotate(
            signed(part.value), (edge, height), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9
        )
        place += part.value
        ends.append(place)
    last = len(found.parts) + 1
    for height, value in ((0, found.before), (last, found.after)):
        axes.plot([value], [height], "D", color=INK)
        axes.annotate(
            number(value), (value, height), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9
        )
        axes.axvline(value, color=SOFT, linewidth=1, zorder=0)
    margin = 0.12 * (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(ends) - margin, max(ends) + 1.5 * margin)
    axes.set_yticks(range(last + 1), names)
    axes.invert_yaxis()
    axes.set(xlabel=f"{found.score}{f' ({found.unit})' if found.unit else ''}", title="From a to b")
    return figure
