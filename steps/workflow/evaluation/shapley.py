"""Shapley values of the features: how far each moves a prediction from the mean prediction, in units of the target.

Linear models are explained exactly, and so are trees that are fitted on the target itself. Trees that are fitted on its
logarithm, and all other models, are explained by sampling permutations, whose cost grows with the square of the number
of features. Beyond `PERMUTATION_MAX_FEATURES`, explanations of such trees are exact for the logarithm and rescaled to
units of the target (benchmarks/shapley.py measures the error); other models get fewer background rows.
"""

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
from workflow.parallel.executors import ProgressBar, run_in_threads

BACKGROUND = 100  # training rows whose values stand for "unknown"
MIN_BACKGROUND = 10  # of them, where permutations of many features would take minutes
PERMUTATION_MAX_FEATURES = 100
QUADRATURE_NODES = 16
PERMUTATIONS = 2  # per background row, each walked in both directions
CHUNK_CELLS = 2**24  # numbers that a thread holds at once


def explain(
    estimator: TransformedTargetRegressor,
    rows: pd.DataFrame,
    background: pd.DataFrame,
    explainer: str | None,
    seed: int,
    progress_bar: ProgressBar,
) -> tuple[pd.DataFrame, float]:
    """Explain predictions: for each row, the Shapley values add up to its prediction minus the mean prediction.

    Args:
        estimator: fitted, as `estimators.build` returns it.
        rows: to explain: (rows, features).
        background: a sample of the training set: (background rows, features).
        explainer: exact explainer of the model's kind, `tree` or `linear`, if it has one.
        seed: of the permutations.
        progress_bar: wraps an iterable of known length.

    Returns:
        A frame like `rows` of Shapley values, and the mean prediction of the background rows that are used.
    """
    encode, regress = estimator.regressor_[:-1], estimator.regressor_[-1]
    logarithmic, n_features = target_transform_of(estimator) != "identity", rows.shape[1]
    permute = uses_permutations(explainer, logarithmic, n_features)
    if permute:
        background = background.head(max_background_rows(n_features))
    encoded, encoded_background = dense(encode.transform(rows)), dense(encode.transform(background))
    owned = encoded_column_owners(encode[-1])
    if permute:
        inverse = estimator.transformer_.inverse_transform

        def output(matrix: np.ndarray) -> np.ndarray:
            return inverse(regress.predict(matrix)[:, None])[:, 0]

        values = permutation_shapley_values(output, encoded, encoded_background, owned, seed, progress_bar)
    else:
        exact = linear_shapley_values if explainer == "linear" else tree_shapley_values
        values = exact(regress, encoded, encoded_background, sparse.csr_array(owned.T.astype(float)), logarithmic)
    return pd.DataFrame(values, columns=rows.columns, index=rows.index), float(predict(estimator, background).mean())


def uses_permutations(explainer: str | None, logarithmic: bool, n_features: int) -> bool:
    """Return whether a model is explained by permutations, not by the exact explainer of its kind."""
    if explainer == "tree":
        return logarithmic and n_features <= PERMUTATION_MAX_FEATURES
    return explainer != "linear"


