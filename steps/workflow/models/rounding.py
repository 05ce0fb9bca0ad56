"""Rounding that keeps the last bit of a number, which each processor and library rounds its own way, from deciding."""

from functools import partial

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

GRID_BITS = 16
LOGARITHMS = {"log": (np.log, np.exp), "log1p": (np.log1p, np.expm1)}  # with their inverses


def rounded_log_transformer(scale: str) -> Pipeline:
    """The transformer of a target to its logarithm, `log` or `log1p`, in single precision.

    The last bit of a logarithm is the processor's and the library's choice. A forest that finds two splits equally good
    lets it decide, and the prices that it predicts then differ in the first digit. Rounded to half as many bits, the
    logarithms are the same everywhere, and so are their sums, which are exact in double precision.
    """
    return make_pipeline(
        FunctionTransformer(*LOGARITHMS[scale]), FunctionTransformer(np.float32), FunctionTransformer(np.float64)
    )


def rounding_to_grid() -> list[FunctionTransformer]:
    """The transformers that round numbers to multiples of 2⁻¹⁶, of a standard deviation where they are scaled.

    The products and sums of such numbers are exact in double precision, so that two distances which are equal are found
    equal by any BLAS library. Else the last bits decide which of two rows is the nearer neighbour.
    """
    steps = (partial(np.multiply, 2.0**GRID_BITS), np.rint, partial(np.multiply, 2.0**-GRID_BITS))
    return [FunctionTransformer(step) for step in steps]
