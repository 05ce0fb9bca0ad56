"""The page about what preprocess did to a file."""

import pandas as pd

from tabular.report import Section, page

READABLE = {
    "rows_in": "in the file",
    "rows_rejected": "that break the contract",
    "rows_duplicate": "exact duplicates of another",
    "rows_train": "in the training part",
    "rows_test": "in the test part",
    "rows_overlap": "of the test part that are in the training part too",
}


def data_report(counts: dict[str, int], rejected: pd.DataFrame, missing: dict[str, int], ignored: list[str]) -> str:
    """The page about what preprocess did to a file: row counts, missing values, rejected rows."""
    lead = (
        f"{counts['rows_in']:,} rows in, {counts['rows_rejected']:,} rejected, {counts['rows_duplicate']:,} exact"
        f" duplicates; {counts['rows_train']:,} rows to train and {counts['rows_test']:,} to test."
    )
    reasons = rejected.groupby(["column", "reason"]).size().rename("values").reset_index()
    named = [(READABLE[name], count) for name, count in counts.items()]
    sections = [
        Section("Rows", table=pd.DataFrame(named, columns=["", "rows"])),
        Section("Missing values", table=pd.DataFrame(missing.items(), columns=["column", "missing"])),
        Section("Rejected, by reason", table=reasons) if len(reasons) else Section("No row was rejected"),
        *([Section("The first rejected values", table=rejected.head(20))] if len(rejected) else []),
    ]
    if ignored:
        sections.append(Section("Columns that the contract does not name", ", ".join(ignored)))
    overlap = counts["rows_overlap"]
    leak = f"{overlap:,} rows of the test part are in the training part too: a score on them would be false."
    return page("The data", lead, sections, leak if overlap else "")
