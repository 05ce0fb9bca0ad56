"""The columns of a file: their kinds, and how their values become numbers."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow

NUMERIC, CATEGORICAL, TEXT, BOOLEAN, DATE = "numeric", "categorical", "text", "boolean", "date"
KINDS = (NUMERIC, CATEGORICAL, TEXT, BOOLEAN, DATE)
STRING_KINDS = (CATEGORICAL, TEXT)  # kept as strings; all other kinds become float64
PARSE_ERRORS = {NUMERIC: "is not a number", BOOLEAN: "is neither true nor false", DATE: "is not a date"}
BOOLEAN_WORDS = dict.fromkeys(("true", "yes", "y", "t", "on", "sí", "si", "ja", "oui", "sim", "1"), 1.0) | (
    dict.fromkeys(("false", "no", "n", "f", "off", "nein", "non", "não", "0"), 0.0)
)
ANY_SPACE = "[ \u00a0\u202f]"  # a plain, a no-break or a narrow no-break space
ONE_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Column:
    """The kind of a column, and how its values are written.

    Attributes:
        kind: one of `KINDS`.
        range: lowest and highest valid number.
        decimal: decimal separator of numbers.
        thousands: thousands separator of numbers; empty for none.
        remove: texts to remove before a number is parsed, such as a currency sign.
        format: format of dates, as strptime takes it.
    """

    kind: str
    range: tuple[float, float] | None = None
    decimal: str = "."
    thousands: str = ""
    remove: tuple[str, ...] = ()
    format: str = ""


def parse_values(values: pd.Series, column: Column) -> pd.Series:
    """Return the values of a column as numbers: (rows,) of float64, NaN where a value is missing or unreadable.

    A date becomes its days since 1970-01-01, a boolean 1 or 0. Values that are typed already are only converted.
    """
    if column.kind == DATE:
        return days_since_epoch(values, column.format)
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return values.astype("float64")
    if column.kind == BOOLEAN:
        return values.str.lower().map(BOOLEAN_WORDS).astype("float64")
    for text in column.remove:
        values = values.str.replace(text, "", regex=False)
    if column.thousands:
        separator = ANY_SPACE if column.thousands == " " else re.escape(column.thousands)
        grouped = rf"\s*[-+−]?\d{{1,3}}(?:{separator}\d{{3}})+(?:{re.escape(column.decimal)}\d*)?\s*"
        values = values.where(values.str.fullmatch(grouped) | ~values.str.strip().str.contains(separator))
        values = values.str.replace(separator, "", regex=True)
    if column.decimal != ".":
        values = values.where(~values.str.contains(".", regex=False)).str.replace(column.decimal, ".", regex=False)
    return parse_numbers(values)


def parse_numbers(texts: pd.Series) -> pd.Series:
    """Parse numbers with a decimal point: (rows,) of float64, NaN for any other text."""
    try:
        numbers = pyarrow.Array.from_pandas(texts).cast(pyarrow.float64())  # five times as fast, but all or nothing
        return pd.Series(numbers.to_numpy(zero_copy_only=False), texts.index)
    except pyarrow.ArrowInvalid:
        return pd.to_numeric(texts.str.strip().str.replace("−", "-"), errors="coerce").astype("float64")


def days_since_epoch(values: pd.Series, date_format: str) -> pd.Series:
    """Return dates as days since 1970-01-01, in UTC if they have a time zone: (rows,) of float64, NaN for no date.

    Numbers are dates only if a format says so: without one, they might count days, seconds or nanoseconds.
    """
    if pd.api.types.is_numeric_dtype(values):
        values = to_text(values) if date_format else pd.Series(pd.NaT, values.index)
    dates = pd.to_datetime(values, format=date_format or None, errors="coerce", utc=True)
    since_epoch = dates.dt.tz_localize(None).to_numpy("datetime64[us]") - np.datetime64(0, "us")
    return pd.Series(since_epoch / ONE_DAY, values.index)


def to_text(values: pd.Series) -> pd.Series:
    """Return values as text: (rows,) of str. An integer has no decimal point, even in a column of floats."""
    texts = values.astype("str")
    if not pd.api.types.is_float_dtype(values):
        return texts
    whole = (values % 1 == 0) & (values.abs() < 2**63)
    return texts.mask(whole, values.where(whole).astype("Int64").astype("str"))
