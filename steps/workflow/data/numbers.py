"""Numbers as people write them."""

import re

import pandas as pd
import pyarrow

from workflow.data.columns import Column

ANY_SPACE = "[ \u00a0\u202f]"  # a plain, a no-break or a narrow no-break space


def parse_numbers(texts: pd.Series, column: Column) -> pd.Series:
    """Parse numbers that are written as `column` says: (rows,) of float64, NaN for any other text."""
    for text in column.remove:
        texts = texts.str.replace(text, "", regex=False)
    if column.thousands:
        separator = ANY_SPACE if column.thousands == " " else re.escape(column.thousands)
        grouped = rf"\s*[-+−]?\d{{1,3}}(?:{separator}\d{{3}})+(?:{re.escape(column.decimal)}\d*)?\s*"
        texts = texts.where(texts.str.fullmatch(grouped) | ~texts.str.strip().str.contains(separator))
        texts = texts.str.replace(separator, "", regex=True)
    if column.decimal != ".":
        texts = texts.where(~texts.str.contains(".", regex=False)).str.replace(column.decimal, ".", regex=False)
    return parse_plain_numbers(texts)


def parse_plain_numbers(texts: pd.Series) -> pd.Series:
    """Parse numbers with a decimal point: (rows,) of float64, NaN for any other text."""
    try:
        numbers = pyarrow.Array.from_pandas(texts).cast(pyarrow.float64())  # five times as fast, but all or nothing
        return pd.Series(numbers.to_numpy(zero_copy_only=False), texts.index)
    except pyarrow.ArrowInvalid:
        return pd.to_numeric(texts.str.strip().str.replace("−", "-"), errors="coerce").astype("float64")
