"""Typed rows in a Parquet file: as many as the disk holds, of which few are in memory at a time."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow
from pyarrow import parquet

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHUNK = 100_000  # rows that are held at once, of up to ten columns
MEMORY = 1000  # megabytes for DuckDB, which puts the rest on the disk
PER_COLUMN = 0.4  # megabytes more: it holds some thousand rows of all columns
ATTRIBUTES = "PANDAS_ATTRS"  # where pandas keeps those of a frame in a Parquet file
DISTINCT = "SELECT *, count(*) AS copies FROM read_parquet(?) GROUP BY ALL ORDER BY ALL NULLS LAST"
CHOSEN = "read_parquet(?, file_row_number = true) JOIN places ON file_row_number = place ORDER BY rank"


def held_at_once(columns: int) -> int:
    """How many rows of so many columns: the values of `CHUNK` rows of ten, but not too few: a file lists its pieces."""
    return min(CHUNK, max(5_000, 10 * CHUNK // max(1, columns)))


def parquet_file(path: Path) -> parquet.ParquetFile:
    """A Parquet file that is open. What is read ahead would stay in memory, in the end the whole file."""
    return parquet.ParquetFile(path, pre_buffer=False)


@contextmanager
def database(folder: Path, columns: int) -> "Iterator[DuckDBPyConnection]":
    """A DuckDB for tables of so many columns, in little memory and in files of `folder` beyond.

    Raises OSError if the disk is full, MemoryError if the memory is.
    """
    import duckdb

    pyarrow.default_memory_pool().release_unused()  # what Arrow holds in reserve, DuckDB cannot use
    with duckdb.connect() as connection:
        limit = f"{MEMORY + PER_COLUMN * columns:.0f}MB"
        connection.execute(f"SET memory_limit = '{limit}'; SET temp_directory = {quoted(folder)}")
        try:
            yield connection
        except duckdb.IOException as error:
            if (full := os.strerror(errno.ENOSPC)) in str(error):
                raise OSError(errno.ENOSPC, full) from error
            raise
        except duckdb.OutOfMemoryException as error:
            raise MemoryError(str(error).splitlines()[0]) from error


@dataclass(frozen=True)
class Stored:
    """Rows of the columns `names`, which are numbered in the file: DuckDB would take `Price` and `price` for one.

    They are not in the file of a `part`, which people read.
    """

    path: Path
    names: list[str]
    are_numbered: bool = True

    @property
    def columns(self) -> list[str]:
        """What the columns are called in the file."""
        return numbered(self.names) if self.are_numbered else self.names

    @cached_property
    def file(self) -> parquet.ParquetFile:
        """The file, open: to open one of thousands of columns takes a twentieth of a second."""
        return parquet_file(self.path)

    def __len__(self) -> int:
        """How many rows there are."""
        return self.file.metadata.num_rows

    def __getitem__(self, name: str) -> pd.Series:
        """A column: (rows,)."""
        column = self.columns[self.names.index(name)]
        table = self.file.read(columns=[column])
        return table.rename_columns([name]).to_pandas(self_destruct=True)[name]

    def chunks(self) -> Iterator[pd.DataFrame]:
        """All rows, a piece at a time."""
        for batch in self.file.iter_batches(held_at_once(len(self.names)), columns=self.columns):
            yield batch.rename_columns(self.names).to_pandas()

    def at(self, places: np.ndarray) -> pd.DataFrame:
        """The rows at some places, in the order of these: (places, columns)."""
        order = np.argsort(places, kind="stable")
        ordered, first = places[order], 0
        found = [self.file.schema_arrow.empty_table().select(self.columns)]
        for number in range(self.file.num_row_groups):
            last = first + self.file.metadata.row_group(number).num_rows
            here = ordered[np.searchsorted(ordered, first) : np.searchsorted(ordered, last)] - first
            if len(here):
                found.append(self.file.read_row_group(number, self.columns).take(here))
            first = last
        table = pyarrow.concat_tables(found).rename_columns(self.names)
        if (order[1:] < order[:-1]).any():
            table = table.take(np.argsort(order))
        return table.to_pandas(self_destruct=True)

    def beginning(self, rows: int) -> pd.DataFrame:
        """The first rows, up to so many: (rows, columns)."""
        return self.at(np.arange(min(rows, len(self))))

    def write(self, places: np.ndarray, path: Path, attributes: dict[str, Any]) -> None:
        """Write the rows at some places to a Parquet file, in which pandas finds their names, and `attributes`."""
        with self.chosen(places) as batches:
            empty = batches.schema.empty_table().rename_columns(self.names).to_pandas()
            schema = pyarrow.Schema.from_pandas(empty, preserve_index=False)
            schema = schema.with_metadata({**(schema.metadata or {}), ATTRIBUTES: json.dumps(attributes)})
            with parquet.ParquetWriter(path, schema) as file:
                for batch in batches:
                    file.write_table(pyarrow.Table.from_batches([batch]).rename_columns(self.names).cast(schema))

    @contextmanager
    def chosen(self, places: np.ndarray) -> Iterator[pyarrow.RecordBatchReader]:
        """The rows at some places, in the order of these, a piece at a time."""
        columns = ", ".join(f'"{place}"' for place in self.columns)
        ranked = pyarrow.table({"place": places, "rank": np.arange(len(places))})
        with database(self.path.parent, len(self.names)) as connection:
            connection.register("places", ranked)
            found = connection.sql(f"SELECT {columns} FROM {CHOSEN}", params=[str(self.path)])
            yield found.to_arrow_reader(held_at_once(len(self.names)))


def part(path: Path) -> Stored:
    """The rows of a file that `Stored.write` has written."""
    return Stored(path, parquet_file(path).schema_arrow.names, are_numbered=False)


@contextmanager
def storing(path: Path, names: list[str]) -> Iterator[Callable[[pd.DataFrame], None]]:
    """What appends rows of the columns `names` to a new Parquet file, which is then that of a `Stored`."""
    file = None

    def keep(rows: pd.DataFrame) -> None:
        nonlocal file
        table = pyarrow.Table.from_pandas(rows[names], preserve_index=False).rename_columns(numbered(names))
        file = file or parquet.ParquetWriter(path, table.schema.remove_metadata())
        file.write_table(table.cast(file.schema))

    try:
        yield keep
    finally:
        if file:
            file.close()


def distinct(rows: Stored, path: Path) -> tuple[Stored, np.ndarray]:
    """The distinct rows in the order of their values, missing ones last; and how often each occurs: (rows,) of int."""
    with database(path.parent, len(rows.names)) as connection:
        connection.execute(f"COPY ({DISTINCT}) TO {parquet_at(path, len(rows.names))}", [str(rows.path)])
    copies = parquet.read_table(path, columns=["copies"])["copies"].to_numpy()
    return Stored(path, rows.names), copies


def parquet_at(path: Path, columns: int) -> str:
    """A Parquet file for DuckDB to write, in pieces that are as large as those that are read."""
    return f"{quoted(path)} (FORMAT parquet, ROW_GROUP_SIZE {held_at_once(columns)})"


def quoted(path: Path) -> str:
    """A path as SQL has it, where no parameter can stand."""
    return "'" + str(path).replace("'", "''") + "'"


def numbered(names: list[str]) -> list[str]:
    """What so many columns are called in a file."""
    return [str(place) for place in range(len(names))]
