"""The data contract: what the columns of a file mean, and which of its rows keep to it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from errors import UserError

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

NUMERIC, CATEGORICAL = "numeric", "categorical"
FINITE = (-sys.float_info.max, sys.float_info.max)
BREACH = ["row", "column", "value", "reason"]
REASONS = {"coerce_dtype('float64')": "is not a number", "not_nullable": "is missing"}


@dataclass(frozen=True)
class Column:
    """One column: its kind, and the range [low, high] that a number must lie in."""

    kind: str
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Contract:
    """What a data file means.

    Attributes:
        target: the column to predict; it is numeric and never missing.
        columns: every column that is used, the target among them.
        missing: spellings of a missing value, besides the empty field.
        drop: columns of the file to leave out.
        group: the column whose values `split=group` keeps in one part.
        unit: of the target, for pictures and reports.
    """

    target: str
    columns: dict[str, Column]
    missing: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    group: str | None = None
    unit: str = ""

    @property
    def target_label(self) -> str:
        """The target as a picture names it: `price (EUR)`."""
        return f"{self.target} ({self.unit})" if self.unit else self.target

    @property
    def features(self) -> list[str]:
        """The columns that a model reads."""
        return [name for name in self.columns if name != self.target]

    def features_of(self, kind: str) -> list[str]:
        """The features of one kind."""
        return [name for name in self.features if self.columns[name].kind == kind]


@dataclass(frozen=True)
class Report:
    """What became of the rows of a file."""

    rows_in: int
    rejected: pd.DataFrame  # a row per breach of the contract: line of the file, column, value, reason
    rows_duplicate: int
    missing: dict[str, int]  # per column, among the rows that keep to the contract
    ignored: list[str]  # columns of the file that the contract does not name


def read_contract(path: Path) -> Contract:
    """The contract in a YAML file; UserError if it is not one."""
    try:
        terms = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"contract {path}: {' '.join(str(error).split())}") from error
    try:
        columns = {name: column(name, terms_of) for name, terms_of in terms.pop("columns").items()}
        lists = {key: tuple(map(str, terms.pop(key, None) or ())) for key in ("missing", "drop")}
        contract = Contract(columns=columns, **lists, **terms)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"contract {path}: {error}; see data/wines.yaml for the form") from error
    if columns.get(contract.target, Column("missing")).kind != NUMERIC:
        raise UserError(f"contract {path}: target {contract.target} must be one of the columns, and numeric")
    if contract.group and contract.group not in columns:
        raise UserError(f"contract {path}: group {contract.group} is not among the columns")
    return contract


def column(name: str, terms: dict[str, Any]) -> Column:
    """One column of a contract; ValueError if its terms are not of the form."""
    found = Column(**terms)
    if found.kind not in (NUMERIC, CATEGORICAL):
        raise ValueError(f"column {name} is {found.kind}; kinds are {NUMERIC} and {CATEGORICAL}")
    if found.range is not None and len(found.range) != 2:
        raise ValueError(f"the range of column {name} must be two numbers")
    return found


def read_data(path: Path, contract: Contract) -> pd.DataFrame:
    """The rows of a CSV file, all as text; the contract's spellings of missing become missing values.

    Raises UserError if the file cannot be read or lacks a column.
    """
    try:
        frame = pd.read_csv(
            path, dtype=str, keep_default_na=False, na_values=["", *contract.missing], encoding="utf-8-sig"
        )
    except (OSError, UnicodeDecodeError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"data {path}: {' '.join(str(error).split())}") from error
    if absent := [name for name in contract.columns if name not in frame]:
        there = ", ".join(frame.columns[:12])
        raise UserError(
            f"data {path}: no column {', '.join(absent)}; it has {there}."
            " Is the contract the one for this file (-P contract=…)?"
        )
    if frame.empty:
        raise UserError(f"data {path}: a header and no rows")
    return frame


def enforce(frame: pd.DataFrame, contract: Contract, drop_duplicates: bool) -> tuple[pd.DataFrame, Report]:
    """The rows that keep to the contract, typed and in an order that does not depend on the file's; and a report.

    Args:
        frame: (rows, columns) of text, as `read_data` gives it.
        contract: what the columns mean.
        drop_duplicates: whether exact duplicates of a row are dropped.

    Raises UserError if more than half of the rows break the contract.
    """
    typed, rejected = check(frame[list(contract.columns)], contract)
    rejected_rows = rejected["row"].nunique()
    if rejected_rows > len(frame) / 2:
        worst = rejected.groupby(["column", "reason"], sort=False).size().idxmax()
        example = rejected[(rejected["column"] == worst[0]) & (rejected["reason"] == worst[1])].iloc[0]
        raise UserError(
            f"{rejected_rows:,} of {len(frame):,} rows break the contract: column {worst[0]} {worst[1]}"
            f" (first: {example['value']!r} in line {example['row']}); mend the file or the contract"
        )
    kept = typed.sort_values(list(typed.columns), kind="stable", ignore_index=True)
    distinct = kept.drop_duplicates(ignore_index=True)
    report = Report(
        rows_in=len(frame),
        rejected=rejected,
        rows_duplicate=len(kept) - len(distinct),
        missing={name: int(count) for name, count in typed.isna().sum().items()},
        ignored=[name for name in frame if name not in {*contract.columns, *contract.drop}],
    )
    return (distinct if drop_duplicates else kept), report


def check(frame: pd.DataFrame, contract: Contract) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of `frame` that keep to the contract, with numbers as float64; and a row per breach.

    The breaches have the columns `row` (line of the file, its header being line 1), `column`, `value`, `reason`.
    """
    from pandera.errors import SchemaErrors

    try:
        return schema(contract).validate(frame, lazy=True), pd.DataFrame(columns=BREACH)
    except SchemaErrors as errors:
        cases = errors.failure_cases
    # A text among the numbers hides what else is wrong with its column, so the other rows are checked again.
    cases = cases[cases["index"].notna() & ~cases["check"].str.startswith("dtype(")]
    breaches = pd.DataFrame(
        {
            "row": cases["index"].astype(int) + 2,
            "column": cases["column"],
            "value": cases["failure_case"].astype(object).fillna("").astype(str),
            "reason": cases["check"].replace(REASONS),
        }
    )
    typed, more = check(frame.drop(index=cases["index"].unique()), contract)
    return typed, pd.concat([breaches, more]).sort_values(["row", "column"], ignore_index=True)


def schema(contract: Contract) -> "DataFrameSchema":
    """The contract as a pandera schema that coerces numbers and checks every value."""
    import pandera.pandas as pandera  # half a second that a reused step need not pay

    def column_schema(name: str, terms: Column) -> pandera.Column:
        nullable = name != contract.target
        if terms.kind == CATEGORICAL:
            return pandera.Column(str, nullable=nullable)
        low, high = terms.range or FINITE
        within = pandera.Check.in_range(low, high, error=f"is outside {low:g} to {high:g}")
        return pandera.Column(float, within, nullable=nullable, coerce=True)

    return pandera.DataFrameSchema({name: column_schema(name, terms) for name, terms in contract.columns.items()})
