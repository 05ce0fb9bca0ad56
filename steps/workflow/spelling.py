"""Suggestions for names that do not exist."""

import difflib
from collections.abc import Iterable

LISTED_NAMES = 20


def nearest(name: str, names: Iterable[str]) -> str:
    """Suggest what to write instead of a name that does not exist."""
    names = list(names)
    if close := difflib.get_close_matches(name, names, n=1):
        return f"did you mean {close[0]}?"
    return f"expected one of {', '.join(names[:LISTED_NAMES])}{', …' if len(names) > LISTED_NAMES else ''}"
