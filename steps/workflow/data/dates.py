"""Dates, times of day and durations as people write them."""

import datetime
from collections.abc import Sequence

import numpy as np
import pandas as pd

ONE_DAY, ONE_HOUR, ONE_SECOND = np.timedelta64(1, "D"), np.timedelta64(1, "h"), np.timedelta64(1, "s")
TIME_FORMATS = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%I:%M:%S%p", "%I %p", "%I%p")
PLAIN_NUMBER = r"\s*[-+]?[\d.,]*\s*"
MINUTES_AND_SECONDS = r"[-+]?\d+:\d{1,2}(?:\.\d+)?"


def days_since_epoch(values: pd.Series, formats: Sequence[str]) -> pd.Series:
    """Return dates as days since 1970-01-01, in UTC if they have a time zone: (rows,) of float64, NaN for no date.

    Args:
        values: texts, or dates that the file has typed.
        formats: of the texts, as strptime takes them; the first that fits a text counts.
    """
    dates = pd.to_datetime(values, format=formats[0] if formats else None, errors="coerce", utc=True)
    for date_format in formats[1:]:
        if (unread := dates.isna() & values.notna()).any():
            dates = dates.where(
                ~unread, pd.to_datetime(values.where(unread), format=date_format, errors="coerce", utc=True)
            )
    since_epoch = dates.dt.tz_localize(None).to_numpy("datetime64[us]") - np.datetime64(0, "us")
    return pd.Series(since_epoch / ONE_DAY, values.index)


def hours_of_day(values: pd.Series) -> pd.Series:
    """Return times of day as hours since midnight: (rows,) of float64, NaN for any other value."""
    texts = values.map(str, na_action="ignore").astype("str") if holds_times(values) else values
    texts = texts.str.replace(r"(?i)([ap])\.m\.?", r"\1m", regex=True)
    return days_since_epoch("1970-01-01 " + texts, [f"%Y-%m-%d {time}" for time in TIME_FORMATS]) * (ONE_DAY / ONE_HOUR)


def seconds(values: pd.Series) -> pd.Series:
    """Return durations such as 0:21:15, 21:15 (minutes), 1h 20m or PT1H in seconds: (rows,) of float64.

    NaN for any other value, and for a plain number, whose unit is unknown.
    """
    if not pd.api.types.is_timedelta64_dtype(values):
        texts = values.where(~values.str.fullmatch(PLAIN_NUMBER).fillna(False))
        minutes = texts.str.fullmatch(MINUTES_AND_SECONDS).fillna(False)
        values = pd.to_timedelta(texts.mask(minutes, "0:" + texts).astype(object), errors="coerce")
    return pd.Series(values.to_numpy("timedelta64[us]") / ONE_SECOND, values.index)


def holds_times(values: pd.Series) -> bool:
    """Return whether a column has times of day that the file has typed."""
    return values.dtype == object and all(isinstance(value, datetime.time) for value in values.dropna())
