"""Tune as an MLflow run: a search whose trials are runs, its best models, and what they are worth on the test set."""

import dataclasses
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from rich.markup import escape

from workflow.commands import evaluate, preprocess, train
from workflow.commands.main import leaderboard
from workflow.errors import UserError
from workflow.evaluation.ranking import RankingMetric, ranking_metric
from workflow.formatting import number
from workflow.models.catalog import BLEND, default_models
from workflow.models.estimators import Preparation, preparation_of
from workflow.models.members import packages_of
from workflow.parameters import (
    EstimatorParams,
    EvaluateParams,
    MainCommand,
    TrainingOptions,
    TrainParams,
    TuneCommand,
    TuneParams,
)
from workflow.provenance import digests, fingerprint
from workflow.provenance.fingerprint import STEPS, Code
from workflow.reports.leaderboard import label, readable, title
from workflow.reports.report import markdown_table
from workflow.runs import cli, execution, links, tracking, trials
from workflow.runs.artifacts import ModelRuns, PreprocessRun
from workflow.runs.execution import Task
from workflow.runs.names import Files, Tags
from workflow.stages import compare

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optuna import Study
    from optuna.distributions import BaseDistribution

    from workflow.evaluation.paired import Difference
    from workflow.stages.tune import FinishedTrial, TuneInputs

CODE = Code(("workflow/stages/tune.py",), ("workflow/commands/tune.py", *execution.ARTIFACT_FILES))
READS = (Files.TRAINING_SET, Files.CONTRACT)
PROVEN_ARTIFACTS = {Files.TRIALS: digests.numbers}


@dataclass(frozen=True)
class Tuned:
    """The search for one model: its study, the best parameters, and the runs without and with them.

    `difference` is by how much the test error of the tuned model is larger than that of the untuned one.
    """

    model: str
    study: "Study"
    best: EstimatorParams
    untuned: ModelRuns
    tuned: ModelRuns
    difference: "Difference"

    @property
    def runs(self) -> dict[str, ModelRuns]:
        """Its runs, by their names on the leaderboard."""
        return {self.model: self.untuned, f"{self.model} tuned": self.tuned}


def run(command: TuneCommand) -> None:
    """Search for each model, train and evaluate it as found and as it was, and log a leaderboard of these."""
    data = preprocess.upstream(command)
    params = command.narrow(TuneParams).inherit(data.params)
    explain = command.narrow(EvaluateParams).inherit(data.params)
    metric = ranking_metric(params.metric, params.metric_params)
    if isinstance(params.cv, int) and params.cv > trials.MAX_FOLDS:
        raise UserError(f"cv={params.cv}: tune takes at most {trials.MAX_FOLDS} folds")
    search = task(params, explain, data)
    tracking.describe_command("tune", search.label, search.all_parameters())
    tuned, n_rows = tune_models(params, explain, data)
    runs = {label: each for one in tuned for label, each in one.runs.items()}
    table, again = leaderboard(metric, runs), next_command(params, data, tuned, n_rows)
    conclusions = conclude(metric, tuned, table, data.contract.unit)
    publish_result = partial(publish, metric, tuned, table, conclusions, data.contract.unit, again)
    execution.execute(dataclasses.replace(search, work=publish_result))
    print_conclusion(readable(table, metric, data.contract.unit), title(metric), conclusions, again)
    report = links.run_page(tracking.active_run(), Files.TUNING_REPORT)
    cli.print_links({"tune": links.run_page(tracking.active_run()), "report": report})
    cli.print_proof()


def task(params: TuneParams, explain: EvaluateParams, data: PreprocessRun) -> Task:
    """Return the task of tuning models; what it logs is known when the searches have ended."""
    return Task(
        stage="tune",
        label=f"tune {','.join(params.tuned_models)}",
        script=STEPS / "tune.py",
        code=CODE,
        params=params,
        work=lambda: None,
        reads=data.digests(*READS) | train.metric_source(params),
        upstream=(data,),
        lineage=(data.params, explain),
        tags={Tags.UPSTREAM: data.id},
        proven_artifacts=PROVEN_ARTIFACTS,
        modules=frozenset().union(*(packages_of(model, {}) for model in params.tuned_models)),
    )


