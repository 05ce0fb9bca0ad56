"""In memory, what the workflow does with files and pieces of them."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from workflow.data import contract, split, stored, tables


def read_table(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a file or a folder, and its lines that are no rows."""
    with tables.open_table(path) as table:
        return pd.concat(table.chunks()), table.lost


def enforced(
    frame: pd.DataFrame, terms: contract.Contract, lost: pd.DataFrame = tables.NONE_MALFORMED
) -> tuple[pd.DataFrame, contract.Report]:
    """The rows that keep to the contract, typed, and what became of the others."""
    kept: list[pd.DataFrame] = []
    report = contract.enforce([frame], terms, lost, kept.append)
    return kept[0], report


def stored_rows(frame: pd.DataFrame, folder: Path) -> stored.StoredRows:
    """The rows of a frame in a file of a folder."""
    with stored.arrow_appender(folder / "rows.arrow") as keep:
        keep(frame)
    return stored.map_rows(folder / "rows.arrow")


def distinct(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The distinct rows in their own order, and how often each occurs."""
    with tempfile.TemporaryDirectory() as name:
        stored_rows(frame, folder := Path(name))
        rows, copies = stored.deduplicate(folder / "rows.arrow", folder / "distinct.arrow")
        return rows.take(np.arange(len(rows))), copies


def parts(
    frame: pd.DataFrame, test_size: float, seed: int, way: str = split.RANDOM, by: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training part and the test part."""
    places = split.split(np.ones(len(frame), int), test_size, seed, way, frame[by] if by else None)
    train, test = (frame.iloc[part].reset_index(drop=True) for part in places)
    return train, test
