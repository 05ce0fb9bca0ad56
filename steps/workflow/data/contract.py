"""The data contract: what the columns of a file mean, and which of its rows are valid."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from workflow.data.columns import (
    BOOLEAN,
    COERCE,
    DATE,
    DECREASING,
    INCREASING,
    KINDS,
    NUMBER_KINDS,
    NUMERIC,
    PARSE_ERRORS,
    REJECT,
    STRING_KINDS,
    TARGET_KINDS,
    TEXT,
    Column,
)
from workflow.data.stored import StoredRows
from workflow.data.tables import REJECTION_COLUMNS
from workflow.data.values import parse_values, to_text
from workflow.documents import read_yaml_file
from workflow.errors import UserError
from workflow.spelling import nearest

TYPED_BY = "typed by contract"  # attribute of a typed frame, kept in Parquet files: the text of its contract
EXAMPLE_ROWS = 5
LISTED_COLUMNS = 12  # in a message
FINITE = (-sys.float_info.max, sys.float_info.max)


@dataclass(frozen=True)
class Contract:
    """The meaning of a data file.

    Attributes:
        target: the column to predict; it is numeric and never missing.
        columns: every column that is used, including the target.
        missing: spellings of a missing value, besides the empty field.
        drop: columns of the file to leave out, with the reason.
        group: the column whose equal values `split=group` keeps in one set.
        time: the column whose latest values `split=time` keeps for the test set.
        fold: the column by which `split=fold` splits; it is no feature.
        weight: the column of sample weights, which are at least 0; it is no feature.
        segments: features for whose values the errors are reported.
        unit: unit of the target, for plots and reports.
    """

    target: str
    columns: dict[str, Column]
    missing: tuple[str, ...] = ()
    drop: dict[str, str] = field(default_factory=dict)
    group: str | None = None
    time: str | None = None
    unit: str = ""
    fold: str | None = None
    weight: str | None = None
    segments: tuple[str, ...] = ()

    @property
    def target_label(self) -> str:
        """Return the target with its unit, for plots: `price (EUR)`."""
        return f"{self.target} ({self.unit})" if self.unit else self.target

    @property
    def features(self) -> list[str]:
        """Return the columns that a model reads."""
        return [name for name in self.columns if name not in (self.target, self.fold, self.weight)]

    @property
    def constraints(self) -> dict[str, int]:
        """Return the monotonic constraints, by feature: 1 for an increasing prediction, -1 for a decreasing one."""
        directions = {INCREASING: 1, DECREASING: -1}
        monotonic = {name: self.columns[name].monotonic for name in self.features}
        return {name: directions[direction] for name, direction in monotonic.items() if direction}

    @property
    def derived(self) -> list[str]:
        """Return the columns that a function of the user makes from the other features."""
        return [name for name, column in self.columns.items() if column.derived]

    @property
    def raw_features(self) -> list[str]:
        """Return the features that are in the file."""
        return [name for name in self.features if not self.columns[name].derived]

    @property
    def raw(self) -> "Contract":
        """Return the contract of the file: that of all columns but the derived ones."""
        return self.select([name for name, column in self.columns.items() if not column.derived])

    @property
    def content(self) -> list[str]:
        """Return the columns that say what a row is: those of the file but those that say how it is used."""
        return [name for name in self.raw.columns if name not in (self.fold, self.weight)]

    @cached_property
    def missing_numbers(self) -> list[float]:
        """Return the spellings of a missing value that are numbers."""
        numbers = pd.to_numeric(pd.Series(self.missing, dtype="str"), errors="coerce").dropna()
        return [float(number) for number in numbers]

    def select(self, names: Iterable[str]) -> "Contract":
        """Return the contract of some of the columns."""
        return dataclasses.replace(self, columns={name: self.columns[name] for name in names})


@dataclass(frozen=True)
class CoercedValues:
    """How many values of a column were unreadable, and the first of them."""

    count: int
    first: str


@dataclass(frozen=True)
class ValidationReport:
    """The outcome of checking a file against its contract.

    Attributes:
        rows_in: number of rows of the file, malformed lines included.
        rows_rejected: number of rows that break the contract.
        rejected: a row per violation of the contract, with the columns of `REJECTION_COLUMNS`.
        missing: missing values of each column, among the valid rows.
        coerced: values that were unreadable and taken as missing, by column.
        ignored: columns of the file that the contract does not name.
        examples: the first valid rows, as the file has them.
    """

    rows_in: int
    rows_rejected: int
    rejected: pd.DataFrame
    missing: dict[str, int]
    coerced: dict[str, CoercedValues]
    ignored: list[str]
    examples: pd.DataFrame


def read_contract(path: Path) -> Contract:
    """Read a contract from a YAML file; UserError if it is not valid."""
    source = f"contract {path}"
    try:
        entries = read_yaml_file(path)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error
    try:
        contract = parse_contract(entries)
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: {error}; see data/wines.yaml for an example") from error
    return validated(contract, source)


def parse_contract(entries: Any) -> Contract:
    """Build a contract from the content of its YAML file; ValueError if it has not the form of one."""
    check_entries("the file", entries, Contract)
    if not isinstance(entries["columns"], dict):
        raise ValueError("columns must map each column to its kind")
    columns = {str(name): parse_column(f"column {name}", column) for name, column in entries["columns"].items()}
    drop = entries.get("drop") or {}
    drop = {str(name): str(drop[name]) if isinstance(drop, dict) else "" for name in drop}
    lists = {key: tuple(map(str, entries.get(key) or ())) for key in ("missing", "segments")}
    return Contract(**entries | {"columns": columns, "drop": drop} | lists)


def parse_column(label: str, entries: Any) -> Column:
    """Build a column from its entries in a contract; ValueError if they are not valid."""
    check_entries(label, entries, Column)
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entries.items()}
    column = Column(**given)
    if column.kind not in KINDS:
        raise ValueError(f"{label} has kind {column.kind}; expected one of {', '.join(KINDS)}")
    if column.errors not in (REJECT, COERCE):
        raise ValueError(f"{label} has errors {column.errors}; expected {REJECT} or {COERCE}")
    if not all(isinstance(factor, int | float) and factor > 0 for factor in column.multiply.values()):
        raise ValueError(f"{label}: multiply must map suffixes to positive numbers, such as {{k: 1000}}")
    check_monotonic(label, column)
    if column.range is not None and len(column.range) != 2:
        raise ValueError(f"{label}: range must be two numbers, [lowest, highest]")
    return column


def check_monotonic(label: str, column: Column) -> None:
    """Raise ValueError if a column has a constraint that is not known, or that its kind cannot have."""
    if column.monotonic not in ("", INCREASING, DECREASING):
        raise ValueError(f"{label} has monotonic {column.monotonic}; expected {INCREASING} or {DECREASING}")
    if column.monotonic and column.kind not in NUMBER_KINDS:
        raise ValueError(f"{label}: monotonic needs a column of kind {', '.join(NUMBER_KINDS)}, not {column.kind}")


def with_constraints(contract: Contract, constraints: Mapping[str, Any]) -> Contract:
    """Return the contract with other monotonic constraints, by feature; UserError for one that is not possible."""
    columns = dict(contract.columns)
    for name, direction in constraints.items():
        if name not in contract.features:
            raise UserError(f"monotonic={{{name}: …}}: no such feature; {nearest(name, contract.features)}")
        columns[name] = dataclasses.replace(columns[name], monotonic=direction)
        try:
            check_monotonic(name, columns[name])
        except ValueError as error:
            raise UserError(f"monotonic={{{name}: {direction}}}: {error}") from error
    return dataclasses.replace(contract, columns=columns)


def check_entries(label: str, entries: Any, form: type[Contract] | type[Column]) -> None:
    """Raise ValueError unless `entries` map fields of the dataclass `form`, and all that are required."""
    fields = dataclasses.fields(form)
    names = [entry.name for entry in fields]
    if not isinstance(entries, dict):
        raise ValueError(f"{label} must be a mapping of {', '.join(names)}")
    if unknown := [str(name) for name in entries if name not in names]:
        raise ValueError(f"{label} has unknown entries {', '.join(unknown)}; expected {', '.join(names)}")
    for entry in fields:
        optional = entry.default is not dataclasses.MISSING or entry.default_factory is not dataclasses.MISSING
        if not optional and entry.name not in entries:
            raise ValueError(f"{label} has no {entry.name}")


def validated(contract: Contract, source: str) -> Contract:
    """Return the contract if its parts are consistent; else raise UserError, which begins with `source`."""
    columns = contract.columns
    if contract.target not in columns or columns[contract.target].kind not in TARGET_KINDS:
        raise UserError(f"{source}: target {contract.target} must be a numeric column of the contract")
    if contract.group and contract.group not in columns:
        raise UserError(f"{source}: group {contract.group} must be a column of the contract")
    if contract.time and (contract.time not in columns or columns[contract.time].kind not in (DATE, NUMERIC)):
        raise UserError(f"{source}: time {contract.time} must be a date or numeric column of the contract")
    if contract.fold and (contract.fold not in columns or columns[contract.fold].kind == TEXT):
        raise UserError(f"{source}: fold {contract.fold} must be a column of the contract, and no text")
    if contract.weight and (contract.weight not in columns or columns[contract.weight].kind != NUMERIC):
        raise UserError(f"{source}: weight {contract.weight} must be a numeric column of the contract")
    roles = [name for name in (contract.target, contract.fold, contract.weight) if name]
    if columns[contract.target].monotonic:
        raise UserError(f"{source}: target {contract.target} cannot be monotonic; say so of a feature")
    if len(set(roles)) < len(roles):
        raise UserError(f"{source}: target, fold and weight must be different columns, not {', '.join(roles)}")
    if unknown := [name for name in contract.segments if name not in contract.features]:
        raise UserError(f"{source}: segments: {', '.join(unknown)} must be features of the contract")
    if not contract.features:
        raise UserError(f"{source}: {', '.join(roles)} is all there is; add the features to columns")
    return contract


def contract_text(contract: Contract, notes: dict[str, str]) -> str:
    """Return the contract as YAML, with the notes on columns as comments."""
    head = {name: getattr(contract, name) for name in ("target", "unit", "group", "time", "fold", "weight")}
    lines = [column_line(name, column, notes.get(name, "")) for name, column in contract.columns.items()]
    tail = {"missing": list(contract.missing), "drop": contract.drop, "segments": list(contract.segments)}
    return "\n".join([non_empty_yaml(head).strip(), "columns:", *lines, non_empty_yaml(tail)])


def column_line(name: str, column: Column, note: str) -> str:
    """Return the line of a column in a contract: its entries other than the defaults, and the note as a comment."""
    defaults = Column(kind="")
    entries = {
        entry.name: list(value) if isinstance(value := getattr(column, entry.name), tuple) else value
        for entry in dataclasses.fields(Column)
        if getattr(column, entry.name) != getattr(defaults, entry.name)
    }
    text = yaml.safe_dump({name: entries}, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return f"  {text.strip()[1:-1]}" + (f"  # {note}" if note else "")


def non_empty_yaml(entries: dict[str, Any]) -> str:
    """Return the entries that are not empty as YAML."""
    given = {key: value for key, value in entries.items() if value}
    return yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=1000) if given else ""


def enforce(
    chunks: Iterable[pd.DataFrame], contract: Contract, malformed: pd.DataFrame, keep: Callable[[pd.DataFrame], None]
) -> ValidationReport:
    """Check rows against the contract and pass on the valid ones, categories and texts as str, all else as float64.

    Args:
        chunks: (rows, columns) as a `Table` has them, indexed by the rows' positions in the file.
        contract: the contract of the file.
        malformed: the malformed lines of the file, with the columns of `REJECTION_COLUMNS`.
        keep: called with the typed valid rows of each chunk.

    Raises:
        UserError: if a column is absent, if a weight is missing or negative, or if more than half of the rows break
            the contract.
    """
    rows_in, violations, examples = malformed["row"].nunique(), [malformed], []
    missing: Counter[str] = Counter()
    coerced: dict[str, CoercedValues] = {}
    for rows in chunks:
        check_columns(rows, contract, "pass the contract of this file: -P contract=<file>")
        typed, found = check(rows, contract)
        check_weights(typed, contract)
        keep(typed)
        rows_in += len(rows)
        missing.update({name: int(count) for name, count in typed.isna().sum().items()})
        add_coerced(coerced, coerced_values(rows, typed, contract))
        violations.append(found)
        examples.append(rows.loc[typed.index[:EXAMPLE_ROWS], list(contract.columns)])
    rejected = pd.concat(violations).sort_values(["row", "column"], ignore_index=True)
    check_rejected(rejected, rows_in)
    ignored = [name for name in rows if name not in {*contract.columns, *contract.drop}]
    return ValidationReport(
        rows_in,
        rejected["row"].nunique(),
        rejected,
        dict(missing),
        coerced,
        ignored,
        pd.concat(examples).head(EXAMPLE_ROWS),
    )


def coerced_values(rows: pd.DataFrame, typed: pd.DataFrame, contract: Contract) -> dict[str, CoercedValues]:
    """Return which values of valid rows were unreadable and taken as missing, given the rows as read and as typed."""
    found = {}
    for name, column in contract.columns.items():
        if column.errors == COERCE and typed[name].isna().any():
            values = without_missing(rows.loc[typed.index, name], column, contract)
            if len(unread := values[values.notna() & typed[name].isna()]):
                found[name] = CoercedValues(len(unread), str(unread.iloc[0]))
    return found


def add_coerced(total: dict[str, CoercedValues], more: Mapping[str, CoercedValues]) -> None:
    """Add the counts of later rows to those of earlier ones."""
    for name, each in more.items():
        known = total.get(name, CoercedValues(0, each.first))
        total[name] = CoercedValues(known.count + each.count, known.first)


def check_rejected(rejected: pd.DataFrame, rows_in: int) -> None:
    """Raise UserError if more than half of the rows break the contract: it is probably that of another file."""
    count = rejected["row"].nunique()
    if count <= rows_in / 2:
        return
    column, reason = rejected.groupby(["column", "reason"], sort=False).size().idxmax()
    example = rejected[(rejected["column"] == column) & (rejected["reason"] == reason)].iloc[0]
    subject = f"column {column}" if column else "a line"
    raise UserError(
        f"{count:,} of {rows_in:,} rows break the contract: {subject} {reason}"
        f" (first: {example['value']!r} in line {example['row']}); correct the file or the contract"
    )


def check_columns(frame: pd.DataFrame, contract: Contract, remedy: str) -> None:
    """Raise UserError, which ends in `remedy`, if a column of the contract is absent from the frame."""
    if absent := [name for name in contract.columns if name not in frame]:
        present = ", ".join(map(str, frame.columns[:LISTED_COLUMNS]))
        raise UserError(f"no column {', '.join(absent)}; the data has {present}; {remedy}")


def check_weights(typed: pd.DataFrame, contract: Contract) -> None:
    """Raise UserError if a row has no weight or a negative one: leaving it out would change what the weights mean."""
    if not contract.weight:
        return
    weights = typed[contract.weight]
    wrong = weights[~(weights >= 0)]
    if len(wrong):
        shown = "missing" if np.isnan(wrong.iloc[0]) else f"{wrong.iloc[0]:g}"
        raise UserError(
            f"weight {contract.weight}: {shown} in line {wrong.index[0]}, expected a number of at least 0; correct the"
            " file, or leave the weight out"
        )


def check_text_columns(rows: Mapping[str, pd.Series] | StoredRows, train: np.ndarray, contract: Contract) -> None:
    """Raise UserError if a text column is empty in the training set, the rows at the positions `train`."""
    for name, column in contract.columns.items():
        if column.kind == TEXT and not rows[name].iloc[train].notna().any():
            raise UserError(
                f"column {name}: all texts of the training set are missing; move it to `drop` in the contract, or"
                " choose another split"
            )


def frame_attributes(contract: Contract) -> dict[str, str]:
    """Return the attributes of a frame whose rows are typed by the contract."""
    return {TYPED_BY: contract_text(contract, {})}


def is_typed_by(frame: pd.DataFrame, contract: Contract) -> bool:
    """Return whether the attributes of a frame say that its rows are typed by this very contract."""
    return frame.attrs.get(TYPED_BY) == contract_text(contract, {})


def check(frame: pd.DataFrame, contract: Contract, typed_already: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Check and type the rows of a frame.

    Args:
        frame: (rows, columns) with at least the columns of the contract.
        contract: the contract of the rows.
        typed_already: whether the rows are typed by this contract, so that nothing is left to check.

    Returns:
        The valid rows, categories and texts as str and all else as float64; and a row per violation, with the columns
        of `REJECTION_COLUMNS`.
    """
    no_violations = pd.DataFrame(columns=REJECTION_COLUMNS)
    if typed_already:
        return frame[list(contract.columns)], no_violations
    typed, found = {}, []
    for name, column in contract.columns.items():
        values = without_missing(frame[name], column, contract)
        if column.kind in STRING_KINDS:
            typed[name] = to_text(values)
        else:
            typed[name] = parse_values(values, column) + 0.0  # -0 becomes 0: equal rows must have equal bits
        found += column_violations(name, frame[name], values, typed[name], contract)
    valid = pd.DataFrame(typed, copy=False)
    if not found:
        return valid, no_violations
    violations = pd.concat(found).sort_values(["row", "column"], ignore_index=True)
    return valid.drop(index=violations["row"].unique()), violations


