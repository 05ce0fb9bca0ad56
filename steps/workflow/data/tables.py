"""Tables in files: CSV of any dialect, encoding or compression, Parquet, or a folder of one of them."""

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
NULLABLE = {pyarrow.bool_(): pd.BooleanDtype(), pyarrow.int64(): pd.Int64Dtype()}  # of one type, whatever is missing
MOST_COLUMNS = 10_000
PARQUET = b"PAR1"  # begins such a file
WORKBOOK = "[Content_Types].xml"  # in the zip that it is
Places = np.ndarray | None  # of some rows of a table, in ascending order; None for all
HIVE_MISSING = "__HIVE_DEFAULT_PARTITION__"
READ = "FROM read_csv(?, all_varchar = true, header = true, store_rejects = true)"
LOST = "SELECT line, coalesce(column_name, '') AS column_name, csv_line, error_type FROM reject_errors ORDER BY line"
NO_ROW = {
    "MISSING COLUMNS": "has too few fields",
    "TOO MANY COLUMNS": "has too many fields",
    "UNQUOTED VALUE": "has a quote in the wrong place",
    "LINE SIZE OVER MAXIMUM": "is longer than 2 MB",
    "INVALID ENCODING": "holds bytes that are no text",
}


@dataclass(frozen=True)
class Table:
    """A table in a file that is open: what can `read` its rows at some places, and its `lost` lines that are no rows.

    Columns are text where the file is CSV, with empty fields missing; typed where it is Parquet or a workbook. The
    index of a chunk is its rows' places in the file, or in all files of a folder as if they were one. Lost lines have
    the columns of `REJECTION_COLUMNS`, `row` being the number of the line.
    """

    columns: list[str]
    rows: int
    lost: pd.DataFrame
    read: Callable[[Places], Iterator[pd.DataFrame]]

    def chunks(self) -> Iterator[pd.DataFrame]:
        """All rows, a piece at a time."""
        return self.read(None)

    def sample(self, most: int) -> pd.DataFrame:
        """Up to `most` of the rows, evenly spaced."""
        return pd.concat(self.read(evenly_spaced_positions(self.rows, most)))


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """The table in a file, or in all files of a folder in the order of their names.

    Folders called `name=value` are a column. Files that begin with `.` or `_` are passed over. Raises UserError for
    what is no table.
    """
    files = files_in(path) if path.is_dir() else [Path()]
    with ExitStack() as stack:
        parts = [stack.enter_context(open_table_file(path / file)) for file in files]
        folders = [partition(file) for file in files]
        names = [[*part.columns, *folder] for part, folder in zip(parts, folders, strict=True)]
        for file, there in zip(files, names, strict=True):
            if there != names[0]:
                raise UserError(f"data {path / file}: its columns are not those of {files[0]} in the same folder")
        lines = [part.rows + part.lost["row"].nunique() for part in parts]
        before = np.cumsum([0, *lines[:-1]])
        rows_before = np.cumsum([0, *(part.rows for part in parts)])
        if not rows_before[-1]:
            raise UserError(f"data {path}: no rows")

        def read(some: Places) -> Iterator[pd.DataFrame]:
            for part, folder, line, first in zip(parts, folders, before, rows_before[:-1], strict=True):
                for rows in part.read(None if some is None else slice_positions(some, first, part.rows)):
                    rows.index += line
                    yield rows.assign(**{name: pd.Series(value, rows.index, "str") for name, value in folder.items()})

        lost = [part.lost.assign(row=part.lost["row"] + line) for part, line in zip(parts, before, strict=True)]
        yield Table(names[0], rows_before[-1], pd.concat(lost, ignore_index=True), read)


def files_in(path: Path) -> list[Path]:
    """The files of a table in a folder, relative to it, in the order of their names; UserError if there are none."""
    inside = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    files = [file for file in inside if not any(part.startswith((".", "_")) for part in file.parts)]
    if not files:
        raise UserError(f"data {path}: an empty folder")
    return files


def partition(file: Path) -> dict[str, str | None]:
    """The columns that the folders of a file stand for, as Hive writes them: `year=2024/part-0.parquet`."""
    pairs = [part.split("=", 1) for part in file.parent.parts if "=" in part]
    return {unquote(name): None if value == HIVE_MISSING else unquote(value) for name, value in pairs}


