"""The differences of two tables: columns, rows that only one has, and rows of which some cells have changed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow

from workflow.data.stored import column_numbers
from workflow.data.tables import Positions, Table
from workflow.formatting import first_few

MAX_PAIRED_CELLS = 30_000_000  # of the rows without an equal one; their hashes are held in memory
MAX_EXAMPLES = 5  # of each kind
MAX_EXAMPLE_CELLS = 6  # of a whole row
REMOVED, ADDED, CHANGED = "removed", "added", "changed"
EXAMPLE_COLUMNS = ["row", "kind", "column", "a", "b"]
Result = TypeVar("Result")


@dataclass(frozen=True)
class RowDifferences:
    """What differs between a table a and a table b.

    Attributes:
        columns_removed: names of the columns that only a has.
        columns_added: names of the columns that only b has.
        removed: number of rows that only a has.
        added: number of rows that only b has.
        changed: number of rows of which some cells have changed.
        changed_cells: how many of their cells have, by column.
        is_paired: whether changed rows were looked for: of very many, all count as removed and added.
        examples: a line per example, with `EXAMPLE_COLUMNS`; `row` is the number of the line, in b unless it is gone.
    """

    columns_removed: list[str]
    columns_added: list[str]
    removed: int
    added: int
    changed: int
    changed_cells: dict[str, int] = field(default_factory=dict)
    is_paired: bool = True
    examples: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=EXAMPLE_COLUMNS))

    def __str__(self) -> str:
        """Return the differences in a line."""
        counts = {REMOVED: self.removed, ADDED: self.added, CHANGED: self.changed}
        found = [f"{count:,} {'row' if count == 1 else 'rows'} {kind}" for kind, count in counts.items() if count]
        if not self.is_paired:
            found[-1] += " (too many to look for changed cells)"
        if self.changed:
            cells = [f"{name} in {count:,}" for name, count in self.changed_cells.items() if count]
            found[-1] += f" ({first_few(cells)})"
        for kind, names in ((REMOVED, self.columns_removed), (ADDED, self.columns_added)):
            if names:
                found.append(f"{'column' if len(names) == 1 else 'columns'} {first_few(names)} {kind}")
        return ", ".join(found) or "the same rows in another order, or written in another way"


def compare_rows(one: Table, other: Table) -> RowDifferences:
    """Return the differences of two tables; rows are compared by the columns that both have.

    Equal rows are set aside first, wherever they stand. Of the rest, a row of one table and a row of the other belong
    together if they differ in a single cell; or if they stand in the same line and half of their cells are equal.
    """
    shared = [name for name in one.columns if name in other.columns]
    factors = odd_factors(len(shared))
    rest = np.arange(one.rows), np.arange(other.rows)
    if shared:
        left, right = both(lambda table: row_hashes(table, shared, factors), (one, other))
        rest = unmatched(left, right), unmatched(right, left)
    is_paired = max(map(len, rest)) * len(shared) <= MAX_PAIRED_CELLS
    pairs = np.empty((0, 2), int)
    cells = np.empty((0, len(shared)), bool)
    if is_paired and shared and min(map(len, rest)):
        sides = list(zip((one, other), rest, strict=True))
        (hashes, lines), (other_hashes, other_lines) = both(lambda side: cell_hashes(side[0], shared, side[1]), sides)
        pairs = paired(hashes, other_hashes, factors, (lines, other_lines))
        cells = hashes[pairs[:, 0]] != other_hashes[pairs[:, 1]]
    removed, added = (np.delete(own, pairs[:, side]) for side, own in enumerate(rest))
    changed = rest[0][pairs[:, 0]], rest[1][pairs[:, 1]]
    return RowDifferences(
        columns_removed=[name for name in one.columns if name not in shared],
        columns_added=[name for name in other.columns if name not in shared],
        removed=len(removed),
        added=len(added),
        changed=len(pairs),
        changed_cells=dict(zip(shared, map(int, cells.sum(axis=0)), strict=True)),
        is_paired=is_paired,
        examples=examples(one, other, shared, removed, added, changed),
    )


def both(work: Callable[[Any], Result], sides: Sequence[Any]) -> tuple[Result, Result]:
    """Return the results of `work` for both sides, computed in parallel."""
    with ThreadPool(2) as pool:
        one, other = pool.map(work, sides)
    return one, other


def odd_factors(count: int) -> np.ndarray:
    """Return a factor per column, so that the hash of a row is a sum from which that of a cell can be taken away."""
    return np.random.default_rng(0).integers(0, 2**64, count, np.uint64) | np.uint64(1)


def cell_hashes(table: Table, names: list[str], positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a hash per cell of the columns `names`, of the rows at sorted `positions`, and the numbers of their lines.

    They are (positions, columns) of uint64, and (positions,) of int.
    """
    hashes, lines = zip(*hashes_of_chunks(table, names, positions), strict=True)
    return np.concatenate(hashes), np.concatenate(lines)


def hashes_of_chunks(table: Table, names: list[str], positions: Positions) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the hashes of the cells of each chunk, as `cell_hashes` returns them, and the numbers of its lines."""
    import duckdb

    with duckdb.connect() as connection:
        for rows in table.read(positions):
            cells = pyarrow.Table.from_pandas(rows[names], preserve_index=False)
            numbers = column_numbers(cells.schema)
            connection.register("cells", cells.rename_columns(numbers))
            query = ", ".join(f'hash(CAST("{number}" AS VARCHAR)) AS "{number}"' for number in numbers)
            found = connection.sql(f"SELECT {query} FROM cells").fetchnumpy()
            yield np.column_stack([found[number] for number in numbers]), rows.index.to_numpy()


def row_hashes(table: Table, names: list[str], factors: np.ndarray) -> np.ndarray:
    """Return a hash per row of the columns `names`: (rows,) of uint64."""
    return np.concatenate([hashes @ factors for hashes, _ in hashes_of_chunks(table, names, None)])


def unmatched(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the sorted positions of the rows that have no equal partner: where one occurs twice, it needs two.

    A row in the same place is preferred.

    Args:
        own: hashes of the rows of a table: (rows,).
        other: hashes of the rows of another table: (other rows,).
    """
    same_place = np.flatnonzero(own[: len(other)] == other[: len(own)])
    left, right = (np.delete(np.arange(len(each)), same_place) for each in (own, other))
    return np.delete(left, equal_pairs(own[left], other[right])[:, 0])


