"""The page about what preprocess did to a file: each column with a picture, rejected rows, duplicates, warnings."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from workflow.data.columns import CATEGORICAL, DATE, NUMERIC, TEXT, Column
from workflow.data.contract import Contract, Report
from workflow.data.stored import StoredRows
from workflow.reports.report import Section, number, page, percent

READABLE = {
    "rows_in": "in the file",
    "rows_rejected": "that break the contract",
    "rows_duplicate": "exact duplicates of another",
    "rows_train": "in the training part",
    "rows_test": "in the test part",
    "rows_overlap": "of the test part that are in the training part too",
}
BARS = 16
WORD = r"\S+"
SHOWN = 200  # columns that get a line of their own


def data_report(
    rows: Mapping[str, pd.Series] | StoredRows,
    terms: Contract,
    notes: dict[str, str],
    kept: Report,
    counts: dict[str, int],
    lead: str,
    warnings: list[str],
    address: str,
) -> str:
    """The page about a file.

    Args:
        rows: distinct ones that keep to the contract, typed.
        terms: their contract.
        notes: on columns, where the contract was inferred.
        kept: what became of the rows of the file.
        counts: of rows, by the names of the metrics.
        lead: what became of the rows, in a sentence.
        warnings: what would make a score false.
        address: of the run.
    """
    reasons = kept.rejected.groupby(["column", "reason"]).size().rename("values").reset_index()
    named = [(READABLE[name], count) for name, count in counts.items()]
    shown = list(terms.columns.items())[:SHOWN]
    lines = pd.DataFrame(
        [column_summary(rows[name], column, notes.get(name, "")) for name, column in shown], dtype=object
    )
    if not lines["note"].any():
        lines = lines.drop(columns="note")
    sections = [
        Section("Columns", f"Of the distinct rows that keep to the contract; {terms.target} is to be predicted.",
                lines),
        Section("Rows", table=pd.DataFrame(named, columns=["", "rows"])),
        Section("Rejected, by reason", table=reasons) if len(reasons) else Section("No row was rejected"),
        *([Section("The first rejected values", table=kept.rejected.head(20))] if len(kept.rejected) else []),
    ]  # fmt: skip
    if terms.drop:
        why = [(name, reason or "the contract says so") for name, reason in terms.drop.items()]
        aside = pd.DataFrame(why, columns=["column", "reason"])
        sections.append(Section("Columns set aside", table=aside))
    if kept.ignored:
        sections.append(Section("Columns that the contract does not name", ", ".join(kept.ignored)))
    if overlap := counts["rows_overlap"]:
        warnings = [*warnings, f"{overlap:,} rows of the test part are in the training part: they will not be scored"]
    return page("The data", lead, sections, "; ".join(warnings), {"run": address})


def data_summary(counts: dict[str, int], question: str) -> str:
    """What became of the rows, in a sentence, and which `question` a score on the test part answers."""
    return (
        f"{counts['rows_in']:,} rows in, {counts['rows_rejected']:,} rejected, {counts['rows_duplicate']:,} exact"
        f" duplicates; {counts['rows_train']:,} rows to train and {counts['rows_test']:,} to test. A score on the test"
        f" part says how well {question}."
    )


def column_summary(values: pd.Series, column: Column, note: str) -> dict[str, object]:
    """What the page says of one column."""
    known = values.dropna()
    reach = ""
    if column.kind == DATE and len(known):
        reach = " to ".join(str(np.datetime64(int(day), "D")) for day in (known.min(), known.max()))
    elif column.kind == CATEGORICAL and len(known):
        reach = f"most often {str(known.mode()[0])[:40]}"
    elif column.kind == TEXT and len(known):
        reach = f"{number(known.str.count(WORD).min())} to {number(known.str.count(WORD).max())} words"
    elif len(known):
        reach = f"{number(known.min())} to {number(known.max())}"
    return {
        "column": values.name,
        "kind": column.kind,
        "missing": percent(values.isna().mean(), 1) if values.isna().any() else "",
        "distinct": f"{known.nunique():,}",
        "range": reach,
        "distribution": histogram(known, column),
        "note": "" if column.kind == CATEGORICAL else note,  # it would count the categories again
    }


def histogram(known: pd.Series, column: Column) -> Markup:
    """A small bar chart: how often each of the commonest categories occurs, or numbers from low to high."""
    if known.empty:
        return Markup("")
    if column.kind == TEXT:
        known, column = known.str.count(WORD), Column(NUMERIC)
    if column.kind == CATEGORICAL:
        counts = known.value_counts()
        heights, names = counts.head(BARS).to_numpy(), counts.index[:BARS].astype(str)
    else:
        heights, edges = np.histogram(known, bins=BARS)
        names = [f"from {number(edge)}" for edge in edges[:-1]]
    bars = [
        f'<rect x="{place * 8}" y="{26 - height * 26 / heights.max():.1f}" width="7"'
        f' height="{height * 26 / heights.max():.1f}"><title>{escape(name)}: {height:,}</title></rect>'
        for place, (height, name) in enumerate(zip(heights, names, strict=True))
    ]
    return Markup(f'<svg width="{BARS * 8}" height="26" fill="#7b1e3a">{"".join(bars)}</svg>')
