"""Tables in files: CSV of any dialect, encoding or compression, Parquet, or a folder of one of them."""

import zipfile
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import ParseError

import pandas as pd
import pyarrow

from errors import UserError
from tabular.reading.texts import as_utf8, first_line

BREACH = ["row", "column", "value", "reason"]
MOST_COLUMNS = 10_000
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
    inside = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    files = [file for file in inside if not any(part.startswith((".", "_")) for part in file.parts)]
    if not files:
        raise UserError(f"data {path}: an empty folder")
    read, lost = zip(*(read_file(path / file) for file in files), strict=True)
    tables = [table.assign(**partition(file)) for file, table in zip(files, read, strict=True)]
    for file, table in zip(files, tables, strict=True):
        if list(table.columns) != list(tables[0].columns):
            raise UserError(f"data {path / file}: its columns are not those of {files[0]} in the same folder")
    return pd.concat(tables, ignore_index=True), pd.concat(lost, ignore_index=True)


def partition(file: Path) -> dict[str, str | None]:
    """The columns that the folders of a file stand for, as Hive writes them: `year=2024/part-0.parquet`."""
    pairs = [part.split("=", 1) for part in file.parent.parts if "=" in part]
    return {unquote(name): None if value == HIVE_MISSING else unquote(value) for name, value in pairs}


def read_file(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As `read_table`, of one file."""
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        raise UserError(f"data {path}: an empty file")
    if start.startswith(b"PAR1"):
        return read_parquet(path), pd.DataFrame(columns=BREACH)
    if start.startswith(b"PK") and zipfile.is_zipfile(path) and WORKBOOK in zipfile.ZipFile(path).namelist():
        return read_workbook(path), pd.DataFrame(columns=BREACH)
    with as_utf8(path, start) as file:
        return read_csv(file, path)


def read_parquet(path: Path) -> pd.DataFrame:
    """The rows of a Parquet file."""
    try:
        return pd.read_parquet(path).reset_index(drop=True)
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

    with open(path, "rb") as file:
        header = file.readline(2**24)
    if (count := max(header.count(mark) for mark in (b",", b";", b"\t", b"|")) + 1) > MOST_COLUMNS:
        raise UserError(f"data {name}: its first line has {count:,} fields; a table has up to {MOST_COLUMNS:,} columns")
    with duckdb.connect() as database:
        try:
            table = database.sql(READ, params=[str(path)]).to_arrow_table()
            lost = database.sql(LOST).df()
        except duckdb.Error as error:
            raise UserError(f"data {name}: not a table: {first_line(error)}") from error
    names = unique_names([name.strip() for name in table.column_names])
    table = pyarrow.table([trim(column) for column in table.columns], names)
    frame = table.to_pandas(self_destruct=True, split_blocks=True)
    del table  # its memory went to the frame, column by column
    if all(column.replace(".", "", 1).lstrip("-").isdecimal() for column in frame.columns):
        raise UserError(f"data {name}: no names of columns, but {', '.join(frame.columns[:5])} in its first line")
    frame.index = pd.RangeIndex(2, len(frame) + lost["line"].nunique() + 2).difference(lost["line"])[: len(frame)]
    if frame.empty:
        reason = f"and line {lost['line'][0]} {reason_no_row(lost['error_type'][0])}" if len(lost) else "and no rows"
        raise UserError(f"data {name}: a header, {', '.join(frame.columns[:5])}, {reason}")
    breaches = pd.DataFrame(
        {
            "row": lost["line"].astype(int),
            "column": lost["column_name"],
            "value": lost["csv_line"].str.slice(0, 200),
            "reason": lost["error_type"].map(reason_no_row),
        }
    )
    return frame, breaches


def trim(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """The texts of a column without blanks around them; what was only blanks is missing."""
    from pyarrow import compute

    texts = compute.utf8_trim_whitespace(column)
    return compute.if_else(compute.equal(texts, ""), None, texts)


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
