"""Split rows into a training set and a test set, and the training set into folds."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from workflow.data.contract import Contract
from workflow.data.stored import StoredRows
from workflow.errors import UserError

MIN_SET_ROWS = 10  # in the training set and in the test set: a score on fewer rows means nothing
RANDOM, GROUP, TIME, FOLD = "random", "group", "time", "fold"
TEST = "test"  # in the column of split=fold: the rows of the test set
MAX_FOLDS = 50


def split_column(strategy: str, contract: Contract) -> str | None:
    """Return the column that a split goes by.

    Raises UserError if it needs one and the contract names none, and if the contract names folds that it would ignore.
    """
    if contract.fold and strategy != FOLD:
        raise UserError(f"fold={contract.fold}: needs split=fold, not split={strategy}; pass -P split=fold")
    column = {GROUP: contract.group, TIME: contract.time, FOLD: contract.fold}.get(strategy)
    if strategy != RANDOM and not column:
        raise UserError(
            f"--{strategy} is required with split={strategy}: -P {strategy}=<column>, or `{strategy}: <column>` in the"
            " contract"
        )
    return column


def check_options(strategy: str, gap: float, repeats: int = 1) -> None:
    """Raise UserError for a gap in anything but time, and for repeats of folds that are always the same."""
    if gap and strategy != TIME:
        raise UserError(f"gap={gap:g}: needs split=time, not split={strategy}")
    if repeats > 1 and strategy in (TIME, FOLD):
        raise UserError(f"repeats={repeats}: split={strategy} always has the same folds; leave it out")


def question(strategy: str, column: str | None, gap: float = 0, test_data: str = "") -> str:
    """Return what a test score answers, as the end of a sentence that begins with "how well"."""
    if test_data:
        return f"the model predicts the rows of {test_data}"
    later = f"more than {gap:g} later" if gap else "later"
    return {
        RANDOM: "the model predicts rows that resemble the training rows",
        GROUP: f"the model predicts rows of a {column} value never seen in training",
        TIME: f"the model predicts rows {later} in {column} than all training rows",
        FOLD: f"the model predicts the rows that {column} sets apart",
    }[strategy]


def split(
    duplicate_counts: np.ndarray,
    test_size: float,
    seed: int,
    strategy: str = RANDOM,
    values: Any = None,
    gap: float = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the training rows and of the test rows.

    Rows of one time stay together, and rows without a time go to the training set.

    Args:
        duplicate_counts: how often each row counts: (rows,) of int. The rows are not in the order of the file.
        test_size: fraction of the rows (or of the groups) in the test set, between 0 and 1.
        seed: seed of the random split.
        strategy: `random`; `group`, which keeps equal values in one set; `time`, which tests on the latest values;
            `fold`, which tests on one value: see `held_out_fold`.
        values: (rows,) of groups, times or folds.
        gap: rows that are earlier than the test set by this or less are in neither set.

    Raises:
        UserError: if one of the two sets would be too small.
    """
    positions = np.repeat(np.arange(len(duplicate_counts)), duplicate_counts)
    if values is not None:
        values = values.iloc[positions]
    if strategy == TIME:
        latest = values.quantile(1 - test_size, interpolation="lower")
        train, test = np.flatnonzero(~(values > latest - gap)), np.flatnonzero(values > latest)
    elif strategy == FOLD:
        apart = values == held_out_fold(values)
        train, test = np.flatnonzero(~apart), np.flatnonzero(apart)
    else:
        groups = row_hashes(values.to_frame()) if strategy == GROUP else None
        train, test = shuffle_split(positions, test_size, seed, groups)
    check_sizes(len(train), len(test), "add data or change test_size")
    return positions[train], positions[test]


def check_sizes(train: int, test: int, remedy: str) -> None:
    """Raise UserError, which ends in `remedy`, if one of the two sets has too few rows."""
    if min(train, test) < MIN_SET_ROWS:
        raise UserError(
            f"too few rows: {train:,} in the training set and {test:,} in the test set, at least {MIN_SET_ROWS} needed"
            f" in each; {remedy}"
        )


def held_out_fold(values: pd.Series) -> Any:
    """Return the fold whose rows are the test set: `test` if there is one, else the last in order.

    Raises UserError if there is only one fold, or more than `MAX_FOLDS`.
    """
    distinct = sorted(values.dropna().unique())
    if not 2 <= len(distinct) <= MAX_FOLDS:
        expected = "at least 2" if len(distinct) < 2 else f"at most {MAX_FOLDS}"
        raise UserError(f"fold={values.name}: has {len(distinct):,} distinct values, expected {expected}")
    return TEST if TEST in distinct else distinct[-1]