def without_missing(values: pd.Series, column: Column, contract: Contract) -> pd.Series:
    """Return the values of a column, those that spell a missing one missing: -200 means -200.0 and -2e2, too."""
    typed = pd.api.types.is_numeric_dtype(values)
    missing = pd.Series(False, values.index) if typed else values.isin(contract.missing)
    if contract.missing_numbers and (typed or pd.api.types.is_string_dtype(values)):
        numbers = parse_values(values, column if column.kind == NUMERIC else Column(NUMERIC))
        codes = False if typed or column.kind == NUMERIC else values.str.fullmatch(r"0\d+").fillna(False)
        missing |= numbers.isin(contract.missing_numbers) & ~codes
    return values.mask(missing) if missing.any() else values


def column_violations(
    name: str, written: pd.Series, values: pd.Series, typed: pd.Series, contract: Contract
) -> list[pd.DataFrame]:
    """Return the violations of the contract in a column, a frame per reason.

    Args:
        name: of the column.
        written: its values as the file has them.
        values: these, but for spellings of a missing value.
        typed: what they were read as.
        contract: of the rows.
    """
    column = contract.columns[name]
    wrong: dict[str, pd.Series] = {}
    if column.kind not in STRING_KINDS:
        low, high = column.range or FINITE
        if column.errors == REJECT:
            wrong[PARSE_ERRORS[column.kind]] = values.notna() & typed.isna()
        infinite = typed.isin([np.inf, -np.inf])
        wrong["is infinite"] = infinite
        wrong[f"is outside {low:g} to {high:g}"] = typed.notna() & ~infinite & ~typed.between(low, high)
    if name == contract.target:
        wrong["is missing"] = values.isna()
    return [
        pd.DataFrame(
            {"row": values.index[rows], "column": name, "value": written[rows].fillna("").astype(str), "reason": reason}
        )
        for reason, rows in wrong.items()
        if rows.any()
    ]


