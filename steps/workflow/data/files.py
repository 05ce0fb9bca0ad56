"""Opening of the tables in files: a file's content shows its format, whatever its name; a folder holds such files."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote

from workflow.data import json_files, typed_files
from workflow.data.csv_files import csv_table
from workflow.data.formats import Format, detect_format
from workflow.data.tables import Table, concat_tables
from workflow.data.texts import as_utf8, unpack
from workflow.errors import UserError

HIVE_MISSING = "__HIVE_DEFAULT_PARTITION__"


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
        table = concat_tables(tables, files, partitions)
        if not table.rows:
            raise UserError(f"data {path}: no rows")
        yield table


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
    with tempfile.TemporaryDirectory() as rows, tempfile.TemporaryDirectory() as unpacked:
        file = unpack(path, Path(unpacked))
        match detect_format(file, path):
            case Format.PARQUET:
                yield typed_files.parquet_table(file, path)
            case Format.ARROW:
                yield typed_files.arrow_table(file, path)
            case Format.EXCEL:
                yield typed_files.workbook_table(file, path)
            case Format.STATA:
                yield typed_files.stata_table(file, path, Path(rows))
            case Format.TEXT:
                yield text_table(file, path, Path(rows))


def text_table(file: Path, source: Path, folder: Path) -> Table:
    """Copy the rows of a text file, CSV or JSON, to `folder`, and open the table.

    Args:
        file: the text file, unpacked.
        source: the file that the user has named, for messages.
        folder: a temporary folder for the rows.
    """
    with tempfile.TemporaryDirectory() as scratch:
        text, notes = as_utf8(file, source, Path(scratch))
        if json_files.is_json(text):
            return json_files.json_table(text, source, folder, notes)
        return csv_table(text, source, folder, notes)
