"""Findings: what is odd about data or scores, each with a stable code that docs/findings.md explains."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

TITLES = {
    "D001": "rows rejected for their target",
    "D002": "many rows rejected",
    "D003": "rows rejected",
    "D004": "a number that may stand for a missing value",
    "D005": "several currencies in a column",
    "D006": "several units in a column",
    "D007": "unreadable cells taken as missing",
    "D008": "a separator that may mean decimals or thousands",
    "D009": "dates that are not read, or may be read otherwise",
    "D010": "columns left out",
    "D011": "lines around the table, or a detected encoding",
    "D012": "a target of two values",
    "D013": "numbers read as categories",
    "D101": "exact duplicates dropped",
    "D102": "exact duplicates in both sets",
    "D103": "near duplicates in both sets",
    "D104": "an entity with rows in both sets",
    "D105": "rows that follow each other in time",
    "D106": "a column that gives the target away",
    "D107": "columns that together give the target away",
    "M001": "test rows that were seen in training",
    "M002": "no model beats the constant baseline",
}
NOTES = frozenset({"D003", "D006", "D007", "D010", "D011", "D013", "D101"})  # all others are warnings


@dataclass(frozen=True)
class Finding:
    """What is odd about data or a score.

    Attributes:
        code: one of `TITLES`.
        message: a clause that names the thing, with figures.
        remedy: what to do about it, as an imperative clause; may be empty.
        columns: the columns it is about.
        figures: the numbers in the message, by name.
    """

    code: str
    message: str
    remedy: str = ""
    columns: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_warning(self) -> bool:
        """Whether it may make a score wrong or misleading; else it is a note."""
        return self.code not in NOTES

    def __str__(self) -> str:
        """Return it as a line: `D106 column tax moves one to one with the target; drop it`."""
        return f"{self.code} {self.message}" + (f"; {self.remedy}" if self.remedy else "")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        severity = "warning" if self.is_warning else "note"
        return {"title": TITLES[self.code], "severity": severity} | asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the finding that `to_json` gave."""
        given = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        return cls(**given | {"columns": tuple(values["columns"])})
