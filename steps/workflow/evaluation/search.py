"""A search for the parameters with which a model errs least in cross-validation."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from workflow.errors import UserError

RANDOM = 10  # trials before the sampler has learned enough to aim
DIGITS = 3  # of a number that is tried: no score hangs on more
ENOUGH = 5  # trials that have come to the end, before others are given up
TERMS = {"low", "high", "log"}
Asked = tuple[dict[str, Any], list[float]]  # what a trial tries, and the mean error after each fold that ends it


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
    folds: int,
    test: Callable[[Iterator[Asked]], Iterable[list[float]]],
) -> Generator[optuna.Study, None, None]:
    """Try parameters out; the study so far after each trial.

    By a tree-structured Parzen estimator (Bergstra et al. 2011). A trial is given up where its mean error, over the
    folds that it has been through, is above a limit: the median of those that had come to the end when it was asked
    for (Golovin et al. 2017). One seed makes the same trials, if `test` takes as many ahead.

    Args:
        found: what may be tried, by parameter.
        start: parameters to begin with, where they may be tried.
        trials: how many.
        timeout: seconds after which no others begin; 0 for none.
        seed: of the sampler.
        folds: that a trial has to go through.
        test: takes what is asked for as it needs it, and gives the errors in the folds of each, in order, up to the
            fold after which the mean is above that fold's limit. There are no limits at first.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM, multivariate=True, seed=seed)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({name: value for name, value in start.items() if is_in_space(found.get(name), value)})
    end = time.monotonic() + timeout if timeout else float("inf")
    running: deque[optuna.Trial] = deque()

    def asked() -> Iterator[Asked]:
        for number in range(trials):
            if number and time.monotonic() > end:
                return
            running.append(study.ask(dict(found)))
            yield rounded(running[-1].params), medians(study)

    for errors in test(asked()):
        trial = running.popleft()
        for place in range(len(errors)):
            trial.report(float(np.mean(errors[: place + 1])), place)
        if len(errors) == folds:
            study.tell(trial, float(np.mean(errors)))
        else:
            study.tell(trial, state=TrialState.PRUNED)
        yield study


def medians(study: optuna.Study) -> list[float]:
    """The median, over the trials that have come to the end, of the mean error after each fold; none of too few."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < ENOUGH:
        return []
    return [float(value) for value in np.median([list(trial.intermediate_values.values()) for trial in done], axis=0)]


def test_folds(
    predict_fold: Callable[[int], dict[str, float]], folds: int, limits: Sequence[float], metric: str
) -> list[dict[str, float]]:
    """The scores of each of so many folds, up to that after which the mean of a metric is above its limit, if any."""
    done: list[dict[str, float]] = []
    for place in range(folds):
        done.append(predict_fold(place))
        if limits and np.mean([scores[metric] for scores in done]) > limits[place]:
            break
    return done


def is_in_space(found: BaseDistribution | None, value: Any) -> bool:
    """Whether a value is among what is tried."""
    if isinstance(found, CategoricalDistribution):
        return value in found.choices
    return found is not None and isinstance(value, int | float) and found.low <= value <= found.high  # type: ignore[attr-defined]


def rounded(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they are tried: no more digits than matter."""
    return {
        name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value for name, value in parameters.items()
    }
