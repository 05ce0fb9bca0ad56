"""Infer how the numbers of a column are written."""

import re

import pandas as pd

from workflow.data.candidates import MAX_REQUIRED_FAULTS, InferredColumn, best_parse
from workflow.data.columns import NUMERIC, Column
from workflow.data.numbers import parse_plain_numbers
from workflow.data.sampling import evenly_spaced_positions

PARSE_SAMPLE_ROWS = 1000  # texts of a column that show whether it could be numeric
CURRENCY = re.compile(r"[$€£¥₹₽]|\b(?:EUR|USD|GBP|CHF|JPY|Euro)\b|%", re.I)
LIKE_A_NUMBER = rf"(?i)(?:[-+−.,'\s\d]|e[-+]?\d|inf|nan|{CURRENCY.pattern})*"  # a cheap test before all number styles
NUMBER_STYLES = [(".", ""), (".", ","), (",", ""), (",", "."), (".", "'"), (",", " "), (".", " ")]  # decimal, thousands


def infer_numeric(texts: pd.Series, max_faults: float) -> InferredColumn | None:
    """Infer a column of numbers: its decimal sign, thousands separator and currency signs."""
    if parse_plain_numbers(texts).notna().all():
        return InferredColumn(Column(NUMERIC))
    sample = texts.iloc[evenly_spaced_positions(len(texts), PARSE_SAMPLE_ROWS)]
    if sample.str.fullmatch(LIKE_A_NUMBER).mean() < 1 - MAX_REQUIRED_FAULTS:
        return None
    signs = sorted({sign for text in texts.head(PARSE_SAMPLE_ROWS) for sign in CURRENCY.findall(text)})
    remove = tuple(sorted(signs, key=len, reverse=True))  # long before short: a long one may contain a short one
    styles = [Column(NUMERIC, decimal=decimal, thousands=mark, remove=remove) for decimal, mark in NUMBER_STYLES]
    return best_parse(texts, styles, max_faults)
