"""A contract for a file that has none: what its columns are, by their values."""

import re
import warnings
from dataclasses import dataclass, field

import pandas as pd

from workflow.data.columns import (
    BOOLEAN,
    BOOLEAN_WORDS,
    CATEGORICAL,
    DATE,
    NUMERIC,
    TEXT,
    Column,
    floats,
    parse_values,
)
from workflow.data.contract import Contract
from workflow.data.sampling import evenly_spaced_positions
from workflow.errors import UserError

SAMPLE = 20_000  # rows to look at, evenly spaced, and a quarter of them of very many columns
GLANCE = 1000  # texts of a column, to see whether they could be numbers at all
FEW_FAULTS = 0.01  # of the values may not be what the others are; their rows are rejected later
MANY_FAULTS = 0.5  # of the target's, which must be numbers
ENOUGH = 20  # values of which one may always be a fault
MISSING = {
    *("-", "--", "---", "?", ".", "…", "#N/A", "#N/A N/A", "#NA", "N/A", "n/a", "NA", "N.A.", "n.a.", "<NA>", "N.V."),
    *("NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "none", "nil", "missing", "Missing", "unknown", "Unknown"),
    *("#DIV/0!", "#REF!", "#VALUE!", "not available", "Not available"),
}
MOST_SPELLINGS = 3  # of missing in a column of numbers or dates, beyond those that we know
UNIQUE = 0.9  # share of distinct values from which a text tells one row from all others
MANY = 50
PROSE = 3  # words of a text from which on they tell more than the text as a whole
CURRENCY = re.compile(r"[$€£¥₹₽]|\b(?:EUR|USD|GBP|CHF|JPY|Euro)\b|%", re.I)
LIKE_A_NUMBER = (
    rf"(?i)(?:[-+−.,'\s\d]|e[-+]?\d|inf|nan|{CURRENCY.pattern})*"  # roughly, to save trying all ways to read one
)
IDENTIFIER = re.compile(r"(?i:(?:^|_|\s)(?:id|uuid|guid|index|idx|key|row)$|^unnamed|^column\d+$|^$)|[a-z]I[dD]$")
COMPACT_DATE = r"(?:19|20)\d{6}"
YEAR_FIRST = re.compile(r"%Y\W?%d")  # nobody writes the day between the year and the month


@dataclass(frozen=True)
class Inferred:
    """A contract, and what the person who reads it should know."""

    contract: Contract
    notes: dict[str, str] = field(default_factory=dict)  # by column


def sample_size(columns: int) -> int:
    """How many rows of a table of so many columns to look at: from 250 columns on, there is no time for `SAMPLE`."""
    return max(SAMPLE // 4, min(SAMPLE, 250 * SAMPLE // columns))


def infer(frame: pd.DataFrame, target: str, group: str | None = None, time: str | None = None) -> Inferred:
    """The contract of a table for predicting `target`; `frame` are `sample_size` of it, evenly spaced.

    `group` and `time` are columns to split by; they are kept even if they look like identifiers. Raises UserError if
    one of the three is not there or cannot serve.
    """
    for name in filter(None, (target, group, time)):
        if name not in frame:
            raise UserError(f"no column {name}; the file has {', '.join(map(str, frame.columns[:20]))}")
    drop = {name: "holds lists or other nested values" for name in frame if is_nested(frame[name])}
    sample = frame.drop(columns=list(drop)).drop_duplicates()
    columns: dict[str, Column] = {}
    missing: set[str] = set()
    notes: dict[str, str] = {}
    for name in sample:
        found, spellings, note = infer_column(sample[name], keep=name in (target, group, time))
        missing |= spellings
        if found is None:
            drop[name] = note
        else:
            columns[name] = found
            notes |= {name: note} if note else {}
    for name in filter(None, (target, group, time)):
        if name in drop:
            raise UserError(f"column {name}, which is needed, {drop[name]}")
    if columns[target].kind != NUMERIC:
        example = sample[target].dropna().astype(str).head(3).tolist()
        raise UserError(f"target={target}: not a column of numbers (it reads {', '.join(example)})")
    if time and columns[time].kind not in (DATE, NUMERIC):
        raise UserError(f"time={time}: neither a date nor a number, so it has no order")
    if len(columns) == 1:
        reasons = "; ".join(f"{name} {reason}" for name, reason in drop.items())
        raise UserError(
            f"no column is left to predict {target} from: {reasons or 'there is no other'}; name the columns to use"
            " in a contract (-P contract=…)"
        )
    spelt = tuple(sorted(missing))
    return Inferred(Contract(target, columns, missing=spelt, drop=drop, group=group, time=time), notes)


def is_nested(values: pd.Series) -> bool:
    """Whether a column holds what is neither a text, nor a number, a date or a boolean."""
    return values.dtype == object and not values.dropna().map(lambda value: isinstance(value, str)).all()


def infer_column(values: pd.Series, keep: bool = False) -> tuple[Column | None, set[str], str]:
    """What a column is (None to set it aside, unless `keep`), how it spells missing, and a note or the reason."""
    if pd.api.types.is_bool_dtype(values):
        return Column(BOOLEAN), set(), ""
    if pd.api.types.is_datetime64_any_dtype(values):
        return Column(DATE), set(), ""
    if pd.api.types.is_numeric_dtype(values):
        reason = "" if keep else reason_to_drop_numbers(values, values.name)
        return (None, set(), reason) if reason else (Column(NUMERIC), set(), "")
    spelt = set(values[values.isin(MISSING)])
    texts = values[~values.isin(spelt)].dropna()
    if texts.nunique() <= 1:
        return None, spelt, "is empty" if texts.empty else "has one value in the whole file"
    faults = MANY_FAULTS if keep else FEW_FAULTS
    for guess in (boolean_column, date_column, numeric_column):
        if (found := guess(texts, faults)) is not None:
            column, odd = found
            judged = column.kind == NUMERIC and not keep
            reason = reason_to_drop_numbers(parse_values(texts, column), values.name) if judged else ""
            note = f"also spells missing as {', '.join(sorted(odd))}" if odd else ""
            return (None, spelt, reason) if reason else (column, spelt | odd, note)
    if keep or (distinct := texts.nunique() / len(texts)) <= UNIQUE / 2:
        return Column(CATEGORICAL), spelt, note_on_categories(texts.nunique())
    if texts.str.count(r"\S+").median() >= PROSE:
        return Column(TEXT), spelt, "prose, read by its words"
    if distinct > UNIQUE:
        return None, spelt, "is an identifier: nearly every row has another value"
    return Column(CATEGORICAL), spelt, note_on_categories(texts.nunique())


def boolean_column(texts: pd.Series, faults: float) -> tuple[Column, set[str]] | None:
    """A column of two words that mean true and false."""
    words = texts.str.lower().unique()
    return (Column(BOOLEAN), set()) if len(words) == 2 and set(words) <= BOOLEAN_WORDS.keys() else None


def numeric_column(texts: pd.Series, faults: float) -> tuple[Column, set[str]] | None:
    """A column of numbers, with the sign, the separators and the currency that they are written with."""
    if floats(texts).notna().all():
        return Column(NUMERIC), set()
    some = texts.iloc[evenly_spaced_positions(len(texts), GLANCE)]
    if some.str.fullmatch(LIKE_A_NUMBER).mean() < 1 - MANY_FAULTS:
        return None
    found = sorted({sign for text in texts.head(GLANCE) for sign in CURRENCY.findall(text)})
    remove = tuple(sorted(found, key=len, reverse=True))  # a longer one may hold a shorter
    styles = [(".", ""), (".", ","), (",", ""), (",", "."), (".", "'"), (",", " "), (".", " ")]
    candidates = [Column(NUMERIC, decimal=decimal, thousands=thousands, remove=remove) for decimal, thousands in styles]
    return best_reading(texts, candidates, faults)


def date_column(texts: pd.Series, faults: float) -> tuple[Column, set[str]] | None:
    """A column of dates in one format."""
    from pandas.tseries.api import guess_datetime_format

    examples = texts.drop_duplicates().head(50)
    examples = examples[floats(examples).isna() | examples.str.fullmatch(COMPACT_DATE)]  # 2001.5 is a number

    def days_of_the_month(form: str) -> int:
        return pd.to_datetime(examples, format=form, errors="coerce").dt.day.nunique()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that the day does not come first where it does not
        guesses = {guess_datetime_format(text, dayfirst=first): None for first in (True, False) for text in examples}
    formats = [form for form in guesses if form and not YEAR_FIRST.match(form)]
    formats.sort(key=days_of_the_month)  # 1/1, 2/1, 3/1 are first days of months, if both ways read all texts
    return best_reading(texts, [Column(DATE, format=form) for form in formats], faults)


def best_reading(texts: pd.Series, candidates: list[Column], faults: float) -> tuple[Column, set[str]] | None:
    """The first candidate that reads the most of the texts, if that is nearly all; and words that mean missing."""
    chosen, most = None, -1.0
    for candidate in candidates:
        share = parse_values(texts, candidate).notna().mean()
        if share > most:
            chosen, most = candidate, share
        if share == 1:
            break
    if chosen is None:
        return None
    odd = texts[parse_values(texts, chosen).isna()]
    words = {word for word in odd.unique() if not any(sign.isdigit() for sign in word)}
    if len(words) <= MOST_SPELLINGS < len(odd) and len(odd) < len(texts) / 2:
        odd = odd[~odd.isin(words)]
    else:
        words = set()
    return (chosen, words) if len(odd) <= max(faults * len(texts), len(texts) >= ENOUGH) else None


def reason_to_drop_numbers(values: pd.Series, name: str) -> str:
    """Why a column of numbers is none that a model should read; empty if it is."""
    known = values.dropna()
    if known.nunique() <= 1:
        return "is empty" if known.empty else "has one value in the whole file"
    whole = (known == known.round()).all()
    counts = known.nunique() == len(known) == known.max() - known.min() + 1
    prefetch = (known - known.index).nunique() == 1  # also where the rows are a sample
    if whole and len(known) > MANY and known.min() in (0, 1) and (counts or prefetch):  # 1871, 1872, … would be years
        return "numbers the rows"
    if whole and IDENTIFIER.search(str(name)) and known.nunique() > UNIQUE * len(known):
        return "is an identifier"
    return ""


def note_on_categories(categories: int) -> str:
    """A note on a column with many categories."""
    return f"{categories:,} categories" if categories > MANY else ""
