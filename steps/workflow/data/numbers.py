"""Numbers as people write them: with separators, units, suffixes that multiply, and signs of accountants."""

import math
import re
from collections.abc import Iterable

import pandas as pd
import pyarrow

from workflow.data.columns import Column

THOUSANDS = {" ": "[ \u00a0\u202f]", "'": "['’]"}  # plain, no-break or narrow no-break spaces; apostrophes
MINUS = "[-−–]"
SIGNS_BEFORE, SIGNS_AFTER = r"[-+−–(\s]*", r"[)\s/−–-]*"
ACCOUNTING = [  # how accountants write an amount without cents or a negative one, and the plain form
    (r"[/.,]\s?[-–—]{1,2}$", ""),
    (r"^\((.+)\)$", r"-\1"),
    (rf"^(.*\d.*){MINUS}$", r"-\1"),
    (rf"^{MINUS}\s*(?=[\d.,])", "-"),
]


def parse_numbers(texts: pd.Series, column: Column) -> pd.Series:
    """Parse numbers that are written as `column` says: (rows,) of float64, NaN for any other text."""
    bare = texts
    for affix in column.remove:
        bare = bare.str.removeprefix(affix).str.removesuffix(affix).str.strip()
    numbers = parse_unsigned(bare, column)
    if (unread := numbers.isna() & texts.notna()).any():  # few: the signs of accountants take a hundred times as long
        numbers[unread] = parse_unsigned(with_plain_sign(without_affixes(texts[unread], column.remove)), column)
    return numbers


def parse_unsigned(texts: pd.Series, column: Column) -> pd.Series:
    """Parse numbers without units, and with no other sign than a hyphen before them."""
    if not (column.multiply or column.thousands or column.decimal != "."):
        return parse_plain_numbers(texts)
    texts, factors = split_suffix(texts.str.strip(), column.multiply)
    if column.thousands:
        separator = THOUSANDS.get(column.thousands, re.escape(column.thousands))
        well_formed = texts.str.fullmatch(grouped(separator, re.escape(column.decimal)))
        texts = texts.where(well_formed | ~texts.str.contains(separator)).str.replace(separator, "", regex=True)
    if column.decimal != ".":
        texts = texts.where(~texts.str.contains(".", regex=False)).str.replace(column.decimal, ".", regex=False)
    return scaled(texts, factors)


def grouped(separator: str, decimal: str) -> str:
    """Return a pattern of numbers in groups of three digits, or of two as in 12,34,567, that do not begin with 0."""
    twos = rf"(?:{separator}\d{{2}})*" if separator == "," else ""
    return rf"[-+]?[1-9]\d{{0,2}}{twos}(?:{separator}\d{{3}})+(?:{decimal}\d*)?"


def without_affixes(texts: pd.Series, affixes: Iterable[str]) -> pd.Series:
    """Return texts without the first of `affixes` inside the signs that they begin with, and that they end with."""
    texts = texts.str.strip()
    if not (pattern := "|".join(map(re.escape, affixes))):
        return texts
    whole = rf"(?i)^({SIGNS_BEFORE})(?:{pattern})?\s*(.*?)\s*(?:{pattern})?({SIGNS_AFTER})$"
    return texts.str.replace(whole, r"\1\2\3", regex=True).str.strip()


def with_plain_sign(texts: pd.Series) -> pd.Series:
    """Return texts with a leading hyphen for (5), 5-, −5 and - 5."""
    for pattern, plain in ACCOUNTING:
        texts = texts.str.replace(pattern, plain, regex=True)
    return texts


def split_suffix(texts: pd.Series, factors: dict[str, float]) -> tuple[pd.Series, pd.Series]:
    """Return texts without the suffix, such as k, that multiplies them; and the factors, 1 where there is none."""
    if not factors:
        return texts, pd.Series(1.0, texts.index)
    suffixes = "|".join(re.escape(suffix) for suffix in sorted(factors, key=len, reverse=True))
    parts = texts.str.extract(rf"^(.*[\d.,])\s*({suffixes})$")
    return parts[0].fillna(texts), parts[1].map(factors).fillna(1.0).astype("float64")


def scaled(texts: pd.Series, factors: pd.Series) -> pd.Series:
    """Parse numbers and multiply them; by a power of ten exactly, so that 1.1k is 1100."""
    if (factors == 1).all():
        return parse_plain_numbers(texts)
    powers = {factor: round(math.log10(factor)) for factor in factors.unique() if factor > 0 and factor != 1}
    powers = {factor: power for factor, power in powers.items() if 10.0**power == factor}
    for factor, power in powers.items():
        texts = texts.mask(factors == factor, texts + f"e{power}")
    return parse_plain_numbers(texts) * factors.mask(factors.isin(powers), 1.0)


def parse_plain_numbers(texts: pd.Series) -> pd.Series:
    """Parse numbers with a decimal point: (rows,) of float64, NaN for any other text."""
    try:
        numbers = pyarrow.Array.from_pandas(texts).cast(pyarrow.float64())  # five times as fast, but all or nothing
        return pd.Series(numbers.to_numpy(zero_copy_only=False), texts.index)
    except pyarrow.ArrowInvalid:
        return pd.to_numeric(texts.str.strip(), errors="coerce").astype("float64")
