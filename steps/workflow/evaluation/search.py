"""Search for the parameters of a model with the least cross-validated error."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from workflow.errors import UserError
from workflow.models.catalog import Range

N_RANDOM_TRIALS = 10  # before the sampler models the error
SIGNIFICANT_DIGITS = 3  # of numeric parameters; more do not change a score
MIN_COMPLETE_TRIALS = 5  # before trials are pruned


@dataclass(frozen=True)
class TrialRequest:
    """A trial to run.

    Attributes:
        params: to cross-validate.
        pruning_thresholds: mean error after each fold above which to prune the trial: (folds,); empty to run all folds.
    """

    params: dict[str, Any]
    pruning_thresholds: Sequence[float]


def distributions(model: str, space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return the distribution to sample each parameter from.

    Args:
        model: named in error messages.
        space: by parameter, a `Range`, a list of choices, or a range as YAML has it: `{low: …, high: …, log: true}`.

    Raises UserError for a range or a list that is empty, and for anything else.
    """
    return {name: distribution(f"space={{{model}: {{{name}: {entry}}}}}", entry) for name, entry in space.items()}


def parse_choices(label: str, entry: Any) -> Range | list[Any]:
    """Return the range or the list of choices that an entry of a search space stands for.

    Raises UserError, which begins with `label`, if it is neither.
    """
    if isinstance(entry, Range) or (isinstance(entry, list) and entry):
        return entry
    if not isinstance(entry, dict) or not {"low", "high"} <= entry.keys() <= {"low", "high", "log"}:
        raise UserError(f"{label}: must be a range, like {{low: 0.01, high: 0.3, log: true}}, or a list of choices")
    return Range(entry["low"], entry["high"], bool(entry.get("log")))


def distribution(label: str, entry: Any) -> BaseDistribution:
    """Return the distribution to sample one parameter from; a UserError begins with `label`."""
    choices = parse_choices(label, entry)
    if isinstance(choices, list):
        return CategoricalDistribution(choices)
    low, high = choices.low, choices.high
    integers = isinstance(low, int) and isinstance(high, int)
    kind: Callable[..., BaseDistribution] = IntDistribution if integers else FloatDistribution
    try:
        if low >= high:
            raise ValueError(f"nothing lies between {low} and {high}")
        return kind(low, high, log=choices.log)
    except (ValueError, TypeError) as error:
        raise UserError(f"{label}: {error}") from error


def search(
    space: Mapping[str, BaseDistribution],
    start: Mapping[str, Any],
    n_trials: int,
    timeout: float,
    seed: int,
    n_folds: int,
    run_trials: Callable[[Iterator[TrialRequest]], Iterable[list[float]]],
) -> Generator[optuna.Study, None, None]:
    """Search with a tree-structured Parzen estimator (Bergstra et al. 2011); yield the study after each trial.

    Trials are pruned by the median rule (Golovin et al. 2017): see `pruning_thresholds`. The same seed gives the same
    trials, if `run_trials` takes the same number of requests ahead of its results.

    Args:
        space: see `distributions`.
        start: parameters of the first trial, as far as they lie in the space.
        n_trials: number of trials.
        timeout: seconds after which no trial is started, except for the first; 0 for no limit.
        seed: of the sampler.
        n_folds: number of folds of a complete trial.
        run_trials: takes requests as it needs them, and yields for each, in order, the errors of its folds; fewer than
            `n_folds` for a pruned trial.
    """
    study = create_study(space, start, seed)
    deadline = time.monotonic() + timeout if timeout else float("inf")
    running: deque[optuna.Trial] = deque()

    def requests() -> Iterator[TrialRequest]:
        for number in range(n_trials):
            if number and time.monotonic() > deadline:
                return
            running.append(study.ask(dict(space)))
            yield TrialRequest(rounded(running[-1].params), pruning_thresholds(study))

    for errors in run_trials(requests()):
        record_trial(study, running.popleft(), errors, n_folds)
        yield study


def create_study(space: Mapping[str, BaseDistribution], start: Mapping[str, Any], seed: int) -> optuna.Study:
    """Create an in-memory study whose first trial has the parameters of `start` that lie in the space."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(n_startup_trials=N_RANDOM_TRIALS, multivariate=True, seed=seed)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({name: value for name, value in start.items() if is_in_space(space.get(name), value)})
    return study


def record_trial(study: optuna.Study, trial: optuna.Trial, errors: Sequence[float], n_folds: int) -> None:
    """Report the mean error of a trial after each of its folds, and whether it was pruned."""
    for fold in range(len(errors)):
        trial.report(float(np.mean(errors[: fold + 1])), fold)
    if len(errors) == n_folds:
        study.tell(trial, float(np.mean(errors)))
    else:
        study.tell(trial, state=TrialState.PRUNED)


def pruning_thresholds(study: optuna.Study) -> list[float]:
    """Return the median, over the complete trials, of the mean error after each fold; [] if there are too few."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < MIN_COMPLETE_TRIALS:
        return []
    means = [list(trial.intermediate_values.values()) for trial in complete]
    return [float(value) for value in np.median(means, axis=0)]


def score_folds(
    score_fold: Callable[[int], dict[str, float]],
    n_folds: int,
    thresholds: Sequence[float],
    error: Callable[[Mapping[str, float]], float],
) -> list[dict[str, float]]:
    """Score the folds in turn, up to the one after which the mean `error` of the scores is above its threshold."""
    done: list[dict[str, float]] = []
    for fold in range(n_folds):
        done.append(score_fold(fold))
        if thresholds and np.mean([error(scores) for scores in done]) > thresholds[fold]:
            break
    return done


def is_in_space(distribution: BaseDistribution | None, value: Any) -> bool:
    """Return whether a parameter is searched and `value` is one of its possible values."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if not isinstance(distribution, IntDistribution | FloatDistribution) or not isinstance(value, int | float):
        return False
    return distribution.low <= value <= distribution.high


def rounded(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with `SIGNIFICANT_DIGITS`, as they are tried."""
    return {
        name: float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value
        for name, value in params.items()
    }
