"""Tables in files: CSV of any dialect, encoding or compression, Parquet, Excel, or a folder of such files."""

import json
import mmap
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import ParseError

import numpy as np
import pandas as pd
import pyarrow

from workflow.data.sampling import evenly_spaced_positions, slice_positions
from workflow.data.stored import ATTRIBUTES, arrow_batches, arrow_file, chunk_rows, database, parquet_file, take_sorted
from workflow.data.texts import as_utf8, first_line
from workflow.errors import UserError

REJECTION_COLUMNS = ["row", "column", "value", "reason"]
NONE_MALFORMED = pd.DataFrame(columns=REJECTION_COLUMNS)
NULLABLE = {pyarrow.bool_(): pd.BooleanDtype(), pyarrow.int64(): pd.Int64Dtype()}  # one type, missing values or not
MAX_COLUMNS = 10_000
START_BYTES = 64  # of a file, which show its format
MAX_HEADER_BYTES = 2**24
MAX_VALUE_LENGTH = 200  # of a malformed line in a report
LISTED_COLUMNS = 5  # in a message
PARQUET_START = b"PAR1"
WORKBOOK_ENTRY = "[Content_Types].xml"  # in every Excel workbook, which is a zip archive
Positions = np.ndarray | None  # sorted positions of some rows of a table; None for all rows
HIVE_MISSING = "__HIVE_DEFAULT_PARTITION__"
READ_CSV = "FROM read_csv(?, all_varchar = true, header = true, store_rejects = true)"
MALFORMED_LINES = (
    "SELECT line, coalesce(column_name, '') AS column_name, csv_line, error_type FROM reject_errors ORDER BY line"
)
MALFORMED_REASONS = {
    "MISSING COLUMNS": "has too few fields",
    "TOO MANY COLUMNS": "has too many fields",
    "UNQUOTED VALUE": "has a misplaced quote",
    "LINE SIZE OVER MAXIMUM": "is longer than 2 MB",
    "INVALID ENCODING": "has bytes that are not valid text",
}


