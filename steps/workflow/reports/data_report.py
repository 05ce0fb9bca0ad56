"""The page about a data file: its columns with a figure each, its rejected rows, duplicates and warnings."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from workflow.data.columns import CATEGORICAL, DATE, DURATION, TEXT, TIME_OF_DAY
from workflow.data.contract import Contract
from workflow.data.findings import Finding
from workflow.data.profile import HISTOGRAM_BARS, ColumnProfile, DataFacts
from workflow.formatting import number, percent
from workflow.reports.report import Page, Section

ROW_COUNTS = {
    "rows_in": "in the file",
    "rows_rejected": "rejected by the contract",
    "rows_duplicate": "exact duplicates of another",
    "rows_train": "in the training set",
    "rows_test": "in the test set",
    "rows_overlap": "of the test set that are in the training set too",
}
REJECTED_SHOWN = 20
BAR_WIDTH, BAR_HEIGHT = 8, 26  # pixels


def data_report(
    contract: Contract,
    facts: DataFacts,
    findings: Sequence[Finding],
    rejected: pd.DataFrame,
    question: str,
    addresses: Mapping[str, str],
) -> Page:
    """Return the page about a data file.

    Args:
        contract: of the file.
        facts: what the file looks like.
        findings: what is odd about it.
        rejected: a row per rejected value: line of the file, column, value, reason.
        question: what a score on the test set says: see `split.question`.
        addresses: pages to link to, by name.
    """
    lines = pd.DataFrame([column_line(each, facts.notes.get(each.name, "")) for each in facts.columns], dtype=object)
    if not lines["note"].any():
        lines = lines.drop(columns="note")
    reasons = rejected.groupby(["column", "reason"]).size().rename("values").reset_index()
    counts = pd.DataFrame(
        [(ROW_COUNTS[name], count) for name, count in facts.counts.items()], columns=["which", "rows"]
    )
    sections = [
        Section("Columns", f"Of the distinct rows that fulfil the contract; {contract.target} is the target.", lines),
        Section("Rows", table=counts),
        Section("Rejected, by reason", table=reasons) if len(reasons) else Section("No row was rejected"),
        *([Section("The first rejected values", table=rejected.head(REJECTED_SHOWN))] if len(rejected) else []),
    ]
    if contract.drop:
        dropped = [(name, reason or "the contract says so") for name, reason in contract.drop.items()]
        sections.append(Section("Dropped columns", table=pd.DataFrame(dropped, columns=["column", "reason"])))
    if facts.ignored_columns:
        sections.append(Section("Columns that the contract does not name", ", ".join(facts.ignored_columns)))
    notes = [(each.code, each.message, each.remedy) for each in findings if not each.is_warning]
    if notes:
        sections.append(Section("Notes", table=pd.DataFrame(notes, columns=["code", "found", "what to do"])))
    return Page("The data", data_summary(facts.counts, question), sections, findings, addresses=addresses)


def data_summary(counts: Mapping[str, float], question: str) -> str:
    """Return what became of the rows, in a sentence, and which question a score on the test set answers."""
    return f"{rows_summary(counts)}. A score on the test set says how well {question}."


def rows_summary(counts: Mapping[str, float]) -> str:
    """Return what became of the rows, by the names of the metrics."""
    return (
        f"{counts['rows_in']:,.0f} rows in, {counts['rows_rejected']:,.0f} rejected, {counts['rows_duplicate']:,.0f}"
        f" exact duplicates; {counts['rows_train']:,.0f} training rows and {counts['rows_test']:,.0f} test rows"
    )


def column_line(profile: ColumnProfile, note: str) -> dict[str, object]:
    """Return the line of the page about one column."""
    return {
        "column": profile.name,
        "kind": profile.kind,
        "missing": percent(profile.missing, 1) if profile.missing else "",
        "distinct": f"{profile.distinct:,}",
        "range": range_text(profile),
        "distribution": histogram(profile),
        "note": "" if profile.kind == CATEGORICAL else note,  # it would count the categories again
    }


def range_text(profile: ColumnProfile) -> str:
    """Return the range of a column, or its most frequent category."""
    if profile.kind == CATEGORICAL:
        return f"most frequent: {profile.most_frequent[:40]}" if profile.most_frequent else ""
    if profile.low is None or profile.high is None:
        return ""
    if profile.kind == DATE:
        return " to ".join(str(np.datetime64(int(day), "D")) for day in (profile.low, profile.high))
    if profile.kind in (TIME_OF_DAY, DURATION):
        scale = 3600 if profile.kind == TIME_OF_DAY else 1
        return " to ".join(str(timedelta(seconds=round(value * scale))) for value in (profile.low, profile.high))
    return f"{number(profile.low)} to {number(profile.high)}{' words' if profile.kind == TEXT else ''}"


def histogram(profile: ColumnProfile) -> Markup:
    """Return a small bar chart of a column."""
    if not profile.counts:
        return Markup("")
    names = profile.labels if profile.kind == CATEGORICAL else [f"from {number(edge)}" for edge in profile.labels]
    heights = [count * BAR_HEIGHT / max(profile.counts) for count in profile.counts]
    bars = [
        f'<rect x="{place * BAR_WIDTH}" y="{BAR_HEIGHT - height:.1f}" width="{BAR_WIDTH - 1}" height="{height:.1f}">'
        f"<title>{escape(name)}: {count:,}</title></rect>"
        for place, (height, name, count) in enumerate(zip(heights, names, profile.counts, strict=True))
    ]
    size = f'width="{HISTOGRAM_BARS * BAR_WIDTH}" height="{BAR_HEIGHT}"'
    words = f"{profile.name}: histogram, highest at {names[int(np.argmax(profile.counts))]}"
    return Markup(f'<svg {size} role="img" aria-label="{escape(words)}">{"".join(bars)}</svg>')
