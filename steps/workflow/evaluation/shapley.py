"""Shapley values of the raw columns: how much each moved a prediction away from the mean, in units of the target."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import exprel
from sklearn.base import RegressorMixin
from sklearn.compose import TransformedTargetRegressor

from workflow.models.encoders import encoded_column_owners
from workflow.models.estimators import predict, target_transform_of
from workflow.parallel.executors import Track, run_in_threads

BACKGROUND = 100  # training rows that stand for "unknown"
FEWEST = 10  # of them, where so many columns are permuted that all would take minutes
MANY = 100  # columns, from where on permutations of them take too long
NODES = 16  # of the quadrature
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

    For every row, the values add up to its prediction minus that mean. Linear models are explained exactly, and so are
    trees that learn the price itself. Trees of log(price), and models of which no more is known than what they predict,
    are explained by permutations, whose cost grows with the square of the columns. From `MANY` columns on, trees of
    log(price) are explained from row to row in log(price), and each of these explanations is stretched to EUR
    (benchmarks/shapley.py says how right that is); and other models get fewer background rows.

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
    logarithmic = target_transform_of(estimator) != "identity"
    many = rows.shape[1] > MANY
    walks = explainer != "linear" and not (explainer == "tree" and (many or not logarithmic))
    if walks and many:
        background = background.head(max(FEWEST, BACKGROUND * MANY**2 // rows.shape[1] ** 2))
    encoded, encoded_background = dense(encode.transform(rows)), dense(encode.transform(background))
    members = encoded_column_owners(encode[-1])
    if walks:
        rescale = estimator.transformer_.inverse_transform
        values = permutation_shapley_values(
            lambda matrix: rescale(regress.predict(matrix)[:, None])[:, 0],
            encoded,
            encoded_background,
            members,
            seed,
            track,
        )
    else:
        exact = linear_shapley_values if explainer == "linear" else tree_shapley_values
        values = exact(regress, encoded, encoded_background, sparse.csr_array(members.T.astype(float)), logarithmic)
    return pd.DataFrame(values, columns=rows.columns, index=rows.index), float(predict(estimator, background).mean())


def colour_values(estimator: TransformedTargetRegressor, rows: pd.DataFrame) -> pd.DataFrame:
    """Numbers that tell the values of each raw column apart: a category is what the model encodes it as.

    Missing numbers, and categories that became several columns, are missing: (rows, features).
    """
    encode = estimator.regressor_[:-1]
    encoded, members = dense(encode.transform(rows)), encoded_column_owners(encode[-1])

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


def linear_shapley_values(
    regress: RegressorMixin, rows: np.ndarray, background: np.ndarray, members: sparse.csr_array, logarithmic: bool
) -> np.ndarray:
    """Exact Shapley values of a linear model of a number, or of its logarithm: (rows, raw columns).

    What a column does to the logarithm adds to what others do, and so multiplies the number. The Shapley value is the
    integral of its derivative where every column is switched with the same probability (Owen 1972, Multilinear
    Extensions of Games): a polynomial, for which Gauss-Legendre quadrature is exact up to 2 `NODES` columns.

    Args:
        regress: fitted, with `coef_`.
        rows: (rows, encoded columns).
        background: (background rows, encoded columns).
        members: (encoded columns, raw columns) of 0 and 1.
        logarithmic: whether it is of the logarithm.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    values = np.zeros((len(rows), members.shape[1]))
    for start, predicted in zip(background, regress.predict(background), strict=True):
        moves = ((rows - start) * regress.coef_) @ members
        if not logarithmic:
            values += moves
            continue
        growth = np.expm1(moves)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            factors = 1 + node * growth
            values += weight * np.exp(predicted) * growth * factors.prod(axis=1, keepdims=True) / factors
    return values / len(background)


def tree_shapley_values(
    regress: RegressorMixin, rows: np.ndarray, background: np.ndarray, members: sparse.csr_array, logarithmic: bool
) -> np.ndarray:
    """Shapley values of trees for a number, exact; or, from those for its logarithm, nearly: (rows, raw columns).

    What a row's logarithm is above that of one background row is shared out exactly, by shap's explainer, and stretched
    to what the number is above that row's: the rescale rule of Shrikumar et al. 2017 (DeepLIFT).

    Args: as `linear_shapley_values`.
    """
    import shap

    explainer = shap.TreeExplainer(regress, shap.maskers.Independent(background[:1]))
    # Its C code keeps thresholds in single precision. Where one is rounded up, a number beyond it goes the other way.
    explainer.model.thresholds = rounded_down(explainer.model.thresholds)
    inputs = [rounded_down(numbers.astype(explainer.model.input_dtype)) for numbers in (rows, background)]
    values = np.zeros((len(rows), rows.shape[1]))
    predicted = regress.predict(rows)
    for start, before in zip(inputs[1], regress.predict(background), strict=True):
        explainer.data = start[None]
        stretch = exprel(predicted - before) * np.exp(before) if logarithmic else np.ones(len(rows))
        values += stretch[:, None] * explainer.shap_values(inputs[0], check_additivity=False)
    return values / len(background) @ members


def rounded_down(numbers: np.ndarray) -> np.ndarray:
    """The largest numbers of single precision that are not above these, in double precision."""
    near = numbers.astype(np.float32)
    return np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float64)


def permutation_shapley_values(
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

    return np.array(run_in_threads(explain_row, range(len(rows)), track))
