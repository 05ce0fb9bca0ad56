"""Shapley values of the features: how far each moves a prediction from the mean prediction, in units of the target.

Linear models are explained exactly, and so are trees that are fitted on the target itself. Trees that are fitted on its
logarithm, and all other models, are explained by sampling permutations: walks from a background row to the explained
one. Along a walk, trees of many features are summed leaf by leaf; otherwise each step is predicted, and models without
an explainer of their kind get fewer walks the more features there are. benchmarks/shapley.py measures the errors.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import RegressorMixin
from sklearn.compose import TransformedTargetRegressor

from workflow.evaluation.tree_walks import Trees, outputs_along_walks
from workflow.models.encoders import encoded_column_owners
from workflow.models.estimators import predict, target_transform_of
from workflow.parallel.executors import ProgressBar, run_in_threads

BACKGROUND = 100  # training rows whose values stand for "unknown"
MIN_BACKGROUND = 10  # of them, where permutations of many features would take minutes
PERMUTATIONS = 2  # per background row, each walked in both directions
PREDICTIONS = 9_000  # per explained row, where each step is predicted: enough for 200 permutations of 21 features
PREDICTED_MAX_FEATURES = 8  # of trees: with more, boosting is faster when leaves are summed
QUADRATURE_NODES = 16
CHUNK_CELLS = 2**24  # numbers that a thread holds at once
Outputs = Callable[[np.ndarray, np.ndarray], np.ndarray]  # the model's along walks: see `permutation_shapley_values`


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
    n_permutations = BACKGROUND * PERMUTATIONS if explainer else affordable_permutations(n_features)
    background = background.head(n_permutations)
    encoded, encoded_background = dense(encode.transform(rows)), dense(encode.transform(background))
    owned = encoded_column_owners(encode[-1])
    owners = sparse.csr_array(owned.T.astype(float))
    if explainer == "linear":
        values = linear_shapley_values(regress, encoded, encoded_background, owners, logarithmic)
    elif explainer == "tree" and not logarithmic:
        values = tree_shapley_values(regress, encoded, encoded_background, owners)
    else:
        through_trees = explainer == "tree" and n_features > PREDICTED_MAX_FEATURES
        outputs_of = tree_outputs if through_trees else predicted_outputs
        steps = outputs_of(regress, encoded_background, owned.argmax(axis=0))
        outputs = in_units_of_target(steps, estimator.transformer_.inverse_transform)
        shape = (len(background), min(PERMUTATIONS, max(1, n_permutations // len(background))), n_features)
        values = permutation_shapley_values(outputs, encoded, shape, seed, progress_bar)
    return pd.DataFrame(values, columns=rows.columns, index=rows.index), float(predict(estimator, background).mean())


def affordable_permutations(n_features: int) -> int:
    """Return how many permutations of so many features a model that predicts each step can afford, for each row."""
    walks = PREDICTIONS // (n_features + 1)
    return min(BACKGROUND * PERMUTATIONS, max(MIN_BACKGROUND, walks // 2))


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
    regress: RegressorMixin, rows: np.ndarray, background: np.ndarray, owners: sparse.csr_array
) -> np.ndarray:
    """Return exact Shapley values of trees, by shap: (rows, features).

    Args:
        regress: fitted.
        rows: (rows, encoded columns).
        background: (background rows, encoded columns).
        owners: 1 where an encoded column comes from a feature, else 0: (encoded columns, features).
    """
    explainer = tree_explainer(regress, background)
    inputs = [round_down_to_float32(numbers.astype(explainer.model.input_dtype)) for numbers in (rows, background)]
    values = np.zeros((len(rows), rows.shape[1]))
    for start in inputs[1]:
        explainer.data = start[None]
        values += explainer.shap_values(inputs[0], check_additivity=False)
    return values / len(background) @ owners


def tree_explainer(regress: RegressorMixin, background: np.ndarray) -> Any:
    """Return shap's explainer of trees; values that it compares are to be rounded by `round_down_to_float32`."""
    import shap

    explainer = shap.TreeExplainer(regress, shap.maskers.Independent(background[:1]))
    # shap's C code keeps thresholds in single precision: if one were rounded up, values just above it would go left.
    explainer.model.thresholds = round_down_to_float32(explainer.model.thresholds)
    if explainer.model.model_type == "xgboost":
        explainer.model.input_dtype = np.float32  # in which xgboost compares, but shap does not
    return explainer


