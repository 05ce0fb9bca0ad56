"""Which rows to look at where all would take too long, or do not fit into memory."""

import numpy as np


def evenly_spaced_positions(rows: int, most: int) -> np.ndarray:
    """Places of up to `most` of so many rows, from the first to the last."""
    return np.unique(np.linspace(0, rows - 1, min(most, rows)).astype(int))


def random_positions(rows: int, most: int, seed: int) -> np.ndarray:
    """Places of up to `most` of so many rows, in no order."""
    return np.random.RandomState(seed).choice(rows, min(most, rows), replace=False)


def slice_positions(places: np.ndarray, first: int, rows: int) -> np.ndarray:
    """Those of some ascending places that are among so many rows, counted from the `first` of these."""
    return places[np.searchsorted(places, first) : np.searchsorted(places, first + rows)] - first
