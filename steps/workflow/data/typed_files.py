"""Tables in files whose columns have types: Parquet, Arrow (which Feather is), Stata and Excel."""

import errno
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree.ElementTree import ParseError

import pandas as pd
import pyarrow
from pyarrow import compute, types

from workflow.data.formats import ARROW_FILE
from workflow.data.stored import ATTRIBUTES, CHUNK_ROWS, arrow_appender, chunk_rows, parquet_file
from workflow.data.tables import NONE_MALFORMED, Positions, Table, take_with_index, unique_names
from workflow.data.texts import first_line
from workflow.errors import UserError

NULLABLE = {pyarrow.bool_(): pd.BooleanDtype(), pyarrow.int64(): pd.Int64Dtype()}  # one type, missing values or not
MIN_TITLED_COLUMNS = 3  # of a sheet: of two, one without a name may be an index
ONE_SECOND = 1_000_000  # microseconds
DAMAGED = (OSError, ValueError, KeyError, IndexError, TypeError, struct.error)  # errors of pyarrow and pandas
Batches = Callable[[], Iterable[pyarrow.RecordBatch]]


def parquet_table(path: Path, source: Path) -> Table:
    """Open the table in a Parquet file; errors name `source`."""
    with naming("Parquet", source):
        file = parquet_file(path)
        schema = file.schema_arrow
        batch_rows = chunk_rows(len(schema))
        return typed_table(schema, file.metadata.num_rows, lambda: file.iter_batches(batch_rows), "Parquet", source)


def arrow_table(path: Path, source: Path) -> Table:
    """Open the table in an Arrow file or stream; errors name `source`."""
    with naming("Arrow", source):
        with open_arrow(path) as batches:
            schema = batches.schema
        rows = sum(batch.num_rows for batch in read_arrow(path))
        return typed_table(schema, rows, lambda: read_arrow(path), "Arrow", source)


@contextmanager
def open_arrow(path: Path) -> Iterator[pyarrow.RecordBatchFileReader | pyarrow.RecordBatchStreamReader]:
    """Open an Arrow file or stream that is mapped into memory."""
    with pyarrow.memory_map(str(path)) as file:
        is_file = file.read(len(ARROW_FILE)) == ARROW_FILE
        file.seek(0)
        with pyarrow.ipc.open_file(file) if is_file else pyarrow.ipc.open_stream(file) as batches:
            yield batches


def read_arrow(path: Path) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of an Arrow file or stream in batches of at most a chunk."""
    with open_arrow(path) as reader:
        batch_rows = chunk_rows(len(reader.schema))
        is_file = isinstance(reader, pyarrow.RecordBatchFileReader)
        for batch in map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader:
            for start in range(0, batch.num_rows, batch_rows):
                yield batch.slice(start, batch_rows)


def typed_table(schema: pyarrow.Schema, rows: int, batches: Batches, name: str, source: Path) -> Table:
    """Return the table of typed batches, of which there are so many rows.

    Args:
        schema: of the batches; metadata of pandas says which column is the index, and which attributes a frame has.
        rows: number of rows.
        batches: reads all batches, from the first on.
        name: of the format, for messages.
        source: the file that the user has named, for messages.
    """
    columns = list(to_frame(schema.empty_table()).columns)
    attributes = json.loads((schema.metadata or {}).get(ATTRIBUTES.encode(), "{}"))

    def read(positions: Positions) -> Iterator[pd.DataFrame]:
        with naming(name, source):
            for batch, index in take_with_index(batches(), pd.RangeIndex(rows), positions):
                frame = to_frame(pyarrow.Table.from_batches([batch])).set_axis(index)
                frame.attrs |= attributes
                yield frame

    return Table([str(name) for name in columns], rows, NONE_MALFORMED, read, range(rows))


def to_frame(table: pyarrow.Table) -> pd.DataFrame:
    """Return typed rows as a frame of numbers, texts, booleans, dates and nested values."""
    for position, field in enumerate(table.schema):
        column = plain(table.column(position))
        if column.type != field.type:
            table = table.set_column(position, field.name, column)
    table = table.rename_columns(unique_names(table.schema.names))
    frame = table.to_pandas(types_mapper=NULLABLE.get, date_as_object=False)
    return frame if frame.index.names == [None] else frame.reset_index()


def plain(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Return a column of categories as their values, decimals as float64, times as texts, durations in seconds."""
    if types.is_dictionary(column.type):
        return plain(column.cast(column.type.value_type))
    if types.is_decimal(column.type):
        return column.cast(pyarrow.float64())
    if types.is_time(column.type):
        return compute.replace_substring_regex(column.cast(pyarrow.string()), r"\.0+$", "")
    if types.is_duration(column.type):
        microseconds = column.cast(pyarrow.duration("us"), safe=False).cast(pyarrow.int64())
        return compute.divide(microseconds.cast(pyarrow.float64(), safe=False), float(ONE_SECOND))
    return column


