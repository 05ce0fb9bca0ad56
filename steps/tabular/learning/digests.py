"""What a table or a model holds, as a digest that does not depend on when or by which writer its file was written."""

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errors import UserError
from tabular.reading.sampling import evenly_spaced

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame
    from pyarrow import Table

SAMPLE = 50
# skops tells the address in memory of every object, even of a number: which of them are one is chance. It names the
# files of arrays by theirs, and a vectorizer remembers one too.
SKOPS_ID = re.compile(r'"__id__": \d+')
SKOPS_FILE = re.compile(r'(?<="file": ")\d+|(?<="content": ")\d{12,}(?=")|^\d+')


def table(path: Path) -> dict[str, Any]:
    """SHA-256 of a parquet file's rows as CSV text, with floats in their shortest exact form."""
    return {"sha256": digest(read_table(path))}


def digest(rows: "Table") -> str:
    """SHA-256 of rows as CSV text."""
    import pyarrow.csv

    content = hashlib.sha256()
    pyarrow.csv.write_csv(rows, ByteStream(content.update))
    return content.hexdigest()


class ByteStream(io.RawIOBase):
    """A file that hands on what is written to it, so that a large text need not be held."""

    def __init__(self, hand_on: Callable[[Any], None]) -> None:
        """Hand everything on to `hand_on`."""
        self.hand_on = hand_on

    def writable(self) -> bool:
        """It is all it can be."""
        return True

    def write(self, data: Any, /) -> int:
        """Hand `data` on."""
        self.hand_on(data)
        return memoryview(data).nbytes


def short_digest(rows: "DataFrame") -> str:
    """Eight characters that tell the rows of one frame from another's, as MLflow shows for a dataset."""
    from tabular.learning.split import row_ids

    return hashlib.sha256(row_ids(rows).to_numpy().tobytes()).hexdigest()[:8]


def numbers(path: Path) -> dict[str, Any]:
    """As `table`, with a sample of the floating-point numbers, row by row, to compare within a tolerance."""
    rows = read_table(path)
    return {"sha256": digest(rows)} | sample_of([rows.to_pandas().select_dtypes("float")])


def read_table(path: Path) -> "Table":
    """The table in a parquet file; UserError if it is none."""
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path)
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
    shown = flat[evenly_spaced(len(flat), SAMPLE)]
    return {"count": len(flat), "sample": [float(x) if np.isfinite(x) else None for x in shown]}
