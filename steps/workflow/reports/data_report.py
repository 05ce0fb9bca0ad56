"""The page about a data file: its columns with a figure each, its rejected rows, duplicates and warnings."""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from workflow.data.columns import CATEGORICAL, DATE, DURATION, TEXT, TIME_OF_DAY
from workflow.data.contract import Contract
from workflow.data.findings import Finding
from workflow.data.profile import HISTOGRAM_BARS, PROFILED_COLUMNS, QUANTILES, SAMPLED_ROWS, ColumnProfile, DataFacts
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
MAX_CELL_CHARACTERS = 200  # of a sample row: prose may be long
QUANTILES_TEXT = (
    "Quantiles are those of {rows:,} evenly spaced rows; mean and standard deviation are of all. Of prose, the number"
    " of words is counted."
)
FREQUENT_TEXT = "With their fraction of the values that are not missing; those of numbers are of evenly spaced rows."
ASSOCIATIONS_TEXT = (
    "Cramér's V, corrected for chance (Bergsma 2013), of evenly spaced rows: 0 is no association, 1 says that one"
    " column determines the other. Numbers are cut into eight groups of about the same size; the seven most frequent"
    " categories are a group each; prose is left out. All columns (of more than 100, the first) with the target, and"
    " the strongest other pairs."
)
BAR_WIDTH, BAR_HEIGHT = 8, 26  # pixels


def data_report(
    contract: Contract,
    facts: DataFacts,
    findings: Sequence[Finding],
    rejected: pd.DataFrame,
    examples: pd.DataFrame,
    question: str,
    addresses: Mapping[str, str],
) -> Page:
    """Return the page about a data file.

    Args:
        contract: of the file.
        facts: what the file looks like.
        findings: what is odd about it.
        rejected: a row per rejected value: line of the file, column, value, reason.
        examples: some rows, as the file has them.
        question: what a score on the test set says: see `split.question`.
        addresses: pages to link to, by name.
    """
    sections = [*column_sections(contract, facts), *row_sections(facts, rejected, examples)]
    if contract.drop:
        dropped = [(name, reason or "the contract says so") for name, reason in contract.drop.items()]
        sections.append(Section("Dropped columns", table=pd.DataFrame(dropped, columns=["column", "reason"])))
    if facts.ignored_columns:
        sections.append(Section("Columns that the contract does not name", ", ".join(facts.ignored_columns)))
    notes = [(each.code, each.message, each.remedy) for each in findings if not each.is_warning]
    if notes:
        sections.append(Section("Notes", table=pd.DataFrame(notes, columns=["code", "found", "what to do"])))
    return Page("The data", data_summary(facts.counts, question), sections, findings, addresses=addresses)


def column_sections(contract: Contract, facts: DataFacts) -> list[Section]:
    """Return what the page says about the columns."""
    strengths = {
        pair.other if pair.one == contract.target else pair.one: pair.strength
        for pair in facts.associations
        if contract.target in (pair.one, pair.other)
    }
    lines = pd.DataFrame(
        [
            column_line(each, contract, facts.notes.get(each.name, ""), strengths.get(each.name, math.nan))
            for each in facts.columns
        ],
        dtype=object,
    )
    if not lines["note"].any():
        lines = lines.drop(columns="note")
    text = f"Of the distinct rows that fulfil the contract; {contract.target} is the target. Associations are below."
    sections = [Section("Columns", text, lines)]
    if numbers := [quantile_line(each) for each in facts.columns if each.mean is not None]:
        counts = facts.counts
        rows = min(SAMPLED_ROWS, counts["rows_in"] - counts["rows_rejected"] - counts["rows_duplicate"])
        sections.append(Section("Quantiles", QUANTILES_TEXT.format(rows=rows), pd.DataFrame(numbers, dtype=object)))
    if frequent := [frequent_line(each) for each in facts.columns if each.frequent]:
        sections.append(Section("Most frequent values", FREQUENT_TEXT, pd.DataFrame(frequent, dtype=object).fillna("")))
    if facts.associations:
        pairs = [(pair.one, pair.other, f"{pair.strength:.2f}") for pair in facts.associations]
        table = pd.DataFrame(pairs, columns=["column", "and", "association"])
        sections.append(Section("Associations", ASSOCIATIONS_TEXT, table))
    return sections