def round_down_to_float32(numbers: np.ndarray) -> np.ndarray:
    """Return the largest single-precision numbers that are not above `numbers`, as float64."""
    near = numbers.astype(np.float32)
    return np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float64)


def in_units_of_target(outputs: Outputs, inverse: Callable[[np.ndarray], np.ndarray]) -> Outputs:
    """Return `outputs` after the inverse of the transformation that the model was fitted on."""

    def transformed(row: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        found = outputs(row, ranks)
        return inverse(found.reshape(-1, 1)).reshape(found.shape)

    return transformed


def permutation_shapley_values(
    outputs: Outputs, rows: np.ndarray, shape: tuple[int, int, int], seed: int, progress_bar: ProgressBar
) -> np.ndarray:
    """Return Shapley values by antithetic permutation sampling: (rows, features).

    See Štrumbelj and Kononenko 2014 for sampling, Mitchell et al. 2022 for antithetic permutations. Each background row
    has permutations of its own, so that a few of them suffice. All explained rows share them, so that the values of a
    row are the same among whichever rows it is explained.

    Args:
        outputs: called with a row, of (encoded columns,), and with the rank of each feature in the order in which a
            walk switches it, of (background rows × permutations × 2, features); it returns the model's output before
            the first and after each step of each walk: (walks, features + 1).
        rows: (rows, encoded columns).
        shape: the numbers of background rows, of permutations per background row, and of features.
        seed: decides the permutations.
        progress_bar: wraps an iterable of known length.
    """
    n_background, n_permutations, n_features = shape
    walks = antithetic_permutations(np.random.default_rng(seed), n_background * n_permutations, n_features)
    ranks = np.argsort(walks, axis=1)

    def explain_row(position: int) -> np.ndarray:
        moves = np.diff(outputs(rows[position], ranks), axis=1)
        return np.take_along_axis(moves, ranks, axis=1).mean(axis=0)

    explained = run_in_threads(explain_row, range(len(rows)), progress_bar)
    return np.array(explained).reshape(len(rows), n_features)


def antithetic_permutations(random: np.random.Generator, n_pairs: int, n_features: int) -> np.ndarray:
    """Return random permutations of the features, each followed by its reverse: (2 n_pairs, features)."""
    forward = random.permuted(np.tile(np.arange(n_features), (n_pairs, 1)), axis=1)
    return np.concatenate([forward[:, None], forward[:, None, ::-1]], axis=1).reshape(-1, n_features)


def predicted_outputs(regress: RegressorMixin, background: np.ndarray, owners: np.ndarray) -> Outputs:
    """Return a function that predicts each step of each walk.

    Args:
        regress: fitted.
        background: (background rows, encoded columns).
        owners: the feature that each encoded column comes from, switched together: (encoded columns,).
    """

    def outputs(row: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        n_walks, n_features = ranks.shape
        starts = np.repeat(background, n_walks // len(background), axis=0)
        n_chunks = math.ceil(n_walks * (n_features + 1) * len(row) / CHUNK_CELLS)
        steps = np.arange(n_features + 1)[:, None]

        def predicted(chunk: np.ndarray) -> np.ndarray:
            switched = ranks[chunk][:, owners][:, None, :] < steps
            mixed = np.where(switched, row, starts[chunk][:, None, :])
            return regress.predict(mixed.reshape(-1, len(row))).reshape(len(chunk), len(steps))

        return np.concatenate([predicted(chunk) for chunk in np.array_split(np.arange(n_walks), n_chunks)])

    return outputs


def tree_outputs(regress: RegressorMixin, background: np.ndarray, owners: np.ndarray) -> Outputs:
    """Return a function that sums the leaves of trees along each walk; arguments as of `predicted_outputs`."""
    ensemble = tree_explainer(regress, background).model
    trees = Trees.of(ensemble, owners)

    def goes_left(row: np.ndarray) -> np.ndarray:
        return trees.goes_left(round_down_to_float32(row.astype(ensemble.input_dtype)))

    starts_left = np.array([goes_left(start) for start in background])
    return lambda row, ranks: outputs_along_walks(trees, goes_left(row), starts_left, ranks)
