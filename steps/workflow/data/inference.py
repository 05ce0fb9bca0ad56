"""Infer the contract of a file from the values of its columns."""

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import pandas as pd

from workflow.data.candidates import MAX_FAULTS, MAX_REQUIRED_FAULTS, MISSING, DroppedColumn, InferredColumn
from workflow.data.columns import (
    BOOLEAN,
    CATEGORICAL,
    DATE,
    DURATION,
    NUMERIC,
    TARGET_KINDS,
    TEXT,
    TIME_OF_DAY,
    Column,
)
from workflow.data.contract import Contract
from workflow.data.date_inference import (
    COMPACT_DATE,
    DATE_EXAMPLES,
    SHAPES_SAMPLE_ROWS,
    file_day_first,
    infer_clock,
    infer_date,
    may_be_dates_or_times,
    unread_dates,
)
from workflow.data.dates import holds_times
from workflow.data.findings import Finding
from workflow.data.number_inference import file_decimal, infer_numeric, numbers_as_categories
from workflow.data.numbers import parse_plain_numbers
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.values import BOOLEAN_WORDS, parse_values
from workflow.errors import UserError
from workflow.spelling import nearest

PROFILE_SAMPLE_ROWS = 20_000  # evenly spaced; down to a quarter of them for very many columns
UNIQUE = 0.9  # fraction of distinct values above which a column identifies the rows
MANY_CATEGORIES = 50
MAX_EXACT_INTEGER = 2**53
MAX_CLASSES = 20  # distinct texts of a target that ask for classification
LISTED_COLUMNS = 5  # in a message
MIN_NUMBERED_ROWS = 50  # above which whole numbers without a gap may be row numbers
MIN_WORDS = 3  # median words of a free text
IDENTIFIER = re.compile(r"(?i:(?:^|_|\s)(?:id|uuid|guid|index|idx|key|row)$|^unnamed|^column\d+$|^$)|[a-z]I[dD]$")


@dataclass(frozen=True)
class FileStyle:
    """What other columns of a file show: how they write numbers and dates.

    Attributes:
        decimal: returns the decimal separator; empty if unknown.
        day_first: returns whether the day comes before the month; None if unknown.
    """

    decimal: Callable[[], str]
    day_first: Callable[[], bool | None]


UNKNOWN_STYLE = FileStyle(lambda: "", lambda: None)


