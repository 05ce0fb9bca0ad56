"""Which rows to look at where all would take too long."""

import numpy as np


def evenly_spaced(rows: int, most: int) -> np.ndarray:
    """Places of up to `most` of so many rows, from the first to the last."""
    return np.unique(np.linspace(0, rows - 1, min(most, rows)).astype(int))
