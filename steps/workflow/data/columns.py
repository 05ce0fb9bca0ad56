"""The columns of a file: their kinds, and how their values are written."""

from dataclasses import dataclass

NUMERIC, CATEGORICAL, TEXT, BOOLEAN, DATE = "numeric", "categorical", "text", "boolean", "date"
KINDS = (NUMERIC, CATEGORICAL, TEXT, BOOLEAN, DATE)
STRING_KINDS = (CATEGORICAL, TEXT)  # kept as strings; all other kinds become float64
PARSE_ERRORS = {NUMERIC: "is not a number", BOOLEAN: "is neither true nor false", DATE: "is not a date"}


@dataclass(frozen=True)
class Column:
    """The kind of a column, and how its values are written.

    Attributes:
        kind: one of `KINDS`.
        range: lowest and highest valid number.
        decimal: decimal separator of numbers.
        thousands: thousands separator of numbers; empty for none.
        remove: texts to remove before a number is parsed, such as a currency sign.
        format: format of dates, as strptime takes it.
    """

    kind: str
    range: tuple[float, float] | None = None
    decimal: str = "."
    thousands: str = ""
    remove: tuple[str, ...] = ()
    format: str = ""