def row_sections(facts: DataFacts, rejected: pd.DataFrame, examples: pd.DataFrame) -> list[Section]:
    """Return what the page says about the rows."""
    reasons = rejected.groupby(["column", "reason"]).size().rename("values").reset_index()
    counts = pd.DataFrame(
        [(ROW_COUNTS[name], count) for name, count in facts.counts.items()], columns=["which", "rows"]
    )
    shown = examples.iloc[:, :PROFILED_COLUMNS].map(lambda value: None if pd.isna(value) else shortened(str(value)))
    return [
        Section("The first rows", "As the file has them.", shown),
        Section("Rows", table=counts),
        Section("Rejected, by reason", table=reasons) if len(reasons) else Section("No row was rejected"),
        *([Section("The first rejected values", table=rejected.head(REJECTED_SHOWN))] if len(rejected) else []),
    ]


def data_summary(counts: Mapping[str, float], question: str) -> str:
    """Return what became of the rows, in a sentence, and which question a score on the test set answers."""
    return f"{rows_summary(counts)}. A score on the test set says how well {question}."


def rows_summary(counts: Mapping[str, float]) -> str:
    """Return what became of the rows, by the names of the metrics."""
    return (
        f"{counts['rows_in']:,.0f} rows in, {counts['rows_rejected']:,.0f} rejected, {counts['rows_duplicate']:,.0f}"
        f" exact duplicates; {counts['rows_train']:,.0f} training rows and {counts['rows_test']:,.0f} test rows"
    )


def column_line(profile: ColumnProfile, contract: Contract, note: str, strength: float) -> dict[str, object]:
    """Return the line of the page about one column; `strength` is that of its association with the target."""
    return {
        "column": profile.name,
        "kind": f"{profile.kind}, derived" if profile.name in contract.derived else profile.kind,
        "missing": percent(profile.missing, 1) if profile.missing else "",
        "distinct": f"{profile.distinct:,}",
        "range": range_text(profile),
        "distribution": histogram(profile),
        "with target": "" if math.isnan(strength) else f"{strength:.2f}",
        "note": "" if profile.kind == CATEGORICAL else note,  # it would count the categories again
    }


def range_text(profile: ColumnProfile) -> str:
    """Return the range of a column, or its most frequent category."""
    if profile.kind == CATEGORICAL:
        return f"most frequent: {profile.frequent[0][:40]}" if profile.frequent else ""
    if profile.low is None or profile.high is None:
        return ""
    words = " words" if profile.kind == TEXT else ""
    return f"{value_text(profile.low, profile.kind)} to {value_text(profile.high, profile.kind)}{words}"


def quantile_line(profile: ColumnProfile) -> dict[str, object]:
    """Return the mean, the standard deviation and the quantiles of one column of numbers."""
    mean, std = profile.mean or 0.0, profile.std or 0.0
    spread = f"{number(std)} days" if profile.kind == DATE else value_text(std, profile.kind)
    quantiles = {
        "median" if fraction == 0.5 else f"{percent(fraction)}": value_text(value, profile.kind)
        for fraction, value in zip(QUANTILES, profile.quantiles, strict=False)  # a sample may hold no value
    }
    return {"column": profile.name, "mean": value_text(mean, profile.kind), "standard deviation": spread, **quantiles}


def frequent_line(profile: ColumnProfile) -> dict[str, object]:
    """Return the most frequent values of one column with their fractions."""
    texts = (shortened(value_text(value, profile.kind)) for value in profile.frequent)
    shares = zip(texts, profile.fractions, strict=True)
    cells = {f"{place}.": f"{text} ({percent(share, 1)})" for place, (text, share) in enumerate(shares, 1)}
    return {"column": profile.name, **cells}


def value_text(value: float | str, kind: str) -> str:
    """Return a value of a column of some kind as people write it; categories as they are."""
    if isinstance(value, str):
        return value
    if kind == DATE:
        return str(np.datetime64(int(value), "D"))
    if kind in (TIME_OF_DAY, DURATION):
        return str(timedelta(seconds=round(value * (3600 if kind == TIME_OF_DAY else 1))))
    return number(value)


def shortened(text: str) -> str:
    """Return a text, cut off where it is too long for a table."""
    return text if len(text) <= MAX_CELL_CHARACTERS else f"{text[: MAX_CELL_CHARACTERS - 1]}…"


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
