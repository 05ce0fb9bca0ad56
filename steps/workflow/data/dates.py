"""Dates as people write them."""

import numpy as np
import pandas as pd

ONE_DAY = np.timedelta64(1, "D")


def days_since_epoch(values: pd.Series, date_format: str) -> pd.Series:
    """Return dates as days since 1970-01-01, in UTC if they have a time zone: (rows,) of float64, NaN for no date."""
    dates = pd.to_datetime(values, format=date_format or None, errors="coerce", utc=True)
    since_epoch = dates.dt.tz_localize(None).to_numpy("datetime64[us]") - np.datetime64(0, "us")
    return pd.Series(since_epoch / ONE_DAY, values.index)