def tune_models(params: TuneParams, explain: EvaluateParams, data: PreprocessRun) -> tuple[list[Tuned], int]:
    """Search for each model; return what was found, and how many rows they were fitted on."""
    from workflow.stages import tune
    from workflow.stages.train import subsample_training_rows

    spaces = tune.search_spaces(params)
    with data.training_set() as training_set:
        rows = subsample_training_rows(params, training_set, data.contract)
    inputs = tune.TuneInputs(rows, data.contract)
    return [tune_model(params, explain, data, inputs, model, space) for model, space in spaces.items()], len(rows)


def tune_model(
    params: TuneParams,
    explain: EvaluateParams,
    data: PreprocessRun,
    inputs: "TuneInputs",
    model: str,
    space: "dict[str, BaseDistribution]",
) -> Tuned:
    """Search for better parameters of one model, starting from those of the untuned one."""
    from workflow.evaluation import search
    from workflow.stages import tune

    untuned = run_model(params, explain, data, model, {})
    estimator = untuned.train.estimator()
    start = tune.start_params(model, params.seed, estimator, inputs)
    space = tune.with_chosen_params(model, space, start, inputs)
    study = search_model(params, data, inputs, model, space, start, preparation_of(estimator))
    best = search.rounded(study.best_params)
    found = run_model(params, explain, data, model, best)
    metric = ranking_metric(params.metric, params.metric_params)
    difference = tune.difference_on_test_set(
        metric, untuned.evaluate.predictions(), found.evaluate.predictions(), params.seed
    )
    return Tuned(model, study, best, untuned, found, difference)


def run_model(
    params: TuneParams, explain: EvaluateParams, data: PreprocessRun, model: str, own: EstimatorParams
) -> ModelRuns:
    """Find or make the runs of a model with parameters of its own."""
    options = params.narrow(TrainingOptions).model_dump()
    trained = train.find_or_run(TrainParams(model=model, model_params=own, **options), data)
    return ModelRuns(trained, evaluate.find_or_run(explain, trained, data))


def search_model(
    params: TuneParams,
    data: PreprocessRun,
    inputs: "TuneInputs",
    model: str,
    space: "dict[str, BaseDistribution]",
    start: EstimatorParams,
    preparation: Preparation,
) -> "Study":
    """Run the trials of one model: each is an MLflow run, unless it was recorded before."""
    from workflow.stages import tune

    search, started, executed = trials_fingerprint(params, data, model), time.monotonic(), []
    known = trials.find_recorded(search)

    def record(trial: "FinishedTrial") -> None:
        if not trial.reused:
            executed.append(trial)
            trials.record(search, trials.Trial(f"trial {model}", trial.params, trial.folds, trial.means, trial.started))

    studies = tune.search_model(
        params, inputs, model, space, start, preparation, lambda tried: known.get(trials.key(tried), []), record
    )
    # Closed before the interpreter ends, however the search does: its processes would outlive what they share.
    with closing(studies):
        study = follow(studies, model, params, data.contract.unit)
    tracking.console.print(
        f"{f'tune {model}':<22} {time.monotonic() - started:5.1f} s  [dim]{len(study.trials)} trials,"
        f" {len(study.trials) - len(executed)} of them reused[/dim]"
    )
    return study


def trials_fingerprint(params: TuneParams, data: PreprocessRun, model: str) -> str:
    """Return the digest of everything that decides the trials of a model, except for the parameters that are tried."""
    options = params.narrow(TrainingOptions).model_dump(mode="json")
    decided = options | {"model": model, "seed": params.seed, "split": params.split, "gap": params.gap}
    reads = data.digests(*READS) | train.metric_source(params)
    return fingerprint.fingerprint("trial", train.CODE, decided, reads, packages_of(model, {}))


