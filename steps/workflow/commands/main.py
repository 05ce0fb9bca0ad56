"""Main as an MLflow run: preprocess once, train and evaluate every model, compare them, name the best."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from mlflow.entities import Run

from workflow.commands import models, preprocess
from workflow.data import split
from workflow.data.contract import Contract
from workflow.data.findings import Finding
from workflow.errors import UserError
from workflow.evaluation.ranking import RankingMetric, ranking_metric
from workflow.models.catalog import BLEND, EXTRA_TREES_MAX_ROWS, default_models, keeps_constraints
from workflow.models.members import packages_of
from workflow.parameters import (
    CompareParams,
    EstimatorParams,
    EvaluateParams,
    MainCommand,
    PreprocessParams,
    PromoteParams,
    TrainingOptions,
)
from workflow.parsing import to_command_line
from workflow.provenance.fingerprint import STEPS, Code
from workflow.reports.leaderboard import readable, title
from workflow.reports.report import markdown_table
from workflow.runs import cli, drawing, execution, integrity, links, tracking
from workflow.runs.artifacts import METRICS, ModelRuns, PreprocessRun
from workflow.runs.execution import Report, Task
from workflow.runs.names import Files, Tags
from workflow.spelling import nearest
from workflow.stages import compare

if TYPE_CHECKING:
    from workflow.stages.plan import Plan

CODE = Code(("workflow/stages/compare.py",), ("workflow/commands/main.py", *execution.ARTIFACT_FILES))
FIGURE_CODE = Code(("workflow/reports/plots.py",))
FORESTS = ("rf", "extra_trees")
LINKED_PAGES = {  # in the description
    "compare": "side by side",
    "scores": "all scores",
    "models": "the models",
    "data": "the data report",
}


def run(command: MainCommand) -> None:
    """Find or make all runs, and log the leaderboard on the active run."""
    params, explain = command.narrow(CompareParams), command.narrow(EvaluateParams)
    possible = params.models if isinstance(params.models, list) else possible_models(params.metric)
    check_model_params(params.model_params, possible)
    metric = ranking_metric(params.metric, params.metric_params)
    tracking.describe_command(
        "main", f"main {to_command_line(params.models)}", command.model_dump(mode="json", by_alias=True)
    )
    prepare = command.narrow(PreprocessParams)
    table, data, runs = find_or_run_all(params, explain, prepare, metric, command.time_limit)
    pages = pages_of(data, table, runs)
    print_leaderboard(readable(table, metric, data.contract.unit), metric, findings_of(metric, data, runs, table))
    if command.register_as:
        pages |= register(command.register_as)
    cli.print_links(pages)
    cli.print_proof()


def find_or_run_all(
    params: CompareParams,
    explain: EvaluateParams,
    prepare: PreprocessParams,
    metric: RankingMetric,
    time_limit: float,
) -> tuple[pd.DataFrame, PreprocessRun, dict[str, ModelRuns]]:
    """Find or make all runs, and log the leaderboard on the active run; return it, and what it was made from."""
    started = time.monotonic()
    if not preprocess.is_known(prepare):
        models.import_ahead()
    possible = params.models if isinstance(params.models, list) else [*default_models(0, params.metric), BLEND]
    with cli.followed("preprocess", len(possible) + 2) as follow:
        data = preprocess.find_or_run(prepare)
        params = params.model_copy(update={"models": models_of(params, data)})
        if time_limit:
            params = within(params, data, time_limit - (time.monotonic() - started))
        runs = models.run_models(params, explain, data, follow)
        table = leaderboard(metric, runs)
        execution.execute(task(params, explain, data, runs, table))
    return table, data, runs


def within(params: CompareParams, data: PreprocessRun, seconds: float) -> CompareParams:
    """Return the parameters with fewer models or rows, if not all can be made within some seconds."""
    from workflow.stages import plan, train

    order = sorted(params.models, key=lambda model: model in FORESTS)  # the slowest for what they add to a blend
    wanted = {model: models.train_params(params, model).inherit(data.params) for model in order}
    with data.training_set() as training_set:
        planned = plan.run(params, wanted, train.TrainInputs(training_set, data.contract), seconds)
    rows = training_rows(params, data)
    tracking.say(planned_text(planned, rows, seconds))
    kept = [model for model in params.models if model in planned.models]
    max_rows = planned.max_rows if planned.max_rows < rows else params.max_rows
    own = {model: each for model, each in params.model_params.items() if model in kept}
    return params.model_copy(update={"models": kept, "max_rows": max_rows, "model_params": own})


def planned_text(planned: "Plan", rows: int, seconds: float) -> str:
    """Return what was planned for the seconds that remain, with `rows` training rows at most."""
    shown = f"{planned.max_rows:,} of {rows:,}" if planned.max_rows < rows else f"all {rows:,}"
    above = ", which is above the limit" if planned.seconds > seconds else ""
    return (
        f"planned for {max(seconds, 0):.0f} s: {', '.join(planned.models)} on {shown} training rows,"
        f" about {planned.seconds:.0f} s{above}"
    )


def possible_models(metric: str) -> list[str]:
    """Return the models that models=auto may stand for."""
    few, many = default_models(0, metric), default_models(EXTRA_TREES_MAX_ROWS + 1, metric)
    return [*dict.fromkeys([*few, *many]), BLEND]


def models_of(params: CompareParams, data: PreprocessRun) -> list[str]:
    """Return the models to compare: those that the user chose, or the defaults for this number of training rows.

    Raises UserError for parameters of a model that is not among them.
    """
    if isinstance(params.models, list):
        return params.models
    models = keeping_constraints([*default_models(training_rows(params, data), params.metric), BLEND], data.contract)
    check_model_params(params.model_params, models)
    return models


def keeping_constraints(models: Sequence[str], contract: Contract) -> list[str]:
    """Return those models that keep the monotonic constraints of a contract, and say which are left out."""
    if not contract.constraints:
        return list(models)
    kept = [model for model in models if keeps_constraints(model)]
    if "mean_boosting" in kept:
        kept.remove("boosting")  # which would be the same
    if kept == [BLEND] or len(kept) == 2:
        kept = [model for model in kept if model != BLEND]  # there is nothing to combine
    if left_out := [model for model in models if model not in kept]:
        tracking.say(
            f"left out, because they keep no monotonic constraint of {', '.join(contract.constraints)}, or would be the"
            f" same as another: {', '.join(left_out)}"
        )
    return kept


def training_rows(params: TrainingOptions, data: PreprocessRun) -> int:
    """Return how many rows the models are fitted on."""
    limit = split.max_training_rows(len(data.contract.features), params.max_rows)
    return min(int(data.metrics["rows_train"]), limit)


def check_model_params(model_params: Mapping[str, EstimatorParams], models: Sequence[str]) -> None:
    """Raise UserError for parameters of a model that is not compared."""
    for model in model_params:
        if model not in models:
            raise UserError(f"model_params={{{model}: …}}: not among the models; {nearest(model, models)}")


def leaderboard(metric: RankingMetric, runs: Mapping[str, ModelRuns]) -> pd.DataFrame:
    """Return the leaderboard with the ids of its runs."""
    table = compare.run(metric, {model: each.metrics for model, each in runs.items()})
    return table.assign(
        train_run_id=[runs[model].train.id for model in table["model"]],
        evaluate_run_id=[runs[model].evaluate.id for model in table["model"]],
    )


def task(
    params: CompareParams,
    explain: EvaluateParams,
    data: PreprocessRun,
    runs: Mapping[str, ModelRuns],
    table: pd.DataFrame,
) -> Task:
    """Return the task of comparing models; its receipt says how to make all their runs again."""
    reads = {f"train {model}": each.train.digest(METRICS) for model, each in runs.items()}
    reads |= {f"evaluate {model}": each.evaluate.digest(METRICS) for model, each in runs.items()}
    trained = [each.train.params for each in runs.values()]
    compared = Task(
        stage="main",
        label="main",
        script=STEPS / "main.py",
        code=CODE,
        params=params,
        work=lambda: work(params, data, runs, table),
        reads=reads,
        upstream=(data, *(run for each in runs.values() for run in (each.train, each.evaluate))),
        lineage=(data.params, explain.inherit(data.params).inherit(params)),
        modules=frozenset().union(*(packages_of(each.model, each.model_params) for each in trained)),
    )
    draw = partial(
        draw_figure,
        digest=compared.fingerprint(),
        table=table,
        metric=ranking_metric(params.metric, params.metric_params),
        contract=data.contract,
    )
    return dataclasses.replace(compared, report=Report(FIGURE_CODE, draw))


def work(params: CompareParams, data: PreprocessRun, runs: Mapping[str, ModelRuns], table: pd.DataFrame) -> None:
    """Log the leaderboard, tag the winner, and describe the run and its experiment."""
    metric = ranking_metric(params.metric, params.metric_params)
    findings = findings_of(metric, data, runs, table)
    with tracking.artifacts() as folder:
        table.to_csv(folder / Files.LEADERBOARD, index=False)
        tracking.write_findings(folder, findings)
    winner = table.iloc[0]
    mlflow.log_metrics({name: float(winner[name]) for name in compare.score_names(metric.name)})
    tracking.tag_winner(winner["model"], winner["train_run_id"], winner["evaluate_run_id"])
    mlflow.MlflowClient().set_tag(winner["train_run_id"], Tags.WINNER_OF, tracking.active_run().info.run_id)
    tracking.save_view(data.run.info.experiment_id, links.SAVED_VIEW_TAG, links.scores_view())
    pages = pages_of(data, table, runs)
    tracking.write_note(description(data, runs, readable(table, metric, data.contract.unit), findings, pages))
    best = winner["model"]
    tracking.write_experiment_note(
        f"[leaderboard]({pages['leaderboard']}), [{best}, the best]({pages[best]}), [all models]({pages['models']})"
    )


def draw_figure(run: Run, digest: str, table: pd.DataFrame, metric: RankingMetric, contract: Contract) -> None:
    """Log the figure of the leaderboard; that of an identical run is copied, because drawing takes a second."""
    same = execution.find_run(digest)
    with tracking.artifacts(run.info.run_id) as folder:
        drawn = same and same.data.tags.get(Tags.REPORT) == FIGURE_CODE.fingerprint()
        if same and drawn and not integrity.verify_for_reuse(same):
            with integrity.downloaded(same, Files.LEADERBOARD_FIGURE) as path:
                (folder / Files.LEADERBOARD_FIGURE).write_bytes(path.read_bytes())
        else:
            from workflow.reports import plots

            plots.save(plots.leaderboard(table, metric, contract), folder / Files.LEADERBOARD_FIGURE)


def pages_of(data: PreprocessRun, table: pd.DataFrame, runs: Mapping[str, ModelRuns]) -> dict[str, str]:
    """Return the pages to look at, by name, the best model's first."""
    evaluated = {model: runs[model].evaluate.run for model in table["model"]}
    experiment = data.run.info.experiment_id
    return {
        "leaderboard": links.run_page(tracking.active_run()),
        "models": links.models_page(experiment),
        "scores": links.scores_page(experiment),
        **({"compare": links.comparison_page(list(evaluated.values()))} if len(evaluated) > 1 else {}),
        "data": links.run_page(data.run, Files.DATA_REPORT),
        **{model: links.run_page(run, Files.MODEL_REPORT) for model, run in evaluated.items()},
    }