def as_file_values(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Return the rows of a request in the form in which a `Table` has the rows of a file.

    Texts are stripped, and empty ones are missing; in a column that also has texts, every value becomes a text. An
    absent column is missing throughout.
    """
    columns = {}
    for name, column in contract.columns.items():
        values = rows.get(name, pd.Series(np.nan, rows.index))
        if values.dtype in (object, bool):
            values = values.map(partial(as_file_text, decimal=column.decimal), na_action="ignore").astype("str")
        if pd.api.types.is_string_dtype(values):
            values = values.str.strip().replace("", np.nan)
        columns[name] = values
    return pd.DataFrame(columns, rows.index)


def wrong_json_type(value: Any, column: Column) -> str | None:
    """Return what is wrong with the JSON type of a value of a request, which no cell of a file has; None if nothing."""
    if isinstance(value, list | dict | np.ndarray):
        return f"is a JSON {'object' if isinstance(value, dict) else 'array'}, not a single value"
    if isinstance(value, bool | np.bool_) and column.kind not in (BOOLEAN, *STRING_KINDS):
        return f"{PARSE_ERRORS[column.kind]} but a JSON boolean"
    return None


def as_file_text(value: Any, decimal: str) -> Any:
    """Return a boolean or a number as a file would have it; any other value as it is."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).replace(".", decimal) if isinstance(value, int | float) else value
