"""What is inferred of a column, and the choice between several ways of parsing it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from workflow.data.columns import COERCE, Column
from workflow.data.findings import Finding
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.values import parse_values

MAX_REQUIRED_FAULTS = 0.5  # of the target and of the columns to split by, which cannot be left out
MAX_FAULTS = 0.01  # fraction of values that may not parse like the others; their rows are rejected later
MAX_COERCED = 0.1  # fraction of unreadable values of a feature with many distinct ones; they become missing
MANY_VALUES = 50  # distinct ones: measurements, not codes
MIN_ROWS_FOR_FAULT = 20  # from which on one value may always be a fault
MISSING = {
    *("-", "--", "---", "?", ".", "…", "#N/A", "#N/A N/A", "#NA", "N/A", "n/a", "NA", "N.A.", "n.a.", "<NA>", "N.V."),
    *("NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "none", "nil", "missing", "Missing", "unknown", "Unknown"),
    *("#DIV/0!", "#REF!", "#VALUE!", "not available", "Not available"),
}
VOTING_COLUMNS = 100
MAX_NEW_SPELLINGS = 3  # of a missing value in a column of numbers or dates, beyond `MISSING`


@dataclass(frozen=True)
class InferredColumn:
    """A column to keep.

    Attributes:
        column: its kind, and how its values are written.
        missing_spellings: how it spells a missing value.
        note: a note for the reader of the contract; may be empty.
        findings: what is odd about it.
    """

    column: Column
    missing_spellings: frozenset[str] = frozenset()
    note: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class DroppedColumn:
    """A column that a model should not read, and why."""

    reason: str
    missing_spellings: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()


def best_parse(
    texts: pd.Series, candidates: list[Column], max_faults: float, coerce: bool = False
) -> InferredColumn | None:
    """Return the first candidate that parses the most texts; None if too many do not parse.

    With `coerce`, up to `MAX_COERCED` of the texts may not parse, and become missing. Up to `MAX_NEW_SPELLINGS` words
    that recur and do not parse are spellings of a missing value, not faults.
    """
    best, best_share = None, -1.0
    for candidate in candidates:
        share = parse_values(texts, candidate).notna().mean()
        if share > best_share:
            best, best_share = candidate, share
        if share == 1:
            break
    if best is None:
        return None
    faults = texts[parse_values(texts, best).isna()]
    words = frozenset(word for word in faults.unique() if not any(sign.isdigit() for sign in word))
    if len(words) <= MAX_NEW_SPELLINGS < len(faults) and len(faults) < len(texts) / 2:
        faults = faults[~faults.isin(words)]
    else:
        words = frozenset()
    accepted = MAX_COERCED if coerce else max_faults
    if len(faults) > max(accepted * len(texts), len(texts) >= MIN_ROWS_FOR_FAULT):
        return None
    if coerce and len(faults):
        best = replace(best, errors=COERCE)
    return InferredColumn(best, words, f"also missing: {', '.join(sorted(words))}" if words else "")


def text_samples(frame: pd.DataFrame, max_rows: int) -> Iterator[pd.Series]:
    """Yield evenly spaced known values of up to `VOTING_COLUMNS` text columns, which show how a file is written."""
    for name in frame.columns[evenly_spaced_positions(frame.shape[1], VOTING_COLUMNS)]:
        texts = frame[name].dropna()
        if pd.api.types.is_string_dtype(texts) and len(texts):
            yield texts.iloc[evenly_spaced_positions(len(texts), max_rows)]