@contextmanager
def naming(name: str, source: Path) -> Iterator[None]:
    """Turn errors of a block into a UserError that says that `source` is not a valid file of a format, by its name."""
    try:
        yield
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # from the system, not from the file
            raise
        raise UserError(f"data {source}: not a valid {name} file ({first_line(error)})") from error


def stata_table(path: Path, source: Path, folder: Path) -> Table:
    """Copy the rows of a Stata file to `folder` in chunks, and open the table; errors name `source`.

    Labelled values become their labels, unless two values have the same label. Empty texts are missing.
    """
    copy, rows = folder / "rows.arrow", 0
    with naming("Stata", source):
        with pd.read_stata(path, iterator=True) as reader:
            labels = [list(each.values()) for each in reader.value_labels().values()]
        distinct = all(len(set(each)) == len(each) for each in labels)
        options = {"convert_categoricals": distinct, "order_categoricals": False, "chunksize": CHUNK_ROWS}
        with warnings.catch_warnings(), arrow_appender(copy) as append, pd.read_stata(path, **options) as chunks:
            warnings.simplefilter("ignore")  # of values without a label
            for chunk in chunks:
                append(chunk.apply(plain_text))
                rows += len(chunk)
    if not rows:
        raise UserError(f"data {source}: no rows")
    with open_arrow(copy) as batches:
        schema = batches.schema
    return typed_table(schema, rows, lambda: read_arrow(copy), "Stata", source)


def plain_text(values: pd.Series) -> pd.Series:
    """Return a column of a Stata file with labels as texts, among them values without a label, and no empty text."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        texts = values.astype(object).map(lambda value: value if isinstance(value, str) else f"{value:.17g}", "ignore")
        values = texts.astype("str")
    if not pd.api.types.is_string_dtype(values):
        return values
    stripped = values.str.strip()
    return stripped.mask(stripped == "")


def workbook_table(path: Path, source: Path) -> Table:
    """Read the table on the only sheet of an Excel workbook that has rows; errors name `source`."""
    try:
        sheets = pd.read_excel(path, sheet_name=None, engine="openpyxl")
    except ImportError as error:
        raise UserError(
            f"data {source}: an Excel workbook, which requires openpyxl: pip install openpyxl, or save it as CSV"
        ) from error
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, ParseError) as error:
        raise UserError(f"data {source}: not a valid Excel workbook ({first_line(error)})") from error
    filled = {name: sheet for name, sheet in sheets.items() if len(sheet)}
    if len(filled) != 1:
        raise UserError(
            f"data {source}: a workbook with {len(filled)} sheets that have rows; expected one; save the right one as"
            " CSV"
        )
    ((sheet, frame),) = filled.items()
    notes: tuple[str, ...] = ()
    if header := header_row(frame):
        frame = pd.read_excel(path, sheet_name=sheet, engine="openpyxl", header=header)
        notes = (f"{header} row{'s' if header > 1 else ''} above the header skipped",)
    numbers = range(header + 2, header + 2 + len(frame))
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1).set_axis(pd.RangeIndex(numbers))

    def read(positions: Positions) -> Iterator[pd.DataFrame]:
        yield frame.iloc[slice(None) if positions is None else positions]

    return Table(list(frame.columns), len(frame), NONE_MALFORMED, read, numbers, notes)


def header_row(sheet: pd.DataFrame) -> int:
    """Return the position of the header on a sheet that was read with the first row as header.

    It is another row only if the first one names at most one column, and the first full row holds texts only.
    """
    unnamed = [str(name).startswith("Unnamed: ") for name in sheet.columns]
    if len(unnamed) < MIN_TITLED_COLUMNS or sum(unnamed) < len(unnamed) - 1:
        return 0
    full = sheet.index[sheet.notna().all(axis=1)]
    if not len(full) or not sheet.loc[full[0]].map(lambda value: isinstance(value, str)).all():
        return 0
    return int(full[0]) + 1