def follow(studies: "Iterable[Study]", model: str, params: TuneParams, unit: str) -> "Study":
    """Return the last of the `studies`, with a progress bar that shows the best metric so far."""
    metric = ranking_metric(params.metric, params.metric_params)
    with cli.timed_progress() as progress:
        bar = progress.add_task(f"tuning {model}", total=params.trials)
        for study in studies:
            best = f"{label(metric.name, unit)} {number(metric.as_error(study.best_value))}"
            progress.update(bar, advance=1, description=f"tuning {model}, best {best}")
    return study


def next_command(params: TuneParams, data: PreprocessRun, tuned: Sequence[Tuned], n_rows: int) -> str:
    """Return the command that compares the tuned models with those that main compares by default."""
    models = dict.fromkeys([*default_models(n_rows, params.metric), *(each.model for each in tuned), BLEND])
    shared = data.params.model_dump(mode="json") | params.narrow(TrainingOptions).model_dump(mode="json")
    chosen = {"models": list(models), "model_params": {each.model: each.best for each in tuned}}
    return shlex.join(["mlflow", "run", ".", *execution.arguments(MainCommand, shared | chosen)])


def conclude(metric: RankingMetric, tuned: Sequence[Tuned], table: pd.DataFrame, unit: str) -> list[str]:
    """Return a sentence about each search."""
    from workflow.reports import tuning_report

    errors = table.set_index("model")[f"cv_{metric.name}"]
    return [
        tuning_report.conclusion(
            metric, each.model, each.study, errors[each.model], errors[f"{each.model} tuned"], each.difference, unit
        )
        for each in tuned
    ]


def publish(
    metric: RankingMetric,
    tuned: Sequence[Tuned],
    table: pd.DataFrame,
    conclusions: Sequence[str],
    unit: str,
    again: str,
) -> None:
    """Log what the searches have found on the active run, with the page about them."""
    from workflow.reports import tuning_report
    from workflow.stages import tune

    shown, studies = readable(table, metric, unit), {each.model: each.study for each in tuned}
    tables = [tune.trials_table(metric, each.model, each.study, trials.key) for each in tuned]
    tried = pd.concat(tables, ignore_index=True)
    best = {each.model: each.best for each in tuned}
    pages = {
        f"report of {label}": links.absolute(links.run_page(runs.evaluate.run, Files.MODEL_REPORT))
        for each in tuned
        for label, runs in each.runs.items()
    }
    with tracking.artifacts() as folder:
        tried.to_parquet(folder / Files.TRIALS)
        table.to_csv(folder / Files.LEADERBOARD, index=False)
        page = tuning_report.tuning_report(
            metric, studies, best, shown, "\n".join(conclusions), unit, folder, again, pages
        )
        page.save(folder / Files.TUNING_REPORT)
    log_result(metric, table, tried, {each.model: each.difference for each in tuned})
    report = links.run_page(tracking.active_run(), Files.TUNING_REPORT)
    tracking.write_note("\n\n".join([*conclusions, markdown_table(shown), f"[The report]({report})"]))


def log_result(
    metric: RankingMetric, table: pd.DataFrame, tried: pd.DataFrame, differences: "Mapping[str, Difference]"
) -> None:
    """Log the scores of the best model on the active run, and tag it for `promote` and `reproduce`."""
    winner = table.iloc[0]
    found = {
        f"{model}_difference{end}": value
        for model, each in differences.items()
        for end, value in (("", each.value), ("_low", each.low), ("_high", each.high))
    }
    counts = {"trials": len(tried), "trials_pruned": int(tried["pruned"].sum())}
    mlflow.log_metrics(counts | found | {name: float(winner[name]) for name in compare.score_names(metric.name)})
    tracking.tag_winner(winner["model"], winner["train_run_id"], winner["evaluate_run_id"])


def print_conclusion(shown: pd.DataFrame, heading: str, conclusions: Sequence[str], again: str) -> None:
    """Print the leaderboard, what was found, and the command to compare it with other models."""
    right = [name for name in shown if name != "model"]
    cli.print_table(shown, shown.index == shown.index[0], heading, right)
    lines = "\n".join(conclusions)
    tracking.console.print(f"{escape(lines)}\nCompare with other models: [bold]{escape(again)}[/bold]")
