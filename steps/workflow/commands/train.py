"""Train as an MLflow run: the logged model, its scores and its out-of-fold predictions."""

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow

from workflow.commands import preprocess
from workflow.evaluation.ranking import own_function
from workflow.models.catalog import BLEND
from workflow.models.members import member_params, packages_of
from workflow.parameters import EvaluateCommand, MetricOptions, TrainCommand, TrainParams
from workflow.parsing import AUTO, to_command_line
from workflow.provenance import digests, fingerprint
from workflow.provenance.fingerprint import STEPS, Code
from workflow.runs import cli, execution, tracking
from workflow.runs.artifacts import PreprocessRun, TrainRun
from workflow.runs.execution import Task
from workflow.runs.names import Files, Tags

if TYPE_CHECKING:
    from workflow.stages.train import FittedMember, TrainResult

SERVING = "workflow/models/serving.py"
CODE = Code(("workflow/stages/train.py", SERVING), ("workflow/commands/train.py", *execution.ARTIFACT_FILES))
READS = (Files.TRAINING_SET, Files.CONTRACT, Files.EXAMPLES)
PROVEN_ARTIFACTS = {
    Files.MODEL: digests.model,
    Files.INTERVALS: digests.model,
    Files.OOF_PREDICTIONS: digests.numbers,
}


def run(command: TrainCommand) -> None:
    """Train in the active run."""
    data = preprocess.upstream(command)
    execution.execute(task(command.narrow(TrainParams), data))
    cli.print_run("train")


def find_or_run(params: TrainParams, data: PreprocessRun) -> TrainRun:
    """Return the train run of these parameters on the training set of a preprocess run."""
    return TrainRun(execution.find_or_run(task(params, data)))


def upstream(command: EvaluateCommand) -> tuple[TrainRun, PreprocessRun]:
    """Return the train run that a command names, or the one of its parameters; and the preprocess run of its data."""
    if command.train_run_id != AUTO:
        trained = TrainRun.named(command.train_run_id, command)
        return trained, trained.preprocess()
    data = preprocess.upstream(command)
    return find_or_run(command.narrow(TrainParams), data), data


def task(params: TrainParams, data: PreprocessRun) -> Task:
    """Return the task of training one model."""
    params = params.inherit(data.params)
    return Task(
        stage="train",
        label=f"train {params.model}",
        script=STEPS / "train.py",
        code=CODE,
        params=params,
        work=lambda: work(params, data),
        reads=data.digests(*READS, *([Files.FEATURES] if data.params.features else [])) | metric_source(params),
        upstream=(data,),
        lineage=(data.params,),
        tags={Tags.UPSTREAM: data.id},
        proven_artifacts=PROVEN_ARTIFACTS,
        modules=packages_of(params.model, params.model_params) | preprocess.packages_of(data.features),
    )


def metric_source(params: MetricOptions) -> dict[str, str]:
    """Return the digest of the code of a ranking metric that is named by an import path.

    That is its file, with those that it imports from beside it; not those of an installed package, which has a version.

    Raises UserError if it is not found.
    """
    if "." not in params.metric:
        return {}
    function = inspect.unwrap(own_function(params.metric))
    file = Path(inspect.getsourcefile(function) or "")
    if not file.is_file():  # of a function that was typed in
        return {}
    if "site-packages" in file.parts:
        return {"metric": fingerprint.file_digest(file)}
    depth = function.__module__.count(".") + (file.stem == "__init__")
    sources, _ = fingerprint.imports(file, file.parents[depth])
    return {"metric": fingerprint.digest({name: fingerprint.file_digest(path) for name, path in sources.items()})}


def work(params: TrainParams, data: PreprocessRun) -> None:
    """Log the fitted model with its training and cross-validation scores, and its out-of-fold predictions."""
    from workflow.stages import train

    members = fitted_members(params, data) if params.model == BLEND else {}
    with data.training_set() as training_set:
        inputs = train.TrainInputs(training_set, data.contract, members)
        result = train.run(params, inputs, cli.progress_bar)
    taken = {*type(params).model_fields, *type(data.params).model_fields}
    own = {f"regress__{name}" if name in taken else name: text for name, text in result.estimator_params.items()}
    description = result.description | own
    mlflow.log_params(description)
    with tracking.artifacts() as folder:
        result.oof_predictions.to_parquet(folder / Files.OOF_PREDICTIONS)
    log_model(params, data, result, description)
    mlflow.log_metrics(result.training_scores)


def fitted_members(params: TrainParams, data: PreprocessRun) -> "dict[str, FittedMember]":
    """Return the members of a blend, fitted by runs that are found, or made under the active run."""
    from workflow.stages.train import FittedMember

    members = member_params(params.model, params.model_params)
    runs = {
        model: find_or_run(params.model_copy(update={"model": model, "model_params": own}), data)
        for model, own in members.items()
    }
    mlflow.set_tag(Tags.BLEND_MEMBERS, json.dumps({model: run.id for model, run in runs.items()}))
    return {model: FittedMember(run.estimator(), run.oof_predictions()) for model, run in runs.items()}


def log_model(params: TrainParams, data: PreprocessRun, result: "TrainResult", description: dict[str, str]) -> None:
    """Log the model, so that it serves rows as the data file has them; and its cross-validation scores."""
    from mlflow.models import Model

    from workflow.data import split
    from workflow.models import serving

    contract = data.contract
    digest = digests.short_digest(split.row_hashes(result.rows))
    dataset = tracking.log_dataset(result.rows, contract.target, data.params.data, "training", digest)
    sources, _ = fingerprint.imports(STEPS / SERVING, STEPS)
    own_packages = packages_of(params.model, params.model_params) | preprocess.packages_of(data.features)
    packages = CODE.packages(own_packages)
    own = params.model_dump(mode="json", exclude={"seed", "split", "gap"})
    models = member_params(params.model, params.model_params)
    logged = Model.log(
        None,
        serving,
        name=params.model.rpartition(".")[2],
        params={name: to_command_line(value) for name, value in own.items()} | description,
        metadata={"models": [*models], "types": [*result.trusted_types], "seed": params.seed},
        estimator=result.estimator,
        interval_model=result.intervals,
        contract=contract,
        background=result.background,
        features=data.features,
        sources=sources,
        serialization_format="skops",
        skops_trusted_types=result.trusted_types,
        signature=serving.signature(contract, optional=result.optional_columns),
        input_example=data.examples()[contract.raw_features],
        validate_serving_input=False,
        pip_requirements=[f"{name}=={version}" for name, version in packages.items()],
    )
    mlflow.log_metrics(result.cv_scores, model_id=logged.model_id, dataset=dataset)
