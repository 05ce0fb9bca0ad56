"""Rows in files, read in batches, so that a table may be larger than the memory."""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
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

CHUNK_ROWS = 100_000  # rows in memory at once, of up to ten columns
MIN_CHUNK_ROWS = 5_000  # a file lists its batches: many small ones would make it slow to open
MEMORY_LIMIT_MB = 1000  # for DuckDB, which spills the rest to disk
MEMORY_PER_COLUMN_MB = 0.4  # on top: DuckDB holds some thousand rows of all columns
ATTRIBUTES = "PANDAS_ATTRS"  # key of a Parquet file's metadata where pandas keeps the attributes of a frame
DISTINCT_ROWS = "SELECT *, count(*) FROM rows GROUP BY ALL ORDER BY ALL NULLS LAST"
ROWS_BY_RANK = "SELECT rows.* EXCLUDE row_index FROM rows JOIN ranks USING (row_index) ORDER BY rank"


def chunk_rows(columns: int) -> int:
    """Return the number of rows of a chunk: fewer of more than ten columns, but at least `MIN_CHUNK_ROWS`."""
    return min(CHUNK_ROWS, max(MIN_CHUNK_ROWS, 10 * CHUNK_ROWS // max(1, columns)))


def parquet_file(path: Path, metadata: parquet.FileMetaData | None = None) -> parquet.ParquetFile:
    """Open a Parquet file without read-ahead, which would end up holding the whole file in memory."""
    return parquet.ParquetFile(path, metadata=metadata, pre_buffer=False)


@contextmanager
def database(folder: Path, columns: int) -> "Iterator[DuckDBPyConnection]":
    """Open an in-memory DuckDB for tables of so many columns, with a memory limit; it spills to `folder`.

    Raises:
        OSError: if the disk is full.
        MemoryError: if the memory limit is reached.
    """
    import duckdb

    pyarrow.default_memory_pool().release_unused()  # DuckDB cannot use what Arrow keeps in reserve
    with duckdb.connect() as connection:
        limit = f"{MEMORY_LIMIT_MB + MEMORY_PER_COLUMN_MB * columns:.0f}MB"
        connection.execute(f"SET memory_limit = '{limit}'")
        connection.execute("SET temp_directory = ?", [str(folder)])
        try:
            yield connection
        except (duckdb.Error, OSError) as error:  # OSError: an error of DuckDB that passed through an Arrow stream
            if (disk_full := os.strerror(errno.ENOSPC)) in str(error):
                raise OSError(errno.ENOSPC, disk_full) from error
            if "Out of Memory" in str(error):
                raise MemoryError(str(error).splitlines()[0]) from error
            raise


@dataclass(frozen=True)
class StoredRows:
    """Rows in a file.

    Attributes:
        schema: names and types of the columns.
        rows: number of rows.
        read: reads some columns of all rows, in batches.
    """

    schema: pyarrow.Schema
    rows: int
    read: Callable[[list[str]], Iterable[pyarrow.RecordBatch]]

    @property
    def names(self) -> list[str]:
        """Return the names of the columns."""
        return self.schema.names

    def select(self, names: list[str]) -> "StoredRows":
        """Return the same rows with some of the columns."""
        return replace(self, schema=pyarrow.schema([self.schema.field(name) for name in names]))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.rows

    def __getitem__(self, name: str) -> pd.Series:
        """Return a column: (rows,)."""
        column = pyarrow.Table.from_batches(self.read([name]), self.select([name]).schema)
        return column.to_pandas(self_destruct=True)[name]

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Yield all rows, in chunks."""
        for batch in self.read(self.names):
            yield batch.to_pandas()

    def take(self, positions: np.ndarray) -> pd.DataFrame:
        """Return the rows at `positions`, in their order: (positions, columns)."""
        order = np.argsort(positions, kind="stable")
        table = pyarrow.Table.from_batches(take_sorted(self.read(self.names), positions[order]), self.schema)
        if (order[1:] < order[:-1]).any():
            table = table.take(np.argsort(order))
        return table.to_pandas(self_destruct=True)

    def head(self, rows: int) -> pd.DataFrame:
        """Return up to `rows` first rows: (rows, columns)."""
        return self.take(np.arange(min(rows, len(self))))


def take_sorted(batches: Iterable[pyarrow.RecordBatch], positions: np.ndarray) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of the batches at sorted `positions`; stop reading after the last."""
    start, last = 0, positions.max(initial=-1)
    for batch in batches:
        yield batch.take(slice_positions(positions, start, batch.num_rows))
        start += batch.num_rows
        if start > last:
            return


@dataclass(frozen=True)
class MappedRows(StoredRows):
    """Rows of an Arrow file that is mapped into memory as a `table`: the system keeps what fits."""

    table: pyarrow.Table

    def write(self, positions: np.ndarray, path: Path, attributes: dict[str, Any]) -> None:
        """Write the rows at `positions`, in their order, to a Parquet file; pandas reads the `attributes` with it."""
        schema = pyarrow.Schema.from_pandas(self.schema.empty_table().to_pandas(), preserve_index=False)
        schema = schema.with_metadata({**(schema.metadata or {}), ATTRIBUTES: json.dumps(attributes)})
        rows = self.table.rename_columns(column_numbers(self.schema)).append_column("row_index", [np.arange(len(self))])
        ranks = pyarrow.table({"row_index": positions, "rank": np.arange(len(positions))})
        with TemporaryDirectory() as folder, database(Path(folder), len(self.names)) as connection:
            connection.register("rows", rows)
            connection.register("ranks", ranks)
            batches = connection.sql(ROWS_BY_RANK).to_arrow_reader(chunk_rows(len(self.names)))
            with parquet.ParquetWriter(path, schema) as file:
                for batch in batches:
                    file.write_table(pyarrow.Table.from_batches([batch]).rename_columns(self.names).cast(schema))


def open_rows(path: Path) -> StoredRows:
    """Open the rows of a Parquet file that `MappedRows.write` has written."""
    with parquet_file(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
    batch_rows = chunk_rows(len(schema))

    def read(names: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        with parquet_file(path, metadata) as file:  # reading the metadata of thousands of columns takes 0.05 s
            yield from file.iter_batches(batch_rows, columns=names)

    return StoredRows(schema, metadata.num_rows, read)


@contextmanager
def arrow_file(path: Path, schema: pyarrow.Schema) -> Iterator[pyarrow.RecordBatchStreamWriter]:
    """Open a new Arrow file for writing: larger than Parquet, but four times as fast, so good for temporary files."""
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, schema) as batches:
        yield batches


@contextmanager
def arrow_batches(path: Path) -> Iterator[pyarrow.RecordBatchReader]:
    """Open an Arrow file for reading, one batch in memory at a time."""
    with pyarrow.OSFile(str(path)) as file, pyarrow.ipc.open_stream(file) as batches:
        yield batches


def map_rows(path: Path) -> MappedRows:
    """Map the rows of an Arrow file into memory, for access in any order."""
    table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(path))).read_all()
    batch_rows = chunk_rows(len(table.schema))
    return MappedRows(table.schema, len(table), lambda names: table.select(names).to_batches(batch_rows), table)


@contextmanager
def arrow_appender(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Open a new Arrow file and yield a function that appends rows to it, with the types of the first ones."""
    with ExitStack() as stack:
        file = schema = None

        def append(rows: pd.DataFrame) -> None:
            nonlocal file, schema
            table = pyarrow.Table.from_pandas(rows, preserve_index=False)
            schema = schema or table.schema.remove_metadata()
            file = file or stack.enter_context(arrow_file(path, schema))
            file.write_table(table.select(schema.names).cast(schema))

        yield append


def deduplicate(source: Path, path: Path) -> tuple[MappedRows, np.ndarray]:
    """Write the distinct rows of an Arrow file to a new one, sorted by value, missing values last.

    Args:
        source: a file that `arrow_appender` has written.
        path: the new file.

    Returns:
        The distinct rows, and how often each occurs: (rows,) of int.
    """
    duplicate_counts = [np.empty(0, int)]
    with arrow_batches(source) as rows, database(path.parent, len(rows.schema)) as connection:
        schema = rows.schema
        numbered = pyarrow.schema(zip(column_numbers(schema), schema.types, strict=True))
        renamed = (pyarrow.RecordBatch.from_arrays(batch.columns, schema=numbered) for batch in rows)
        connection.register("rows", pyarrow.RecordBatchReader.from_batches(numbered, renamed))
        distinct = connection.sql(DISTINCT_ROWS).to_arrow_reader(chunk_rows(len(schema)))
        with arrow_file(path, schema) as file:
            for batch in distinct:
                *columns, counts = batch.columns
                file.write_table(pyarrow.table(columns, schema.names).cast(schema))
                duplicate_counts.append(counts.to_numpy().copy())  # a view would keep the whole batch in memory
    return map_rows(path), np.concatenate(duplicate_counts)


def column_numbers(schema: pyarrow.Schema) -> list[str]:
    """Return the numbers that name the columns in DuckDB, which takes `Price` and `price` for the same name."""
    return [str(number) for number in range(len(schema))]