def equal_pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the positions of equal keys in two arrays, each used once, the first with the first: (pairs, 2)."""
    sides = []
    for keys in (one, other):
        order = np.argsort(keys, kind="stable")
        ranked = keys[order]
        starts = np.r_[0, np.flatnonzero(ranked[1:] != ranked[:-1]) + 1] if len(keys) else np.empty(0, int)
        counts = np.diff(np.r_[starts, len(keys)])
        sides.append((order, ranked[starts], starts, counts))
    _, left, right = np.intersect1d(sides[0][1], sides[1][1], assume_unique=True, return_indices=True)
    shared = np.minimum(sides[0][3][left], sides[1][3][right])
    offsets = np.arange(shared.sum()) - np.repeat(np.cumsum(shared) - shared, shared)
    columns = [
        order[np.repeat(starts[found], shared) + offsets]
        for (order, _, starts, _), found in zip(sides, (left, right), strict=True)
    ]
    return np.column_stack(columns)


def paired(one: np.ndarray, other: np.ndarray, factors: np.ndarray, lines: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the positions of rows of two tables that belong together, in the order of the first: (pairs, 2).

    Args:
        one: hashes of the cells of a table: (rows, columns).
        other: hashes of the cells of another table: (other rows, columns).
        factors: by which the hash of a row is their sum: (columns,).
        lines: numbers of the lines of the rows of both.
    """
    sums = one @ factors, other @ factors
    found = [same_line(one, other, lines, np.arange(len(one)), np.arange(len(other)), len(factors) - 1)]
    left, right = (np.delete(np.arange(len(own)), found[0][:, side]) for side, own in enumerate((one, other)))
    for column, factor in enumerate(factors):
        keys = (sums[0] - one[:, column] * factor)[left], (sums[1] - other[:, column] * factor)[right]
        pairs = equal_pairs(*keys)
        found.append(np.column_stack([left[pairs[:, 0]], right[pairs[:, 1]]]))
        left, right = np.delete(left, pairs[:, 0]), np.delete(right, pairs[:, 1])
    pairs = np.concatenate([*found, same_line(one, other, lines, left, right, len(factors) / 2)])
    return pairs[np.argsort(pairs[:, 0])]


def same_line(
    one: np.ndarray,
    other: np.ndarray,
    lines: tuple[np.ndarray, np.ndarray],
    left: np.ndarray,
    right: np.ndarray,
    min_equal: float,
) -> np.ndarray:
    """Return the pairs of rows in the same line with at least `min_equal` equal cells: (pairs, 2).

    Args:
        one: as `paired` takes it.
        other: as `paired` takes it.
        lines: as `paired` takes them.
        left: positions of the rows of `one` that have no partner yet.
        right: those of `other`.
        min_equal: number of cells.
    """
    found = equal_pairs(lines[0][left], lines[1][right])
    pairs = np.column_stack([left[found[:, 0]], right[found[:, 1]]])
    return pairs[(one[pairs[:, 0]] == other[pairs[:, 1]]).sum(axis=1) >= max(min_equal, 1)]


def examples(
    one: Table,
    other: Table,
    shared: list[str],
    removed: np.ndarray,
    added: np.ndarray,
    changed: tuple[np.ndarray, np.ndarray],
) -> pd.DataFrame:
    """Return some rows that only one table has, and some cells that have changed, with `EXAMPLE_COLUMNS`."""
    lines = [
        (number, kind, "", *((text, "") if kind == REMOVED else ("", text)))
        for kind, table, positions in ((REMOVED, one, removed), (ADDED, other, added))
        for number, text in whole_rows(table, positions[:MAX_EXAMPLES])
    ]
    first, second = (positions[:MAX_EXAMPLES] for positions in changed)
    order = np.argsort(second)
    before, after = rows_at(one, first), rows_at(other, second[order]).iloc[np.argsort(order)]
    for (_, old), (number, new) in zip(before.iterrows(), after.iterrows(), strict=True):
        lines += [
            (number, CHANGED, name, text_of(old[name]), text_of(new[name]))
            for name in shared
            if text_of(old[name]) != text_of(new[name])
        ]
    return pd.DataFrame(lines, columns=EXAMPLE_COLUMNS)


def rows_at(table: Table, positions: np.ndarray) -> pd.DataFrame:
    """Return the rows at sorted `positions`, by the numbers of their lines."""
    return pd.concat([pd.DataFrame(columns=table.columns), *table.read(positions)])


def whole_rows(table: Table, positions: np.ndarray) -> list[tuple[int, str]]:
    """Return the number of the line and the first cells of the rows at `positions`."""
    found = []
    for number, row in rows_at(table, positions).iterrows():
        cells = [f"{name}={text_of(value)}" for name, value in row.items()]
        found.append((number, ", ".join(cells[:MAX_EXAMPLE_CELLS]) + (", …" if len(cells) > MAX_EXAMPLE_CELLS else "")))
    return found


def text_of(value: object) -> str:
    """Return a cell as text; a missing one is empty."""
    return "" if pd.isna(value) else str(value)
