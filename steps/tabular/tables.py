"""Tables in files: CSV of any dialect, encoding or compression, Parquet, or a folder of one of them."""

import bz2
import codecs
import gzip
import lzma
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow

from errors import UserError

BREACH = ["row", "column", "value", "reason"]
MOST_COLUMNS = 10_000
CHUNK = 2**20
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
BYTE_ORDER_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
NOT_LATIN = ["cp1251", "cp1253", "cp1255", "cp1256", "shift_jis", "gb18030", "euc_kr", "big5"]
PAGE = (b"<!doctype html", b"<html")
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
    """The rows of a file, or of all files of a folder in the order of their names; and its lines that are no rows.

    Columns are text where the file is CSV, with empty fields missing; typed where it is Parquet. Lines that are no rows
    have the columns of `BREACH`, `row` being the number of the line. Raises UserError for what is no table.
    """
    if not path.is_dir():
        return read_file(path)
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    if not files:
        raise UserError(f"data {path}: an empty folder")
    tables, lost = zip(*(read_file(file) for file in files), strict=True)
    for file, table in zip(files, tables, strict=True):
        if list(table.columns) != list(tables[0].columns):
            raise UserError(f"data {file}: its columns are not those of {files[0].name} in the same folder")
    return pd.concat(tables, ignore_index=True), pd.concat(lost, ignore_index=True)


def read_file(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As `read_table`, of one file."""
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        raise UserError(f"data {path}: an empty file")
    if start.startswith(b"PAR1"):
        return read_parquet(path), pd.DataFrame(columns=BREACH)
    with as_utf8(path, start) as file:
        return read_csv(file, path)


def read_parquet(path: Path) -> pd.DataFrame:
    """The rows of a Parquet file."""
    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise UserError(f"data {path}: not a whole Parquet file ({first_line(error)})") from error


@contextmanager
def as_utf8(path: Path, start: bytes) -> Iterator[Path]:
    """The file as uncompressed UTF-8 text: itself, or a temporary copy. `start` is what it begins with."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            path = decompress(path, start, folder)
        except (OSError, EOFError, zipfile.BadZipFile, lzma.LZMAError) as error:
            raise UserError(f"data {path}: cannot be unpacked: {first_line(error)}") from error
        encoding = encoding_of(path)
        if encoding:
            text = folder / "text.csv"
            try:
                with open(path, encoding=encoding, newline="") as source, open(text, "w", newline="") as target:
                    shutil.copyfileobj(source, target, CHUNK)
            except UnicodeError as error:
                raise UserError(
                    f"data {path}: not text in {encoding}, which it looks like; save it as UTF-8"
                ) from error
            path = text
        yield path


def decompress(path: Path, start: bytes, folder: Path) -> Path:
    """The file, or an uncompressed copy in `folder` if it is compressed."""
    copy = folder / "unpacked.csv"
    for magic, opener in COMPRESSIONS.items():
        if start.startswith(magic):
            with opener(path) as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            return copy
    if not start.startswith(b"PK"):
        return path
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if "[Content_Types].xml" in names:
            raise UserError(f"data {path}: an Excel workbook; save its sheet as CSV")
        if len(names) != 1:
            raise UserError(
                f"data {path}: a zip of {len(names)} files, not of one; unpack it and name a file or folder"
            )
        with archive.open(names[0]) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
    return copy


def encoding_of(path: Path) -> str | None:
    """The encoding of a text file by its byte order mark or by its bytes; None for UTF-8."""
    with open(path, "rb") as file:
        start = file.read(CHUNK)
        for mark, encoding in BYTE_ORDER_MARKS.items():
            if start.startswith(mark):
                return encoding
        if start.lstrip().lower().startswith(PAGE):
            raise UserError(f"data {path}: a web page, not a table; was it saved in place of a download?")
        decoder = codecs.getincrementaldecoder("utf-8")()
        chunk = start
        try:
            while chunk:
                decoder.decode(chunk)
                chunk = file.read(CHUNK)
            decoder.decode(b"", final=True)
            return None
        except UnicodeDecodeError:
            return guessed_encoding(start)


def guessed_encoding(start: bytes) -> str:
    """The likeliest encoding of a text that is not UTF-8: Western European unless most of its letters are not Latin."""
    letters = [letter for letter in start.decode("cp1252", "replace") if letter.isalpha()]
    if sum(letter > "\x7f" for letter in letters) < len(letters) / 2:
        return "cp1252"
    import charset_normalizer

    words = b" ".join(word for word in re.split(rb"[\x00-\x40]+", start) if not word.isascii())
    best = charset_normalizer.from_bytes(words, cp_isolation=NOT_LATIN, threshold=0.5).best()
    return best.encoding if best else "cp1252"


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


def first_line(error: Exception) -> str:
    """What an error has to say, without the picture of the query."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
