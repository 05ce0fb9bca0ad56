"""Choice of parameters on a holdout, and of the number of trees by cross-validation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor

from workflow.data.sampling import evenly_spaced_positions
from workflow.evaluation import cross_validation
from workflow.evaluation.ranking import RankingMetric
from workflow.models import estimators
from workflow.models.catalog import candidate_params, iteration_param
from workflow.parallel.executors import ProgressBar, iterate_in_threads, single_blas_thread

ERROR_DECIMALS = 3  # of the distance to the least error, in units of that: errors that agree so far count as equal
FIRST_COUNT = 100  # trees, after which the errors are looked at for the first time
ENOUGH = 0.6  # fraction of the trees, up to which the best number must lie for no more to be grown
MAX_HOLDOUT_TRAIN_ROWS = 8_000  # sampled to compare candidates
MAX_HOLDOUT_TEST_ROWS = 2_000


def select_and_cross_validate(
    model: str,
    model_params: dict[str, Any],
    estimator: TransformedTargetRegressor,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    metric: RankingMetric,
    make_progress_bar: Callable[[str], ProgressBar],
    weight: pd.Series | None = None,
) -> tuple[TransformedTargetRegressor, pd.DataFrame]:
    """Select the parameters that the user leaves open, then cross-validate and refit.

    Args:
        model: name or import path.
        model_params: those that the user sets.
        estimator: unfitted, as `estimators.build` returns it for both.
        features: (rows, features).
        target: (rows,).
        folds: (training positions, test positions) of each; the last one is the holdout for the selection.
        metric: by which parameters are selected.
        make_progress_bar: takes a description.
        weight: sample weights, (rows,).

    Returns:
        What `cross_validation.cross_val_predict_and_refit` returns.
    """
    candidates = candidate_params(model, model_params, *features.shape)
    counted = iteration_param(model, model_params, len(features))
    selection_bar = make_progress_bar(f"choosing parameters of {model}")
    validation_bar = make_progress_bar(f"cross-validating {model}")
    estimator = select_params_on_holdout(
        estimator, candidates, features, target, folds[-1], metric, selection_bar, weight
    )
    return cross_val_predict_and_refit(estimator, counted, features, target, folds, metric, validation_bar, weight)


def select_params_on_holdout(
    estimator: TransformedTargetRegressor,
    candidates: Sequence[Mapping[str, Any]],
    features: pd.DataFrame,
    target: pd.Series,
    fold: tuple[Any, ...],
    metric: RankingMetric,
    progress_bar: ProgressBar,
    weight: pd.Series | None = None,
) -> TransformedTargetRegressor:
    """Return an unfitted estimator with the parameters of the lowest error, its own or a candidate's.

    Each is fitted and tested on a sample of the fold, and judged by its best number of trees.
    """
    if not candidates:
        return estimator
    train, test = (
        positions[evenly_spaced_positions(len(positions), max_rows)]
        for positions, max_rows in zip(fold, (MAX_HOLDOUT_TRAIN_ROWS, MAX_HOLDOUT_TEST_ROWS), strict=True)
    )
    # Sampled here: workers are sent the variables of `least_error`, and need no other rows.
    train_features, train_target = features.iloc[train], target.iloc[train]
    test_features, test_target = features.iloc[test], target.iloc[test]
    train_weight, test_weight = estimators.weight_at(weight, train), estimators.weight_at(weight, test)

    def least_error(params: Mapping[str, Any]) -> float:
        fitted = estimators.fit(with_params(estimator, params), train_features, train_target, train_weight)
        return float(staged_errors(metric, test_target, staged_predict(fitted, test_features), test_weight).min())

    param_sets = [{}, *candidates]
    errors = np.array([*progress_bar(iterate_in_threads(least_error, param_sets), len(param_sets))])
    return with_params(estimator, param_sets[first_least(errors)])


def with_params(estimator: TransformedTargetRegressor, params: Mapping[str, Any]) -> TransformedTargetRegressor:
    """Return an unfitted clone whose regressor has `params`."""
    return clone(estimator).set_params(**{f"regressor__regress__{name}": value for name, value in params.items()})


def cross_val_predict_and_refit(
    estimator: TransformedTargetRegressor,
    counted: str,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    metric: RankingMetric,
    progress_bar: ProgressBar,
    weight: pd.Series | None = None,
) -> tuple[TransformedTargetRegressor, pd.DataFrame]:
    """Cross-validate and refit with the number of trees of the lowest error.

    Like `cross_validation.cross_val_predict_and_refit`, except that `counted` names the parameter with the number of
    trees, whose value in `estimator` is the maximum; it may be empty. To predict a fold, the number is chosen on the
    others, so that no row decides how it is predicted. Trees are grown until the error has long risen: see `ENOUGH`.
    """
    if not counted:
        return cross_validation.cross_val_predict_and_refit(estimator, features, target, folds, progress_bar, weight)
    counts = growing_counts(estimator.get_params()[f"regressor__regress__{counted}"])
    grow = partial(grow_fold, estimator, counted, features, target, weight)
    staged, errors = list[np.ndarray](), list[np.ndarray]()

    def refit(n_trees: int) -> TransformedTargetRegressor:
        return estimators.fit(with_params(estimator, {counted: n_trees}), features, target, weight)

    def results() -> Iterator[Any]:
        grown: list[TransformedTargetRegressor | None] = [None] * len(folds)
        for n_trees in counts:
            jobs = [GrowingFold(fold, fitted, n_trees) for fold, fitted in zip(folds, grown, strict=True)]
            grown, staged[:], errors[:] = [], [], []
            for (_, test), (fitted, predicted) in zip(folds, iterate_in_threads(grow, jobs), strict=True):
                grown.append(fitted)
                staged.append(predicted)
                errors.append(summed_errors(metric, target, test, predicted, weight))
                yield fitted
            best = best_count(np.sum(errors, axis=0))
            if best <= ENOUGH * n_trees:
                break
        yield from iterate_in_threads(refit, [best])

    *_, fitted = progress_bar(results(), len(counts) * len(folds) + 1)
    return fitted, best_stages(target, folds, staged, errors, weight)


@dataclass(frozen=True)
class GrowingFold:
    """A fold whose estimator, if it is fitted already, is to be grown to a number of trees."""

    positions: tuple[Any, ...]
    fitted: TransformedTargetRegressor | None
    n_trees: int


def grow_fold(
    estimator: TransformedTargetRegressor,
    counted: str,
    features: pd.DataFrame,
    target: pd.Series,
    weight: pd.Series | None,
    fold: GrowingFold,
) -> tuple[TransformedTargetRegressor, np.ndarray]:
    """Return the estimator of a fold with its number of trees, and its predictions of the test rows after each one."""
    train, test = fold.positions
    rows, params = (features.iloc[train], target.iloc[train]), {counted: fold.n_trees}
    own = estimators.weight_at(weight, train)
    if fold.fitted:
        fitted = estimators.grow(fold.fitted, *rows, params, own)
    else:
        fitted = estimators.fit(with_params(estimator, params), *rows, own)
    return fitted, staged_predict(fitted, features.iloc[test])


def growing_counts(maximum: int) -> list[int]:
    """Return numbers of trees to look at on the way to the maximum: each three times the one before."""
    counts = [FIRST_COUNT]
    while counts[-1] < maximum:
        counts.append(min(maximum, 3 * counts[-1]))
    return [min(maximum, count) for count in counts]


def best_stages(
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    staged: list[np.ndarray],
    errors: list[np.ndarray],
    weight: pd.Series | None = None,
) -> pd.DataFrame:
    """Return out-of-fold predictions, those of each fold with the number of trees that is best for folds of other rows.

    Args:
        target: (rows,).
        folds: (training positions, test positions) of each.
        staged: predictions of each fold after each tree: (trees, tested rows).
        errors: of each fold after each tree: (trees,).
        weight: sample weights, (rows,).
    """

    def errors_of_other_rows(test: np.ndarray) -> np.ndarray:
        others = [own for (_, rows), own in zip(folds, errors, strict=True) if not np.isin(rows, test).any()]
        return np.sum(others, axis=0)

    parts = []
    for fold, ((_, test), predicted) in enumerate(zip(folds, staged, strict=True)):
        best = predicted[best_count(errors_of_other_rows(test)) - 1]
        parts.append(cross_validation.fold_predictions(target, test, best, weight).assign(fold=fold))
    return cross_validation.concatenate_folds(parts)


def summed_errors(
    metric: RankingMetric, target: pd.Series, positions: np.ndarray, staged: np.ndarray, weight: pd.Series | None
) -> np.ndarray:
    """Return the error after each tree, (trees,), of the rows at `positions`, times their number or weight."""
    own = estimators.weight_at(weight, positions)
    size = len(positions) if own is None else own.sum()
    return size * staged_errors(metric, target.iloc[positions], staged, own)


def staged_errors(metric: RankingMetric, target: pd.Series, staged: np.ndarray, weight: pd.Series | None) -> np.ndarray:
    """Return the error after each tree, (trees,), of predictions of (trees, rows), with any sample weights."""
    return metric.error(target.to_numpy(), staged, weight=None if weight is None else weight.to_numpy())


def best_count(errors: np.ndarray) -> int:
    """Return the smallest number of trees with the least error, given the error after each tree: (trees,)."""
    return first_least(errors) + 1


def first_least(errors: np.ndarray) -> int:
    """Return the position of the first error that equals the least one to `ERROR_DECIMALS`."""
    least = errors.min()
    return int(np.round((errors - least) / (abs(least) or 1), ERROR_DECIMALS).argmin())


def staged_predict(estimator: TransformedTargetRegressor, features: pd.DataFrame) -> np.ndarray:
    """Predict with the first tree, the first two trees, and so on: (trees, rows)."""
    with single_blas_thread():
        encoded = estimator.regressor_[:-1].transform(features)
        staged = np.array([*estimator.regressor_[-1].staged_predict(encoded)])
        return estimator.transformer_.inverse_transform(staged.reshape(-1, 1)).reshape(staged.shape)
