"""How far new rows are from those that a model has learned from, column by column."""

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from workflow.data.columns import CATEGORICAL, TEXT
from workflow.data.contract import Contract


def drift(old: pd.DataFrame, new: pd.DataFrame, terms: Contract) -> pd.DataFrame:
    """A row per feature, the furthest first.

    `drift` is the share of rows that would have to change for both to look alike, between 0 and 1: for numbers the
    Kolmogorov-Smirnov statistic, for prose that of the number of characters, for categories the total variation
    distance. `missing before` and `missing now` are shares of rows, `unseen` that of new rows with a category that the
    old ones do not have.

    Args:
        old: typed rows that a model was trained on.
        new: typed rows.
        terms: the contract of both.
    """
    lines = []
    for name in terms.features:
        before, now = old[name].dropna(), new[name].dropna()
        categorical = terms.columns[name].kind == CATEGORICAL
        if terms.columns[name].kind == TEXT:
            before, now = before.str.len(), now.str.len()
        lines.append(
            {
                "column": name,
                "drift": (variation if categorical else distance)(before, now),
                "missing before": old[name].isna().mean(),
                "missing now": new[name].isna().mean(),
                "unseen": (~now.isin(before.unique())).mean() if categorical and len(now) else np.nan,
            }
        )
    return pd.DataFrame(lines).sort_values("drift", ascending=False, kind="stable", ignore_index=True)


def variation(before: pd.Series, now: pd.Series) -> float:
    """Total variation distance of two columns of categories; not a number where one is empty."""
    if before.empty or now.empty:
        return np.nan
    shares = pd.concat([part.value_counts(normalize=True) for part in (before, now)], axis=1).fillna(0).to_numpy()
    return float(np.abs(shares[:, 0] - shares[:, 1]).sum() / 2)


def distance(before: pd.Series, now: pd.Series) -> float:
    """Kolmogorov-Smirnov statistic of two columns of numbers; not a number where one is empty."""
    return float(ks_2samp(before, now).statistic) if len(before) and len(now) else np.nan
