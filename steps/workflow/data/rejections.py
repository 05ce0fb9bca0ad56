"""Findings about the rows of a file that were rejected, and about its values that could not be read."""

from collections.abc import Mapping

import pandas as pd

from workflow.data.candidates import MISSING
from workflow.data.contract import CoercedValues
from workflow.data.findings import Finding
from workflow.formatting import percent

MANY_REJECTED = 0.05  # fraction of the rows


def coercion_findings(coerced: Mapping[str, CoercedValues], rows_in: int) -> list[Finding]:
    """Return a finding for each column with values that were unreadable and taken as missing."""
    return [
        Finding(
            "D007",
            f"column {name}: {each.count:,} of {rows_in:,} values ({percent(each.count / rows_in, 1)}) cannot be read"
            f" and are taken as missing (first: {each.first!r})",
            "correct them, or write `errors: reject` in a contract",
            (name,),
            {"coerced": each.count},
        )
        for name, each in coerced.items()
    ]


def rejection_findings(rejected: pd.DataFrame, rows_in: int, target: str) -> list[Finding]:
    """Return findings about rejected rows: those that were rejected by the value of their target select by it."""
    if rejected.empty:
        return []
    found = []
    unknown = (rejected["reason"] == "is missing") & rejected["value"].isin(["", *MISSING])
    by_target = rejected[(rejected["column"] == target) & ~unknown]
    if len(by_target):
        found.append(rejection_finding("D001", by_target, rows_in, "the score is of the other rows"))
    others = rejected[~rejected["row"].isin(by_target["row"])]
    if len(others):
        many = others["row"].nunique() > MANY_REJECTED * rows_in
        found.append(rejection_finding("D002" if many else "D003", others, rows_in, ""))
    return found


def rejection_finding(code: str, rejected: pd.DataFrame, rows_in: int, consequence: str) -> Finding:
    """Return a finding about rejected rows that names the most frequent reason, with its first value."""
    count = int(rejected["row"].nunique())
    column, reason = rejected.groupby(["column", "reason"], sort=False).size().idxmax()
    first = rejected[(rejected["column"] == column) & (rejected["reason"] == reason)].iloc[0]
    subject = f"column {column}" if column else "a line"
    example = f"{first['value']!r} in line {first['row']}" if first["value"] else f"line {first['row']}"
    share = percent(count / rows_in, 1)
    message = f"{count:,} of {rows_in:,} rows ({share}) were rejected: {subject} {reason} (first: {example})"
    return Finding(
        code,
        f"{message}, so {consequence}" if consequence else message,
        "" if reason == "is missing" else "say in the contract how it is written, or correct the file",
        (column,) if column else (),
        {"rows_rejected": count, "rows_in": rows_in},
    )
