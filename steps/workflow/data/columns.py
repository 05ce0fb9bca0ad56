"""The columns of a file: their kinds, and how their values are written."""

from dataclasses import dataclass, field

NUMERIC, CATEGORICAL, TEXT, BOOLEAN, DATE = "numeric", "categorical", "text", "boolean", "date"
KINDS = (NUMERIC, CATEGORICAL, TEXT, BOOLEAN, DATE)
STRING_KINDS = (CATEGORICAL, TEXT)  # kept as strings; all other kinds become float64
REJECT, COERCE = "reject", "coerce"
PARSE_ERRORS = {NUMERIC: "is not a number", BOOLEAN: "is neither true nor false", DATE: "is not a date"}


@dataclass(frozen=True)
class Column:
    """The kind of a column, and how its values are written.

    Attributes:
        kind: one of `KINDS`.
        range: lowest and highest valid number.
        decimal: decimal separator of numbers.
        thousands: thousands separator of numbers; empty for none.
        remove: units and currency signs before or after a number.
        multiply: factors of suffixes of a number, such as k.
        format: format of dates, as strptime takes it.
        errors: what becomes of an unreadable value: `reject` rejects its row, `coerce` takes it as missing.
    """

    kind: str
    range: tuple[float, float] | None = None
    decimal: str = "."
    thousands: str = ""
    remove: tuple[str, ...] = ()
    multiply: dict[str, float] = field(default_factory=dict)
    format: str = ""
    errors: str = REJECT