@dataclass(frozen=True)
class InferredContract:
    """A contract, with notes for its reader by column, and what is odd about the columns."""

    contract: Contract
    notes: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def sample_size(columns: int) -> int:
    """Return how many rows to infer a contract from: fewer from 250 columns on, to save time."""
    return max(PROFILE_SAMPLE_ROWS // 4, min(PROFILE_SAMPLE_ROWS, 250 * PROFILE_SAMPLE_ROWS // columns))


def infer(frame: pd.DataFrame, target: str, **roles: str) -> InferredContract:
    """Infer the contract of a table for predicting `target`.

    Args:
        frame: `sample_size` rows of the table, evenly spaced.
        target: the column to predict.
        **roles: the columns that the contract names as `group`, `time`, `fold` or `weight`; they are kept even if they
            look like identifiers.

    Raises:
        UserError: if a column with a role is absent or unsuitable, or if no feature is left.
    """
    required = {"target": target, **roles}
    for role, name in required.items():
        if name not in frame:
            raise UserError(f"{role}={name}: no such column; {nearest(name, map(str, frame.columns))}")
    drop = {name: reason for name in frame if (reason := unreadable_reason(frame[name]))}
    sample = frame.drop(columns=list(drop)).drop_duplicates()
    role_of = {name: role for role, name in required.items()}
    file = FileStyle(cache(partial(file_decimal, sample)), cache(partial(file_day_first, sample)))
    inferred = {name: infer_column(sample[name], role_of.get(name, ""), file) for name in sample}
    kept = {name: found for name, found in inferred.items() if isinstance(found, InferredColumn)}
    drop |= {name: found.reason for name, found in inferred.items() if isinstance(found, DroppedColumn)}
    columns = {name: found.column for name, found in kept.items()}
    check_required(required, columns, drop, sample)
    missing = sorted(frozenset().union(*(found.missing_spellings for found in inferred.values())))
    notes = {name: found.note for name, found in kept.items() if found.note}
    unit = "s" if columns[target].kind == DURATION else ""
    named: dict[str, Any] = roles
    contract = replace(Contract(target, columns, tuple(missing), drop, unit=unit), **named)
    findings = [finding for found in inferred.values() for finding in found.findings]
    return InferredContract(contract, notes, (*findings, *binary_findings(sample[target]), *drop_findings(drop)))


def binary_findings(target: pd.Series) -> list[Finding]:
    """Return a finding if a target has two values."""
    values = target.dropna().unique()
    if len(values) != 2:
        return []
    message = (
        f"target {target.name} has two values, {' and '.join(sorted(map(str, values)))}, which asks for classification"
    )
    remedy = "read a prediction as a probability, or choose another target"
    return [Finding("D012", message, remedy, (str(target.name),))]


def drop_findings(drop: dict[str, str]) -> list[Finding]:
    """Return a finding that names the columns that are left out, with the reasons."""
    if not drop:
        return []
    reasons = [f"{name} {reason}" for name, reason in drop.items()]
    more = f" and {len(reasons) - LISTED_COLUMNS:,} more" if len(reasons) > LISTED_COLUMNS else ""
    message = f"left out: {'; '.join(reasons[:LISTED_COLUMNS])}{more}"
    return [Finding("D010", message, "list one in a contract to use it (-P contract=<file>)", tuple(drop))]


def check_required(
    required: dict[str, str], columns: dict[str, Column], drop: dict[str, str], sample: pd.DataFrame
) -> None:
    """Raise UserError if a required column, by its role, is dropped or of the wrong kind, or if no feature is left."""
    for role, name in required.items():
        if name in drop:
            raise UserError(f"{role}={name}: the column {drop[name]}; choose another")
    target, time, weight = required["target"], required.get("time"), required.get("weight")
    if columns[target].kind not in TARGET_KINDS:
        raise not_numeric(sample[target].dropna().astype(str))
    if time and columns[time].kind not in (DATE, NUMERIC):
        raise UserError(f"time={time}: neither a date nor a numeric column; choose another")
    if weight and columns[weight].kind != NUMERIC:
        raise UserError(f"weight={weight}: not a numeric column; choose another")
    if not columns.keys() - {target, weight, required.get("fold")}:
        reasons = "; ".join(f"{name} {reason}" for name, reason in drop.items())
        raise UserError(
            f"no feature is left to predict {target} from: {reasons or 'there is no other column'}; list the features"
            " in a contract (-P contract=<file>)"
        )


def not_numeric(target: pd.Series) -> UserError:
    """Return the error for a target of other texts than numbers."""
    values = target.drop_duplicates()
    examples = f"{', '.join(values.head(3))}{', …' if len(values) > 3 else ''}"
    name = f"target={target.name}"
    if len(values) > MAX_CLASSES:
        return UserError(f"{name}: not a numeric column (its values are {examples}); choose another")
    remedy = "write them as 0 and 1 to predict a probability, or " if len(values) == 2 else ""
    return UserError(
        f"{name}: not a numeric column, but {len(values)} classes ({examples}), and classification is not supported;"
        f" {remedy}choose another"
    )


def unreadable_reason(values: pd.Series) -> str:
    """Return the reason to drop a column of other values than texts, numbers, dates, times or booleans; else empty."""
    if values.dtype != object:
        return ""
    types = {type(value) for value in values.dropna()}
    if types <= {str} or types <= {datetime.time}:
        return ""
    if types <= {str, int, float, bool}:
        return f"has values of several types: {' and '.join(sorted(each.__name__ for each in types))}"
    return "holds lists or other nested values"


def infer_column(values: pd.Series, role: str = "", file: FileStyle = UNKNOWN_STYLE) -> InferredColumn | DroppedColumn:
    """Infer the kind of a column, or why to drop it.

    Args:
        values: (rows,).
        role: of the column in the contract, such as `target`, if it has one: then only constant text is dropped.
        file: what its other columns show.
    """
    if (typed := infer_typed(values, bool(role))) is not None:
        return typed
    spellings = frozenset(values[values.isin(MISSING)])
    texts = values[~values.isin(spellings)].dropna()
    if texts.nunique() <= 1:
        return DroppedColumn(constant_reason(texts), spellings)
    inferred = infer_parsed(texts, role, file) or infer_text(texts, bool(role))
    return replace(inferred, missing_spellings=inferred.missing_spellings | spellings)


def infer_typed(values: pd.Series, keep: bool) -> InferredColumn | DroppedColumn | None:
    """Infer a column whose values the file has typed; None if they are texts."""
    if pd.api.types.is_bool_dtype(values):
        return InferredColumn(Column(BOOLEAN))
    if pd.api.types.is_datetime64_any_dtype(values):
        clock = bool((values.dt.normalize() != values).any())
        return InferredColumn(Column(DATE, clock=clock))
    if pd.api.types.is_timedelta64_dtype(values):
        return InferredColumn(Column(DURATION))
    if holds_times(values) and values.notna().any():
        return InferredColumn(Column(TIME_OF_DAY))
    if pd.api.types.is_numeric_dtype(values):
        reason = "" if keep else long_integers_reason(values) or reason_to_drop_numbers(values, str(values.name))
        return DroppedColumn(reason) if reason else InferredColumn(Column(NUMERIC))
    return None


def infer_parsed(texts: pd.Series, role: str, file: FileStyle) -> InferredColumn | DroppedColumn | None:
    """Infer a column whose texts are booleans, dates, times or numbers; None if they are not."""
    if (boolean := infer_boolean(texts)) and role != "target":
        return boolean
    sample = texts.iloc[evenly_spaced_positions(len(texts), SHAPES_SAMPLE_ROWS)]
    if sample.str.contains(r"\d").mean() < 1 - MAX_REQUIRED_FAULTS:
        return None  # all that follows is written with digits
    inferred = infer_with_digits(texts, role, file)
    if inferred is None or role:
        return inferred
    values = parse_values(texts, inferred.column)
    numeric = inferred.column.kind == NUMERIC
    reason = reason_to_drop_numbers(values, str(texts.name)) if numeric else ""
    if values.nunique() <= 1:
        reason = constant_reason(values.dropna())
    return DroppedColumn(reason) if reason else inferred


def infer_with_digits(texts: pd.Series, role: str, file: FileStyle) -> InferredColumn | None:
    """Infer a column of dates, times or numbers; None if it is another one."""
    max_faults = MAX_REQUIRED_FAULTS if role else MAX_FAULTS
    numeric = partial(infer_numeric, texts, file.decimal, role in ("target", "time", "weight"), max_faults)
    if role == "target":
        return numeric() or infer_clock(texts, max_faults, is_target=True)
    if are_plain_numbers(texts) or not may_be_dates_or_times(texts):
        return numeric()
    dates = infer_date(texts, max_faults, file.day_first)
    return dates or infer_clock(texts, max_faults) or numeric()


def are_plain_numbers(texts: pd.Series) -> bool:
    """Return whether all texts are numbers with a decimal point, and not dates such as 20240131."""
    examples = texts.head(DATE_EXAMPLES)
    compact_dates = (examples.str.len() == len("20240131")).all() and examples.str.fullmatch(COMPACT_DATE).all()
    return not compact_dates and bool(parse_plain_numbers(texts).notna().all())


def infer_text(texts: pd.Series, keep: bool) -> InferredColumn | DroppedColumn:
    """Infer a column of other texts: categories, free text, or an identifier to drop."""
    categories, findings = texts.nunique(), (*unread_dates(texts), *numbers_as_categories(texts))
    note = f"{categories:,} categories" if categories > MANY_CATEGORIES else ""
    categorical = InferredColumn(Column(CATEGORICAL), note=note, findings=findings)
    distinct = categories / len(texts)
    if keep or distinct <= UNIQUE / 2:
        return categorical
    if findings and findings[0].code == "D009":
        return DroppedColumn("looks like dates that are not read", findings=findings)
    if texts.str.count(r"\S+").median() >= MIN_WORDS:
        return InferredColumn(Column(TEXT), note="free text, encoded by its words")
    return DroppedColumn(unique_reason(texts), findings=findings) if distinct > UNIQUE else categorical


def unique_reason(texts: pd.Series) -> str:
    """Return the reason to drop texts of which nearly all are distinct: names and codes identify, all else does not."""
    code = r"\d+|\S*[^\W\d_]\S*|[^\W\d_].*"
    if texts.str.fullmatch(code).mean() > UNIQUE:
        return "is an identifier: nearly all values are distinct"
    return f"has nearly as many values as rows, in no form that is read (first: {texts.iloc[0]!r})"


def infer_boolean(texts: pd.Series) -> InferredColumn | None:
    """Infer a column of two words that mean true and false."""
    words = texts.str.lower().unique()
    return InferredColumn(Column(BOOLEAN)) if len(words) == 2 and set(words) <= BOOLEAN_WORDS.keys() else None


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


def long_integers_reason(values: pd.Series) -> str:
    """Return the reason to drop integers that float64 does not hold exactly; empty for others."""
    inexact = pd.api.types.is_integer_dtype(values) and values.abs().max() > MAX_EXACT_INTEGER
    return "has integers of more than 15 digits, which cannot be read exactly" if inexact else ""


def constant_reason(known: pd.Series) -> str:
    """Return the reason to drop a column of at most one distinct value, missing ones aside."""
    return "is empty" if known.empty else "is constant"
