"""What a table or a model holds, as a digest that does not depend on when or by which writer its file was written."""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.data.sampling import evenly_spaced_positions
from workflow.errors import UserError

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import Series
    from pyarrow import Buffer, RecordBatch, Table
    from pyarrow.parquet import ParquetFile

SAMPLE = 50
# skops tells the address in memory of every object, even of a number: which of them are one is chance. It names the
# files of arrays by theirs, and a vectorizer remembers that of its stop words.
SKOPS_ID = re.compile(r'"__id__": \d+|"_stop_words_id": \{[^}]*\}')
SKOPS_FILE = re.compile(r'(?<="file": ")\d+|^\d+')


def table(path: Path) -> dict[str, Any]:
    """SHA-256 of a parquet file's rows as CSV text, with floats in their shortest exact form."""
    from workflow.data.stored import chunk_rows
    from workflow.parallel.executors import prefetch

    with parquet_file(path) as file, ThreadPool(2) as pool:  # numbers become text in half the time
        content = hashlib.sha256(csv_text(file.schema_arrow.empty_table(), include_header=True))
        batches = file.iter_batches(chunk_rows(len(file.schema_arrow)))
        for text in prefetch((pool.apply_async(csv_text, [batch]).get for batch in batches), lambda: 3):
            content.update(text)
    return {"sha256": content.hexdigest()}


def csv_text(rows: "RecordBatch | Table", include_header: bool = False) -> "Buffer":
    """Rows as CSV."""
    from pyarrow import BufferOutputStream, csv

    text = BufferOutputStream()
    csv.write_csv(rows, text, csv.WriteOptions(include_header=include_header))
    return text.getvalue()


def short_digest(row_hashes: "Series") -> str:
    """Eight characters that tell rows from others, as MLflow shows for a dataset; takes what `split.row_hashes` says."""
    return hashlib.sha256(row_hashes.to_numpy().tobytes()).hexdigest()[:8]


def numbers(path: Path) -> dict[str, Any]:
    """As `table`, with a sample of the floating-point numbers, row by row, to compare within a tolerance."""
    with parquet_file(path) as file:
        return table(path) | sample_of([file.read().to_pandas().select_dtypes("float")])


def parquet_file(path: Path) -> "ParquetFile":
    """A parquet file that is open; UserError if it is none."""
    from workflow.data import stored

    try:
        return stored.parquet_file(path)
    except (ValueError, OSError) as error:  # pyarrow's errors are of these kinds
        raise UserError(f"{path.name}: not a parquet file ({error})") from error


def model(path: Path) -> dict[str, Any]:
    """SHA-256 of what a skops file holds, and of its structure, which is all but the floats; and a sample of these.

    Two models of one structure have the same parameters, trees and neighbours. A skops file itself holds time stamps
    and memory addresses: arrays are named by their order of appearance. Between the fields of an array it holds what
    was in memory by chance: these bytes do not count. Raises UserError for another file.
    """
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path.name}: not a skops file")
    with zipfile.ZipFile(path) as file:
        order: dict[str, str] = {}

        def renamed(text: str) -> str:
            return SKOPS_FILE.sub(lambda found: order.setdefault(found[0], str(len(order))), text)

        content = hashlib.sha256(renamed(SKOPS_ID.sub("", file.read("schema.json").decode())).encode())
        structure, floats = content.copy(), []
        others = {renamed(name): name for name in file.namelist() if name != "schema.json"}
        for alias in sorted(others, key=lambda alias: (len(alias), alias)):
            data = file.read(others[alias])
            for part in arrays_in(alias, data):
                content.update(f"{alias} {part.dtype.str} {part.shape}".encode() + part.tobytes())
                if part.dtype.kind == "f":
                    floats.append(part)
                else:
                    structure.update(alias.encode() + part.tobytes())
    return {"sha256": content.hexdigest(), "structure": structure.hexdigest()} | sample_of(floats)


def arrays_in(name: str, data: bytes) -> "list[ndarray]":
    """The arrays in a file within a skops file, those of a structured array one by one."""
    import numpy as np

    if not name.endswith((".npy", ".npz")):
        return [np.frombuffer(data, np.uint8)]
    loaded = np.load(io.BytesIO(data), allow_pickle=False)
    arrays = [loaded] if name.endswith(".npy") else list(loaded.values())
    return [part for array in arrays for part in [array[field] for field in array.dtype.names or ()] or [array]]


def sample_of(arrays: Iterable[Any]) -> dict[str, Any]:
    """How many numbers the `arrays` hold, and some of them, evenly spaced; a missing one is None."""
    import numpy as np

    flat = np.concatenate([np.ravel(array) for array in arrays] or [np.empty(0)])
    shown = flat[evenly_spaced_positions(len(flat), SAMPLE)]
    return {"count": len(flat), "sample": [float(x) if np.isfinite(x) else None for x in shown]}
