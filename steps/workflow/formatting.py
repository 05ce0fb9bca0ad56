"""Numbers and lists as people write them."""

import math
from collections.abc import Sequence


def percent(fraction: float, digits: int = 0) -> str:
    """Return a fraction as a percentage, such as 12 %; a dash for NaN."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.{digits}f} %"


def number(value: float) -> str:
    """Return a number with three significant digits, or in full from 1000 on: 12,300 / 1998 / 45.6 / 0.789."""
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"
    return f"{value:.3g}"


def first_few(texts: Sequence[str], shown: int = 3) -> str:
    """Return the first texts of a list, and how many more there are: a, b, c and 2 more."""
    rest = f" and {len(texts) - shown} more" if len(texts) > shown else ""
    return f"{', '.join(texts[:shown])}{rest}"
