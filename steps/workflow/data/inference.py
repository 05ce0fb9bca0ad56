"""Infer the contract of a file from the values of its columns."""

import re
import warnings
from dataclasses import dataclass, field, replace

import pandas as pd

from workflow.data.columns import (
    BOOLEAN,
    BOOLEAN_WORDS,
    CATEGORICAL,
    DATE,
    NUMERIC,
    TEXT,
    Column,
    parse_numbers,
    parse_values,
)
from workflow.data.contract import Contract
from workflow.data.sampling import evenly_spaced_positions
from workflow.errors import UserError
from workflow.spelling import nearest

PROFILE_SAMPLE_ROWS = 20_000  # evenly spaced; down to a quarter of them for very many columns
PARSE_SAMPLE_ROWS = 1000  # texts of a column that show whether it could be numeric
DATE_EXAMPLES = 50  # distinct texts of a column from which date formats are guessed
MAX_FAULTS = 0.01  # fraction of values that may not parse like the others; their rows are rejected later
MAX_REQUIRED_FAULTS = 0.5  # of the target and of the columns to split by, which cannot be left out
MIN_ROWS_FOR_FAULT = 20  # from which on one value may always be a fault
MISSING = {
    *("-", "--", "---", "?", ".", "…", "#N/A", "#N/A N/A", "#NA", "N/A", "n/a", "NA", "N.A.", "n.a.", "<NA>", "N.V."),
    *("NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "none", "nil", "missing", "Missing", "unknown", "Unknown"),
    *("#DIV/0!", "#REF!", "#VALUE!", "not available", "Not available"),
}
MAX_NEW_SPELLINGS = 3  # of a missing value in a column of numbers or dates, beyond `MISSING`
UNIQUE = 0.9  # fraction of distinct values above which a column identifies the rows
MANY_CATEGORIES = 50
MIN_NUMBERED_ROWS = 50  # above which whole numbers without a gap may be row numbers
MIN_WORDS = 3  # median words of a free text
CURRENCY = re.compile(r"[$€£¥₹₽]|\b(?:EUR|USD|GBP|CHF|JPY|Euro)\b|%", re.I)
LIKE_A_NUMBER = rf"(?i)(?:[-+−.,'\s\d]|e[-+]?\d|inf|nan|{CURRENCY.pattern})*"  # a cheap test before all number styles
NUMBER_STYLES = [(".", ""), (".", ","), (",", ""), (",", "."), (".", "'"), (",", " "), (".", " ")]  # decimal, thousands
IDENTIFIER = re.compile(r"(?i:(?:^|_|\s)(?:id|uuid|guid|index|idx|key|row)$|^unnamed|^column\d+$|^$)|[a-z]I[dD]$")
COMPACT_DATE = r"(?:19|20)\d{6}"
YEAR_DAY_MONTH = re.compile(r"%Y\W?%d")  # nobody writes the day between the year and the month


@dataclass(frozen=True)
class InferredContract:
    """A contract, with notes for its reader by column."""

    contract: Contract
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InferredColumn:
    """A column to keep.

    Attributes:
        column: its kind, and how its values are written.
        missing_spellings: how it spells a missing value.
        note: a note for the reader of the contract; may be empty.
    """

    column: Column
    missing_spellings: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class DroppedColumn:
    """A column that a model should not read, and why."""

    reason: str
    missing_spellings: frozenset[str] = frozenset()


def sample_size(columns: int) -> int:
    """Return how many rows to infer a contract from: fewer from 250 columns on, to save time."""
    return max(PROFILE_SAMPLE_ROWS // 4, min(PROFILE_SAMPLE_ROWS, 250 * PROFILE_SAMPLE_ROWS // columns))


def infer(frame: pd.DataFrame, target: str, group: str | None = None, time: str | None = None) -> InferredContract:
    """Infer the contract of a table for predicting `target`.

    Args:
        frame: `sample_size` rows of the table, evenly spaced.
        target: the column to predict.
        group: a column to split by; it is kept even if it looks like an identifier.
        time: a column to split by; it is kept, too.

    Raises:
        UserError: if one of the three columns is absent or unsuitable, or if no feature is left.
    """
    required = {role: name for role, name in (("target", target), ("group", group), ("time", time)) if name}
    for role, name in required.items():
        if name not in frame:
            raise UserError(f"{role}={name}: no such column; {nearest(name, map(str, frame.columns))}")
    drop = {name: "holds lists or other nested values" for name in frame if is_nested(frame[name])}
    sample = frame.drop(columns=list(drop)).drop_duplicates()
    inferred = {name: infer_column(sample[name], keep=name in required.values()) for name in sample}
    kept = {name: found for name, found in inferred.items() if isinstance(found, InferredColumn)}
    drop |= {name: found.reason for name, found in inferred.items() if isinstance(found, DroppedColumn)}
    columns = {name: found.column for name, found in kept.items()}
    check_required(required, columns, drop, sample)
    missing = sorted(frozenset().union(*(found.missing_spellings for found in inferred.values())))
    notes = {name: found.note for name, found in kept.items() if found.note}
    contract = Contract(target, columns, missing=tuple(missing), drop=drop, group=group, time=time)
    return InferredContract(contract, notes)


def check_required(
    required: dict[str, str], columns: dict[str, Column], drop: dict[str, str], sample: pd.DataFrame
) -> None:
    """Raise UserError if a required column, by its role, is dropped or of the wrong kind, or if no feature is left."""
    for role, name in required.items():
        if name in drop:
            raise UserError(f"{role}={name}: the column {drop[name]}; choose another")
    target, time = required["target"], required.get("time")
    if columns[target].kind != NUMERIC:
        examples = ", ".join(sample[target].dropna().astype(str).head(3))
        raise UserError(f"target={target}: not a numeric column (its values are {examples}, …); choose another")
    if time and columns[time].kind not in (DATE, NUMERIC):
        raise UserError(f"time={time}: neither a date nor a numeric column; choose another")
    if len(columns) == 1:
        reasons = "; ".join(f"{name} {reason}" for name, reason in drop.items())
        raise UserError(
            f"no feature is left to predict {target} from: {reasons or 'there is no other column'}; list the features"
            " in a contract (-P contract=<file>)"
        )


def is_nested(values: pd.Series) -> bool:
    """Return whether a column has values that are neither texts nor numbers, dates or booleans."""
    return values.dtype == object and not values.dropna().map(lambda value: isinstance(value, str)).all()


def infer_column(values: pd.Series, keep: bool = False) -> InferredColumn | DroppedColumn:
    """Infer the kind of a column, or why to drop it; a column to `keep` is dropped only if it is constant text."""
    if (typed := infer_typed(values, keep)) is not None:
        return typed
    spellings = frozenset(values[values.isin(MISSING)])
    texts = values[~values.isin(spellings)].dropna()
    if texts.nunique() <= 1:
        return DroppedColumn(constant_reason(texts), spellings)
    inferred = infer_parsed(texts, keep) or infer_text(texts, keep)
    return replace(inferred, missing_spellings=inferred.missing_spellings | spellings)


def infer_typed(values: pd.Series, keep: bool) -> InferredColumn | DroppedColumn | None:
    """Infer a column whose values the file has typed; None if they are texts."""
    if pd.api.types.is_bool_dtype(values):
        return InferredColumn(Column(BOOLEAN))
    if pd.api.types.is_datetime64_any_dtype(values):
        return InferredColumn(Column(DATE))
    if pd.api.types.is_numeric_dtype(values):
        reason = "" if keep else reason_to_drop_numbers(values, str(values.name))
        return DroppedColumn(reason) if reason else InferredColumn(Column(NUMERIC))
    return None


def infer_parsed(texts: pd.Series, keep: bool) -> InferredColumn | DroppedColumn | None:
    """Infer a column whose texts are booleans, dates or numbers; None if they are not."""
    max_faults = MAX_REQUIRED_FAULTS if keep else MAX_FAULTS
    inferred = infer_boolean(texts) or infer_date(texts, max_faults) or infer_numeric(texts, max_faults)
    if inferred is None or inferred.column.kind != NUMERIC or keep:
        return inferred
    reason = reason_to_drop_numbers(parse_values(texts, inferred.column), str(texts.name))
    return DroppedColumn(reason) if reason else inferred


def infer_text(texts: pd.Series, keep: bool) -> InferredColumn | DroppedColumn:
    """Infer a column of other texts: categories, free text, or an identifier to drop."""
    categories = texts.nunique()
    note = f"{categories:,} categories" if categories > MANY_CATEGORIES else ""
    categorical = InferredColumn(Column(CATEGORICAL), note=note)
    distinct = categories / len(texts)
    if keep or distinct <= UNIQUE / 2:
        return categorical
    if texts.str.count(r"\S+").median() >= MIN_WORDS:
        return InferredColumn(Column(TEXT), note="free text, encoded by its words")
    return DroppedColumn("is an identifier: nearly all values are distinct") if distinct > UNIQUE else categorical


def infer_boolean(texts: pd.Series) -> InferredColumn | None:
    """Infer a column of two words that mean true and false."""
    words = texts.str.lower().unique()
    return InferredColumn(Column(BOOLEAN)) if len(words) == 2 and set(words) <= BOOLEAN_WORDS.keys() else None


def infer_numeric(texts: pd.Series, max_faults: float) -> InferredColumn | None:
    """Infer a column of numbers: its decimal sign, thousands separator and currency signs."""
    if parse_numbers(texts).notna().all():
        return InferredColumn(Column(NUMERIC))
    sample = texts.iloc[evenly_spaced_positions(len(texts), PARSE_SAMPLE_ROWS)]
    if sample.str.fullmatch(LIKE_A_NUMBER).mean() < 1 - MAX_REQUIRED_FAULTS:
        return None
    signs = sorted({sign for text in texts.head(PARSE_SAMPLE_ROWS) for sign in CURRENCY.findall(text)})
    remove = tuple(sorted(signs, key=len, reverse=True))  # long before short: a long one may contain a short one
    styles = [Column(NUMERIC, decimal=decimal, thousands=mark, remove=remove) for decimal, mark in NUMBER_STYLES]
    return best_parse(texts, styles, max_faults)


def infer_date(texts: pd.Series, max_faults: float) -> InferredColumn | None:
    """Infer a column of dates: their format."""
    from pandas.tseries.api import guess_datetime_format

    examples = texts.drop_duplicates().head(DATE_EXAMPLES)
    examples = examples[parse_numbers(examples).isna() | examples.str.fullmatch(COMPACT_DATE)]  # 2001.5 is a number

    def days_of_month(date_format: str) -> int:
        return pd.to_datetime(examples, format=date_format, errors="coerce").dt.day.nunique()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns where the day does not come first
        guesses = {guess_datetime_format(text, dayfirst=first): None for first in (True, False) for text in examples}
    formats = [guess for guess in guesses if guess and not YEAR_DAY_MONTH.match(guess)]
    formats.sort(key=days_of_month)  # if both orders parse all of 1/1, 2/1, 3/1, these are first days of months
    return best_parse(texts, [Column(DATE, format=date_format) for date_format in formats], max_faults)


def best_parse(texts: pd.Series, candidates: list[Column], max_faults: float) -> InferredColumn | None:
    """Return the first candidate that parses the most texts; None if too many do not parse.

    Up to `MAX_NEW_SPELLINGS` words that recur and do not parse are spellings of a missing value, not faults.
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
    if len(faults) > max(max_faults * len(texts), len(texts) >= MIN_ROWS_FOR_FAULT):
        return None
    return InferredColumn(best, words, f"also missing: {', '.join(sorted(words))}" if words else "")


def reason_to_drop_numbers(values: pd.Series, name: str) -> str:
    """Return why a model should not read a column of numbers of this name; empty if it should."""
    known = values.dropna()
    distinct = known.nunique()
    if distinct <= 1:
        return constant_reason(known)
    whole = (known == known.round()).all()
    without_gap = distinct == len(known) == known.max() - known.min() + 1
    follows_index = (known - known.index).nunique() == 1  # holds in a sample of the rows, too
    starts_at_origin = known.min() in (0, 1)  # 1871, 1872, … would be years
    if whole and len(known) > MIN_NUMBERED_ROWS and starts_at_origin and (without_gap or follows_index):
        return "numbers the rows"
    if whole and IDENTIFIER.search(name) and distinct > UNIQUE * len(known):
        return "is an identifier"
    return ""


def constant_reason(known: pd.Series) -> str:
    """Return the reason to drop a column of at most one distinct value, missing ones aside."""
    return "is empty" if known.empty else "is constant"
