"""A search for the parameters with which a model errs least in cross-validation."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sklearn.base import BaseEstimator

from errors import UserError
from tabular.learning import scoring

RANDOM = 10  # trials before the sampler has learned enough to aim
DIGITS = 3  # of a number that is tried: no score hangs on more
TERMS = {"low", "high", "log"}
Attempt = Callable[[dict[str, Any], Callable[[float], bool]], bool]  # see `search`


def distributions(model: str, space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """What is tried of each parameter: `{low: …, high: …, log: true}`, whole numbers if both ends are, or choices.

    Raises UserError for a range or a list that is empty, or is none.
    """
    return {name: distribution(f"space={{{model}: {{{name}: {terms}}}}}", terms) for name, terms in space.items()}


def distribution(place: str, terms: Any) -> BaseDistribution:
    """What is tried of one parameter; a UserError begins with `place`."""
    if isinstance(terms, list) and terms:
        return CategoricalDistribution(terms)
    if not isinstance(terms, dict) or not {"low", "high"} <= terms.keys() <= TERMS:
        raise UserError(f"{place}: must be a range, like {{low: 0.01, high: 0.3, log: true}}, or a list of choices")
    low, high = terms["low"], terms["high"]
    whole = isinstance(low, int) and isinstance(high, int)
    try:
        if low >= high:
            raise ValueError(f"nothing lies between {low} and {high}")
        return (IntDistribution if whole else FloatDistribution)(low, high, log=bool(terms.get("log")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{place}: {error}") from error


def search(
    found: Mapping[str, BaseDistribution],
    start: Mapping[str, Any],
    trials: int,
    timeout: float,
    seed: int,
    attempt: Attempt,
) -> Iterator[optuna.Study]:
    """Try parameters out, one set after another; the study so far after each trial.

    By a tree-structured Parzen estimator (Bergstra et al. 2011). A trial whose error, over the folds that it has been
    through, is above the median of what others had there is given up. One seed makes the same trials on any machine.

    Args:
        found: what may be tried, by parameter.
        start: parameters to begin with, where they may be tried.
        trials: how many.
        timeout: seconds after which no other trial begins; 0 for none.
        seed: of the sampler.
        attempt: tests parameters fold by fold, and hands each fold's error to its second argument, which says whether
            to give up; returns whether it has come to the end.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM, multivariate=True, seed=seed)
    study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.MedianPruner())
    study.enqueue_trial({name: value for name, value in start.items() if may_be(found.get(name), value)})
    end = time.monotonic() + timeout if timeout else float("inf")
    for _ in range(trials):
        trial = study.ask(dict(found))
        errors: list[float] = []

        def give_up(error: float, trial: optuna.Trial = trial, errors: list[float] = errors) -> bool:
            errors.append(error)
            trial.report(sum(errors) / len(errors), step=len(errors))
            return trial.should_prune()

        whole = attempt(rounded(trial.params), give_up)
        if whole:
            study.tell(trial, sum(errors) / len(errors))
        else:
            study.tell(trial, state=TrialState.PRUNED)
        yield study
        if time.monotonic() > end:
            return


def test(
    estimator: BaseEstimator,
    features: pd.DataFrame,
    target: pd.Series,
    folds: list[tuple[Any, ...]],
    give_up: Callable[[dict[str, float]], bool],
) -> list[dict[str, float]]:
    """The scores of each fold, until `give_up` says so of one; the rest is as `scoring.cross_validate` takes it."""
    done: list[dict[str, float]] = []

    def until_given_up(results: Iterable[pd.DataFrame], total: int) -> Iterator[pd.DataFrame]:
        for tested in results:
            done.append(scoring.fold_scores(tested))
            yield tested
            if give_up(done[-1]):
                return

    scoring.tested_folds(estimator, features, target, folds, until_given_up)
    return done


def may_be(found: BaseDistribution | None, value: Any) -> bool:
    """Whether a value is among what is tried."""
    if isinstance(found, CategoricalDistribution):
        return value in found.choices
    return found is not None and isinstance(value, int | float) and found.low <= value <= found.high  # type: ignore[attr-defined]


def rounded(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they are tried: no more digits than matter."""
    return {
        name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value for name, value in parameters.items()
    }
