"""Rows in a file: as many as the disk holds, of which few are in memory at a time."""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow
from pyarrow import parquet

from workflow.data.sampling import slice_positions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHUNK = 100_000  # rows that are held at once, of up to ten columns
MEMORY = 1000  # megabytes for DuckDB, which puts the rest on the disk
PER_COLUMN = 0.4  # megabytes more: it holds some thousand rows of all columns
ATTRIBUTES = "PANDAS_ATTRS"  # where pandas keeps those of a frame in a Parquet file
DISTINCT = "SELECT *, count(*) FROM rows GROUP BY ALL ORDER BY ALL NULLS LAST"
CHOSEN = "SELECT rows.* EXCLUDE place FROM rows JOIN ranks USING (place) ORDER BY rank"


def chunk_rows(columns: int) -> int:
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
        connection.execute(f"SET memory_limit = '{limit}'")
        connection.execute("SET temp_directory = ?", [str(folder)])
        try:
            yield connection
        except (duckdb.Error, OSError) as error:  # an OSError if it has come through a stream of Arrow's
            if (full := os.strerror(errno.ENOSPC)) in str(error):
                raise OSError(errno.ENOSPC, full) from error
            if "Out of Memory" in str(error):
                raise MemoryError(str(error).splitlines()[0]) from error
            raise


@dataclass(frozen=True)
class StoredRows:
    """Rows in a file: their `schema`, their number, and what reads some columns of all of them, a piece at a time."""

    schema: pyarrow.Schema
    rows: int
    read: Callable[[list[str]], Iterable[pyarrow.RecordBatch]]

    @property
    def names(self) -> list[str]:
        """What the columns are called."""
        return self.schema.names

    def select(self, names: list[str]) -> "StoredRows":
        """Some columns of the same rows."""
        return replace(self, schema=pyarrow.schema([self.schema.field(name) for name in names]))

    def __len__(self) -> int:
        """How many rows there are."""
        return self.rows

    def __getitem__(self, name: str) -> pd.Series:
        """A column: (rows,)."""
        column = pyarrow.Table.from_batches(self.read([name]), self.select([name]).schema)
        return column.to_pandas(self_destruct=True)[name]

    def chunks(self) -> Iterator[pd.DataFrame]:
        """All rows, a piece at a time."""
        for batch in self.read(self.names):
            yield batch.to_pandas()

    def take(self, places: np.ndarray) -> pd.DataFrame:
        """The rows at some places, in the order of these: (places, columns)."""
        order = np.argsort(places, kind="stable")
        table = pyarrow.Table.from_batches(take_sorted(self.read(self.names), places[order]), self.schema)
        if (order[1:] < order[:-1]).any():
            table = table.take(np.argsort(order))
        return table.to_pandas(self_destruct=True)

    def head(self, rows: int) -> pd.DataFrame:
        """The first rows, up to so many: (rows, columns)."""
        return self.take(np.arange(min(rows, len(self))))


def take_sorted(batches: Iterable[pyarrow.RecordBatch], places: np.ndarray) -> Iterator[pyarrow.RecordBatch]:
    """What is at some ascending places of the batches, of which none is read after the last place."""
    first, last = 0, places.max(initial=-1)
    for batch in batches:
        yield batch.take(slice_positions(places, first, batch.num_rows))
        first += batch.num_rows
        if first > last:
            return


@dataclass(frozen=True)
class MappedRows(StoredRows):
    """Rows of a file that is mapped into memory as a `table`: the system holds what there is room for."""

    table: pyarrow.Table

    def write(self, places: np.ndarray, path: Path, attributes: dict[str, Any]) -> None:
        """Write the rows at some places, in the order of these, to a Parquet file, which gives pandas `attributes`."""
        schema = pyarrow.Schema.from_pandas(self.schema.empty_table().to_pandas(), preserve_index=False)
        schema = schema.with_metadata({**(schema.metadata or {}), ATTRIBUTES: json.dumps(attributes)})
        rows = self.table.rename_columns(numbers(self.schema)).append_column("place", [np.arange(len(self))])
        ranks = pyarrow.table({"place": places, "rank": np.arange(len(places))})
        with TemporaryDirectory() as folder, database(Path(folder), len(self.names)) as connection:
            connection.register("rows", rows)
            connection.register("ranks", ranks)
            found = connection.sql(CHOSEN).to_arrow_reader(chunk_rows(len(self.names)))
            with parquet.ParquetWriter(path, schema) as file:
                for batch in found:
                    file.write_table(pyarrow.Table.from_batches([batch]).rename_columns(self.names).cast(schema))


def open_rows(path: Path) -> StoredRows:
    """The rows of a file that `MappedRows.write` has written."""
    file = parquet_file(path)  # once: to open one of thousands of columns takes a twentieth of a second
    schema = file.schema_arrow
    pieces = chunk_rows(len(schema))
    return StoredRows(schema, file.metadata.num_rows, lambda names: file.iter_batches(pieces, columns=names))


@contextmanager
def arrow_file(path: Path, schema: pyarrow.Schema) -> Iterator[pyarrow.RecordBatchStreamWriter]:
    """A new file of Arrow batches: in a quarter of Parquet's time, but larger, for what is read soon and then gone."""
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, schema) as batches:
        yield batches


@contextmanager
def arrow_batches(path: Path) -> Iterator[pyarrow.RecordBatchReader]:
    """The batches of such a file, of which one is in memory."""
    with pyarrow.OSFile(str(path)) as file, pyarrow.ipc.open_stream(file) as batches:
        yield batches


def map_rows(path: Path) -> MappedRows:
    """The rows of such a file, any of which is at hand."""
    table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(path))).read_all()
    pieces = chunk_rows(len(table.schema))
    return MappedRows(table.schema, len(table), lambda names: table.select(names).to_batches(pieces), table)


@contextmanager
def arrow_appender(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """What appends rows to a new file of Arrow batches, with the types of the first ones."""
    with ExitStack() as stack:
        file = schema = None

        def keep(rows: pd.DataFrame) -> None:
            nonlocal file, schema
            table = pyarrow.Table.from_pandas(rows, preserve_index=False)
            schema = schema or table.schema.remove_metadata()
            file = file or stack.enter_context(arrow_file(path, schema))
            file.write_table(table.select(schema.names).cast(schema))

        yield keep


def deduplicate(typed: Path, path: Path) -> tuple[MappedRows, np.ndarray]:
    """The distinct ones of rows that `arrow_appender` has kept, in a new file; and how often each occurs: (rows,) of int.

    They are in the order of their values, missing ones last.
    """
    copies = [np.empty(0, int)]
    with arrow_batches(typed) as rows, database(path.parent, len(rows.schema)) as connection:
        schema = rows.schema
        numbered = pyarrow.schema(zip(numbers(schema), schema.types, strict=True))
        renamed = (pyarrow.RecordBatch.from_arrays(batch.columns, schema=numbered) for batch in rows)
        connection.register("rows", pyarrow.RecordBatchReader.from_batches(numbered, renamed))
        found = connection.sql(DISTINCT).to_arrow_reader(chunk_rows(len(schema)))
        with arrow_file(path, schema) as file:
            for batch in found:
                *columns, counts = batch.columns
                file.write_table(pyarrow.table(columns, schema.names).cast(schema))
                copies.append(counts.to_numpy().copy())  # a view would hold the whole batch
    return map_rows(path), np.concatenate(copies)


def numbers(schema: pyarrow.Schema) -> list[str]:
    """What the columns are called in DuckDB, which would take `Price` and `price` for one."""
    return [str(number) for number in range(len(schema))]