@contextmanager
def open_table_file(path: Path) -> Iterator[Table]:
    """As `opened`, of one file."""
    start = start_of(path)
    if start.startswith(PARQUET):
        yield parquet_table(path)
    elif is_workbook(path, start):
        yield workbook_table(path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            with as_utf8(path, start) as file:
                table = csv_table(file, path, Path(folder))
            yield table


def start_of(path: Path) -> bytes:
    """The first bytes of a file, by which its kind is told; UserError if there are none."""
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        raise UserError(f"data {path}: an empty file")
    return start


def is_workbook(path: Path, start: bytes) -> bool:
    """Whether a file that begins with `start` is an Excel workbook."""
    return start.startswith(b"PK") and zipfile.is_zipfile(path) and WORKBOOK in zipfile.ZipFile(path).namelist()


def parquet_table(path: Path) -> Table:
    """The table in a Parquet file."""
    try:
        file = parquet_file(path)
        names = list(file.schema_arrow.empty_table().to_pandas().columns)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise no_parquet(path, error) from error
    attributes = json.loads((file.schema_arrow.metadata or {}).get(ATTRIBUTES.encode(), "{}"))

    index = pd.RangeIndex(file.metadata.num_rows)

    def read(some: Places) -> Iterator[pd.DataFrame]:
        try:
            for batch, there in chosen(file.iter_batches(chunk_rows(len(names))), index, some):
                rows = batch.to_pandas(types_mapper=NULLABLE.get)
                rows.index = there
                rows.attrs |= attributes
                yield rows
        except (OSError, ValueError) as error:
            raise no_parquet(path, error) from error

    return Table(names, len(index), NONE_MALFORMED, read)


def chosen(
    batches: Iterable[pyarrow.RecordBatch], index: pd.Index, some: Places
) -> Iterator[tuple[pyarrow.RecordBatch, pd.Index]]:
    """What is at some places of the batches, and its part of the `index` of all their rows."""
    if some is not None:
        batches, index = take_sorted(batches, some), index[some]
    first = 0
    for batch in batches:
        yield batch, index[first : first + batch.num_rows]
        first += batch.num_rows


def no_parquet(path: Path, error: Exception) -> UserError:
    """The error of a Parquet file that cannot be read."""
    return UserError(f"data {path}: not a whole Parquet file ({first_line(error)})")


def workbook_table(path: Path) -> Table:
    """The table on the one sheet of an Excel workbook in which there are rows."""
    try:
        sheets = pd.read_excel(path, sheet_name=None, engine="openpyxl")
    except ImportError as error:
        raise UserError(
            f"data {path}: an Excel workbook, which takes openpyxl to read: pip install openpyxl, or save it as CSV"
        ) from error
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, ParseError) as error:
        raise UserError(f"data {path}: not a whole Excel workbook ({first_line(error)})") from error
    filled = {name: sheet for name, sheet in sheets.items() if len(sheet)}
    if len(filled) != 1:
        raise UserError(f"data {path}: a workbook with {len(filled)} sheets that hold rows, not one; save one as CSV")
    (frame,) = filled.values()
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1).set_axis(pd.RangeIndex(2, len(frame) + 2))

    def read(some: Places) -> Iterator[pd.DataFrame]:
        yield frame.iloc[slice(None) if some is None else some]

    return Table(list(frame.columns), len(frame), NONE_MALFORMED, read)


