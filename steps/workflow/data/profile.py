"""What the rows of a file look like: counts, and a profile of each column."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from workflow.data.columns import CATEGORICAL, TEXT, Column
from workflow.data.contract import Contract
from workflow.data.stored import StoredRows

HISTOGRAM_BARS = 16
PROFILED_COLUMNS = 200
WORD = r"\S+"


@dataclass(frozen=True)
class ColumnProfile:
    """One column: numbers from `low` to `high`, or the most frequent category; and a histogram.

    Dates are days since 1970-01-01; of prose, the number of words is profiled. The bars of a histogram are the most
    frequent categories, or intervals that start at `labels`.
    """

    name: str
    kind: str
    missing: float  # fraction of the rows
    distinct: int
    low: float | None
    high: float | None
    most_frequent: str
    labels: list[Any]
    counts: list[int]


@dataclass(frozen=True)
class DataFacts:
    """What preprocess found in a file, for its report.

    Attributes:
        counts: rows of each sort, by the names of the metrics.
        scores: of the duplicate check, by the names of the metrics; empty without duplicates.
        missing: number of missing values per column.
        ignored_columns: columns of the file that the contract does not name.
        notes: on columns, where the contract was inferred.
        columns: profiles of the first `PROFILED_COLUMNS` columns.
    """

    counts: dict[str, int]
    scores: dict[str, float]
    missing: dict[str, int]
    ignored_columns: list[str]
    notes: dict[str, str]
    columns: list[ColumnProfile]

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the facts that `to_json` gave."""
        return cls(**values | {"columns": [ColumnProfile(**column) for column in values["columns"]]})


def profile_columns(rows: Mapping[str, pd.Series] | StoredRows, contract: Contract) -> list[ColumnProfile]:
    """Return a profile of each of the first `PROFILED_COLUMNS` columns."""
    shown = list(contract.columns.items())[:PROFILED_COLUMNS]
    return [profile(rows[name], column) for name, column in shown]


def profile(values: pd.Series, column: Column) -> ColumnProfile:
    """Return the profile of one column of typed values: (rows,)."""
    known = values.dropna()
    measured = known.str.count(WORD) if column.kind == TEXT else known
    categorical = column.kind == CATEGORICAL
    numeric = len(known) > 0 and not categorical
    labels, counts = histogram(measured, categorical) if len(known) else ([], [])
    return ColumnProfile(
        name=str(values.name),
        kind=column.kind,
        missing=float(values.isna().mean()),
        distinct=int(known.nunique()),
        low=float(measured.min()) if numeric else None,
        high=float(measured.max()) if numeric else None,
        most_frequent=str(known.mode()[0]) if categorical and len(known) else "",
        labels=labels,
        counts=counts,
    )


def histogram(known: pd.Series, categorical: bool) -> tuple[list[Any], list[int]]:
    """Return the most frequent categories, or the lower edges of equal intervals; and how many values each has."""
    if categorical:
        frequencies = known.value_counts().head(HISTOGRAM_BARS)
        return [str(name) for name in frequencies.index], [int(count) for count in frequencies]
    try:
        heights, edges = np.histogram(known, bins=HISTOGRAM_BARS)
    except ValueError:  # the values differ in their last digits only
        heights, edges = np.array([len(known)]), np.array([known.min(), known.max()])
    return [float(edge) for edge in edges[:-1]], [int(height) for height in heights]
