"""Run in memory what the workflow does with files and chunks of them."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from workflow.data import files, split, stored, tables
from workflow.data.contract import Contract, ValidationReport, enforce


def read_table(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of a file or a folder, and its malformed lines."""
    with files.open_table(path) as table:
        return pd.concat(table.chunks()), table.malformed


def enforced(
    frame: pd.DataFrame, contract: Contract, malformed: pd.DataFrame = tables.NONE_MALFORMED
) -> tuple[pd.DataFrame, ValidationReport]:
    """Return the valid rows, typed, and the report on all rows."""
    kept: list[pd.DataFrame] = []
    report = enforce([frame], contract, malformed, kept.append)
    return kept[0], report


def stored_rows(frame: pd.DataFrame, folder: Path) -> stored.MappedRows:
    """Store the rows of a frame in a folder."""
    with stored.arrow_appender(folder / "rows.arrow") as append:
        append(frame)
    return stored.map_rows(folder / "rows.arrow")


def distinct(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the distinct rows in canonical order, and how often each occurs."""
    with tempfile.TemporaryDirectory() as name:
        stored_rows(frame, folder := Path(name))
        rows, duplicate_counts = stored.deduplicate(folder / "rows.arrow", folder / "distinct.arrow")
        return rows.take(np.arange(len(rows))), duplicate_counts


def split_frame(
    frame: pd.DataFrame,
    test_size: float,
    seed: int,
    strategy: str = split.RANDOM,
    column: str | None = None,
    gap: float = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the training set and the test set."""
    counts, values = np.ones(len(frame), int), frame[column] if column else None
    train, test = split.split(counts, test_size, seed, strategy, values, gap)
    return frame.iloc[train].reset_index(drop=True), frame.iloc[test].reset_index(drop=True)