def csv_table(path: Path, name: Path, folder: Path) -> Table:
    """The table in a UTF-8 text file, of which `folder` keeps a copy; delimiter and quotes are found by DuckDB.

    From a copy, because DuckDB finds out at the end which lines are no rows. A row's place is right if no field spans
    several lines.
    """
    import duckdb

    fields = check_header(path, name)
    copy = folder / "rows.arrow"
    try:
        with database(folder, fields) as connection:
            most = chunk_rows(fields)
            found = connection.sql(f"SELECT * {READ}", params=[str(path)]).to_arrow_reader(most)
            names, rows = found.schema.names, 0
            with arrow_file(copy, found.schema) as file:
                for batch in coalesce_batches(found, most):
                    file.write_batch(batch)
                    rows += batch.num_rows
            lost = connection.sql(LOST).df()
    except (duckdb.Error, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the system's, as of a full disk, not the file's
            raise
        raise UserError(f"data {name}: not a table: {reason_no_table(path, error)}") from error
    check_names(names, name)
    if not rows:
        raise no_rows(names, lost, name)
    index = places(rows, lost)

    def read(some: Places) -> Iterator[pd.DataFrame]:
        with arrow_batches(copy) as batches:
            for batch, there in chosen(batches, index, some):
                yield frame_of(batch).set_axis(there)

    return Table(unique_names([one.strip() for one in names]), rows, breaches_of(lost), read)


def coalesce_batches(batches: Iterable[pyarrow.RecordBatch], most: int) -> Iterator[pyarrow.RecordBatch]:
    """The same rows in fewer batches, of up to `most`: those of a wide file, as DuckDB reads it, have a hundred."""
    waiting: list[pyarrow.RecordBatch] = []
    for batch in batches:
        if waiting and sum(map(len, waiting)) + len(batch) > most:
            yield pyarrow.concat_batches(waiting)
            waiting = []
        waiting.append(batch)
    if waiting:
        yield pyarrow.concat_batches(waiting)


def check_header(path: Path, name: Path) -> int:
    """How many fields the first line of a text file has at most; UserError if it is too many for a table."""
    with open(path, "rb") as file:
        header = file.readline(2**24)
    if (count := max(header.count(mark) for mark in (b",", b";", b"\t", b"|")) + 1) > MOST_COLUMNS:
        raise UserError(f"data {name}: its first line has {count:,} fields; a table has up to {MOST_COLUMNS:,} columns")
    return count


def check_names(names: list[str], name: Path) -> None:
    """Raise UserError if all names of columns are numbers, and so are none."""
    if all(column.replace(".", "", 1).lstrip("-").isdecimal() for column in names):
        raise UserError(f"data {name}: no names of columns, but {', '.join(names[:5])} in its first line")


def no_rows(names: list[str], lost: pd.DataFrame, name: Path) -> UserError:
    """The error of a file that has a header only."""
    reason = f"and line {lost['line'][0]} {reason_no_row(lost['error_type'][0])}" if len(lost) else "and no rows"
    return UserError(f"data {name}: a header, {', '.join(names[:5])}, {reason}")


def frame_of(batch: pyarrow.RecordBatch) -> pd.DataFrame:
    """What DuckDB has read, with its texts trimmed and its names made unique."""
    names = unique_names([name.strip() for name in batch.schema.names])
    return pyarrow.table([trim(column) for column in batch.columns], names).to_pandas()


def places(rows: int, lost: pd.DataFrame) -> pd.Index:
    """The places in their file of so many rows, between the lines that are none."""
    return pd.RangeIndex(2, rows + lost["line"].nunique() + 2).difference(lost["line"])[:rows]


def breaches_of(lost: pd.DataFrame) -> pd.DataFrame:
    """What DuckDB says of lines that are no rows, with the columns of `REJECTION_COLUMNS`."""
    return pd.DataFrame(
        {
            "row": lost["line"].astype(int),
            "column": lost["column_name"],
            "value": lost["csv_line"].str.slice(0, 200),
            "reason": lost["error_type"].map(reason_no_row),
        }
    )


def trim(column: pyarrow.Array) -> pyarrow.Array:
    """The texts of a column without blanks around them; what was only blanks is missing."""
    from pyarrow import compute

    texts = compute.utf8_trim_whitespace(column)
    return compute.if_else(compute.equal(texts, ""), None, texts)


def reason_no_table(path: Path, error: Exception) -> str:
    """What is wrong with a text file that DuckDB cannot read; it does not name the commonest reason."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if b"\n" in content and (lone := re.search(rb"\r(?!\n)", content)):
            line = content[: lone.start()].count(b"\n") + 1
            return f"line {line} has a carriage return in it; remove it, or put the field in quotes"
    return first_line(error)


def reason_no_row(error_type: str) -> str:
    """Why a line is no row, in words."""
    return NO_ROW.get(error_type, error_type.lower())


def unique_names(names: list[str]) -> list[str]:
    """The names with a number after those that come again."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return found