def shuffle_split(
    rows: np.ndarray, test_size: float, seed: int, groups: pd.Series | None
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows at random, or whole groups if there are any; UserError if there are too few."""
    from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit

    splitter = (ShuffleSplit if groups is None else GroupShuffleSplit)(1, test_size=test_size, random_state=seed)
    try:
        return next(splitter.split(rows, groups=groups))
    except ValueError as error:
        raise UserError(f"{len(rows):,} rows cannot be split with test_size={test_size}: {error}") from error


def row_hashes(frame: pd.DataFrame) -> pd.Series:
    """Return a hash per row, equal for equal rows: (rows,) of uint64."""
    return pd.util.hash_pandas_object(frame, index=False)


def content_hashes(rows: StoredRows, contract: Contract) -> pd.Series:
    """Return a hash per row, equal for rows that are equal but for their fold and weight: (rows,) of uint64."""
    return hash_rows(rows.select(contract.content))


def hash_rows(rows: StoredRows) -> pd.Series:
    """Return `row_hashes` of stored rows, which may not fit into memory: (rows,) of uint64."""
    return pd.concat(map(row_hashes, rows.chunks()), ignore_index=True)


def max_training_rows(columns: int, limit: int | str = "auto") -> int:
    """Return the limit of training rows; by default, more cost time and memory and hardly improve a model."""
    return limit if isinstance(limit, int) else 50_000_000 // columns


def default_n_folds(rows: int, columns: int) -> int:
    """Return 5 folds, or 2 above five million cells, where half of the rows already train nearly the same model."""
    return 2 if rows > 10_000 and rows * columns > 5_000_000 else 5


def folds(
    frame: pd.DataFrame,
    count: int,
    seed: int,
    strategy: str = RANDOM,
    column: str | None = None,
    gap: float = 0,
    repeats: int = 1,
) -> list[tuple[Any, ...]]:
    """Return `count` cross-validation folds that mirror the split: positions of the training rows and the test rows.

    Duplicates of a row share a fold, and so do the rows of a group. With `time`, the folds are a time series split.
    With `fold`, they are those of the column if it has several in the training set. Raises UserError if there are too
    few rows for so many folds.

    Args:
        frame: the training rows.
        count: number of folds, where the column does not decide it.
        seed: of random folds; of each repetition, the next one.
        strategy: of the split.
        column: that it goes by.
        gap: see `split`.
        repeats: how often to split into folds anew.
    """
    check_options(strategy, gap, repeats)
    if strategy == FOLD and frame[column].nunique() > 1:
        return [
            (np.flatnonzero(frame[column] != each), np.flatnonzero(frame[column] == each))
            for each in sorted(frame[column].dropna().unique())
        ]
    if strategy == TIME:
        return time_series_folds(frame[column], count, gap)
    return [fold for repeat in range(repeats) for fold in random_folds(frame, count, seed + repeat, strategy, column)]


def random_folds(
    frame: pd.DataFrame, count: int, seed: int, strategy: str, column: str | None
) -> list[tuple[Any, ...]]:
    """Return `count` folds at random, of rows or of groups; UserError if there are too few."""
    from sklearn.model_selection import GroupKFold

    groups = row_hashes(frame[[column]] if strategy == GROUP else frame)
    if groups.nunique() < count:
        unit = column if strategy == GROUP else "rows"
        raise UserError(f"too few distinct {unit} for {count}-fold cross-validation: {groups.nunique()}; lower cv")
    return list(GroupKFold(count, shuffle=True, random_state=seed).split(frame, groups=groups))


def time_series_folds(times: pd.Series, count: int, gap: float = 0) -> list[tuple[Any, ...]]:
    """Return folds that each test on the rows that follow their training rows in time.

    The rows are cut into `count` + 1 equal parts by time; rows of one time stay together. Training rows that are
    earlier than the test rows by `gap` or less are left out. Raises UserError if there are too few distinct times.
    """
    cuts = times.quantile(np.arange(1, count + 2) / (count + 1), interpolation="lower").to_numpy()
    pairs = [
        (np.flatnonzero(times <= start - gap), np.flatnonzero((times > start) & (times <= end)))
        for start, end in pairwise(cuts)
    ]
    if min(len(rows) for pair in pairs for rows in pair) == 0:
        raise UserError(
            f"too few distinct values of {times.name} for {count} time-series folds: {times.nunique()}; lower cv"
            + (" or gap" if gap else "")
        )
    return pairs
