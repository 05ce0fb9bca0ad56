"""Two parts of the data, so that no row of the test part was seen in training."""

import pandas as pd
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, ShuffleSplit

from errors import UserError

MINIMUM = 10  # rows in each part: below that a score says nothing
FOLDS = 5


def split(
    frame: pd.DataFrame, test_size: float, seed: int, group: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training part and the test part of `frame`.

    Args:
        frame: (rows, columns) in an order that does not depend on the file's.
        test_size: share of the rows (or of the groups) in the test part, between 0 and 1.
        seed: which of the possible splits.
        group: a column whose values are kept together in one part.

    Raises UserError if a part would be too small.
    """
    splitter = (GroupShuffleSplit if group else ShuffleSplit)(1, test_size=test_size, random_state=seed)
    groups = frame[group].fillna("") if group else None
    try:
        train, test = next(splitter.split(frame, groups=groups))
    except ValueError as error:
        raise UserError(f"{len(frame):,} rows cannot be split with test_size={test_size}: {error}") from error
    if min(len(train), len(test)) < MINIMUM:
        raise UserError(
            f"too few rows: {len(train):,} to train and {len(test):,} to test, at least {MINIMUM} each;"
            " bring more data or another test_size"
        )
    return frame.iloc[train].reset_index(drop=True), frame.iloc[test].reset_index(drop=True)


def seen(train: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """For each row of `test`, whether the very same row is in `train`: (rows of test,) of bool."""
    return pd.Series(row_ids(test).isin(row_ids(train)).to_numpy(), index=test.index)


def row_ids(frame: pd.DataFrame) -> pd.Series:
    """A number per row that is the same for the same values: (rows,) of uint64."""
    return pd.util.hash_pandas_object(frame, index=False)


def folds(frame: pd.DataFrame, seed: int, group: str | None = None) -> list[tuple]:
    """Row numbers (train, test) of each cross-validation fold; equal rows, and equal groups, share a fold."""
    groups = row_ids(frame[[group]] if group else frame)
    if groups.nunique() < FOLDS:
        raise UserError(f"too few distinct {group or 'rows'} for {FOLDS}-fold cross-validation: {groups.nunique()}")
    return list(GroupKFold(FOLDS, shuffle=True, random_state=seed).split(frame, groups=groups))