def max_background_rows(n_features: int) -> int | None:
    """Return how many background rows permutations of so many features can afford; None for all."""
    if n_features <= PERMUTATION_MAX_FEATURES:
        return None
    return max(MIN_BACKGROUND, BACKGROUND * PERMUTATION_MAX_FEATURES**2 // n_features**2)


def colour_values(estimator: TransformedTargetRegressor, rows: pd.DataFrame) -> pd.DataFrame:
    """Return numbers that order the values of each feature, by which a plot colours them: (rows, features).

    A category is the number that it is encoded as. Missing numbers are NaN, and so are categories that are encoded in
    several columns.
    """
    encode = estimator.regressor_[:-1]
    encoded, owned = dense(encode.transform(rows)), encoded_column_owners(encode[-1])

    def colour(name: str, columns: np.ndarray) -> np.ndarray:
        if pd.api.types.is_numeric_dtype(rows[name]):
            return rows[name].to_numpy()
        return columns[:, 0] if columns.shape[1] == 1 else np.full(len(rows), np.nan)

    colours = {name: colour(name, encoded[:, own]) for name, own in zip(rows.columns, owned, strict=True)}
    return pd.DataFrame(colours, index=rows.index)


def dense(matrix: Any) -> np.ndarray:
    """Return a matrix, which may be sparse, as an array."""
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def linear_shapley_values(
    regress: RegressorMixin, rows: np.ndarray, background: np.ndarray, owners: sparse.csr_array, logarithmic: bool
) -> np.ndarray:
    """Return exact Shapley values of a linear model of the target or of its logarithm: (rows, features).

    Effects on the logarithm add up, so each feature multiplies the target by a factor. Its Shapley value is the
    integral over p of the effect of switching it while all others are switched with probability p (Owen 1972,
    Multilinear extensions of games): a polynomial, for which Gauss-Legendre quadrature is exact up to
    2 `QUADRATURE_NODES` features.

    Args:
        regress: fitted, with `coef_`.
        rows: (rows, encoded columns).
        background: (background rows, encoded columns).
        owners: 1 where an encoded column comes from a feature, else 0: (encoded columns, features).
        logarithmic: whether the model is of the logarithm.
    """
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    values = np.zeros((len(rows), owners.shape[1]))
    for start, predicted in zip(background, regress.predict(background), strict=True):
        moves = ((rows - start) * regress.coef_) @ owners
        if not logarithmic:
            values += moves
            continue
        growth = np.expm1(moves)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            factors = 1 + node * growth
            values += weight * np.exp(predicted) * growth * factors.prod(axis=1, keepdims=True) / factors
    return values / len(background)


def tree_shapley_values(
    regress: RegressorMixin, rows: np.ndarray, background: np.ndarray, owners: sparse.csr_array, logarithmic: bool
) -> np.ndarray:
    """Return Shapley values of trees: (rows, features). They are exact unless the model is of the logarithm.

    shap explains exactly by how much the model's output for a row exceeds that for one background row. For a model of
    the logarithm, this is rescaled to the difference of the targets: the rescale rule of DeepLIFT (Shrikumar et al.
    2017).

    Args:
        regress: fitted.
        rows: (rows, encoded columns).
        background: (background rows, encoded columns).
        owners: 1 where an encoded column comes from a feature, else 0: (encoded columns, features).
        logarithmic: whether the model is of the logarithm.
    """
    import shap

    explainer = shap.TreeExplainer(regress, shap.maskers.Independent(background[:1]))
    # shap's C code keeps thresholds in single precision: if one were rounded up, values just above it would go left.
    explainer.model.thresholds = round_down_to_float32(explainer.model.thresholds)
    inputs = [round_down_to_float32(numbers.astype(explainer.model.input_dtype)) for numbers in (rows, background)]
    values = np.zeros((len(rows), rows.shape[1]))
    predicted = regress.predict(rows)
    for start, before in zip(inputs[1], regress.predict(background), strict=True):
        explainer.data = start[None]
        scale = exprel(predicted - before) * np.exp(before) if logarithmic else np.ones(len(rows))
        values += scale[:, None] * explainer.shap_values(inputs[0], check_additivity=False)
    return values / len(background) @ owners


def round_down_to_float32(numbers: np.ndarray) -> np.ndarray:
    """Return the largest single-precision numbers that are not above `numbers`, as float64."""
    near = numbers.astype(np.float32)
    return np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float64)


def permutation_shapley_values(
    output: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    background: np.ndarray,
    owned: np.ndarray,
    seed: int,
    progress_bar: ProgressBar,
) -> np.ndarray:
    """Return Shapley values by antithetic permutation sampling: (rows, features).

    See Štrumbelj and Kononenko 2014 for sampling, Mitchell et al. 2022 for antithetic permutations. Each background row
    has permutations of its own, so that a few of them suffice.

    Args:
        output: the model, of (n, encoded columns) to (n,).
        rows: (rows, encoded columns).
        background: (background rows, encoded columns).
        owned: which encoded columns come from each feature: (features, encoded columns) of bool.
        seed: with the position of a row, it decides the permutations, so that the number of threads does not matter.
        progress_bar: wraps an iterable of known length.
    """
    n_features, n_encoded = owned.shape
    owners = owned.argmax(axis=0)
    starts = np.repeat(background, 2 * PERMUTATIONS, axis=0)
    n_chunks = math.ceil(len(starts) * (n_features + 1) * n_encoded / CHUNK_CELLS)
    chunks = np.array_split(np.arange(len(starts)), n_chunks)

    def explain_row(position: int) -> np.ndarray:
        random = np.random.default_rng((seed, position))
        ranks = np.argsort(antithetic_permutations(random, len(starts) // 2, n_features), axis=1)
        moves = [feature_moves(output, rows[position], starts[chunk], ranks[chunk], owners) for chunk in chunks]
        return np.concatenate(moves).mean(axis=0)

    return np.array(run_in_threads(explain_row, range(len(rows)), progress_bar))


def antithetic_permutations(random: np.random.Generator, n_pairs: int, n_features: int) -> np.ndarray:
    """Return random permutations of the features, each followed by its reverse: (2 n_pairs, features)."""
    forward = random.permuted(np.tile(np.arange(n_features), (n_pairs, 1)), axis=1)
    return np.concatenate([forward[:, None], forward[:, None, ::-1]], axis=1).reshape(-1, n_features)


def feature_moves(
    output: Callable[[np.ndarray], np.ndarray],
    row: np.ndarray,
    starts: np.ndarray,
    ranks: np.ndarray,
    owners: np.ndarray,
) -> np.ndarray:
    """Return how far each feature moves the output, as features switch one by one from a background row to `row`.

    Args:
        output: the model, of (n, encoded columns) to (n,).
        row: (encoded columns,).
        starts: background rows: (walks, encoded columns).
        ranks: when each feature is switched: (walks, features).
        owners: the feature that each encoded column comes from, switched together: (encoded columns,).

    Returns:
        (walks, features).
    """
    n_walks, n_features = ranks.shape
    switched = ranks[:, owners][:, None, :] < np.arange(n_features + 1)[:, None]
    mixed = np.where(switched, row, starts[:, None, :])
    walks = output(mixed.reshape(-1, len(row))).reshape(n_walks, n_features + 1)
    return np.take_along_axis(np.diff(walks, axis=1), ranks, axis=1)
