"""Positions of sampled rows, where reading all rows takes too long or too much memory."""

import numpy as np


def evenly_spaced_positions(rows: int, max_rows: int) -> np.ndarray:
    """Return the sorted positions of up to `max_rows` of `rows` rows, evenly spaced from the first to the last."""
    return np.unique(np.linspace(0, rows - 1, min(max_rows, rows)).astype(int))


def random_positions(rows: int, max_rows: int, seed: int) -> np.ndarray:
    """Return the positions of up to `max_rows` of `rows` rows, in random order."""
    return np.random.RandomState(seed).choice(rows, min(max_rows, rows), replace=False)


def slice_positions(positions: np.ndarray, start: int, rows: int) -> np.ndarray:
    """Return the sorted `positions` that lie in the `rows` rows from `start` on, relative to `start`."""
    return positions[np.searchsorted(positions, start) : np.searchsorted(positions, start + rows)] - start
