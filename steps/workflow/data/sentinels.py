"""Numbers that recur far outside the other values, such as -200 or 9999: they may stand for a missing value."""

import re
from collections import defaultdict

import pandas as pd

from workflow.data.columns import NUMERIC
from workflow.data.contract import Contract
from workflow.data.findings import Finding
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.stored import StoredRows

SAMPLE_ROWS = 5000
MIN_OCCURRENCES = 3
MIN_DISTINCT = 10  # other values of a column, to know what is far outside
USUAL = re.compile(r"-?9{2,}(\.9+)?|-?8{3,}|-[1-9]0{2,}|2147483647|-214748364[78]|-?32767|-32768")
HUGE = 1e15  # no measurement beside ordinary ones
LISTED_COLUMNS = 4


def sentinel_findings(rows: StoredRows, contract: Contract) -> list[Finding]:
    """Return a finding for each number that may stand for a missing value.

    It is far outside in two columns, or in one if people use such a number for it.
    """
    names = [name for name, column in contract.columns.items() if column.kind == NUMERIC]
    sample = rows.select(names).take(evenly_spaced_positions(len(rows), SAMPLE_ROWS))
    outside, extreme = defaultdict(list), defaultdict(list)
    for name in names:
        values = sample[name].dropna()
        for value, is_outside in recurring_extremes(values):
            extreme[value].append(name)
            if is_outside:
                outside[value].append(name)
    return [
        sentinel_finding(value, extreme[value] if value else columns, rows)
        for value, columns in outside.items()
        if len(columns) > 1 or USUAL.fullmatch(f"{value:.12g}") or abs(value) >= HUGE
    ]


def recurring_extremes(values: pd.Series) -> list[tuple[float, bool]]:
    """Return the lowest and the highest value if they recur, and whether each is far outside the others.

    That is: farther from the next value than 90 % of the other values are spread.
    """
    found = []
    for value, direction in ((values.min(), 1), (values.max(), -1)):
        others = values[values != value]
        if len(values) - len(others) >= MIN_OCCURRENCES and others.nunique() >= MIN_DISTINCT:
            gap = direction * ((others.min() if direction > 0 else others.max()) - value)
            found.append((float(value), bool(gap > others.quantile(0.95) - others.quantile(0.05))))
    return found


def sentinel_finding(value: float, columns: list[str], rows: StoredRows) -> Finding:
    """Return the finding about a number in some columns."""
    counts = {name: int((rows[name] == value).sum()) for name in columns[:LISTED_COLUMNS]}
    listed = ", ".join(f"{name} ({count:,} of {len(rows):,} rows)" for name, count in counts.items())
    more = f" and {len(columns) - LISTED_COLUMNS} more" if len(columns) > LISTED_COLUMNS else ""
    written = str(int(value)) if value.is_integer() and abs(value) < HUGE else str(value)
    message = f"{written} recurs far outside the other values of {listed}{more}: it may stand for a missing value"
    return Finding("D004", message, f'if it does, write `missing: ["{written}"]` in a contract', tuple(columns), counts)
