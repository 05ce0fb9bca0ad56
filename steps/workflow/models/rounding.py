"""Rounding of inputs and targets, so that the last bits, which differ by processor and library, decide nothing."""

from functools import partial

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

GRID_BITS = 16
LOGARITHMS = {"log": (np.log, np.exp), "log1p": (np.log1p, np.expm1)}  # each with its inverse


def rounded_log_transformer(logarithm: str) -> Pipeline:
    """Return a transformer of the target to its logarithm, rounded to single precision.

    The last bit of a logarithm depends on processor and library. It decides between two splits of a tree that are
    equally good, after which predictions differ in the first digit. In single precision the logarithms are the same
    everywhere, and so are their sums, which are exact in double precision.

    Args:
        logarithm: `log` or `log1p`.
    """
    return make_pipeline(
        FunctionTransformer(*LOGARITHMS[logarithm]), FunctionTransformer(np.float32), FunctionTransformer(np.float64)
    )


def rounding_to_grid() -> list[FunctionTransformer]:
    """Return transformers that round numbers to multiples of 2⁻¹⁶.

    Products and sums of such numbers are exact in double precision, so that any BLAS library finds equal distances
    equal. Otherwise the last bits would decide which of two rows is the nearer neighbour.
    """
    steps = (partial(np.multiply, 2.0**GRID_BITS), np.rint, partial(np.multiply, 2.0**-GRID_BITS))
    return [FunctionTransformer(step) for step in steps]
