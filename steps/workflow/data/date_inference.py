"""Infer how the dates, times of day or durations of a column are written."""

import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from workflow.data.candidates import (
    MANY_VALUES,
    MAX_COERCED,
    MAX_REQUIRED_FAULTS,
    InferredColumn,
    best_parse,
    text_samples,
)
from workflow.data.columns import DATE, DURATION, TIME_OF_DAY, Column
from workflow.data.findings import Finding
from workflow.data.numbers import parse_plain_numbers
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.values import parse_values

DATE_EXAMPLES = 50  # distinct texts of a column from which pandas guesses formats
SHAPES_SAMPLE_ROWS = 1000  # texts of a column whose shapes are looked at
MAX_FORMATS = 8  # of one column
DAYS_OF_YEAR = 365.25
COMPACT_DATE = r"(?:19|20)\d{6}"
YEAR_DAY_MONTH = re.compile(r"%Y\W?%d")  # nobody writes the day between the year and the month
ORDERS = (
    *(("%d", "%m", "%Y"), ("%m", "%d", "%Y"), ("%Y", "%m", "%d")),
    *(("%d", "%m", "%y"), ("%m", "%d", "%y"), ("%y", "%m", "%d")),
)
DIRECTIVES = {
    "%d": r"\d\d?",
    "%m": r"\d\d?|[^\W\d_]{3,}\.?",
    "%Y": r"\d{4}",
    "%y": r"\d\d",
}
DATE_OR_TIME = r"\d[-/.: ,]|\d ?[A-Za-z]|^-?P|^\d{8}$"
GAP, MONTH_NAME = r"(?:[-/. ]|, ?|\. )", r"[A-Za-z]{3,9}\.?"
DATE_SHAPE = rf"(?:\d{{1,4}}{GAP}(?:\d\d?|{MONTH_NAME}){GAP}\d{{1,4}}|{MONTH_NAME}{GAP}\d\d?{GAP}\d{{1,4}})(?:[T ,].*)?"
UNREAD_DATE = (
    r"(?i)\d\d?(?:st|nd|rd|th|\.)? [^\d\s]{3,10}\.?,? \d{4}|[^\d\s]{3,10}\.? \d\d?(?:st|nd|rd|th)?,? \d{4}"
    r"|\d\d?[-/][^\d\s]{3,10}\.?[-/]\d{2,4}|\d{4}-?W\d\d(?:-\d)?"
)  # ordinals, months in other languages, weeks
TIME_OF_DATE = re.compile(
    r"(?P<gap>T|,? +)(?P<clock>\d\d?:\d\d)(?P<second>:\d\d)?(?P<fraction>\.\d+)?(?P<half> ?[AaPp][Mm])?"
    r"(?P<gap2> ?)(?P<zone>Z|[-+]\d\d:?\d\d)?"
)
TIME_SHAPE = r"\d\d?:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?|\d\d? ?[AaPp][Mm]"
DURATION_SHAPE = (
    r"-?(?:\d+ days? )?\d+:\d\d(?::\d\d)?(?:\.\d+)?|-?P(?:\d+[YMWD])*(?:T(?:\d+(?:\.\d+)?[HMS])+)?"
    r"|(?i:(?:\d+(?:\.\d+)? ?(?:d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)[ ,]*)+)"
)
SEVERAL_PARTS = r":|P|\d ?[A-Za-z]+[ ,]*\d"
DURATION_NAME = re.compile(r"duration|elapsed|runtime|running.?time|\blaps?\b|split|pace|length", re.I)
NOON = 12  # hours


