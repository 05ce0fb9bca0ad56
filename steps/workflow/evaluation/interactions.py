"""Which pairs of features act together: Friedman's H, from partial dependence.

The partial dependence on two features is the sum of those on each, unless they interact. H² is the share of its
variance that the sum leaves over (Friedman and Popescu 2008, Predictive learning via rule ensembles). A pair of weak
features may have a large H, so pairs are ordered by what is left over, in units of the target.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from workflow.evaluation.effects import Predict

MAX_FEATURES = 4  # those that matter most: six pairs
MAX_ROWS = 20  # each with the values of each other: 400 predictions per feature and per pair
ROUNDING = 1e-9  # of the joint effect: less is no interaction


def interactions(predict: Predict, background: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return how much each pair of features interacts, the strongest first.

    Args:
        predict: of the model.
        background: training rows, of which the first `MAX_ROWS` are used: (background rows, features).
        features: of which the first `MAX_FEATURES` are paired.

    Returns:
        `feature`, `other`, `strength`, the root mean square of what their joint effect is beyond the sum of both, in
        units of the target, and `h`, 0 without interaction: (pairs, 4).
    """
    rows = background.head(MAX_ROWS)
    singles = [(name,) for name in features[:MAX_FEATURES]]
    pairs = list(combinations(features[:MAX_FEATURES], 2))
    found = dict(zip([*singles, *pairs], partial_dependence(predict, rows, [*singles, *pairs]), strict=True))
    table = []
    for first, second in pairs:
        joint = found[first, second]
        strength, size = root_mean_square(joint - found[first,] - found[second,]), root_mean_square(joint)
        interact = strength > ROUNDING * size
        table.append((first, second, strength, strength / size) if interact else (first, second, 0.0, 0.0))
    ordered = pd.DataFrame(table, columns=["feature", "other", "strength", "h"])
    return ordered.sort_values("strength", ascending=False, kind="stable", ignore_index=True)


def partial_dependence(predict: Predict, rows: pd.DataFrame, groups: Sequence[tuple[str, ...]]) -> list[np.ndarray]:
    """Return the partial dependence on each group of features at the rows themselves, with mean 0: each of (rows,)."""
    if not groups:
        return []
    values = rows.iloc[np.repeat(np.arange(len(rows)), len(rows))].reset_index(drop=True)
    others = pd.concat([rows] * len(rows), ignore_index=True)
    asked = [others.assign(**{name: values[name] for name in group}) for group in groups]
    predicted = predict(pd.concat(asked, ignore_index=True)).reshape(len(groups), len(rows), len(rows))
    means = predicted.mean(axis=2)
    return list(means - means.mean(axis=1, keepdims=True))


def root_mean_square(values: np.ndarray) -> float:
    """Return the root mean square of values."""
    return float(np.sqrt((values**2).mean()))
