"""Infer how the dates of a column are written."""

import re
import warnings

import pandas as pd

from workflow.data.candidates import InferredColumn, best_parse
from workflow.data.columns import DATE, Column
from workflow.data.numbers import parse_plain_numbers

DATE_EXAMPLES = 50  # distinct texts of a column from which date formats are guessed
COMPACT_DATE = r"(?:19|20)\d{6}"
YEAR_DAY_MONTH = re.compile(r"%Y\W?%d")  # nobody writes the day between the year and the month


def infer_date(texts: pd.Series, max_faults: float) -> InferredColumn | None:
    """Infer a column of dates: their format."""
    from pandas.tseries.api import guess_datetime_format

    examples = texts.drop_duplicates().head(DATE_EXAMPLES)
    examples = examples[
        parse_plain_numbers(examples).isna() | examples.str.fullmatch(COMPACT_DATE)
    ]  # 2001.5 is a number

    def days_of_month(date_format: str) -> int:
        return pd.to_datetime(examples, format=date_format, errors="coerce").dt.day.nunique()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns where the day does not come first
        guesses = {guess_datetime_format(text, dayfirst=first): None for first in (True, False) for text in examples}
    formats = [guess for guess in guesses if guess and not YEAR_DAY_MONTH.match(guess)]
    formats.sort(key=days_of_month)  # if both orders parse all of 1/1, 2/1, 3/1, these are first days of months
    return best_parse(texts, [Column(DATE, format=date_format) for date_format in formats], max_faults)