@dataclass(frozen=True)
class Table:
    """A table in open files.

    Attributes:
        columns: names of the columns.
        rows: number of rows, malformed lines not included.
        malformed: the malformed lines, with the columns of `REJECTION_COLUMNS`; `row` is the number of the line.
        read: reads the rows at some positions, in chunks. Columns are text if the file is CSV, with empty fields
            missing, and typed if it is Parquet or a workbook. The index is the position in the file, or in all files
            of a folder as if they were one.
    """

    columns: list[str]
    rows: int
    malformed: pd.DataFrame
    read: Callable[[Positions], Iterator[pd.DataFrame]]

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Return all rows, in chunks."""
        return self.read(None)

    def sample(self, max_rows: int) -> pd.DataFrame:
        """Return up to `max_rows` rows, evenly spaced."""
        return pd.concat(self.read(evenly_spaced_positions(self.rows, max_rows)))


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """Open the table in a file, or in all files of a folder in the order of their names.

    Folders called `name=value` become a column; files whose names begin with `.` or `_` are skipped. Raises UserError
    if there is no table.
    """
    files = files_in(path) if path.is_dir() else [Path()]
    with ExitStack() as stack:
        tables = [stack.enter_context(open_table_file(path / file)) for file in files]
        partitions = [partition(file) for file in files]
        columns = [[*table.columns, *values] for table, values in zip(tables, partitions, strict=True)]
        for file, names in zip(files, columns, strict=True):
            if names != columns[0]:
                raise UserError(f"data {path / file}: its columns differ from those of {files[0]} in the same folder")
        table = concat_tables(tables, partitions)
        if not table.rows:
            raise UserError(f"data {path}: no rows")
        yield table


def concat_tables(tables: list[Table], partitions: list[dict[str, str | None]]) -> Table:
    """Concatenate tables of the same columns, and add the columns of their partitions.

    Line numbers go on from table to table, as if all were one file.
    """
    lines = [table.rows + table.malformed["row"].nunique() for table in tables]
    lines_before = np.cumsum([0, *lines[:-1]])
    rows_before = np.cumsum([0, *(table.rows for table in tables)])

    def read(positions: Positions) -> Iterator[pd.DataFrame]:
        for table, values, line, start in zip(tables, partitions, lines_before, rows_before[:-1], strict=True):
            for rows in table.read(None if positions is None else slice_positions(positions, start, table.rows)):
                rows.index += line
                yield rows.assign(**{name: pd.Series(value, rows.index, "str") for name, value in values.items()})

    malformed = [
        table.malformed.assign(row=table.malformed["row"] + line)
        for table, line in zip(tables, lines_before, strict=True)
    ]
    names = [*tables[0].columns, *partitions[0]]
    return Table(names, rows_before[-1], pd.concat(malformed, ignore_index=True), read)


def files_in(folder: Path) -> list[Path]:
    """Return the files of a table in a folder, relative to it and sorted by name; UserError if there are none."""
    inside = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    files = [file for file in inside if not any(part.startswith((".", "_")) for part in file.parts)]
    if not files:
        raise UserError(f"data {folder}: an empty folder")
    return files


def partition(file: Path) -> dict[str, str | None]:
    """Return the columns in the folder names of a file, in the style of Hive: `year=2024/part-0.parquet`."""
    pairs = [part.split("=", 1) for part in file.parent.parts if "=" in part]
    return {unquote(name): None if value == HIVE_MISSING else unquote(value) for name, value in pairs}


@contextmanager
def open_table_file(path: Path) -> Iterator[Table]:
    """Open the table in one file, as `open_table` does."""
    start = file_start(path)
    if start.startswith(PARQUET_START):
        yield parquet_table(path)
    elif is_workbook(path, start):
        yield workbook_table(path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            with as_utf8(path, start) as file:
                table = csv_table(file, path, Path(folder))
            yield table


def file_start(path: Path) -> bytes:
    """Return the first bytes of a file, which show its format; UserError if it is empty."""
    with open(path, "rb") as file:
        start = file.read(START_BYTES)
    if not start:
        raise UserError(f"data {path}: an empty file")
    return start


def is_workbook(path: Path, start: bytes) -> bool:
    """Return whether a file that begins with `start` is an Excel workbook."""
    return start.startswith(b"PK") and zipfile.is_zipfile(path) and WORKBOOK_ENTRY in zipfile.ZipFile(path).namelist()


def parquet_table(path: Path) -> Table:
    """Open the table in a Parquet file."""
    try:
        file = parquet_file(path)
        names = list(file.schema_arrow.empty_table().to_pandas().columns)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise invalid_parquet(path, error) from error
    attributes = json.loads((file.schema_arrow.metadata or {}).get(ATTRIBUTES.encode(), "{}"))
    index = pd.RangeIndex(file.metadata.num_rows)

    def read(positions: Positions) -> Iterator[pd.DataFrame]:
        try:
            for batch, batch_index in take_with_index(file.iter_batches(chunk_rows(len(names))), index, positions):
                rows = batch.to_pandas(types_mapper=NULLABLE.get)
                rows.index = batch_index
                rows.attrs |= attributes
                yield rows
        except (OSError, ValueError) as error:
            raise invalid_parquet(path, error) from error

    return Table(names, len(index), NONE_MALFORMED, read)


def take_with_index(
    batches: Iterable[pyarrow.RecordBatch], index: pd.Index, positions: Positions
) -> Iterator[tuple[pyarrow.RecordBatch, pd.Index]]:
    """Yield the rows of the batches at `positions`, each batch with its part of the `index` of all rows."""
    if positions is not None:
        batches, index = take_sorted(batches, positions), index[positions]
    start = 0
    for batch in batches:
        yield batch, index[start : start + batch.num_rows]
        start += batch.num_rows


def invalid_parquet(path: Path, error: Exception) -> UserError:
    """Return the error for a Parquet file that cannot be read."""
    return UserError(f"data {path}: not a valid Parquet file ({first_line(error)})")


def workbook_table(path: Path) -> Table:
    """Read the table on the only sheet of an Excel workbook that has rows."""
    try:
        sheets = pd.read_excel(path, sheet_name=None, engine="openpyxl")
    except ImportError as error:
        raise UserError(
            f"data {path}: an Excel workbook, which requires openpyxl: pip install openpyxl, or save it as CSV"
        ) from error
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, ParseError) as error:
        raise UserError(f"data {path}: not a valid Excel workbook ({first_line(error)})") from error
    filled = {name: sheet for name, sheet in sheets.items() if len(sheet)}
    if len(filled) != 1:
        raise UserError(
            f"data {path}: a workbook with {len(filled)} sheets that have rows; expected one; save the right one as CSV"
        )
    (frame,) = filled.values()
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1).set_axis(pd.RangeIndex(2, len(frame) + 2))

    def read(positions: Positions) -> Iterator[pd.DataFrame]:
        yield frame.iloc[slice(None) if positions is None else positions]

    return Table(list(frame.columns), len(frame), NONE_MALFORMED, read)


def csv_table(path: Path, source: Path, folder: Path) -> Table:
    """Open the table in a UTF-8 text file; DuckDB detects its delimiter and quotes.

    DuckDB knows only in the end which lines are malformed, so the rows are read from a copy. The row numbers are those
    of the lines if no field spans several lines.

    Args:
        path: the text file.
        source: the file that the user has named, for messages.
        folder: a temporary folder for the copy.
    """
    copy = folder / "rows.arrow"
    names, rows, malformed = copy_csv(path, source, copy)
    check_header_names(names, source)
    if not rows:
        raise only_a_header(names, malformed, source)
    index = row_numbers(rows, malformed)

    def read(positions: Positions) -> Iterator[pd.DataFrame]:
        with arrow_batches(copy) as batches:
            for batch, batch_index in take_with_index(batches, index, positions):
                yield csv_frame(batch).set_axis(batch_index)

    return Table(unique_names([name.strip() for name in names]), rows, rejections(malformed), read)


def copy_csv(path: Path, source: Path, copy: Path) -> tuple[list[str], int, pd.DataFrame]:
    """Copy the rows of a UTF-8 text file to an Arrow file.

    Returns the names of the columns, the number of rows, and the malformed lines in the words of DuckDB. Raises
    UserError if the file is not a table.
    """
    import duckdb

    fields = count_header_fields(path, source)
    batch_rows, rows = chunk_rows(fields), 0
    try:
        with database(copy.parent, fields) as connection:
            reader = connection.sql(f"SELECT * {READ_CSV}", params=[str(path)]).to_arrow_reader(batch_rows)
            with arrow_file(copy, reader.schema) as file:
                for batch in coalesce_batches(reader, batch_rows):
                    file.write_batch(batch)
                    rows += batch.num_rows
            return reader.schema.names, rows, connection.sql(MALFORMED_LINES).df()
    except (duckdb.Error, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # from the system, such as a full disk, not from the file
            raise
        raise UserError(f"data {source}: not a table: {csv_error_reason(path, error)}") from error


def coalesce_batches(batches: Iterable[pyarrow.RecordBatch], max_rows: int) -> Iterator[pyarrow.RecordBatch]:
    """Merge batches into larger ones of up to `max_rows` rows: DuckDB reads wide files in batches of a hundred rows."""
    waiting: list[pyarrow.RecordBatch] = []
    for batch in batches:
        if waiting and sum(map(len, waiting)) + len(batch) > max_rows:
            yield pyarrow.concat_batches(waiting)
            waiting = []
        waiting.append(batch)
    if waiting:
        yield pyarrow.concat_batches(waiting)


def count_header_fields(path: Path, source: Path) -> int:
    """Return the maximum number of fields in the first line of a text file; UserError if there are too many."""
    with open(path, "rb") as file:
        header = file.readline(MAX_HEADER_BYTES)
    count = max(header.count(delimiter) for delimiter in (b",", b";", b"\t", b"|")) + 1
    if count > MAX_COLUMNS:
        raise UserError(f"data {source}: its first line has {count:,} fields; at most {MAX_COLUMNS:,} are supported")
    return count


def check_header_names(names: list[str], source: Path) -> None:
    """Raise UserError if all column names are numbers, so that the file seems to have no header."""
    if all(name.replace(".", "", 1).lstrip("-").isdecimal() for name in names):
        first = ", ".join(names[:LISTED_COLUMNS])
        raise UserError(f"data {source}: no header: its first line is {first}; add a line of column names")


def only_a_header(names: list[str], malformed: pd.DataFrame, source: Path) -> UserError:
    """Return the error for a file that has a header and no valid row."""
    why = f": line {malformed['line'][0]} {malformed_reason(malformed['error_type'][0])}" if len(malformed) else ""
    return UserError(f"data {source}: no rows after the header {', '.join(names[:LISTED_COLUMNS])}{why}")


def csv_frame(batch: pyarrow.RecordBatch) -> pd.DataFrame:
    """Return rows that DuckDB has read, with trimmed texts and unique column names."""
    names = unique_names([name.strip() for name in batch.schema.names])
    return pyarrow.table([trim(column) for column in batch.columns], names).to_pandas()


def row_numbers(rows: int, malformed: pd.DataFrame) -> pd.Index:
    """Return the line numbers of so many rows, which skip the header and the malformed lines."""
    return pd.RangeIndex(2, rows + malformed["line"].nunique() + 2).difference(malformed["line"])[:rows]


def rejections(malformed: pd.DataFrame) -> pd.DataFrame:
    """Return the malformed lines that DuckDB reports, with the columns of `REJECTION_COLUMNS`."""
    return pd.DataFrame(
        {
            "row": malformed["line"].astype(int),
            "column": malformed["column_name"],
            "value": malformed["csv_line"].str.slice(0, MAX_VALUE_LENGTH),
            "reason": malformed["error_type"].map(malformed_reason),
        }
    )


def trim(column: pyarrow.Array) -> pyarrow.Array:
    """Strip the texts of a column; blank ones become missing."""
    from pyarrow import compute

    texts = compute.utf8_trim_whitespace(column)
    return compute.if_else(compute.equal(texts, ""), None, texts)


def csv_error_reason(path: Path, error: Exception) -> str:
    """Return why DuckDB cannot read a text file: a stray carriage return, which DuckDB does not name, or its error."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if b"\n" in content and (stray := re.search(rb"\r(?!\n)", content)):
            line = content[: stray.start()].count(b"\n") + 1
            return f"line {line} has a carriage return in it; remove it, or quote the field"
    return first_line(error)


def malformed_reason(error_type: str) -> str:
    """Return why a line is malformed, in words."""
    return MALFORMED_REASONS.get(error_type, error_type.lower())


def unique_names(names: list[str]) -> list[str]:
    """Return the names, with a number after each repetition."""
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        unique.append(name if counts[name] == 1 else f"{name}_{counts[name]}")
    return unique
