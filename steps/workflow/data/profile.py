"""What the rows of a file look like: counts, a profile of each column, and what columns say about one another."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from workflow.data.associations import Association, strongest_associations
from workflow.data.columns import CATEGORICAL, TEXT, Column
from workflow.data.contract import Contract
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.stored import StoredRows

HISTOGRAM_BARS = 16
PROFILED_COLUMNS = 200
ASSOCIATED_COLUMNS = 100  # time grows with the square
SAMPLED_ROWS = 5000  # for quantiles, frequent numbers and associations
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FREQUENT_VALUES = 5
WORD = r"\S+"


@dataclass(frozen=True)
class ColumnProfile:
    """One column; of prose, the number of words is profiled. Dates are days since 1970-01-01.

    Attributes:
        name: of the column.
        kind: of its values.
        missing: fraction of the rows.
        distinct: number of different values.
        low: the least number; None for categories.
        high: the largest number.
        mean: of the numbers.
        std: standard deviation of the numbers.
        quantiles: of a sample of the numbers, at `QUANTILES`; empty for categories.
        frequent: the most frequent values; empty for prose.
        fractions: of these, among the values that are not missing.
        labels: the most frequent categories, or the lower edges of intervals.
        counts: their numbers of values, the bars of a histogram.
    """

    name: str
    kind: str
    missing: float
    distinct: int
    low: float | None
    high: float | None
    mean: float | None
    std: float | None
    quantiles: list[float]
    frequent: list[Any]
    fractions: list[float]
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
        associations: between the first `ASSOCIATED_COLUMNS` of these and the target, the strongest first.
    """

    counts: dict[str, int]
    scores: dict[str, float]
    missing: dict[str, int]
    ignored_columns: list[str]
    notes: dict[str, str]
    columns: list[ColumnProfile]
    associations: list[Association]

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the facts that `to_json` gave."""
        columns = [ColumnProfile(**column) for column in values["columns"]]
        associations = [Association(**pair) for pair in values["associations"]]
        return cls(**values | {"columns": columns, "associations": associations})


def profile_columns(
    rows: StoredRows | pd.DataFrame, contract: Contract
) -> tuple[list[ColumnProfile], list[Association]]:
    """Return a profile of each of the first `PROFILED_COLUMNS` columns and of the target, and their associations."""
    shown = dict(list(contract.columns.items())[:PROFILED_COLUMNS]) | {
        contract.target: contract.columns[contract.target]
    }
    sample = evenly_spaced_positions(len(rows), SAMPLED_ROWS)
    profiles: list[ColumnProfile] = []
    sampled: dict[str, pd.Series] = {}
    for name, column in shown.items():  # one after another: memory holds one whole column
        values = rows[name]
        profiles.append(profile(values, column, sample))
        if column.kind != TEXT and (len(sampled) < ASSOCIATED_COLUMNS or name == contract.target):
            sampled[name] = values.iloc[sample]
    kinds = {name: column.kind for name, column in shown.items()}
    return profiles, strongest_associations(sampled, kinds, contract.target)


def profile(values: pd.Series, column: Column, sample: np.ndarray) -> ColumnProfile:
    """Return the profile of one column.

    Args:
        values: typed: (rows,).
        column: its kind.
        sample: positions of the rows to take quantiles and frequent numbers from.
    """
    known = values.dropna()
    missing = float(values.isna().mean())
    if column.kind == CATEGORICAL or known.empty:
        return profile_categories(known, column.kind, missing)
    is_text = column.kind == TEXT
    measured = (values.str.count(WORD) if is_text else values).to_numpy(float, na_value=np.nan)
    sampled, measured = measured[sample], measured[~np.isnan(measured)]
    sampled = np.sort(sampled[~np.isnan(sampled)])
    labels, counts = histogram(measured)
    frequent, fractions = ([], []) if is_text else frequent_numbers(sampled)
    return ColumnProfile(
        name=str(values.name),
        kind=column.kind,
        missing=missing,
        distinct=int(known.nunique()),
        low=float(measured.min()),
        high=float(measured.max()),
        mean=float(measured.mean()),
        std=float(measured.std()),
        quantiles=[float(value) for value in np.quantile(sampled, QUANTILES)] if len(sampled) else [],
        frequent=frequent,
        fractions=fractions,
        labels=labels,
        counts=counts,
    )


def frequent_numbers(ordered: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the most frequent of ordered numbers, and the fraction of each: (numbers,)."""
    distinct, counts = np.unique(ordered, return_counts=True)
    chosen = np.argsort(-counts, kind="stable")[:FREQUENT_VALUES]
    return [float(value) for value in distinct[chosen]], [float(count / len(ordered)) for count in counts[chosen]]


def profile_categories(known: pd.Series, kind: str, missing: float) -> ColumnProfile:
    """Return the profile of a column of categories, or of one without values: (rows,)."""
    frequencies = known.value_counts()
    labels, counts = [str(name) for name in frequencies.index[:HISTOGRAM_BARS]], frequencies.head(HISTOGRAM_BARS)
    return ColumnProfile(
        name=str(known.name),
        kind=kind,
        missing=missing,
        distinct=len(frequencies),
        low=None,
        high=None,
        mean=None,
        std=None,
        quantiles=[],
        frequent=labels[:FREQUENT_VALUES],
        fractions=[float(count / len(known)) for count in counts.head(FREQUENT_VALUES)],
        labels=labels,
        counts=[int(count) for count in counts],
    )


def histogram(known: np.ndarray) -> tuple[list[float], list[int]]:
    """Return the lower edges of equal intervals, and how many values each has."""
    try:
        heights, edges = np.histogram(known, bins=HISTOGRAM_BARS)
    except ValueError:  # the values differ in their last digits only
        heights, edges = np.array([len(known)]), np.array([known.min(), known.max()])
    return [float(edge) for edge in edges[:-1]], [int(height) for height in heights]
