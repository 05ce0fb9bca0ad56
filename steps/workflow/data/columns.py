"""The columns of a file: their kinds, and how their values are written."""

import re
from dataclasses import dataclass, field

NUMERIC, CATEGORICAL, TEXT, BOOLEAN, DATE = "numeric", "categorical", "text", "boolean", "date"
TIME_OF_DAY, DURATION = "time_of_day", "duration"
KINDS = (NUMERIC, CATEGORICAL, TEXT, BOOLEAN, DATE, TIME_OF_DAY, DURATION)
STRING_KINDS = (CATEGORICAL, TEXT)  # kept as strings; all other kinds become float64
NUMBER_KINDS = (NUMERIC, BOOLEAN, DURATION)  # encoded as a single number
REJECT, COERCE = "reject", "coerce"
INCREASING, DECREASING = "increasing", "decreasing"
PARSE_ERRORS = {
    NUMERIC: "is not a number",
    BOOLEAN: "is neither true nor false",
    DATE: "is not a date",
    TIME_OF_DAY: "is not a time of day",
    DURATION: "is not a duration",
}
TARGET_KINDS = (NUMERIC, DURATION)
CLOCK = re.compile("%[HI]")


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
        format: format of dates, as strptime takes it, or several, of which the first that fits counts.
        clock: whether typed dates have a time of day; dates with a format have one if the format has.
        monotonic: how the prediction must change with a number: `increasing` or `decreasing`, or empty for any way.
        errors: what becomes of an unreadable value: `reject` rejects its row, `coerce` takes it as missing.
        derived: the function of the user that makes the column from others, if it is not in the file.
    """

    kind: str
    range: tuple[float, float] | None = None
    decimal: str = "."
    thousands: str = ""
    remove: tuple[str, ...] = ()
    multiply: dict[str, float] = field(default_factory=dict)
    format: str | tuple[str, ...] = ""
    clock: bool = False
    errors: str = REJECT
    monotonic: str = ""
    derived: str = ""

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats of dates."""
        return (self.format,) if isinstance(self.format, str) and self.format else tuple(self.format)

    @property
    def has_clock(self) -> bool:
        """Whether dates have a time of day."""
        return self.clock or any(CLOCK.search(each) for each in self.formats)
