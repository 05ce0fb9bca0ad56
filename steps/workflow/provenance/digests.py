"""Digests of artifacts by their content, whenever and by whichever library the file was written."""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.data.sampling import evenly_spaced_positions
from workflow.documents import read_yaml
from workflow.errors import UserError
from workflow.provenance import fingerprint
from workflow.provenance.receipt import ArtifactDigest

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import Series
    from pyarrow import Buffer, RecordBatch, Table
    from pyarrow.parquet import ParquetFile

SAMPLE_NUMBERS = 50
# A skops file holds the memory address of every object, even of a number: which of them are the same object is chance.
# It names the files of arrays by their addresses, and a vectorizer keeps that of its stop words.
SKOPS_ID = re.compile(r'"__id__": \d+|"_stop_words_id": \{[^}]*\}')
SKOPS_FILE = re.compile(r'(?<="file": ")\d+|^\d+')


def table(path: Path) -> ArtifactDigest:
    """Digest a Parquet file's rows as CSV text, with floats in their shortest exact form."""
    from workflow.data.stored import chunk_rows
    from workflow.parallel.executors import prefetch

    with parquet_file(path) as file, ThreadPool(2) as pool:  # formats numbers in half the time
        content = hashlib.sha256(csv_text(file.schema_arrow.empty_table(), include_header=True))
        batches = file.iter_batches(chunk_rows(len(file.schema_arrow)))
        for text in prefetch((pool.apply_async(csv_text, [batch]).get for batch in batches), lambda: 3):
            content.update(text)
    return ArtifactDigest(sha256=content.hexdigest())


def csv_text(rows: "RecordBatch | Table", include_header: bool = False) -> "Buffer":
    """Return rows as CSV."""
    from pyarrow import BufferOutputStream, csv

    text = BufferOutputStream()
    csv.write_csv(rows, text, csv.WriteOptions(include_header=include_header))
    return text.getvalue()


def short_digest(row_hashes: "Series") -> str:
    """Return eight characters that identify rows, as MLflow shows for a dataset, from their `split.row_hashes`."""
    return hashlib.sha256(row_hashes.to_numpy().tobytes()).hexdigest()[:8]


def numbers(path: Path) -> ArtifactDigest:
    """Digest a Parquet file as `table` does, with a sample of its floats, row by row, to compare within a tolerance."""
    with parquet_file(path) as file:
        sample = sample_of([file.read().to_pandas().select_dtypes("float")])
    return table(path).model_copy(update=sample)


def parquet_file(path: Path) -> "ParquetFile":
    """Open a Parquet file; UserError if it is not one."""
    from workflow.data import stored

    try:
        return stored.parquet_file(path)
    except (ValueError, OSError) as error:  # pyarrow's errors are of these kinds
        raise UserError(f"{path.name}: not a Parquet file ({error})") from error


def yaml_values(path: Path) -> ArtifactDigest:
    """Digest the values in a YAML or JSON file; comments and layout do not count. UserError for another file."""
    try:
        return ArtifactDigest(sha256=fingerprint.digest(read_yaml(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path.name}: not YAML ({' '.join(str(error).split())})") from error


def file(path: Path) -> ArtifactDigest:
    """Digest the bytes of a file."""
    return ArtifactDigest(sha256=fingerprint.file_digest(path))


def model(path: Path) -> ArtifactDigest:
    """Digest what a skops file holds, and its structure, which is all but the floats; with a sample of these.

    Two models of one structure have the same parameters, trees and neighbours. A skops file itself holds time stamps
    and memory addresses: arrays are named by their order of appearance. The padding between the fields of an array is
    uninitialised memory and does not count. Its types are listed, none is imported. Raises UserError for another file.
    """
    import skops.io

    if not zipfile.is_zipfile(path):
        raise UserError(f"{path.name}: not a skops file")
    with zipfile.ZipFile(path) as archive:
        order: dict[str, str] = {}

        def renamed(text: str) -> str:
            return SKOPS_FILE.sub(lambda found: order.setdefault(found[0], str(len(order))), text)

        content = hashlib.sha256(renamed(SKOPS_ID.sub("", archive.read("schema.json").decode())).encode())
        structure, floats = content.copy(), []
        others = {renamed(name): name for name in archive.namelist() if name != "schema.json"}
        for alias in sorted(others, key=lambda alias: (len(alias), alias)):
            for array in arrays_in(alias, archive.read(others[alias])):
                content.update(f"{alias} {array.dtype.str} {array.shape}".encode() + array.tobytes())
                if array.dtype.kind == "f":
                    floats.append(array)
                else:
                    structure.update(alias.encode() + array.tobytes())
    types = skops.io.get_untrusted_types(file=path)
    return ArtifactDigest(sha256=content.hexdigest(), structure=structure.hexdigest(), **sample_of(floats), types=types)


def arrays_in(name: str, data: bytes) -> "list[ndarray]":
    """Return the arrays in a file within a skops file, those of a structured array one by one."""
    import numpy as np

    if not name.endswith((".npy", ".npz")):
        return [np.frombuffer(data, np.uint8)]
    loaded = np.load(io.BytesIO(data), allow_pickle=False)
    arrays = [loaded] if name.endswith(".npy") else list(loaded.values())
    return [part for array in arrays for part in [array[field] for field in array.dtype.names or ()] or [array]]


def sample_of(arrays: Iterable[Any]) -> dict[str, Any]:
    """Return how many numbers the `arrays` hold, and evenly spaced ones of them; a missing one is None."""
    import numpy as np

    flat = np.concatenate([np.ravel(array) for array in arrays] or [np.empty(0)])
    shown = flat[evenly_spaced_positions(len(flat), SAMPLE_NUMBERS)]
    return {"count": len(flat), "sample": [float(x) if np.isfinite(x) else None for x in shown]}
