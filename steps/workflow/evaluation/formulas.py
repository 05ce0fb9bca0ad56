"""Targets that follow from a few columns: as a sum or difference of them, or as a product or ratio."""

import numpy as np
import pandas as pd

from workflow.data.columns import STRING_KINDS
from workflow.data.contract import Contract
from workflow.data.findings import Finding
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.stored import StoredRows

SAMPLE_ROWS = 2000
MAX_COLUMNS = 100  # numeric ones; the best correlated are looked at
MIN_ROWS_PER_COLUMN = 4
EXACT_R2 = 0.9999  # on rows that the formula was not fitted on
LISTED_COLUMNS = 6


def formula_findings(rows: StoredRows, contract: Contract) -> list[Finding]:
    """Return a finding if a sum, difference, product or ratio of at least two columns is the target.

    Rows with a missing value among the columns are left out, as are columns that are mostly missing.
    """
    sample = rows.take(evenly_spaced_positions(len(rows), SAMPLE_ROWS))
    names = [name for name in contract.features if contract.columns[name].kind not in STRING_KINDS]
    names = [name for name in names if sample[name].notna().mean() > 0.5 and sample[name].nunique() > 2]
    if len(names) < 2:
        return []
    target = sample[contract.target]
    related = sample[names].corrwith(target).abs().fillna(0).sort_values(ascending=False, kind="stable")
    known = sample[[*related.index[:MAX_COLUMNS], contract.target]].dropna()
    if found := exact_columns(known, contract.target):
        return [formula_finding(found, "a sum or difference", contract.target)]
    positive = known.loc[:, (known > 0).all()]
    if contract.target in positive and (found := exact_columns(np.log(positive), contract.target)):
        return [formula_finding(found, "a product or ratio", contract.target)]
    return []


def exact_columns(known: pd.DataFrame, target: str) -> list[str]:
    """Return the fewest columns whose linear combination is the target; [] if there is none of at least two columns.

    Columns are left out one by one, those with the least share in the combination first.
    """
    names = [name for name in known if name != target]
    if len(names) < 2 or len(known) < MIN_ROWS_PER_COLUMN * (len(names) + 1):
        return []
    fitted, tested = known.iloc[::2], known.iloc[1::2]
    scale = known.std()
    if not is_exact(fitted, tested, names, target):
        return []
    coefficients = least_squares(fitted, names, target)[1:]
    shares = pd.Series(np.abs(coefficients) * scale[names].to_numpy(), index=names)
    for name in shares.sort_values(kind="stable").index:
        fewer = [other for other in names if other != name]
        if fewer and is_exact(fitted, tested, fewer, target):
            names = fewer
    return names if len(names) > 1 else []


def least_squares(rows: pd.DataFrame, names: list[str], target: str) -> np.ndarray:
    """Return the intercept and the coefficients of a linear model: (1 + names,)."""
    features = np.column_stack([np.ones(len(rows)), rows[names].to_numpy()])
    return np.asarray(np.linalg.lstsq(features, rows[target].to_numpy(), rcond=None)[0])


def is_exact(fitted: pd.DataFrame, tested: pd.DataFrame, names: list[str], target: str) -> bool:
    """Return whether a linear model of some columns, fitted on some rows, gives the target of others."""
    intercept, *coefficients = least_squares(fitted, names, target)
    residuals = tested[target] - (intercept + tested[names].to_numpy() @ np.array(coefficients))
    return bool((residuals**2).sum() <= (1 - EXACT_R2) * ((tested[target] - tested[target].mean()) ** 2).sum())


def formula_finding(names: list[str], how: str, target: str) -> Finding:
    """Return the finding about columns that together give the target away."""
    listed = ", ".join(names[:LISTED_COLUMNS])
    more = f" and {len(names) - LISTED_COLUMNS} more" if len(names) > LISTED_COLUMNS else ""
    message = f"{target} is {how} of {listed}{more}"
    return Finding("D107", message, f"drop one of them unless all are known before {target} is", tuple(names))
