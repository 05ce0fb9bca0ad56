"""Tables in JSON: lines of objects, an array of objects, or one object that holds a table."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from workflow.data.csv_files import text_frame
from workflow.data.stored import arrow_batches, arrow_file, chunk_rows, database
from workflow.data.tables import NONE_MALFORMED, Positions, Table, take_with_index, unique_names
from workflow.data.texts import first_line
from workflow.errors import UserError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

START_CHARACTERS = 2**16  # which show that a file is JSON, or one object
MAX_DOCUMENT_BYTES = 2**28  # of a file that is one object, which is parsed in memory
FIRST_LINE = 1
JSON_START = re.compile(r"\ufeff?\s*(?:\[\s*[\[\]{\"\d-]|\{\s*[\"}])")  # a CSV header may begin with [a name]
READ_JSON = (
    "FROM read_json(?, sample_size = -1, records = true, maximum_depth = {}, map_inference_threshold = -1,"
    " hive_partitioning = false)"
)
NESTED = ("STRUCT", "MAP")
EXPECTED = "expected an object per line, or an array of objects"


def is_json(path: Path) -> bool:
    """Return whether a UTF-8 text file is JSON by its first characters."""
    with open(path, encoding="utf-8") as file:
        return JSON_START.match(file.read(START_CHARACTERS)) is not None


def json_table(path: Path, source: Path, folder: Path, notes: tuple[str, ...]) -> Table:
    """Open the table in a UTF-8 JSON file: its values are texts, as in a CSV file, or nested.

    Args:
        path: the JSON file.
        source: the file that the user has named, for messages.
        folder: a temporary folder for a copy of the rows.
        notes: on how the file was read, for the table.
    """
    copy = folder / "rows.arrow"
    if (records := records_in(path)) is not None:
        path = folder / "records.jsonl"
        path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    names, rows = copy_json(path, source, copy)
    numbers = range(FIRST_LINE, FIRST_LINE + rows)
    index = pd.RangeIndex(numbers)

    def read(positions: Positions) -> Iterator[pd.DataFrame]:
        with arrow_batches(copy) as batches:
            for batch, batch_index in take_with_index(batches, index, positions):
                yield text_frame(batch).set_axis(batch_index)

    return Table(unique_names([name.strip() for name in names]), rows, NONE_MALFORMED, read, numbers, notes)


def copy_json(path: Path, source: Path, copy: Path) -> tuple[list[str], int]:
    """Copy the objects of a JSON file to an Arrow file: single values as texts, nested ones as the bytes of their JSON.

    Returns the names of the columns and the number of rows. Raises UserError if the file is no table.
    """
    import duckdb

    rows = 0
    try:
        with database(copy.parent, 1) as connection:
            nested = nested_columns(connection, path)
            values = ", ".join(
                f"encode({name}::VARCHAR) AS {name}" if is_nested else f"{name} ->> '$' AS {name}"
                for name, is_nested in nested.items()
            )
            sql = f"SELECT {values} {READ_JSON.format(1)}"
            reader = connection.sql(sql, params=[str(path)]).to_arrow_reader(chunk_rows(len(nested)))
            with arrow_file(copy, reader.schema) as file:
                for batch in reader:
                    file.write_batch(batch)
                    rows += batch.num_rows
            return reader.schema.names, rows
    except (duckdb.Error, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # from the system, such as a full disk, not from the file
            raise
        raise UserError(f"data {source}: not a table in JSON: {json_error_reason(error)}; {EXPECTED}") from error


def nested_columns(connection: "DuckDBPyConnection", path: Path) -> dict[str, bool]:
    """Return whether each column of a JSON file, by its quoted name, has objects or arrays as values."""
    described = connection.execute(f"DESCRIBE SELECT * {READ_JSON.format(-1)}", [str(path)]).fetchall()
    kinds = {'"' + name.replace('"', '""') + '"': kind for name, kind, *_ in described}
    nested = {name: kind.startswith(NESTED) or kind.endswith("]") for name, kind in kinds.items()}
    mixed = [name for name, kind in kinds.items() if kind == "JSON"]  # values of several types, maybe all single ones
    if mixed:
        tests = ", ".join(f"bool_or(json_type({name}) IN ('OBJECT', 'ARRAY'))" for name in mixed)
        found = connection.execute(f"SELECT {tests} {READ_JSON.format(1)}", [str(path)]).fetchall()[0]
        nested |= dict(zip(mixed, map(bool, found), strict=True))
    return nested


def json_error_reason(error: Exception) -> str:
    """Return why DuckDB cannot read a JSON file, without its advice and the name of the file."""
    reason = first_line(error)
    if "non-record" in reason:
        return "it holds values that are not objects, or nothing"
    where = re.search(r"(?:Malformed JSON|JSON transform error).*?((?:at byte \d+ )?in [a-z/]+ \d+: .*)", reason)
    return where[1].rstrip(" .") if where else reason


def records_in(path: Path) -> list[dict[str, Any]] | None:
    """Return the rows of a table that a JSON file holds as one object; None if it holds none, or is too large to parse.

    Such are the forms of pandas (split, columns, index, table), an object of equally long lists, and an object with one
    list of objects.
    """
    with open(path, encoding="utf-8-sig") as file:
        if not file.read(START_CHARACTERS).lstrip().startswith("{") or path.stat().st_size > MAX_DOCUMENT_BYTES:
            return None
        file.seek(0)
        try:
            document = json.load(file)
        except (ValueError, RecursionError):  # several objects, one after another
            return None
    values = list(document.values())
    lists = [value for value in values if isinstance(value, list)]
    if isinstance(document.get("columns"), list) and isinstance(document.get("data"), list):
        return [dict(zip(map(str, document["columns"]), row, strict=False)) for row in document["data"]]
    records = [value for value in lists if value and all(isinstance(each, dict) for each in value)]
    if len(records) == 1:
        return records[0]
    if len(lists) == len(values) and len({len(value) for value in lists}) == 1:
        return [dict(zip(document, row, strict=True)) for row in zip(*lists, strict=True)]
    if values and all(isinstance(value, dict) for value in values):
        keys = list(dict.fromkeys(key for value in values for key in value))
        by_column = all(key.isdecimal() for key in keys)
        return [{name: column.get(key) for name, column in document.items()} for key in keys] if by_column else values
    return None
