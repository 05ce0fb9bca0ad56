"""How the prediction changes with the value of a feature: partial dependence, or accumulated local effects.

Partial dependence is the mean prediction of some training rows with one value set in all of them (Friedman 2001, Greedy
function approximation); the rows themselves are ICE lines (Goldstein et al. 2015, Peeking inside the black box). Where
a number is correlated with another, that would predict rows that do not exist: its effect is accumulated from small
steps of rows that are near (Apley and Zhu 2020, Visualizing the effects of predictor variables).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workflow.data.columns import TEXT
from workflow.data.contract import Contract

PARTIAL_DEPENDENCE, ACCUMULATED = "partial dependence", "accumulated local effects"
MAX_FEATURES = 6  # those that matter most
GRID = 11  # values of a number: quantiles of the training rows
MAX_CATEGORIES = 8  # the most frequent ones
ICE_LINES = 20
CORRELATED = 0.5  # from which absolute rank correlation on a number has accumulated local effects
Predict = Callable[[pd.DataFrame], np.ndarray]  # of rows: (rows,)


@dataclass(frozen=True)
class Question:
    """Rows to predict for the effect of one feature.

    Attributes:
        feature: its name.
        method: `PARTIAL_DEPENDENCE` or `ACCUMULATED`.
        grid: its values, in order.
        rows: the training rows, once per value; or on the lower and then on the upper end of their intervals.
    """

    feature: str
    method: str
    grid: np.ndarray
    rows: pd.DataFrame


def effects(predict: Predict, background: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return the effect of some features on the prediction.

    Args:
        predict: of the model.
        background: training rows: (background rows, features).
        features: to look at; one without two values is left out.

    Returns:
        A row per feature and value: `feature`, `method`, `value` as text, `number` (missing for a category), `effect`,
        the mean prediction in units of the target, and `ice_0` to `ice_19`, those of single rows (missing where the
        method has none).
    """
    questions = [asked for name in features if len((asked := question(background, name)).grid) > 1]
    if not questions:
        return pd.DataFrame(columns=["feature", "method", "value", "number", "effect"])
    predicted = predict(pd.concat([each.rows for each in questions], ignore_index=True))
    answers = np.split(predicted, np.cumsum([len(each.rows) for each in questions])[:-1])
    mean = predict(background).mean()
    tables = [answer(asked, found, background, mean) for asked, found in zip(questions, answers, strict=True)]
    return pd.concat(tables, ignore_index=True)


def question(background: pd.DataFrame, feature: str) -> Question:
    """Return the rows to predict for the effect of a feature."""
    values = background[feature].dropna()
    if not pd.api.types.is_numeric_dtype(values):
        counts = values.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        return on_grid(background, feature, counts.index[:MAX_CATEGORIES].to_numpy(object))
    grid = np.unique(np.quantile(values, np.linspace(0, 1, GRID), method="nearest")) if len(values) else np.empty(0)
    if not is_correlated(background, feature):
        return on_grid(background, feature, grid)
    known = background.loc[values.index]
    upper = np.clip(np.searchsorted(grid, values.to_numpy()), 1, len(grid) - 1)
    ends = [known.assign(**{feature: grid[end]}) for end in (upper - 1, upper)]
    return Question(feature, ACCUMULATED, grid, pd.concat(ends, ignore_index=True))


def on_grid(background: pd.DataFrame, feature: str, grid: np.ndarray) -> Question:
    """Return the training rows with each value of the grid, for partial dependence."""
    rows = pd.concat([background] * len(grid), ignore_index=True) if len(grid) else background.head(0)
    column = pd.Series(np.repeat(grid, len(background)), rows.index).astype(background[feature].dtype)
    return Question(feature, PARTIAL_DEPENDENCE, grid, rows.assign(**{feature: column}))


def is_correlated(background: pd.DataFrame, feature: str) -> bool:
    """Return whether the absolute rank correlation of a number with another is `CORRELATED` or more."""
    numbers = background.select_dtypes("number")
    others = numbers.drop(columns=feature)
    return bool((others.rank().corrwith(numbers[feature].rank()).abs().round(9) >= CORRELATED).any())


def answer(asked: Question, predicted: np.ndarray, background: pd.DataFrame, mean: float) -> pd.DataFrame:
    """Return the part of `effects` about one feature, from the predictions of its rows."""
    grid = asked.grid
    lines = np.full((len(grid), ICE_LINES), np.nan)
    if asked.method == PARTIAL_DEPENDENCE:
        by_value = predicted.reshape(len(grid), -1)
        effect = by_value.mean(axis=1)
        lines[:, : by_value.shape[1]] = by_value[:, :ICE_LINES]
    else:
        effect = mean + accumulated(predicted, background[asked.feature].dropna().to_numpy(), grid)
    is_number = pd.api.types.is_numeric_dtype(background[asked.feature])
    table = pd.DataFrame({"feature": asked.feature, "method": asked.method, "value": [str(each) for each in grid]})
    table["number"] = grid.astype(float) if is_number else np.nan
    ice = pd.DataFrame(lines, columns=[f"ice_{line}" for line in range(ICE_LINES)])
    return pd.concat([table.assign(effect=effect), ice], axis=1)


def accumulated(predicted: np.ndarray, values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return accumulated local effects, with mean 0 over the rows: (grid,).

    Args:
        predicted: of the rows on the lower, then on the upper ends of their intervals: (2 rows,).
        values: of the rows: (rows,).
        grid: the ends of the intervals, in order.
    """
    low, high = predicted.reshape(2, -1)
    intervals = np.clip(np.searchsorted(grid, values), 1, len(grid) - 1) - 1
    counts = np.bincount(intervals, minlength=len(grid) - 1)
    steps = np.bincount(intervals, high - low, len(grid) - 1) / np.maximum(counts, 1)
    curve = np.concatenate([[0.0], np.cumsum(steps)])
    return curve - np.interp(values, grid, curve).mean()


def most_important(shap_values: pd.DataFrame, contract: Contract, count: int = MAX_FEATURES) -> list[str]:
    """Return the features with the largest mean |SHAP values|, texts left out: (up to `count`,)."""
    sizes = shap_values.abs().mean().sort_values(ascending=False, kind="stable")
    return [name for name in sizes.index if contract.columns[name].kind != TEXT][:count]
