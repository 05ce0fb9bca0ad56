"""Two parts of the data, so that no row of the test part was seen in training."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from workflow.data.stored import StoredRows
from workflow.errors import UserError

MINIMUM = 10  # rows in each part: below that a score says nothing
RANDOM, GROUP, TIME = "random", "group", "time"


def question(way: str, by: str | None) -> str:
    """What a score on the test part answers, as the end of "how well …"."""
    return {
        RANDOM: "rows like those it has learned from are predicted",
        GROUP: f"rows are predicted whose {by} it has never seen",
        TIME: f"rows are predicted whose {by} is later than all it has learned from",
    }[way]


def split(
    copies: np.ndarray, test_size: float, seed: int, way: str = RANDOM, values: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """The places of the rows of the training part and of the test part, among rows whose order is not the file's.

    Args:
        copies: how often each row counts: (rows,) of int.
        test_size: share of the rows (or of the groups) in the test part, between 0 and 1.
        seed: which of the possible splits.
        way: `random`; `group`, which keeps the same values together; `time`, which tests the rows of the latest values.
        values: (rows,) of groups or times.

    Rows of one time stay together, and rows without a time are trained on. Raises UserError if a part would be too
    small.
    """
    from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit

    places = np.repeat(np.arange(len(copies)), copies)
    if values is not None:
        values = values.iloc[places]
    if way == TIME:
        later = values > values.quantile(1 - test_size, interpolation="lower")
        train, test = np.flatnonzero(~later), np.flatnonzero(later)
    else:
        splitter = (GroupShuffleSplit if way == GROUP else ShuffleSplit)(1, test_size=test_size, random_state=seed)
        groups = row_hashes(values.to_frame()) if way == GROUP else None
        try:
            train, test = next(splitter.split(places, groups=groups))
        except ValueError as error:
            raise UserError(f"{len(places):,} rows cannot be split with test_size={test_size}: {error}") from error
    if min(len(train), len(test)) < MINIMUM:
        raise UserError(
            f"too few rows: {len(train):,} to train and {len(test):,} to test, at least {MINIMUM} each;"
            " bring more data or another test_size"
        )
    return places[train], places[test]


def row_hashes(frame: pd.DataFrame) -> pd.Series:
    """A number per row that is the same for the same values: (rows,) of uint64."""
    return pd.util.hash_pandas_object(frame, index=False)


def hash_rows(rows: StoredRows) -> pd.Series:
    """As `row_hashes`, of rows that may be more than fit into memory."""
    return pd.concat(map(row_hashes, rows.chunks()), ignore_index=True)


def max_training_rows(columns: int) -> int:
    """How many rows of so many columns are learned from: more cost time and memory, and teach little."""
    return 50_000_000 // columns


def default_n_folds(rows: int, columns: int) -> int:
    """How many folds tell what a model is worth: of much, a half teaches it nearly what all would, in half the time."""
    return 2 if rows > 10_000 and rows * columns > 5_000_000 else 5


def folds(
    frame: pd.DataFrame, count: int, seed: int, way: str = RANDOM, by: str | None = None
) -> list[tuple[Any, ...]]:
    """Row numbers (train, test) of each of `count` cross-validation folds, which ask what the split asks.

    Equal rows, and equal groups, share a fold. With `time`, each fold tests what follows the time up to which it
    trains: of `count` + 1 equal parts of the rows, the next. Raises UserError if there are too few for so many folds.
    """
    from sklearn.model_selection import GroupKFold

    if way == TIME:
        return time_series_folds(frame[by], count)
    groups = row_hashes(frame[[by]] if way == GROUP else frame)
    if groups.nunique() < count:
        named = by if way == GROUP else "rows"
        raise UserError(f"too few distinct {named} for {count}-fold cross-validation: {groups.nunique()}; lower cv")
    return list(GroupKFold(count, shuffle=True, random_state=seed).split(frame, groups=groups))


def time_series_folds(times: pd.Series, count: int) -> list[tuple[Any, ...]]:
    """Folds that train up to a time and test what follows it until the next; rows of one time stay together."""
    cuts = times.quantile(np.arange(1, count + 2) / (count + 1), interpolation="lower").to_numpy()
    pairs = [
        (np.flatnonzero(times <= cut), np.flatnonzero((times > cut) & (times <= until)))
        for cut, until in pairwise(cuts)
    ]
    if min(len(rows) for pair in pairs for rows in pair) == 0:
        raise UserError(
            f"too few distinct values of {times.name} for {count} folds in time: {times.nunique()}; lower cv"
        )
    return pairs
