"""Shapley values of the raw columns: how much each moved a prediction away from the mean, in units of the target."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin
from sklearn.compose import TransformedTargetRegressor

from tabular.learning.encoders import encoded_members
from tabular.learning.estimators import predict, scale_of
from tabular.learning.threads import Track, in_threads

BACKGROUND = 100  # training rows that stand for "unknown"
FEWEST = 10  # of them, where so many columns are permuted that all would take minutes
PERMUTATIONS = 2  # per background row, each walked in both directions
CELLS = 2**24  # numbers that a thread holds at once


def explain(
    estimator: TransformedTargetRegressor,
    rows: pd.DataFrame,
    background: pd.DataFrame,
    explainer: str | None,
    seed: int,
    track: Track,
) -> tuple[pd.DataFrame, float]:
    """Shapley values of `rows`, and the mean prediction on `background` from which they start.

    For every row, the values add up to its prediction minus that mean (for shap's trees, in single precision).

    A model of the price itself gets shap's exact explainer of its kind. A model of log(price) does not: the exact
    explainers stop at log(price), and such values scaled to EUR are not those of the price
    (benchmarks/shapley.py). It is explained in EUR by permutations, as are models that no exact explainer knows. Their
    cost grows with the square of the columns: from 100 columns on, fewer background rows are used.

    Args:
        estimator: fitted, as `estimators.build` makes it.
        rows: (rows, features) to explain.
        background: (background rows, features) of training data.
        explainer: the exact explainer of the model's kind, `tree` or `linear`, if it has one.
        seed: of the permutations.
        track: shows progress over an iterable of a known length.

    Returns:
        A frame like `rows` of Shapley values, and the mean prediction.
    """
    encode, regress = estimator.regressor_[:-1], estimator.regressor_[-1]
    exact = explainer if scale_of(estimator) == "identity" else None
    if not exact:
        background = background.head(max(FEWEST, BACKGROUND * 100**2 // rows.shape[1] ** 2))
    encoded, encoded_background = dense(encode.transform(rows)), dense(encode.transform(background))
    members = encoded_members(encode[-1])
    if exact:
        values = exact_values(exact, regress, encoded, encoded_background) @ members.T
    else:
        rescale = estimator.transformer_.inverse_transform
        values = permutation_values(
            lambda matrix: rescale(regress.predict(matrix)[:, None])[:, 0],
            encoded,
            encoded_background,
            members,
            seed,
            track,
        )
    return pd.DataFrame(values, columns=rows.columns, index=rows.index), float(predict(estimator, background).mean())


def colour_values(estimator: TransformedTargetRegressor, rows: pd.DataFrame) -> pd.DataFrame:
    """Numbers that tell the values of each raw column apart: a category is what the model encodes it as.

    Missing numbers, and categories that became several columns, are missing: (rows, features).
    """
    encode = estimator.regressor_[:-1]
    encoded, members = dense(encode.transform(rows)), encoded_members(encode[-1])

    def colour(column: str, outputs: np.ndarray) -> np.ndarray:
        if pd.api.types.is_numeric_dtype(rows[column]):
            return rows[column].to_numpy()
        return outputs[:, 0] if outputs.shape[1] == 1 else np.full(len(rows), np.nan)

    colours_of = {
        column: colour(column, encoded[:, became]) for column, became in zip(rows.columns, members, strict=True)
    }
    return pd.DataFrame(colours_of, index=rows.index)


def dense(matrix: Any) -> np.ndarray:
    """An array of what may be a sparse matrix."""
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def exact_values(explainer: str, regress: RegressorMixin, rows: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The values by shap's exact explainer for `linear` models or `tree`s: (rows, encoded columns)."""
    import shap

    whole = shap.maskers.Independent(background, max_samples=len(background))  # shap would take 100 rows of it
    if explainer == "linear":
        return shap.LinearExplainer(regress, whole).shap_values(rows)
    return shap.TreeExplainer(regress, whole).shap_values(rows, check_additivity=False)


def permutation_values(
    output: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    background: np.ndarray,
    members: np.ndarray,
    seed: int,
    track: Track,
) -> np.ndarray:
    """Shapley values by antithetic permutation sampling.

    Walking a random order of the columns from a background row to the explained row, a column's value is how much
    the prediction moves when it is switched; each order is walked in reverse too. Every background row has orders of
    its own, so that few orders each are enough. Štrumbelj and Kononenko 2014 (sampling), Mitchell et al. 2022
    (antithetic permutations).

    Args:
        output: of (n, encoded columns) to (n,).
        rows: (rows, encoded columns).
        background: (background rows, encoded columns).
        members: (raw columns, encoded columns) of bool; columns of one raw column are switched together.
        seed: each row draws its orders from `(seed, its number)`, so that threads do not matter.
        track: shows progress.

    Returns:
        (rows, raw columns).
    """
    columns, encoded = members.shape
    owner = members.argmax(axis=0)  # the raw column that each encoded one comes from
    starts = np.repeat(background, 2 * PERMUTATIONS, axis=0)
    parts = np.array_split(np.arange(len(starts)), math.ceil(len(starts) * (columns + 1) * encoded / CELLS))

    def explain_row(number: int) -> np.ndarray:
        random = np.random.default_rng((seed, number))
        forward = random.permuted(np.tile(np.arange(columns), (len(starts) // 2, 1)), axis=1)
        orders = np.concatenate([forward[:, None], forward[:, None, ::-1]], axis=1).reshape(-1, columns)
        rank = np.argsort(orders, axis=1)
        moves = []
        for part in parts:
            switched = rank[part][:, owner][:, None, :] < np.arange(columns + 1)[:, None]
            mixed = np.where(switched, rows[number], starts[part][:, None, :])
            walks = output(mixed.reshape(-1, encoded)).reshape(len(part), columns + 1)
            moves.append(np.take_along_axis(np.diff(walks, axis=1), rank[part], axis=1))
        return np.concatenate(moves).mean(axis=0)

    return np.array(in_threads(explain_row, range(len(rows)), track))
