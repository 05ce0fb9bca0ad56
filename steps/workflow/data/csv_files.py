"""Tables in CSV files of any dialect."""

import csv
import io
import mmap
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow

from workflow.data.layout import Layout, find_layout
from workflow.data.stored import arrow_batches, arrow_file, chunk_rows, database
from workflow.data.tables import Positions, Table, take_with_index, unique_names
from workflow.data.texts import READ_BYTES, first_line
from workflow.errors import UserError

MAX_COLUMNS = 10_000
MAX_HEADER_BYTES = 2**24
MAX_VALUE_LENGTH = 200  # of a malformed line in a report
LISTED_COLUMNS = 5  # in a message
FIRST_LINE = 2  # of the rows of an ordinary file
DELIMITERS = (b",", b";", b"\t", b"|")
READ_CSV = "FROM read_csv(?, all_varchar = true, header = true, store_rejects = true, hive_partitioning = false{})"
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


def csv_table(path: Path, source: Path, folder: Path, notes: tuple[str, ...]) -> Table:
    """Open the table in a UTF-8 text file; DuckDB detects its delimiter and quotes.

    DuckDB knows only in the end which lines are malformed, so the rows are read from a copy. The row numbers are those
    of the lines if no field spans several lines.

    Args:
        path: the text file.
        source: the file that the user has named, for messages.
        folder: a temporary folder for the copy.
        notes: on how the file was read, for the table.
    """
    copy = folder / "rows.arrow"
    layout = find_layout(path)
    names, rows, malformed, mended = copy_text(path, source, copy, layout)
    check_header_names(names, source)
    check_rows(names, rows, malformed, source)
    first_line = layout.first_line if layout else FIRST_LINE
    malformed["line"] += first_line - FIRST_LINE
    numbers = range(first_line, first_line + rows + malformed["line"].nunique())
    index = pd.RangeIndex(numbers).difference(malformed["line"])[:rows]
    notes = (*notes, *(layout.notes if layout else ()), *(["its lines end in different ways"] if mended else []))
    if layout and layout.commented and (comments := malformed["csv_line"].str.startswith("#")).any():
        malformed = malformed[~comments]
        notes = (*notes, "comments among the rows skipped")

    def read(positions: Positions) -> Iterator[pd.DataFrame]:
        with arrow_batches(copy) as batches:
            for batch, batch_index in take_with_index(batches, index, positions):
                yield text_frame(batch).set_axis(batch_index)

    columns = unique_names([name.strip() for name in names])
    return Table(columns, rows, rejections(malformed), read, numbers, notes)


def copy_text(path: Path, source: Path, copy: Path, layout: Layout | None) -> tuple[list[str], int, pd.DataFrame, bool]:
    """Copy the rows of a text file, which may have a layout of its own, to an Arrow file.

    Returns what `copy_csv` returns, and whether the line ends had to be unified before. Raises UserError if the file is
    not a table.
    """
    with tempfile.TemporaryDirectory(dir=copy.parent) as scratch:
        text = copy_rows(path, layout, Path(scratch) / "rows.csv") if layout else path
        try:
            return *copy_csv(text, source, copy, layout), False
        except UserError:
            mended = Path(scratch) / "mended.csv"
            if not unify_line_ends(text, mended):
                raise
            return *copy_csv(mended, source, copy, layout), True


def copy_rows(path: Path, layout: Layout, copy: Path) -> Path:
    """Write an ordinary CSV file with the rows of a file that has a layout of its own, and return it."""
    with open(path, "rb") as source, open(copy, "wb") as target:
        source.seek(layout.start)
        first = source.readline()
        header = io.StringIO()
        ending = first[len(first.rstrip(b"\r\n")) :].decode() or "\n"
        csv.writer(header, delimiter=layout.delimiter, lineterminator=ending).writerow(layout.names)
        target.write(header.getvalue().encode() + first)
        shutil.copyfileobj(source, target, READ_BYTES)
        target.truncate(target.tell() - max(0, source.tell() - layout.end))
    return copy


