"""Associations between the columns of a table, of any kinds, as one number from 0 to 1."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workflow.data.columns import CATEGORICAL

GROUPS = 8  # of the values of a column
SHOWN_PAIRS = 20  # of all columns, beside those with the target


@dataclass(frozen=True)
class Association:
    """How much one column says about another: Cramér's V."""

    one: str
    other: str
    strength: float


def strongest_associations(
    columns: Mapping[str, pd.Series], kinds: Mapping[str, str], target: str
) -> list[Association]:
    """Return the associations of all columns with the target, and the strongest other ones, in descending order.

    Args:
        columns: typed values of the same rows by name: (rows,) each.
        kinds: of the columns.
        target: the name of a column.
    """
    names = list(columns)
    strengths = cramers_v(np.stack([groups(columns[name], kinds[name]) for name in names], axis=1))
    pairs = [
        Association(one, names[second], round(float(strengths[first, second]), 4))
        for first, one in enumerate(names)
        for second in range(first + 1, len(names))
    ]
    pairs.sort(key=lambda pair: -pair.strength)
    with_target = [pair for pair in pairs if target in (pair.one, pair.other)]
    others = [pair for pair in pairs if target not in (pair.one, pair.other)][:SHOWN_PAIRS]
    return sorted([*with_target, *others], key=lambda pair: -pair.strength)


def groups(values: pd.Series, kind: str) -> np.ndarray:
    """Return the group of each value, from 0 to `GROUPS` - 1, or -1 where it is missing: (rows,) of int.

    The most frequent categories are a group each, and all others one; numbers are cut into groups of about the same
    size, unless they have no more than `GROUPS` distinct values.
    """
    codes, distinct = pd.factorize(values, sort=kind != CATEGORICAL)
    if len(distinct) <= GROUPS:
        return codes
    if kind == CATEGORICAL:
        by_frequency = np.argsort(-np.bincount(codes[codes >= 0]), kind="stable")
        ranks = np.empty(len(distinct), int)
        ranks[by_frequency] = np.arange(len(distinct))
        return np.where(codes < 0, -1, np.minimum(ranks[codes], GROUPS - 1))
    return np.ceil(values.rank(pct=True).fillna(0).to_numpy() * GROUPS).astype(int) - 1


def cramers_v(codes: np.ndarray) -> np.ndarray:
    """Return Cramér's V of each pair of columns, corrected for chance: (columns, columns).

    Rows where one of both is missing do not count; a column with one group is associated with nothing.

    Args:
        codes: groups of the values, -1 where they are missing: (rows, columns).

    Source: Bergsma 2013, A bias-correction for Cramér's V and Tschuprow's T.
    """
    rows, columns = codes.shape
    indicators = (codes[:, :, None] == np.arange(GROUPS)).reshape(rows, -1).astype(np.float32)  # sums of 1 are exact
    counts = (indicators.T @ indicators).astype(float).reshape(columns, GROUPS, columns, GROUPS).swapaxes(1, 2)
    row_sums, column_sums, sizes = counts.sum(axis=3), counts.sum(axis=2), counts.sum(axis=(2, 3))
    products = row_sums[..., :, None] * column_sums[..., None, :]
    squares = np.divide(counts**2, products, out=np.zeros_like(counts), where=products > 0)
    freedom = np.maximum(sizes - 1, 1)
    n_rows, n_columns = (row_sums > 0).sum(axis=2), (column_sums > 0).sum(axis=2)
    chance = (n_rows - 1) * (n_columns - 1) / freedom
    phi = np.maximum(squares.sum(axis=(2, 3)) - 1 - chance, 0)
    corrected = [each - (each - 1) ** 2 / freedom for each in (n_rows, n_columns)]
    ways = np.minimum(*corrected) - 1
    return np.sqrt(np.clip(np.divide(phi, ways, out=np.zeros_like(phi), where=ways > 0), 0, 1))
