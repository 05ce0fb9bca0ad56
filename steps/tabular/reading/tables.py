"""Tables in files: CSV of any dialect, encoding or compression, Parquet, or a folder of one of them."""

import json
import mmap
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import ParseError

import pandas as pd
import pyarrow

from errors import UserError
from tabular.reading.texts import as_utf8, first_line

BREACH = ["row", "column", "value", "reason"]
MOST_COLUMNS = 10_000
CHUNK = 100_000  # rows that are held at once, where not all are
MEMORY = "600MB"  # for DuckDB then
PARQUET = b"PAR1"  # begins such a file
WORKBOOK = "[Content_Types].xml"  # in the zip that it is
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


def read_table(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a file, or of all files in a folder in the order of their names; and its lines that are no rows.

    Columns are text where the file is CSV, with empty fields missing; typed where it is Parquet or a workbook. Folders
    called `name=value` are a column. Files that begin with `.` or `_` are passed over. Lines that are no rows have the
    columns of `BREACH`, `row` being the number of the line. Raises UserError for what is no table.
    """
    if not path.is_dir():
        return read_file(path)
    files = files_in(path)
    read, lost = zip(*(read_file(path / file) for file in files), strict=True)
    tables = [table.assign(**partition(file)) for file, table in zip(files, read, strict=True)]
    for file, table in zip(files, tables, strict=True):
        if list(table.columns) != list(tables[0].columns):
            raise UserError(f"data {path / file}: its columns are not those of {files[0]} in the same folder")
    return pd.concat(tables, ignore_index=True), pd.concat(lost, ignore_index=True)


def read_chunks(path: Path) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """As `read_table`, in pieces of up to `CHUNK` rows, with the lines that are no rows beside a file's first piece.

    A row's place in a folder is that in its file.
    """
    for file in files_in(path) if path.is_dir() else [Path()]:
        columns = partition(file)
        for rows, lost in read_file_in_chunks(path / file):
            yield rows.assign(**columns), lost


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


def read_file(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As `read_table`, of one file."""
    start = start_of(path)
    if start.startswith(PARQUET):
        return read_parquet(path), pd.DataFrame(columns=BREACH)
    if is_workbook(path, start):
        return read_workbook(path), pd.DataFrame(columns=BREACH)
    with as_utf8(path, start) as file:
        return read_csv(file, path)


def read_file_in_chunks(path: Path) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """As `read_chunks`, of one file."""
    start = start_of(path)
    if start.startswith(PARQUET):
        for rows in parquet_chunks(path):
            yield rows, pd.DataFrame(columns=BREACH)
    elif is_workbook(path, start):
        yield read_workbook(path), pd.DataFrame(columns=BREACH)
    else:
        with as_utf8(path, start) as file:
            yield from read_csv_in_chunks(file, path)


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


def read_parquet(path: Path) -> pd.DataFrame:
    """The rows of a Parquet file."""
    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise UserError(f"data {path}: not a whole Parquet file ({first_line(error)})") from error


def parquet_chunks(path: Path) -> Iterator[pd.DataFrame]:
    """The rows of a Parquet file, a piece at a time."""
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        attributes = json.loads((file.schema_arrow.metadata or {}).get(b"PANDAS_ATTRS", "{}"))
        first = 0
        for batch in file.iter_batches(CHUNK):
            rows = batch.to_pandas().set_index(pd.RangeIndex(first, first + batch.num_rows))
            first += len(rows)
            rows.attrs |= attributes
            yield rows
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise UserError(f"data {path}: not a whole Parquet file ({first_line(error)})") from error


def read_workbook(path: Path) -> pd.DataFrame:
    """The rows of the one sheet of an Excel workbook in which there are any."""
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
    return frame.set_axis([str(name) for name in frame.columns], axis=1).set_axis(pd.RangeIndex(2, len(frame) + 2))


def read_csv(path: Path, name: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a UTF-8 text file and its lines that are no rows; delimiter and quotes are found by DuckDB.

    The index is a row's place in the file, if no field spans several lines.
    """
    import duckdb

    check_header(path, name)
    with duckdb.connect() as database:
        try:
            table = database.sql(READ, params=[str(path)]).to_arrow_table()
            lost = database.sql(LOST).df()
        except duckdb.Error as error:
            raise UserError(f"data {name}: not a table: {reason_no_table(path, error)}") from error
    frame = frame_of(table)
    del table  # its memory went to the frame, column by column
    check_names(list(frame.columns), name)
    frame.index = places(len(frame), lost)
    if frame.empty:
        raise no_rows(list(frame.columns), lost, name)
    return frame, breaches_of(lost)


def read_csv_in_chunks(path: Path, name: Path) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """As `read_csv`, a piece at a time, from a copy: DuckDB finds out at the end which lines are no rows."""
    import duckdb
    import pyarrow.parquet

    check_header(path, name)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as database:
        copy = Path(folder) / "rows.parquet"
        try:
            database.execute(f"SET memory_limit = '{MEMORY}'; SET temp_directory = '{folder}'")
            database.execute(f"COPY ({READ}) TO '{copy}' (FORMAT parquet)", [str(path)])
            lost = database.sql(LOST).df()
        except duckdb.Error as error:
            raise UserError(f"data {name}: not a table: {reason_no_table(path, error)}") from error
        file = pyarrow.parquet.ParquetFile(copy)
        check_names(file.schema_arrow.names, name)
        if file.metadata.num_rows == 0:
            raise no_rows(file.schema_arrow.names, lost, name)
        index, breaches, first = places(file.metadata.num_rows, lost), breaches_of(lost), 0
        for batch in file.iter_batches(CHUNK):
            frame = frame_of(pyarrow.Table.from_batches([batch]))
            frame.index = index[first : first + len(frame)]
            first += len(frame)
            yield frame, breaches
            breaches = breaches.head(0)


def check_header(path: Path, name: Path) -> None:
    """Raise UserError if the first line of a text file has too many fields to be that of a table."""
    with open(path, "rb") as file:
        header = file.readline(2**24)
    if (count := max(header.count(mark) for mark in (b",", b";", b"\t", b"|")) + 1) > MOST_COLUMNS:
        raise UserError(f"data {name}: its first line has {count:,} fields; a table has up to {MOST_COLUMNS:,} columns")


def check_names(names: list[str], name: Path) -> None:
    """Raise UserError if all names of columns are numbers, and so are none."""
    if all(column.replace(".", "", 1).lstrip("-").isdecimal() for column in names):
        raise UserError(f"data {name}: no names of columns, but {', '.join(names[:5])} in its first line")


def no_rows(names: list[str], lost: pd.DataFrame, name: Path) -> UserError:
    """The error of a file that has a header only."""
    reason = f"and line {lost['line'][0]} {reason_no_row(lost['error_type'][0])}" if len(lost) else "and no rows"
    return UserError(f"data {name}: a header, {', '.join(names[:5])}, {reason}")


def frame_of(table: pyarrow.Table) -> pd.DataFrame:
    """What DuckDB has read, with its texts trimmed and its names made unique; the table gives its memory away."""
    names = unique_names([name.strip() for name in table.column_names])
    return pyarrow.table([trim(column) for column in table.columns], names).to_pandas(
        self_destruct=True, split_blocks=True
    )


def places(rows: int, lost: pd.DataFrame) -> pd.Index:
    """The places in their file of so many rows, between the lines that are none."""
    return pd.RangeIndex(2, rows + lost["line"].nunique() + 2).difference(lost["line"])[:rows]


def breaches_of(lost: pd.DataFrame) -> pd.DataFrame:
    """What DuckDB says of lines that are no rows, with the columns of `BREACH`."""
    return pd.DataFrame(
        {
            "row": lost["line"].astype(int),
            "column": lost["column_name"],
            "value": lost["csv_line"].str.slice(0, 200),
            "reason": lost["error_type"].map(reason_no_row),
        }
    )


def trim(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
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
