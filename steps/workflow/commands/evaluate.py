"""Evaluate as an MLflow run: scores of the test set, SHAP values and the model report."""

from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import LoggedModelInput

from workflow.commands import train
from workflow.models.catalog import BLEND
from workflow.models.members import packages_of
from workflow.parameters import EvaluateCommand, EvaluateParams, TrainParams
from workflow.provenance import digests
from workflow.provenance.fingerprint import STEPS, Code
from workflow.runs import cli, drawing, execution, tracking
from workflow.runs.artifacts import EvaluateRun, PreprocessRun, TrainRun
from workflow.runs.execution import Report, Task
from workflow.runs.names import Files, Tags

if TYPE_CHECKING:
    from pandas import DataFrame

    from workflow.models.estimators import Estimator
    from workflow.stages.evaluate import Errors, EvaluateResult, Explanation

CODE = Code(
    ("workflow/stages/evaluate.py", "workflow/models/model_files.py"),
    ("workflow/commands/evaluate.py", *execution.ARTIFACT_FILES),
)
PROVEN_ARTIFACTS = {Files.PREDICTIONS: digests.numbers, Files.SHAP_VALUES: digests.numbers}


def run(command: EvaluateCommand) -> None:
    """Evaluate in the active run."""
    trained, data = train.upstream(command)
    execution.execute(task(command.narrow(EvaluateParams), trained, data))
    cli.print_findings(EvaluateRun(mlflow.get_run(tracking.active_run().info.run_id)).findings)
    cli.print_run("evaluate")


def find_or_run(params: EvaluateParams, trained: TrainRun, data: PreprocessRun) -> EvaluateRun:
    """Return the evaluate run of a train run's model on the test set of a preprocess run."""
    found = EvaluateRun(execution.find_or_run(task(params, trained, data)))
    cli.print_findings(found.findings)
    return found


def is_known(params: EvaluateParams, train_params: TrainParams, data: PreprocessRun) -> bool:
    """Return whether the runs of training and evaluating a model exist."""
    trained = execution.find_run(train.task(train_params, data).fingerprint())
    return bool(trained and execution.find_run(task(params, TrainRun(trained), data).fingerprint()))


def task(params: EvaluateParams, trained: TrainRun, data: PreprocessRun) -> Task:
    """Return the task of evaluating one model."""
    model = trained.params
    params = params.inherit(data.params).inherit(model)
    reads = data.digests(Files.TRAINING_SET, Files.TEST_SET, Files.CONTRACT)
    reads |= {name: trained.digest(name) for name in (Files.MODEL, Files.INTERVALS)}
    return Task(
        stage="evaluate",
        label=f"evaluate {model.model}",
        script=STEPS / "evaluate.py",
        code=CODE,
        params=params,
        work=lambda: work(params, trained, data),
        reads=reads | {"model": model.model} | train.metric_source(params),
        upstream=(data, trained),
        lineage=(data.params, model),
        tags={Tags.UPSTREAM: trained.id, Tags.PREPROCESS: data.id},
        proven_artifacts=PROVEN_ARTIFACTS,
        modules=packages_of(model.model, model.model_params),
        report=Report(drawing.MODEL_REPORT_CODE, drawing.draw_model_report),
    )


def work(params: EvaluateParams, trained: TrainRun, data: PreprocessRun) -> None:
    """Log the scores on the test set with their intervals, the predictions and the SHAP values."""
    from workflow.stages import evaluate

    model, estimator, contract = trained.params.model, trained.estimator(), data.contract
    members = member_shap_values(params, trained, data, estimator) if model == BLEND else {}
    with data.training_set() as training_set, data.test_set() as test_set:
        inputs = evaluate.EvaluateInputs(
            model, estimator, trained.intervals(), training_set, test_set, contract, members
        )
        rows = tracking.dataset_rows(len(contract.columns))
        result = evaluate.run(params, inputs, rows, cli.progress_bar)
    with tracking.artifacts() as folder:
        result.predictions.to_parquet(folder / Files.PREDICTIONS)
        result.calibration.to_csv(folder / Files.INTERVAL_CALIBRATION, index=False)
        write_explanation(folder, result.explanation)
        write_errors(folder, result.errors)
        tracking.write_findings(folder, result.findings)
    log_scores(trained, data, result)


def write_explanation(folder: Path, explanation: "Explanation") -> None:
    """Write what moves the predictions to the artifacts in a folder."""
    explanation.shap_values.to_parquet(folder / Files.SHAP_VALUES)
    explanation.shap_colours.to_parquet(folder / Files.SHAP_COLOURS)
    explanation.effects.to_parquet(folder / Files.EFFECTS)
    explanation.interactions.to_csv(folder / Files.INTERACTIONS, index=False)


def write_errors(folder: Path, errors: "Errors") -> None:
    """Write where the predictions are wrong to the artifacts in a folder."""
    tables = {
        Files.SEGMENTS: errors.by_target,
        Files.NAMED_SEGMENTS: errors.named_segments,
        Files.WORST_SEGMENTS: errors.worst_segments,
        Files.WORST_PREDICTIONS: errors.worst,
        Files.NEAREST_ROWS: errors.nearest,
        Files.LEARNING_CURVE: errors.learning_curve,
    }
    for name, table in tables.items():
        if table is not None:
            table.to_csv(folder / name, index=False)


def member_shap_values(
    params: EvaluateParams, trained: TrainRun, data: PreprocessRun, estimator: "Estimator"
) -> "dict[str, DataFrame]":
    """Return the SHAP values of a blend's members, which runs of this stage have logged, or are made to log."""
    from workflow.models.blending import blend_members

    runs = trained.members()
    return {model: find_or_run(params, runs[model], data).shap_values() for model in blend_members(estimator)}


def log_scores(trained: TrainRun, data: PreprocessRun, result: "EvaluateResult") -> None:
    """Log the scores of the model on the test set."""
    run = tracking.active_run()
    digest = digests.short_digest(result.hashes)
    dataset = tracking.log_dataset(result.head, data.contract.target, data.params.data, "testing", digest)
    mlflow.MlflowClient().log_inputs(run.info.run_id, models=[LoggedModelInput(trained.model_id)])
    mlflow.log_metrics(result.scores, model_id=trained.model_id, dataset=dataset)
    mlflow.log_metrics(result.other_scores)
