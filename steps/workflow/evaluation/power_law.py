"""Extrapolation of a learning curve by a power law."""

import numpy as np
import pandas as pd


def gain_of_twice_the_rows(curve: pd.DataFrame) -> tuple[float, float, float]:
    """Return by which fraction an error falls with twice the rows, and the ends of its 95 % confidence interval.

    Extrapolated from a line through the logarithms of errors and rows (a power law: Hestness et al. 2017, Deep learning
    scaling is predictable, empirically). Rough: all clones are scored on the same test rows.

    Args:
        curve: as `learning_curve.learning_curve` returns it, with two sizes or more; less is better, and above 0.
    """
    from scipy.stats import linregress, t

    line = linregress(np.log(curve["rows"]), np.log(curve["score"]))
    margin = t.ppf(0.975, max(1, len(curve) - 2)) * line.stderr
    gain, low, high = (float(1 - 2**slope) for slope in (line.slope, line.slope + margin, line.slope - margin))
    return gain, low, high
