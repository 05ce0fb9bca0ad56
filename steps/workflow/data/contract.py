"""The data contract: what the columns of a file mean, and which of its rows keep to it."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from workflow.data.columns import BOOLEAN, DATE, KINDS, NUMERIC, TEXT, WORDS, Column, parse_values, to_text
from workflow.data.stored import StoredRows
from workflow.data.tables import REJECTION_COLUMNS
from workflow.errors import UserError

TYPED = "typed by contract"  # the attribute of a frame that says which; a Parquet file keeps it
FEW = 5  # rows, to show
FINITE = (-sys.float_info.max, sys.float_info.max)
UNREADABLE = {NUMERIC: "is not a number", BOOLEAN: "is neither true nor false", DATE: "is not a date"}


@dataclass(frozen=True)
class Contract:
    """What a data file means.

    Attributes:
        target: the column to predict; it is numeric and never missing.
        columns: every column that is used, the target among them.
        missing: spellings of a missing value, besides the empty field.
        drop: columns of the file to leave out, with the reason.
        group: the column whose values `split=group` keeps in one part.
        time: the column whose latest values `split=time` keeps for the test part.
        unit: of the target, for pictures and reports.
    """

    target: str
    columns: dict[str, Column]
    missing: tuple[str, ...] = ()
    drop: dict[str, str] = field(default_factory=dict)
    group: str | None = None
    time: str | None = None
    unit: str = ""

    @property
    def target_label(self) -> str:
        """The target as a picture names it: `price (EUR)`."""
        return f"{self.target} ({self.unit})" if self.unit else self.target

    @property
    def features(self) -> list[str]:
        """The columns that a model reads."""
        return [name for name in self.columns if name != self.target]

    def select(self, names: Iterable[str]) -> "Contract":
        """What it says of some of its columns."""
        return dataclasses.replace(self, columns={name: self.columns[name] for name in names})


@dataclass(frozen=True)
class Report:
    """What became of the rows of a file."""

    rows_in: int
    rejected: pd.DataFrame  # a row per breach of the contract: line of the file, column, value, reason
    missing: dict[str, int]  # per column, among the rows that keep to the contract
    ignored: list[str]  # columns of the file that the contract does not name
    examples: pd.DataFrame  # the first rows that keep to the contract, as the file has them


def read_contract(path: Path) -> Contract:
    """The contract in a YAML file; UserError if it is not one."""
    try:
        terms = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"contract {path}: {' '.join(str(error).split())}") from error
    try:
        columns = {str(name): column(name, terms_of) for name, terms_of in terms.pop("columns").items()}
        drop = terms.pop("drop", None) or {}
        drop = {str(name): str(drop[name]) if isinstance(drop, dict) else "" for name in drop}
        missing = tuple(map(str, terms.pop("missing", None) or ()))
        contract = Contract(columns=columns, drop=drop, missing=missing, **terms)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"contract {path}: {error}; see data/wines.yaml for the form") from error
    return checked(contract, f"contract {path}")


def checked(contract: Contract, place: str) -> Contract:
    """The contract, if its parts fit each other; else a UserError that begins with `place`."""
    columns = contract.columns
    if contract.target not in columns or columns[contract.target].kind != NUMERIC:
        raise UserError(f"{place}: target {contract.target} must be one of the columns, and numeric")
    if contract.group and contract.group not in columns:
        raise UserError(f"{place}: group {contract.group} is not among the columns")
    if contract.time and (contract.time not in columns or columns[contract.time].kind not in (DATE, NUMERIC)):
        raise UserError(f"{place}: time {contract.time} must be one of the columns, and a date or a number")
    if len(columns) == 1:
        raise UserError(f"{place}: no column but the target; name the columns to predict it from")
    return contract


def column(name: str, terms: dict[str, Any]) -> Column:
    """One column of a contract; ValueError if its terms are not of the form."""
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in terms.items()}
    found = Column(**given)
    if found.kind not in KINDS:
        raise ValueError(f"column {name} is {found.kind}; kinds are {', '.join(KINDS)}")
    if found.range is not None and len(found.range) != 2:
        raise ValueError(f"the range of column {name} must be two numbers")
    return found


def contract_text(contract: Contract, notes: dict[str, str]) -> str:
    """The contract as YAML, with the notes on columns as comments."""

    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    defaults = {term.name: term.default for term in dataclasses.fields(Column)}
    lines = []
    for name, found in contract.columns.items():
        terms = {key: plain(value) for key, value in vars(found).items() if value != defaults[key]}
        entry = yaml.safe_dump({name: terms}, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
        lines.append(f"  {entry.strip()[1:-1]}" + (f"  # {notes[name]}" if name in notes else ""))
    parts = {"target": contract.target, "unit": contract.unit, "group": contract.group, "time": contract.time}
    ends = {"missing": list(contract.missing), "drop": contract.drop}

    def dumped(terms: dict[str, Any]) -> str:
        given = {key: value for key, value in terms.items() if value}
        return yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=1000) if given else ""

    return "\n".join([dumped(parts).strip(), "columns:", *lines, dumped(ends)])


def enforce(
    chunks: Iterable[pd.DataFrame], contract: Contract, lost: pd.DataFrame, keep: Callable[[pd.DataFrame], None]
) -> Report:
    """Hand on the rows that keep to the contract, words as text and all else as float64; and what became of the others.

    Args:
        chunks: (rows, columns) as a `Table` has them, its index being the rows' places in the file.
        contract: what the columns mean.
        lost: the lines of the file that are no rows, with the columns of `REJECTION_COLUMNS`.
        keep: takes the typed rows of a chunk.

    Raises UserError if a column is not there, or if more than half of the rows break the contract.
    """
    rows_in, breaches, examples = lost["row"].nunique(), [lost], []
    missing: Counter[str] = Counter()
    for rows in chunks:
        check_columns(rows, contract, "is the contract the one for this file (-P contract=…)?")
        typed, faults = check(rows, contract)
        keep(typed)
        rows_in += len(rows)
        missing.update({name: int(count) for name, count in typed.isna().sum().items()})
        breaches.append(faults)
        examples.append(rows.loc[typed.index[:FEW], list(contract.columns)])
    rejected = pd.concat(breaches).sort_values(["row", "column"], ignore_index=True)
    check_rejected(rejected, rows_in)
    ignored = [name for name in rows if name not in {*contract.columns, *contract.drop}]
    return Report(rows_in, rejected, dict(missing), ignored, pd.concat(examples).head(FEW))


def check_rejected(rejected: pd.DataFrame, rows_in: int) -> None:
    """Raise UserError if more than half of the rows break the contract: then it is that of another file."""
    count = rejected["row"].nunique()
    if count <= rows_in / 2:
        return
    column, reason = rejected.groupby(["column", "reason"], sort=False).size().idxmax()
    example = rejected[(rejected["column"] == column) & (rejected["reason"] == reason)].iloc[0]
    named = f"column {column} {reason}" if column else f"a line {reason}"
    raise UserError(
        f"{count:,} of {rows_in:,} rows break the contract: {named}"
        f" (first: {example['value']!r} in line {example['row']}); mend the file or the contract"
    )


def check_columns(frame: pd.DataFrame, contract: Contract, remedy: str) -> None:
    """Raise UserError, which ends in `remedy`, if a column of the contract is not in the frame."""
    if absent := [name for name in contract.columns if name not in frame]:
        there = ", ".join(map(str, frame.columns[:12]))
        raise UserError(f"no column {', '.join(absent)}; the data has {there}; {remedy}")


def check_text_columns(rows: Mapping[str, pd.Series] | StoredRows, train: np.ndarray, contract: Contract) -> None:
    """Raise UserError if a column of prose is empty in the training part, which is at the places `train`."""
    for name, terms in contract.columns.items():
        if terms.kind == TEXT and not rows[name].iloc[train].notna().any():
            raise UserError(
                f"column {name}: no row of the training part has a text; move it to `drop` in the contract, or split"
                " another way"
            )


def typing(contract: Contract) -> dict[str, str]:
    """The attributes of a frame whose rows are typed by the contract."""
    return {TYPED: contract_text(contract, {})}


def is_typed_by(frame: pd.DataFrame, contract: Contract) -> bool:
    """Whether a frame says that its rows are typed by this very contract."""
    return frame.attrs.get(TYPED) == contract_text(contract, {})


def check(frame: pd.DataFrame, contract: Contract, typed_already: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of `frame` that keep to the contract, words as text and all else as float64; a row per breach.

    What is `typed_already` is as it must be.
    """
    if typed_already:
        return frame[list(contract.columns)], pd.DataFrame(columns=REJECTION_COLUMNS)
    typed, faults = {}, []
    for name, terms in contract.columns.items():
        values = frame[name]
        if not pd.api.types.is_numeric_dtype(values):
            absent = values.isin(contract.missing)
            values = values.mask(absent) if absent.any() else values
        if terms.kind in WORDS:
            typed[name] = to_text(values)
        else:
            typed[name] = parse_values(values, terms) + 0.0  # -0 becomes 0: equal rows must be the same to the last bit
            low, high = terms.range or FINITE
            outside = typed[name].notna() & ~typed[name].between(low, high)
            faults.append((name, values, values.notna() & typed[name].isna(), UNREADABLE[terms.kind]))
            faults.append((name, values, outside, f"is outside {low:g} to {high:g}"))
        if name == contract.target:
            faults.append((name, values, values.isna(), "is missing"))
    breaches = [
        pd.DataFrame(
            {
                "row": values.index[wrong],
                "column": name,
                "value": values[wrong].fillna("").astype(str),
                "reason": reason,
            }
        )
        for name, values, wrong, reason in faults
        if wrong.any()
    ]
    table = (
        pd.concat(breaches).sort_values(["row", "column"], ignore_index=True)
        if breaches
        else pd.DataFrame(columns=REJECTION_COLUMNS)
    )
    kept = pd.DataFrame(typed, copy=False)
    return kept.drop(index=table["row"].unique()) if len(table) else kept, table


def as_file_values(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Rows that somebody sends, in the form in which a `Table` has those of a file.

    Blanks around a text go, an empty one is missing, and what stands beside texts in a column is one. A column that is
    absent is missing.
    """

    def written(value: Any, decimal: str) -> Any:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return str(value).replace(".", decimal) if isinstance(value, int | float) else value

    columns = {}
    for name, terms in contract.columns.items():
        values = rows.get(name, pd.Series(np.nan, rows.index))
        if values.dtype == object:
            values = values.map(partial(written, decimal=terms.decimal), na_action="ignore").astype("str")
        if pd.api.types.is_string_dtype(values):
            values = values.str.strip().replace("", np.nan)
        columns[name] = values
    return pd.DataFrame(columns, rows.index)
