"""One column of a file: its kind, how its values are written, and the numbers that they stand for."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow

NUMERIC, CATEGORICAL, TEXT, BOOLEAN, DATE = "numeric", "categorical", "text", "boolean", "date"
KINDS = (NUMERIC, CATEGORICAL, TEXT, BOOLEAN, DATE)
WORDS = (CATEGORICAL, TEXT)  # kinds that stay texts; all others become numbers
BOOLEAN_WORDS = dict.fromkeys(("true", "yes", "y", "t", "on", "sí", "si", "ja", "oui", "sim", "1"), 1.0) | (
    dict.fromkeys(("false", "no", "n", "f", "off", "nein", "non", "não", "0"), 0.0)
)
SPACE = "[ \u00a0\u202f]"  # also the kinds that do not break a line
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Column:
    """One column: its kind, how its values are written, and the range [low, high] that a number must lie in.

    Numbers have a `decimal` sign, perhaps a separator of `thousands`, and texts to `remove` before they are read, such
    as a currency sign. Dates have a `format` as strptime takes it.
    """

    kind: str
    range: tuple[float, float] | None = None
    decimal: str = "."
    thousands: str = ""
    remove: tuple[str, ...] = ()
    format: str = ""


def parse_values(texts: pd.Series, terms: Column) -> pd.Series:
    """The numbers that a column's values stand for, NaN where they stand for none: (rows,) of float64.

    A date is its days since 1970-01-01, a boolean is 1 or 0. What is typed already is only converted.
    """
    if terms.kind == DATE:
        return days(texts, terms.format)
    if pd.api.types.is_numeric_dtype(texts) or pd.api.types.is_bool_dtype(texts):
        return texts.astype("float64")
    if terms.kind == BOOLEAN:
        return texts.str.lower().map(BOOLEAN_WORDS).astype("float64")
    for part in terms.remove:
        texts = texts.str.replace(part, "", regex=False)
    if terms.thousands:
        mark = SPACE if terms.thousands == " " else re.escape(terms.thousands)
        grouped = rf"\s*[-+−]?\d{{1,3}}(?:{mark}\d{{3}})+(?:{re.escape(terms.decimal)}\d*)?\s*"
        texts = texts.where(texts.str.fullmatch(grouped) | ~texts.str.strip().str.contains(mark))
        texts = texts.str.replace(mark, "", regex=True)
    if terms.decimal != ".":
        texts = texts.where(~texts.str.contains(".", regex=False)).str.replace(terms.decimal, ".", regex=False)
    return floats(texts)


def floats(texts: pd.Series) -> pd.Series:
    """Numbers with a decimal point, NaN for what is none: (rows,) of float64."""
    try:
        numbers = pyarrow.Array.from_pandas(texts).cast(pyarrow.float64())  # five times as fast, if all can be read
        return pd.Series(numbers.to_numpy(zero_copy_only=False), texts.index)
    except pyarrow.ArrowInvalid:
        return pd.to_numeric(texts.str.strip().str.replace("−", "-"), errors="coerce").astype("float64")


def days(values: pd.Series, form: str) -> pd.Series:
    """Days since 1970-01-01 of dates, in UTC where they name a time zone: (rows,) of float64.

    Numbers are dates only by a format that says so: they may count days, seconds or nanoseconds.
    """
    if pd.api.types.is_numeric_dtype(values):
        values = to_text(values) if form else pd.Series(pd.NaT, values.index)
    dates = pd.to_datetime(values, format=form or None, errors="coerce", utc=True)
    since = dates.dt.tz_localize(None).to_numpy("datetime64[us]") - np.datetime64(0, "us")
    return pd.Series(since / DAY, values.index)


def to_text(values: pd.Series) -> pd.Series:
    """Values as texts: (rows,) of str. A number that is whole has no fraction, whichever others are beside it."""
    texts = values.astype("str")
    if not pd.api.types.is_float_dtype(values):
        return texts
    whole = (values % 1 == 0) & (values.abs() < 2**63)
    return texts.mask(whole, values.where(whole).astype("Int64").astype("str"))