def unify_line_ends(path: Path, copy: Path) -> bool:
    r"""Write a copy of a text file whose lines all end in \n; return whether that mends it.

    It does not if all lines end in the same way, or if a carriage return is not the end of a line: then what precedes
    it has another number of fields than the header.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if b"\r" not in content or (b"\n" not in content):
            return False
        header = re.split(rb"[\r\n]", content[:MAX_HEADER_BYTES], maxsplit=1)[0]
    delimiter = max(DELIMITERS, key=header.count)
    with open(path, "rb") as file, open(copy, "wb") as target:
        for line in file:
            parts = [part for part in line.split(b"\r") if part.strip()] or [b""]
            if len(parts) > 1 and {part.count(delimiter) for part in parts} != {header.count(delimiter)}:
                return False
            target.write(b"\n".join(parts).rstrip(b"\n") + b"\n")
    return True


def copy_csv(path: Path, source: Path, copy: Path, layout: Layout | None) -> tuple[list[str], int, pd.DataFrame]:
    """Copy the rows of a UTF-8 text file to an Arrow file.

    Returns the names of the columns, the number of rows, and the malformed lines in the words of DuckDB. Raises
    UserError if the file is not a table.
    """
    import duckdb

    fields = count_header_fields(path, source)
    batch_rows, rows = chunk_rows(fields), 0
    options, values = (", delim = ?, comment = ''", [layout.delimiter]) if layout else ("", [])
    try:
        with database(copy.parent, fields) as connection:
            reader = connection.sql(
                f"SELECT * {READ_CSV.format(options)}", params=[str(path), *values]
            ).to_arrow_reader(batch_rows)
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
    count = max(header.count(delimiter) for delimiter in DELIMITERS) + 1
    if count > MAX_COLUMNS:
        raise UserError(f"data {source}: its first line has {count:,} fields; at most {MAX_COLUMNS:,} are supported")
    return count


def check_header_names(names: list[str], source: Path) -> None:
    """Raise UserError if all column names are numbers, so that the file seems to have no header."""
    if all(name.replace(".", "", 1).lstrip("-").isdecimal() for name in names):
        first = ", ".join(names[:LISTED_COLUMNS])
        raise UserError(f"data {source}: no header: its first line is {first}; add a line of column names")


def check_rows(names: list[str], rows: int, malformed: pd.DataFrame, source: Path) -> None:
    """Raise UserError if a file has no valid row, or more malformed lines than rows: its header is another line."""
    first = ", ".join(names[:LISTED_COLUMNS])
    why = f"line {malformed['line'][0]} {malformed_reason(malformed['error_type'][0])}" if len(malformed) else ""
    remedy = "; delete lines above the header, or name every column" if "too many" in why else ""
    if not rows:
        raise UserError(f"data {source}: no rows after the header {first}{': ' if why else ''}{why}{remedy}")
    if (lines := malformed["line"].nunique()) > rows:
        raise UserError(
            f"data {source}: {lines:,} of {rows + lines:,} lines do not fit the header {first}: {why}{remedy}"
        )


def text_frame(batch: pyarrow.RecordBatch) -> pd.DataFrame:
    """Return rows that DuckDB has read, with trimmed texts and unique column names."""
    names = unique_names([name.strip() for name in batch.schema.names])
    return pyarrow.table([trim(column) for column in batch.columns], names).to_pandas()


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
    """Strip the texts of a column; blank ones become missing. Nested values stay as they are."""
    from pyarrow import compute

    if not pyarrow.types.is_string(column.type):
        return column

    texts = compute.utf8_trim_whitespace(column)
    return compute.if_else(compute.equal(texts, ""), None, texts)


def csv_error_reason(path: Path, error: Exception) -> str:
    """Return why DuckDB cannot read a text file: a stray carriage return, which DuckDB does not name, or its error."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if b"\n" in content and (stray := re.search(rb"\r(?!\n)", content)):
            line = content[: stray.start()].count(b"\n") + 1
            return f"line {line} has a carriage return in it; remove it, or quote the field"
    reason = first_line(error)
    if "sniffing" in reason:
        return "its lines fit no delimiter and quotes; delete what stands above the header and below the rows"
    return reason


def malformed_reason(error_type: str) -> str:
    """Return why a line is malformed, in words."""
    return MALFORMED_REASONS.get(error_type, error_type.lower())