def description(
    data: PreprocessRun,
    runs: Mapping[str, ModelRuns],
    shown: pd.DataFrame,
    findings: Sequence[Finding],
    pages: Mapping[str, str],
) -> str:
    """Return the description of the active run: the leaderboard as a table with links, and warnings."""
    names = [name.removesuffix(" ★") for name in shown["model"]]
    evaluated = [runs[name].evaluate for name in names]
    linked = shown.assign(
        model=[f"[{name}]({links.run_page(each.run)})" for name, each in zip(shown["model"], evaluated, strict=True)]
    )
    return drawing.note(
        f"How well {drawing.question_of(data)}:\n\n{markdown_table(linked)}",
        findings,
        ", ".join(f"[{words}]({pages[name]})" for name, words in LINKED_PAGES.items() if name in pages),
    )


def findings_of(
    metric: RankingMetric, data: PreprocessRun, runs: Mapping[str, ModelRuns], table: pd.DataFrame
) -> list[Finding]:
    """Return what is odd about the data and about the scores."""
    found = [*data.findings, *(finding for each in runs.values() for finding in each.evaluate.findings)]
    found += compare.baseline_findings(metric, table)
    return list({str(finding): finding for finding in found}.values())


def print_leaderboard(shown: pd.DataFrame, metric: RankingMetric, findings: Sequence[Finding]) -> None:
    """Print a readable leaderboard with the winner in bold, and the warnings that it is to be read with."""
    right = [name for name in shown if name != "model"]
    cli.print_table(shown, shown.index == shown.index[0], title(metric), right)
    for finding in findings:
        if finding.is_warning:
            print(f"warning: {finding}")


def register(name: str) -> dict[str, str]:
    """Make the active run's winner a version of a registered model, and perhaps the champion; return its pages."""
    from workflow.commands import promote

    params = PromoteParams(run=tracking.active_run().info.run_id, name=name)
    with tracking.opened(run_name=f"promote {name}", nested=True):
        return dict(promote.promote(params).pages)
