"""Which parameters, and how many trees: those that err least on rows that were not learned from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor

from workflow.data.sampling import evenly_spaced_positions
from workflow.evaluation import cross_validation
from workflow.models import estimators
from workflow.models.catalog import candidate_params, iteration_param
from workflow.models.rounding import LOGARITHMS
from workflow.parallel.executors import Track, iterate_in_threads, single_blas_thread

DECIMALS = 3  # of an error beside the least: what errs as little is as good
SAMPLE = (8_000, 2_000)  # rows to learn from and to test, of which to choose


def select_and_cross_validate(
    model: str,
    model_params: dict[str, Any],
    estimator: TransformedTargetRegressor,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    tracker: Callable[[str], Track],
) -> tuple[TransformedTargetRegressor, pd.DataFrame]:
    """As `cross_validation.cross_val_predict_and_refit`, of a model by its name, after `select_params_on_holdout` has chosen what the user left open."""
    choices = candidate_params(model, model_params, *features.shape)
    counted = iteration_param(model, model_params, len(features))
    choosing, testing = tracker(f"choosing parameters of {model}"), tracker(f"cross-validating {model}")
    estimator = select_params_on_holdout(estimator, choices, features, target, folds[-1], choosing)
    return cross_val_predict_and_refit(estimator, counted, features, target, folds, testing)


def select_params_on_holdout(
    estimator: TransformedTargetRegressor,
    choices: Sequence[Mapping[str, Any]],
    features: pd.DataFrame,
    target: pd.Series,
    fold: tuple[Any, ...],
    track: Track,
) -> TransformedTargetRegressor:
    """An unfitted estimator with those of the `choices` of parameters that err least, or with its own.

    They are tried on a `SAMPLE` of a fold, with as many trees as suit each of them best.
    """
    if not choices:
        return estimator
    train, tested = (
        places[evenly_spaced_positions(len(places), most)] for places, most in zip(fold, SAMPLE, strict=True)
    )
    known, prices, others = features.iloc[train], target.iloc[train], features.iloc[tested]  # all that workers need
    true = target.iloc[tested]

    def with_parameters(chosen: Mapping[str, Any]) -> TransformedTargetRegressor:
        return clone(estimator).set_params(**{f"regressor__regress__{name}": chosen[name] for name in chosen})

    def error(chosen: Mapping[str, Any]) -> float:
        staged = staged_predict(estimators.fit(with_parameters(chosen), known, prices), others)
        return float(staged_errors(estimator, staged, true).min())

    tried = [{}, *choices]
    errors = np.array([*track(iterate_in_threads(error, tried), len(tried))])
    return with_parameters(tried[least(errors)])


def cross_val_predict_and_refit(
    estimator: TransformedTargetRegressor,
    counted: str,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    track: Track,
) -> tuple[TransformedTargetRegressor, pd.DataFrame]:
    """As `cross_validation.cross_val_predict_and_refit`, with as many trees as err least, up to those of the parameter `counted`, if any.

    What is fitted on all rows gets the number that errs least over all folds. A fold is tested with the number that is
    best for the others, as a blend is with their weights: its rows do not decide on what they are tested with. Errors
    are absolute ones on the scale that is learned, where no dear row outweighs many cheap ones.
    """
    if not counted:
        return cross_validation.cross_val_predict_and_refit(estimator, features, target, folds, track)
    staged: list[np.ndarray] = []
    errors: list[np.ndarray] = []

    def test(fold: tuple[Any, ...]) -> np.ndarray:
        train, tested = fold
        fitted = estimators.fit(clone(estimator), features.iloc[train], target.iloc[train])
        return staged_predict(fitted, features.iloc[tested])

    def fit(count: int) -> TransformedTargetRegressor:
        chosen = clone(estimator).set_params(**{f"regressor__regress__{counted}": count})
        return estimators.fit(chosen, features, target)

    def results() -> Iterator[Any]:
        for (_, tested), predicted in zip(folds, iterate_in_threads(test, folds), strict=True):
            staged.append(predicted)
            errors.append(staged_errors(estimator, predicted, target.iloc[tested]))
            yield predicted
        yield from iterate_in_threads(fit, [best_count(np.sum(errors, axis=0))])

    *_, fitted = track(results(), len(folds) + 1)
    counts = [best_count(np.sum(errors, axis=0) - own) for own in errors]
    parts = [
        cross_validation.fold_predictions(target, tested, predicted[count - 1]).assign(fold=fold)
        for fold, ((_, tested), predicted, count) in enumerate(zip(folds, staged, counts, strict=True))
    ]
    return fitted, cross_validation.concatenate_folds(parts)


def best_count(errors: np.ndarray) -> int:
    """The least number of trees that errs as little as any; takes the error after each tree: (trees,)."""
    return least(errors) + 1


def least(errors: np.ndarray) -> int:
    """The first place whose error is as little as any."""
    return int(np.round(errors / (errors.min() or 1), DECIMALS).argmin())


def staged_errors(estimator: TransformedTargetRegressor, staged: np.ndarray, true: pd.Series) -> np.ndarray:
    """The sum of the absolute errors of what `staged_predict` says, on the scale that is learned: (trees,)."""
    learned, _ = LOGARITHMS.get(estimators.target_transform_of(estimator), (np.asarray, None))
    return np.asarray(np.abs(learned(staged) - learned(true.to_numpy())).sum(axis=1))


def staged_predict(estimator: TransformedTargetRegressor, features: pd.DataFrame) -> np.ndarray:
    """What an estimator would predict if it had ended after each of its trees: (trees, rows)."""
    with single_blas_thread():
        encoded = estimator.regressor_[:-1].transform(features)
        staged = np.array([*estimator.regressor_[-1].staged_predict(encoded)])
        return estimator.transformer_.inverse_transform(staged.reshape(-1, 1)).reshape(staged.shape)
