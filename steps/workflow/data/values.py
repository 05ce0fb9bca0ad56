"""Values of a column as numbers or as text."""

import pandas as pd

from workflow.data.columns import BOOLEAN, DATE, DURATION, TIME_OF_DAY, Column
from workflow.data.dates import days_since_epoch, hours_of_day, seconds
from workflow.data.numbers import parse_numbers

BOOLEAN_WORDS = dict.fromkeys(("true", "yes", "y", "t", "on", "sí", "si", "ja", "oui", "sim", "1"), 1.0) | (
    dict.fromkeys(("false", "no", "n", "f", "off", "nein", "non", "não", "0"), 0.0)
)


def parse_values(values: pd.Series, column: Column) -> pd.Series:
    """Return the values of a column as numbers: (rows,) of float64, NaN where a value is missing or unreadable.

    A date becomes its days since 1970-01-01, a time of day its hours, a duration its seconds, a boolean 1 or 0. Values
    that are typed already are only converted.
    Numbers are dates only if a format says so: without one, they might count days, seconds or nanoseconds.
    """
    typed = pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)
    if column.kind == DATE:
        if typed:
            values = to_text(values) if column.format else pd.Series(pd.NaT, values.index)
        return days_since_epoch(values, column.formats)
    if typed:
        return values.astype("float64")
    if column.kind == TIME_OF_DAY:
        return hours_of_day(values)
    if column.kind == DURATION:
        return seconds(values)
    if column.kind == BOOLEAN:
        return values.str.lower().map(BOOLEAN_WORDS).astype("float64")
    return parse_numbers(values, column)


def to_text(values: pd.Series) -> pd.Series:
    """Return values as text: (rows,) of str. An integer has no decimal point, even in a column of floats."""
    texts = values.astype("str")
    if not pd.api.types.is_float_dtype(values):
        return texts
    whole = (values % 1 == 0) & (values.abs() < 2**63)
    return texts.mask(whole, values.where(whole).astype("Int64").astype("str"))
