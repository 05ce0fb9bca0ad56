"""Columns that a function of the user derives from the features of a row: `features=<file>.py:<function>`.

The function belongs to the model: it is applied to the rows of training, of a file to predict, and of a request.
"""

import ast
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from workflow.data.columns import CATEGORICAL, NUMERIC, Column
from workflow.data.contract import Contract
from workflow.data.dates import days_since_epoch
from workflow.data.values import to_text
from workflow.errors import UserError

SINGLE_ROWS = 5  # that are derived one by one too, at random
MAX_INCOMPLETE_ROWS = 20  # with a missing value, likewise: filling it by a mean is the likeliest mistake
TOLERANCE = 1e-9  # vectorised functions may differ in the last bits between one row and many


@dataclass(frozen=True)
class OwnFeatures:
    """A function of the user, as text: a process of its own, and the folder of a model, can take it.

    Attributes:
        source: the text of its file.
        function: its name there.
        name: what errors call it: `features=<file>.py:<function>`.
    """

    source: str
    function: str
    name: str

    def describe(self, typed: pd.DataFrame, contract: Contract) -> Contract:
        """Return the contract with the columns that are derived from its typed rows.

        Raises UserError if a column has the name of another, or if a row depends on other rows.
        """
        features = typed[contract.raw_features].reset_index(drop=True)
        derived = self.compute(features)
        if taken := [name for name in derived if name in contract.columns or name in contract.drop]:
            raise UserError(f"{self.name}: column {taken[0]}: the file has one of that name; choose another")
        if empty := [name for name in derived if derived[name].isna().all()]:
            raise UserError(f"{self.name}: column {empty[0]}: all values are missing")
        kinds = {str(name): kind_of(values) for name, values in derived.items()}
        self.check_row_by_row(features, self.with_kinds(derived, kinds), kinds)
        columns = {name: Column(kind, derived=self.function) for name, kind in kinds.items()}
        return replace(contract, columns=contract.columns | columns)

    def extend(self, typed: pd.DataFrame, contract: Contract) -> pd.DataFrame:
        """Return typed rows with the columns that the contract says are derived: (rows, columns + derived columns).

        Raises UserError if the function fails, or returns anything else than it did for the training set.
        """
        kinds = {name: contract.columns[name].kind for name in contract.derived}
        if len(typed):
            derived = self.with_kinds(self.compute(typed[contract.raw_features]), kinds)
        else:
            derived = pd.DataFrame({name: pd.Series(dtype=dtype_of(kind)) for name, kind in kinds.items()})
        derived = derived.set_axis(typed.index)
        for name in derived.select_dtypes("float"):
            if (infinite := np.isinf(derived[name])).any():
                raise UserError(f"{self.name}: column {name} is infinite in row {infinite.idxmax()}")
        return pd.concat([typed, derived], axis=1)

    def compute(self, features: pd.DataFrame) -> pd.DataFrame:
        """Return the new columns of features, numbers as float64 and all else as str: (rows, new columns)."""
        given = features.reset_index(drop=True)
        function = load(self)
        try:
            returned = function(given.copy())
        except (Exception, SystemExit) as error:  # which would end a thread that others wait for
            hint = f"; it gets the features only: {', '.join(map(str, given))}" if isinstance(error, KeyError) else ""
            raise UserError(f"{self.name}: {self.told(error)}{hint}") from error
        if fault := fault_in(returned, given):
            raise UserError(f"{self.name}: {fault}")
        new = {name: self.typed_values(name, returned[name]) for name in returned if name not in given}
        return pd.DataFrame(new)

    def told(self, error: BaseException) -> str:
        """Return what an error of the function says, on one line, with the line of the file where it arose."""
        lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == self.name]
        place = f" (line {lines[-1]})" if lines else ""
        return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"

    def typed_values(self, name: str, values: pd.Series) -> pd.Series:
        """Return values as numbers or as text: (rows,). UserError for anything but numbers, dates and text."""
        if pd.api.types.is_object_dtype(values):
            values = values.infer_objects()
        types, is_object = pd.api.types, pd.api.types.is_object_dtype(values)
        if types.is_datetime64_any_dtype(values):
            return days_since_epoch(values, ()) + 0.0  # -0 becomes 0: equal rows must have equal bits
        if types.is_numeric_dtype(values) and not types.is_complex_dtype(values):
            return pd.Series(values.to_numpy("float64", na_value=np.nan) + 0.0, values.index)
        if isinstance(values.dtype, pd.StringDtype | pd.CategoricalDtype):
            return to_text(values)
        known = values.dropna()
        if is_object and all(isinstance(value, bool) for value in known):  # some are missing, or all
            return values.astype("float64")
        found = type(known.iloc[0]).__name__ if is_object else str(values.dtype)
        raise UserError(f"{self.name}: column {name} holds values of type {found}; expected numbers, dates or text")

    def with_kinds(self, derived: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
        """Return derived columns in the order and of the kinds of the training set; UserError if they are others."""
        if other := sorted({*derived} ^ {*kinds}):
            listed = ", ".join(other)
            raise UserError(f"{self.name}: does not always return column {listed}; return the same for any row")
        for name, kind in kinds.items():
            if kind_of(derived[name]) != kind and derived[name].notna().any():
                raise UserError(f"{self.name}: column {name} is not always {kind}")
        return pd.DataFrame({name: derived[name].astype(dtype_of(kind)) for name, kind in kinds.items()})

    def check_row_by_row(self, features: pd.DataFrame, derived: pd.DataFrame, kinds: Mapping[str, str]) -> None:
        """Raise UserError if a row is derived otherwise by itself, or among half of the rows in another order."""
        order = np.random.default_rng(0).permutation(len(features))
        incomplete = [int(np.argmax(missing)) for _, missing in features.isna().items() if missing.any()]
        singles = [*order[:SINGLE_ROWS], *dict.fromkeys(incomplete[:MAX_INCOMPLETE_ROWS])]
        for positions in ([*order[: (len(order) + 1) // 2]], *([single] for single in singles)):
            again = self.with_kinds(self.compute(features.iloc[positions]), kinds)
            among_all = derived.iloc[positions].reset_index(drop=True)
            for name in again:
                if (unlike := differs(among_all[name], again[name], derived[name])).any():
                    place = int(unlike.argmax())
                    raise UserError(
                        f"{self.name}: column {name} is not derived row by row: {among_all[name][place]} among all"
                        f" rows, {again[name][place]} among {len(positions)}; use nothing but the row itself"
                    )


def read(path: Path, function: str) -> OwnFeatures:
    """Read a function of the user; UserError if the file is no Python."""
    name = f"features={path.name}:{function}"
    try:
        source = path.read_bytes().decode()
        ast.parse(source)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name}: cannot be imported: {type(error).__name__}: {error}") from error
    return OwnFeatures(source, function, name)


@cache
def load(own: OwnFeatures) -> Callable[[pd.DataFrame], Any]:
    """Return the function itself, from its file, which runs; UserError if that fails or has no such function."""
    module = ModuleType(f"own_features_{sha256(own.source.encode()).hexdigest()}")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(own.source, own.name, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise UserError(f"{own.name}: cannot be imported: {own.told(error)}") from error
    function = getattr(module, own.function, None)
    if not callable(function):
        raise UserError(f"{own.name}: the file has no function {own.function}")
    return function


def fault_in(returned: Any, given: pd.DataFrame) -> str:
    """Return what is wrong with the frame that a function returned for a given one; empty if nothing."""
    if not isinstance(returned, pd.DataFrame):
        return f"returns a {type(returned).__name__}, expected a DataFrame"
    if len(returned) != len(given):
        return f"returns {len(returned):,} rows for {len(given):,}"
    if not returned.index.equals(given.index):
        return "returns the rows with another index, perhaps in another order; keep that of the rows"
    if names := [name for name in returned if not isinstance(name, str)]:
        return f"returns a column {names[0]!r}, whose name is no text"
    if twice := returned.columns[returned.columns.duplicated()].tolist():
        return f"returns column {twice[0]} twice"
    if changed := [name for name in returned if name in given and not returned[name].equals(given[name])]:
        return f"changes column {changed[0]}; give the result a name of its own"
    return "" if any(name not in given for name in returned) else "returns no new column"


def kind_of(values: pd.Series) -> str:
    """Return the kind of a derived column."""
    return NUMERIC if values.dtype == "float64" else CATEGORICAL


def dtype_of(kind: str) -> str:
    """Return the dtype of a derived column of a kind."""
    return "float64" if kind == NUMERIC else "str"


def differs(values: pd.Series, others: pd.Series, column: pd.Series) -> np.ndarray:
    """Return where values differ from others by more than rounding: (rows,) of bool. Two missing values do not.

    Near 0, rounding is that of the largest number of the whole `column`.
    """
    if kind_of(values) == CATEGORICAL:
        return ~((values == others).fillna(False) | (values.isna() & others.isna())).to_numpy(bool)
    largest = column[np.isfinite(column)].abs().to_numpy().max(initial=0.0)
    return ~np.isclose(values, others, rtol=TOLERANCE, atol=1e-3 * TOLERANCE * largest, equal_nan=True)
