"""Tune: search for better parameters of a model by cross-validation on the training set."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from workflow.errors import UserError
from workflow.evaluation import cross_validation, paired, search
from workflow.evaluation.paired import Difference
from workflow.evaluation.ranking import RankingMetric, ranking_metric
from workflow.models import estimators
from workflow.models.catalog import BLEND, candidate_params, default_parameters, get_model, regressor
from workflow.parallel.executors import iterate_in_processes
from workflow.spelling import nearest
from workflow.stages import train

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

    from workflow.data.contract import Contract
    from workflow.evaluation.search import TrialRequest
    from workflow.models.estimators import Estimator, Preparation
    from workflow.parameters import EstimatorParams, TuneParams

FoldScores = list[dict[str, float]]  # the scores of each fold, by metric


@dataclass(frozen=True)
class TuneInputs:
    """The rows that models are fitted on, and their contract."""

    rows: pd.DataFrame
    contract: "Contract"


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that has ended.

    Attributes:
        params: the estimator parameters that were tried.
        folds: the scores of the folds that it went through.
        means: of the scores over all folds; empty for a pruned trial.
        started: in seconds since 1970.
        reused: whether all its folds had been recorded before.
    """

    params: "EstimatorParams"
    folds: FoldScores
    means: dict[str, float]
    started: float
    reused: bool


@dataclass(frozen=True)
class TrialRunner:
    """Everything needed to run the trials of a model, in any process."""

    model: str
    features: pd.DataFrame
    target: pd.Series
    weight: pd.Series | None
    folds: list[tuple[Any, ...]]
    metric: RankingMetric

    def __call__(self, trial: "tuple[TrialRequest, Estimator, FoldScores]") -> FinishedTrial:
        """Run a trial: cross-validate an unfitted estimator on the folds whose scores are not known yet."""
        request, estimator, known = trial
        started = time.time()

        def score_fold(fold: int) -> dict[str, float]:
            if fold < len(known):
                return known[fold]
            positions = self.folds[fold]
            predictions = cross_validation.predict_fold(estimator, self.features, self.target, positions, self.weight)
            return cross_validation.fold_scores(predictions, self.metric)

        with estimators.estimator_errors_as_user_errors(self.model, request.params):
            done = search.score_folds(score_fold, len(self.folds), request.pruning_thresholds, self.error)
        means = cross_validation.mean_scores(done) if len(done) == len(self.folds) else {}
        return FinishedTrial(request.params, done, means, started, reused=len(done) <= len(known))

    def error(self, scores: "Mapping[str, float]") -> float:
        """Return the error among the scores of a fold."""
        return float(self.metric.as_error(scores[self.metric.name]))


def search_spaces(params: "TuneParams") -> "dict[str, dict[str, BaseDistribution]]":
    """Return the search space of each model: the one that the user gives, or ours.

    Raises UserError for a space of another model, for one that is empty, and for parameters that the model lacks.
    """
    models = params.tuned_models
    for model in params.space:
        if model not in models:
            raise UserError(f"space={{{model}: …}}: not among the models; {nearest(model, models)}")
    if BLEND in models:
        raise UserError(f"model={BLEND}: combines models, and has no parameters of its own; tune its members")
    spaces = {}
    for model in models:
        space = params.space.get(model) or get_model(model).search_space
        if not space:
            example = f"-P space='{{{model}: {{alpha: {{low: 0.1, high: 10}}}}}}'"
            raise UserError(f"model={model}: has no default search space; {example}")
        regressor(model, params.seed, dict.fromkeys(space))  # raises UserError for unknown parameters
        spaces[model] = search.distributions(model, space)
    return spaces


def start_params(model: str, seed: int, untuned: "Estimator", inputs: TuneInputs) -> "EstimatorParams":
    """Return the parameters of the untuned model: trials start with them.

    The fitted model knows its number of trees; one that is fitted on a sample does not show its own parameters.
    """
    shape = inputs.rows[inputs.contract.features].shape
    return default_parameters(model, seed, *shape) | untuned.regressor[-1].get_params()


def with_chosen_params(
    model: str, space: "dict[str, BaseDistribution]", start: "EstimatorParams", inputs: TuneInputs
) -> "dict[str, BaseDistribution]":
    """Return a search space in which parameters that were chosen for the untuned model, and are not tried, stay."""
    shape = inputs.rows[inputs.contract.features].shape
    chosen = {name for candidate in candidate_params(model, {}, *shape) for name in candidate}
    return space | search.distributions(model, {name: [start[name]] for name in sorted(chosen - space.keys())})


def search_model(
    params: "TuneParams",
    inputs: TuneInputs,
    model: str,
    space: "dict[str, BaseDistribution]",
    start: "EstimatorParams",
    preparation: "Preparation",
    recorded: "Callable[[EstimatorParams], FoldScores]",
    record: Callable[[FinishedTrial], None],
) -> "Generator[Study, None, None]":
    """Search for parameters of one model; yield the study so far after each trial.

    Args:
        params: of the search.
        inputs: the training rows.
        model: to tune.
        space: what to try.
        start: parameters to start with.
        preparation: of target and features, as the untuned model has it.
        recorded: returns the fold scores that are known of parameters.
        record: called with each trial that has ended.
    """
    contract, rows = inputs.contract, inputs.rows
    folds = train.make_folds(params, rows, contract)
    metric = ranking_metric(params.metric, params.metric_params)
    runner = TrialRunner(
        model, rows[contract.features], rows[contract.target], train.weight_in(rows, contract), folds, metric
    )

    def prepare(request: "TrialRequest") -> "tuple[TrialRequest, Estimator, FoldScores]":
        estimator = train.build_estimator(params, model, request.params, preparation, rows, contract)
        return request, estimator, recorded(request.params)

    def run_trials(requests: "Iterator[TrialRequest]") -> Iterator[list[float]]:
        for trial in iterate_in_processes(runner, map(prepare, requests), params.concurrent):
            record(trial)
            yield [runner.error(scores) for scores in trial.folds]

    return search.search(space, start, params.trials, params.timeout, params.seed, len(folds), run_trials)


def trials_table(
    metric: RankingMetric, model: str, study: "Study", key: "Callable[[Mapping[str, Any]], str]"
) -> pd.DataFrame:
    """Return a row per trial: its parameters as a text, its metric over its folds, and whether it was pruned.

    Numbers stand in one column, because models do not share their parameters.
    """
    lines = [
        (
            *(model, trial.number, key(search.rounded(trial.params)), trial.state.name == "PRUNED"),
            metric.as_error(errors[-1]),
        )
        for trial in study.trials
        for errors in [list(trial.intermediate_values.values())]
    ]
    return pd.DataFrame(lines, columns=["model", "trial", "parameters", "pruned", f"cv_{metric.name}"])


def difference_on_test_set(metric: RankingMetric, untuned: pd.DataFrame, tuned: pd.DataFrame, seed: int) -> Difference:
    """Return by how much the test error of the tuned model is larger: below 0 is better. Takes their predictions."""
    true, after, before = (each.to_numpy() for each in (tuned["true"], tuned["predicted"], untuned["predicted"]))
    return paired.difference(true, after, before, metric, seed, cross_validation.weight_of(untuned))
