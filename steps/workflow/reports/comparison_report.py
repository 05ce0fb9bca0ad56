"""The page that compares two recorded results: data, code, parameters, packages, platform, outcome."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from workflow.data.row_differences import RowDifferences
from workflow.evaluation.paired import Difference
from workflow.formatting import number
from workflow.reports.report import Page, Section
from workflow.reports.reproduction_report import COLUMNS, EQUAL, GROUP_TEXTS, SUMMARY_METRICS

SIDES = {"recorded": "a", "reproduced": "b"}
ABSENT = "–"
COMMIT = re.compile("[0-9a-f]{40}")
MAX_SHOWN = 6  # rows of a group in the summary
MAX_DIFF_LINES = 400  # of a file
SCORES_TEXT = (
    "The difference is that of b from a on the test rows that both have scored, with its 95 % interval: the bootstrap"
    " resamples the rows in pairs."
)


@dataclass(frozen=True)
class Score:
    """The scores of two models, and their difference on the rows that both have scored.

    Attributes:
        model: whose scores they are.
        metric: its name.
        unit: of the metric; empty for a metric without one.
        values: of each model, on all rows that it has scored.
        rows: number of rows that both have scored.
        difference: of the score of b from that of a on these, with its 95 % interval; None if there are no such rows.
        remark: why there are none.
    """

    model: str
    metric: str
    unit: str
    values: tuple[float | None, float | None]
    rows: int = 0
    difference: Difference | None = None
    remark: str = ""

    def __str__(self) -> str:
        """Return the scores and their difference in a line."""
        before, after = ("–" if value is None else number(value) for value in self.values)
        return f"{self.metric} of {self.model} {before} → {after}{f' {self.unit}' if self.unit else ''}{self.paired}"

    @property
    def paired(self) -> str:
        """The difference on the rows that both have scored; empty if there is none to tell."""
        if self.difference is None or self.values[0] == self.values[1]:
            return ""
        low, high = (f"{end:+.3g}" for end in (self.difference.low, self.difference.high))
        return f" ({self.difference.value:+.3g}, {low} to {high}, on the {self.rows:,} rows that both tested)"


@dataclass(frozen=True)
class Details:
    """How data and code differ, beyond their digests.

    Attributes:
        tables: how the rows of each table differ, or why that cannot be said, by parameter.
        sources: the unified diffs of the files that differ, by name.
        sources_remark: why there are none.
    """

    tables: Mapping[str, RowDifferences | str]
    sources: Mapping[str, str] = field(default_factory=dict)
    sources_remark: str = ""


@dataclass(frozen=True)
class Differences:
    """Everything that a comparison of two results has found.

    Attributes:
        rows: a row per compared item, with the columns of `provenance.comparison.Row`.
        results: the groups among them that are results, such as `train rf`.
        details: of data and code.
        scores: of the best models, and of those that both have.
    """

    rows: pd.DataFrame
    results: Collection[str]
    details: Details
    scores: Sequence[Score] = ()


def comparison_summary(found: Differences) -> pd.DataFrame:
    """Return the rows to look at first: causes that differ, and the main metrics.

    Returns:
        A frame with the columns `item`, `a`, `b` and `verdict`.
    """
    lines: list[tuple[str, str, str, str]] = []
    for group, members in found.rows.groupby("group", sort=False):
        is_result, unequal = group in found.results, members["verdict"] != EQUAL
        shown = members[members["item"].isin(SUMMARY_METRICS) if is_result else unequal]
        present = [side for name, side in SIDES.items() if (members[name] != ABSENT).any()]
        if is_result and len(present) == 1:
            lines.append((str(group), "", "", f"only in {present[0]}"))
            continue
        lines += [
            (f"{group}: {row.item}", brief(row.recorded), brief(row.reproduced), row.verdict)
            for row in shown.head(MAX_SHOWN).itertuples()
        ]
        others = members.drop(shown.head(MAX_SHOWN).index)
        differing = int((others["verdict"] != EQUAL).sum())
        if len(others):
            more = " more" if len(others) < len(members) else ""
            verdict = f"{differing} not equal" if differing else EQUAL
            lines.append((f"{group}: {len(others)}{more}", "", "", verdict))
    return pd.DataFrame(lines, columns=["item", *SIDES.values(), "verdict"])


def brief(text: str) -> str:
    """Return a number with six digits, and the first characters of a commit; any other text as it is."""
    if COMMIT.fullmatch(text):
        return text[:12]
    try:
        return text if text.isdecimal() else f"{float(text):.6g}"
    except ValueError:
        return text


def comparison_report(title: str, conclusion: str, origins: pd.DataFrame, found: Differences) -> Page:
    """Return the page that compares two results.

    Args:
        title: of the page.
        conclusion: what differs, in a sentence.
        origins: a row per result: when, where and from which commit it was recorded.
        found: what differs.
    """
    sections = [Section("Compared", table=origins), Section("Summary", table=comparison_summary(found))]
    if found.scores:
        sections.append(Section("Scores", SCORES_TEXT, scores_table(found.scores)))
    details = found.details
    for name, table in details.tables.items():
        examples = None if isinstance(table, str) or table.examples.empty else table.examples
        sections.append(Section(f"Rows of {name}", f"{table}.", examples))
    if details.sources or details.sources_remark:
        code = "\n\n".join(map(shortened, details.sources.values()))
        sections.append(Section("Source", details.sources_remark, code=code))
    for group, members in found.rows.groupby("group", sort=False):
        text = GROUP_TEXTS.get(str(group), "")
        sections.append(Section(str(group).capitalize(), text, members[COLUMNS].rename(columns=SIDES)))
    return Page(title, conclusion, sections)


def scores_table(scores: Sequence[Score]) -> pd.DataFrame:
    """Return a row per model with its scores."""
    lines = []
    for each in scores:
        paired = each.difference
        lines.append(
            {
                "model": each.model,
                "metric": f"{each.metric} {each.unit}".strip(),
                "a": each.values[0],
                "b": each.values[1],
                "shared rows": each.rows,
                "difference": each.remark if paired is None else f"{paired.value:+.3g}",
                "95 %": "" if paired is None else f"{paired.low:+.3g} to {paired.high:+.3g}",
            }
        )
    return pd.DataFrame(lines)


def shortened(diff: str) -> str:
    """Return the first lines of a diff."""
    lines = diff.splitlines()
    rest = len(lines) - MAX_DIFF_LINES
    return "\n".join([*lines[:MAX_DIFF_LINES], *([f"… {rest:,} more lines"] if rest > 0 else [])])
