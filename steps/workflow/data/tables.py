"""Tables in open files, whatever their format; `files.open_table` opens them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow

from workflow.data.findings import Finding
from workflow.data.sampling import evenly_spaced_positions, slice_positions
from workflow.data.stored import take_sorted

REJECTION_COLUMNS = ["row", "column", "value", "reason"]
NONE_MALFORMED = pd.DataFrame(columns=REJECTION_COLUMNS)
Positions = np.ndarray | None  # sorted positions of some rows of a table; None for all rows


@dataclass(frozen=True)
class Table:
    """A table in open files.

    Attributes:
        columns: names of the columns.
        rows: number of rows, malformed lines not included.
        malformed: the malformed lines, with the columns of `REJECTION_COLUMNS`; `row` is the number of the line.
        read: reads the rows at some positions, in chunks. Columns are text if the file is CSV or JSON, with empty
            fields missing, and typed otherwise. The index is the position in the file, or in all files of a folder as
            if they were one.
        numbers: from the index of the first row to after that of the last one, or of the last malformed line.
        notes: what was recognized in the file besides its rows, such as title lines: sentences for its reader.
    """

    columns: list[str]
    rows: int
    malformed: pd.DataFrame
    read: Callable[[Positions], Iterator[pd.DataFrame]]
    numbers: range
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """The notes as findings."""
        return [Finding("D011", f"the file: {note}") for note in self.notes]

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Return all rows, in chunks."""
        return self.read(None)

    def sample(self, max_rows: int) -> pd.DataFrame:
        """Return up to `max_rows` rows, evenly spaced."""
        return pd.concat(self.read(evenly_spaced_positions(self.rows, max_rows)))


def concat_tables(tables: list[Table], files: list[Path], partitions: list[dict[str, str | None]]) -> Table:
    """Concatenate the tables of some files, of the same columns, and add the columns of their partitions.

    Line numbers go on from table to table, as if all were one file.
    """
    ends = tables[0].numbers.start + np.cumsum([0, *(len(table.numbers) for table in tables)])
    lines_before = [end - table.numbers.start for end, table in zip(ends, tables, strict=False)]
    rows_before = np.cumsum([0, *(table.rows for table in tables)])

    def read(positions: Positions) -> Iterator[pd.DataFrame]:
        for table, values, line, start in zip(tables, partitions, lines_before, rows_before[:-1], strict=True):
            for rows in table.read(None if positions is None else slice_positions(positions, start, table.rows)):
                rows.index += line
                yield rows.assign(**{name: pd.Series(value, rows.index, "str") for name, value in values.items()})

    malformed = [
        table.malformed.assign(row=table.malformed["row"] + line)
        for table, line in zip(tables, lines_before, strict=True)
    ]
    names = [*tables[0].columns, *partitions[0]]
    numbers = range(ends[0], ends[-1])
    found = pd.concat(malformed, ignore_index=True)
    return Table(names, rows_before[-1], found, read, numbers, merge_notes(tables, files))


def merge_notes(tables: list[Table], files: list[Path]) -> tuple[str, ...]:
    """Return the notes on some tables; of several files, each note names the first that it is about."""
    about: dict[str, list[Path]] = {}
    for table, file in zip(tables, files, strict=True):
        for note in table.notes:
            about.setdefault(note, []).append(file)
    if len(files) == 1:
        return tuple(about)
    others = {note: f" and {len(found) - 1:,} more" if len(found) > 1 else "" for note, found in about.items()}
    return tuple(f"{found[0]}{others[note]}: {note}" for note, found in about.items())


def take_with_index(
    batches: Iterable[pyarrow.RecordBatch], index: pd.Index, positions: Positions
) -> Iterator[tuple[pyarrow.RecordBatch, pd.Index]]:
    """Yield the rows of the batches at `positions`, each batch with its part of the `index` of all rows."""
    if positions is not None:
        batches, index = take_sorted(batches, positions), index[positions]
    start = 0
    for batch in batches:
        yield batch, index[start : start + batch.num_rows]
        start += batch.num_rows


def unique_names(names: list[str]) -> list[str]:
    """Return the names, with a number after each repetition."""
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        unique.append(name if counts[name] == 1 else f"{name}_{counts[name]}")
    return unique