def infer_date(texts: pd.Series, max_faults: float, day_first: Callable[[], bool | None]) -> InferredColumn | None:
    """Infer a column of dates: their formats; None if it is not one, or has the day first here and the month there.

    Args:
        texts: the values, without missing ones.
        max_faults: fraction of the values that may be unreadable; more if there are many distinct ones.
        day_first: returns whether the day comes first in the file's other dates; None if they do not say.
    """
    sample = texts.iloc[evenly_spaced_positions(len(texts), SHAPES_SAMPLE_ROWS)]
    formats: list[str | tuple[str, ...]] = [*guessed_formats(texts), *shape_formats(sample)]
    candidates = [Column(DATE, format=each) for each in formats]
    if not candidates:
        return None
    first = day_first() if len({is_day_first(column) for column in candidates} - {None}) == 2 else None

    def implausibility(column: Column) -> tuple[bool, int]:
        contradicts_file = first is not None and is_day_first(column) is not first
        return contradicts_file, int((parse_values(sample, column) // DAYS_OF_YEAR).nunique())

    candidates.sort(key=implausibility)  # a year of two digits that takes every value is a day
    found = best_parse(texts, candidates, max_faults, coerce=texts.nunique() > MANY_VALUES)
    if found is None:
        return None
    unread = texts[parse_values(texts, found.column).isna() & ~texts.isin(found.missing_spellings)]
    swapped = swap_day_and_month(found.column)
    if len(unread) > 1 and parse_values(unread, swapped).notna().sum() > 1:
        return None
    unsaid = is_day_first(found.column) is not None and first is None and parse_values(sample, swapped).notna().all()
    return replace(found, findings=ambiguous_order(texts, found.column) if unsaid else ())


def shape_formats(sample: pd.Series) -> list[str | tuple[str, ...]]:
    """Return the formats of a sample of texts, for each order of day, month and year that they may have."""
    if sample.str.fullmatch(DATE_SHAPE).mean() < 1 - MAX_COERCED:
        return []
    found = [formats for order in ORDERS if (formats := formats_of(sample, order))]
    return [formats if len(formats) > 1 else formats[0] for formats in found]


def guessed_formats(texts: pd.Series) -> list[str]:
    """Return the formats that pandas guesses from examples, the likeliest first."""
    from pandas.tseries.api import guess_datetime_format

    examples = texts.drop_duplicates().head(DATE_EXAMPLES)
    is_number = parse_plain_numbers(examples).notna()  # such as 2001.5
    examples = examples[~is_number | examples.str.fullmatch(COMPACT_DATE)]

    def days_of_month(date_format: str) -> int:
        return pd.to_datetime(examples, format=date_format, errors="coerce", utc=True).dt.day.nunique()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns where the day does not come first
        guesses = {guess_datetime_format(text, dayfirst=first): None for first in (True, False) for text in examples}
    formats = [guess for guess in guesses if guess and not YEAR_DAY_MONTH.match(guess)]
    return sorted(formats, key=days_of_month)  # if both orders parse 1/1, 2/1, 3/1, these are first days of months


def formats_of(texts: pd.Series, order: tuple[str, str, str]) -> tuple[str, ...]:
    """Return the formats of texts if their dates have this order of day, month and year; () if they have not."""
    shapes = texts.str.replace(r"\d", "9", regex=True).value_counts()
    found: Counter[str] = Counter()
    for shape, count in shapes.items():
        if date_format := format_of(str(shape), order):
            found[date_format] += int(count)
    readable = found.total() > (1 - MAX_COERCED) * len(texts)
    return tuple(date_format for date_format, _ in found.most_common(MAX_FORMATS)) if readable else ()


def format_of(text: str, order: tuple[str, str, str]) -> str | None:
    """Return the format of a date with this order, and perhaps a time; None for another text."""
    first, second, third = (DIRECTIVES[directive] for directive in order)
    parts = re.match(rf"({first})({GAP})({second})({GAP})({third})(?!\d)", text)
    if not parts:
        return None
    values = [parts[1], parts[3], parts[5]]
    first, second, third = (month_directive(value) if value[0].isalpha() else directive
                            for value, directive in zip(values, order, strict=True))  # fmt: skip
    date = f"{first}{parts[2]}{second}{parts[4]}{third}"
    rest = text[parts.end() :]
    time = TIME_OF_DATE.fullmatch(rest)
    if rest and not time:
        return None
    return date + (time_format(time) if time else "")


def month_directive(name: str) -> str:
    """Return the directive for the name of a month."""
    return "%b" if len(name) == 3 else "%B"


def time_format(time: re.Match[str]) -> str:
    """Return the format of the time of day behind a date."""
    hour = "%I" if time["half"] else "%H"
    parts = [time["gap"], f"{hour}:%M", time["second"] and ":%S", time["fraction"] and ".%f"]
    parts += [time["half"] and time["half"].replace(time["half"].strip(), "%p"), time["gap2"], time["zone"] and "%z"]
    return "".join(filter(None, parts))


def is_day_first(column: Column) -> bool | None:
    """Return whether the day comes before the month and both before the year; None if they cannot be confused."""
    letters = re.findall("%[dmYyb]", column.formats[0])[:2]
    return {("%d", "%m"): True, ("%m", "%d"): False}.get(tuple(letters))


def swap_day_and_month(column: Column) -> Column:
    """Return a column whose dates have the day where the other's have the month."""
    swapped = {"%d": "%m", "%m": "%d"}
    formats = tuple(re.sub("%[dm]", lambda found: swapped[found[0]], each) for each in column.formats)
    return replace(column, format=formats)


def file_day_first(frame: pd.DataFrame) -> bool | None:
    """Return whether the day comes first in those date columns of a file that show it; None if they do not agree."""
    votes = set()
    for sample in text_samples(frame, SHAPES_SAMPLE_ROWS):
        columns = [Column(DATE, format=formats) for formats in shape_formats(sample)]
        whole = {is_day_first(column) for column in columns if parse_values(sample, column).notna().all()} - {None}
        votes |= whole if len(whole) == 1 else set()
    return votes.pop() if len(votes) == 1 else None


def ambiguous_order(texts: pd.Series, column: Column) -> tuple[Finding, ...]:
    """Return the finding that nothing in the file says whether the day or the month comes first."""
    name, leader = str(texts.name), "day" if is_day_first(column) else "month"
    message = f"column {name}: {texts.iloc[0]!r} is read with the {leader} first, which nothing in the file proves"
    return (Finding("D009", message, "if it is wrong, write its `format` in a contract", (name,)),)


def may_be_dates_or_times(texts: pd.Series) -> bool:
    """Return whether examples have a digit beside a separator or a letter, as all dates, times and durations have."""
    return bool(texts.head(DATE_EXAMPLES).str.contains(DATE_OR_TIME).mean() > 1 - MAX_COERCED - MAX_REQUIRED_FAULTS)


def unread_dates(texts: pd.Series) -> list[Finding]:
    """Return a finding if texts look like dates: they are in more than one order, or in no form that is read."""
    if not may_be_dates_or_times(texts):
        return []
    sample = texts.iloc[evenly_spaced_positions(len(texts), SHAPES_SAMPLE_ROWS)]
    formats = shape_formats(sample)
    if not formats and sample.str.fullmatch(UNREAD_DATE).mean() < 1 - MAX_COERCED:
        return []
    orders = {is_day_first(Column(DATE, format=each)) for each in formats}
    how = "not of one order of day and month" if {True, False} <= orders else "in no form that is read"
    first = ", ".join(map(repr, texts.drop_duplicates().head(2)))
    message = f"column {texts.name} looks like dates, but {how} (first: {first})"
    return [Finding("D009", message, "write them in one way, or give their `format` in a contract", (str(texts.name),))]


def infer_clock(texts: pd.Series, max_faults: float, is_target: bool = False) -> InferredColumn | None:
    """Infer a column of times of day, or of durations: texts such as 0:21:15 may be both.

    They are durations if it is the target, if the name says so, if an hour is above 23, or if there is no hour after
    noon, and there are seconds or no leading zeros.
    """
    sample = texts.iloc[evenly_spaced_positions(len(texts), SHAPES_SAMPLE_ROWS)]
    if sample.str.fullmatch(f"{TIME_SHAPE}|{DURATION_SHAPE}").mean() < 1 - MAX_COERCED:
        return None
    if not sample.str.contains(f"{SEVERAL_PARTS}|[AaPp][Mm]").any():
        return None  # `90 min` is a number with a unit
    hours = parse_values(sample, Column(TIME_OF_DAY))
    short = hours.max() < NOON and not sample.str.contains("[AaPp]").any()
    short &= bool(sample.str.contains(r":\d+:").any() or sample.str.fullmatch(r"[1-9]?\d:\d\d").all())
    named = is_target or DURATION_NAME.search(str(texts.name))
    if named or short or hours.isna().mean() > max_faults:
        kind, note = Column(DURATION), "durations, in seconds"
    else:
        kind, note = Column(TIME_OF_DAY), "times of day"
    found = best_parse(texts, [kind], max_faults, coerce=texts.nunique() > MANY_VALUES)
    return replace(found, note="; ".join(filter(None, (note, found.note)))) if found else None
