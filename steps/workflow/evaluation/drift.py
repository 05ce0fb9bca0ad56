"""Drift: the distance between the distributions of training rows and new rows, feature by feature."""

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from workflow.data.columns import CATEGORICAL, TEXT
from workflow.data.contract import Contract

LARGE_DRIFT = 0.2  # from here on, a feature has drifted: chance makes that of a hundred rows or fewer


def drift(old: pd.DataFrame, new: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Compare the distributions of two sets of rows.

    Args:
        old: typed training rows.
        new: typed rows.
        contract: of both.

    Returns:
        A row per feature, the largest drift first, with the columns:
        - `column`: name of the feature.
        - `drift`: distance from 0 to 1; Kolmogorov-Smirnov statistic of numbers and of the lengths of texts, total
          variation distance of categories.
        - `missing before`, `missing now`: fraction of missing values in `old` and `new`.
        - `unseen`: fraction of the new values that are categories which `old` lacks; NaN for other kinds.
    """
    rows = [feature_drift(name, contract.columns[name].kind, old[name], new[name]) for name in contract.features]
    return pd.DataFrame(rows).sort_values("drift", ascending=False, kind="stable", ignore_index=True)


def drifted(drifts: pd.DataFrame) -> list[str]:
    """Return the features whose drift, or the change of whose fraction of missing values, is at least `LARGE_DRIFT`.

    Args:
        drifts: as `drift` returns it.
    """
    missing = (drifts["missing now"] - drifts["missing before"]).abs()
    return list(drifts["column"][(drifts["drift"] >= LARGE_DRIFT) | (missing >= LARGE_DRIFT)])


def feature_drift(name: str, kind: str, old: pd.Series, new: pd.Series) -> dict[str, object]:
    """Return one row of `drift`."""
    before, now = old.dropna(), new.dropna()
    categorical = kind == CATEGORICAL
    if kind == TEXT:
        before, now = before.str.len(), now.str.len()
    return {
        "column": name,
        "drift": (total_variation if categorical else kolmogorov_smirnov)(before, now),
        "missing before": old.isna().mean(),
        "missing now": new.isna().mean(),
        "unseen": (~now.isin(before.unique())).mean() if categorical and len(now) else np.nan,
    }


def total_variation(before: pd.Series, now: pd.Series) -> float:
    """Return the total variation distance of two categorical columns; NaN if one is empty."""
    if before.empty or now.empty:
        return np.nan
    shares = pd.concat([part.value_counts(normalize=True) for part in (before, now)], axis=1).fillna(0).to_numpy()
    return float(np.abs(shares[:, 0] - shares[:, 1]).sum() / 2)


def kolmogorov_smirnov(before: pd.Series, now: pd.Series) -> float:
    """Return the Kolmogorov-Smirnov statistic of two numeric columns; NaN if one is empty."""
    return float(ks_2samp(before, now).statistic) if len(before) and len(now) else np.nan
