"""Which parameters, and how many trees: those that err least on rows that were not learned from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor

from tabular.learning import estimators, scoring
from tabular.learning.models import to_choose, to_count
from tabular.learning.rounding import LOGARITHMS
from tabular.learning.threads import Track, each_in_threads, one_thread
from tabular.reading.sampling import evenly_spaced

DECIMALS = 3  # of an error beside the least: what errs as little is as good
SAMPLE = (8_000, 2_000)  # rows to learn from and to test, of which to choose


def choose_fit_and_test(
    model: str,
    model_params: dict[str, Any],
    estimator: TransformedTargetRegressor,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    tracker: Callable[[str], Track],
) -> tuple[TransformedTargetRegressor, pd.DataFrame]:
    """As `scoring.fit_and_test`, of a model by its name, after `least_erring` has chosen what the user left open."""
    choices = to_choose(model, model_params, *features.shape)
    counted = to_count(model, model_params, len(features))
    choosing, testing = tracker(f"choosing parameters of {model}"), tracker(f"cross-validating {model}")
    estimator = least_erring(estimator, choices, features, target, folds[-1], choosing)
    return fit_and_test(estimator, counted, features, target, folds, testing)


def least_erring(
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
    train, tested = (places[evenly_spaced(len(places), most)] for places, most in zip(fold, SAMPLE, strict=True))
    known, prices, others = features.iloc[train], target.iloc[train], features.iloc[tested]  # all that workers need
    true = target.iloc[tested]

    def with_parameters(chosen: Mapping[str, Any]) -> TransformedTargetRegressor:
        return clone(estimator).set_params(**{f"regressor__regress__{name}": chosen[name] for name in chosen})

    def error(chosen: Mapping[str, Any]) -> float:
        staged = staged_predict(estimators.fit(with_parameters(chosen), known, prices), others)
        return float(stage_errors(estimator, staged, true).min())

    tried = [{}, *choices]
    errors = np.array([*track(each_in_threads(error, tried), len(tried))])
    return with_parameters(tried[least(errors)])


def fit_and_test(
    estimator: TransformedTargetRegressor,
    counted: str,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    track: Track,
) -> tuple[TransformedTargetRegressor, pd.DataFrame]:
    """As `scoring.fit_and_test`, with as many trees as err least, up to those of the parameter `counted`, if any.

    What is fitted on all rows gets the number that errs least over all folds. A fold is tested with the number that is
    best for the others, as a blend is with their weights: its rows do not decide on what they are tested with. Errors
    are absolute ones on the scale that is learned, where no dear row outweighs many cheap ones.
    """
    if not counted:
        return scoring.fit_and_test(estimator, features, target, folds, track)
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
        for (_, tested), predicted in zip(folds, each_in_threads(test, folds), strict=True):
            staged.append(predicted)
            errors.append(stage_errors(estimator, predicted, target.iloc[tested]))
            yield predicted
        yield from each_in_threads(fit, [best_count(np.sum(errors, axis=0))])

    *_, fitted = track(results(), len(folds) + 1)
    counts = [best_count(np.sum(errors, axis=0) - own) for own in errors]
    parts = [
        scoring.tested_rows(target, tested, predicted[count - 1]).assign(fold=fold)
        for fold, ((_, tested), predicted, count) in enumerate(zip(folds, staged, counts, strict=True))
    ]
    return fitted, scoring.as_one(parts)


def best_count(errors: np.ndarray) -> int:
    """The least number of trees that errs as little as any; takes the error after each tree: (trees,)."""
    return least(errors) + 1


def least(errors: np.ndarray) -> int:
    """The first place whose error is as little as any."""
    return int(np.round(errors / (errors.min() or 1), DECIMALS).argmin())


def stage_errors(estimator: TransformedTargetRegressor, staged: np.ndarray, true: pd.Series) -> np.ndarray:
    """The sum of the absolute errors of what `staged_predict` says, on the scale that is learned: (trees,)."""
    learned, _ = LOGARITHMS.get(estimators.scale_of(estimator), (np.asarray, None))
    return np.asarray(np.abs(learned(staged) - learned(true.to_numpy())).sum(axis=1))


def staged_predict(estimator: TransformedTargetRegressor, features: pd.DataFrame) -> np.ndarray:
    """What an estimator would predict if it had ended after each of its trees: (trees, rows)."""
    with one_thread():
        encoded = estimator.regressor_[:-1].transform(features)
        staged = np.array([*estimator.regressor_[-1].staged_predict(encoded)])
        return estimator.transformer_.inverse_transform(staged.reshape(-1, 1)).reshape(staged.shape)
