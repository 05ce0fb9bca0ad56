"""The runs of several models: found, or made beside each other where that is faster."""

from collections.abc import Sequence
from dataclasses import dataclass

from workflow.commands import evaluate, train
from workflow.models.catalog import BLEND
from workflow.parallel import forks
from workflow.parallel.executors import available_cores
from workflow.parameters import CompareParams, EvaluateParams, TrainingOptions, TrainParams
from workflow.runs import cli, execution, tracking
from workflow.runs.artifacts import ModelRuns, PreprocessRun
from workflow.runs.cli import Follow

MAX_CELLS = 1_000_000  # of the training set, up to which models are trained beside each other
IMPORTED = (  # by the process that others are forked from: what training, evaluating and drawing import
    *("environment", "workflow.commands.main", "workflow.stages.train", "workflow.stages.evaluate"),
    *("workflow.models.serving", "workflow.reports.model_report", "matplotlib.backends.backend_agg"),
    *("mlflow.sklearn", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "skops.io", "git"),
    *("sklearn.ensemble", "sklearn.linear_model", "shap", "pyarrow.dataset", "pyarrow.parquet"),
)


def import_ahead() -> None:
    """Start the process that others are forked from; it imports while this one does something else."""
    if forks.AVAILABLE and available_cores() > 1:
        forks.start_server(IMPORTED)


def run_models(
    params: CompareParams, explain: EvaluateParams, data: PreprocessRun, follow: Follow
) -> dict[str, ModelRuns]:
    """Find or make the runs of every model; the blend comes last, because it combines what the others leave."""
    wanted = {model: train_params(params, model) for model in sorted(params.models, key=lambda name: name == BLEND)}
    follow("preprocess", "train and evaluate")
    make_beside_each_other([each for model, each in wanted.items() if model != BLEND], explain, data, follow)
    runs = {}
    for model, own in wanted.items():
        trained = train.find_or_run(own, data)
        runs[model] = ModelRuns(trained, evaluate.find_or_run(explain, trained, data))
        follow(model, "train and evaluate")
    return {model: runs[model] for model in params.models}


def train_params(params: CompareParams, model: str) -> TrainParams:
    """Return the parameters with which a model is trained; a blend without its own combines the other models."""
    own = params.model_params.get(model, {})
    if model == BLEND and not own:
        own = {other: params.model_params.get(other, {}) for other in sorted(params.models) if other != BLEND}
    return TrainParams(model=model, model_params=own, **params.narrow(TrainingOptions).model_dump())


def make_beside_each_other(
    wanted: Sequence[TrainParams], explain: EvaluateParams, data: PreprocessRun, follow: Follow
) -> None:
    """Make the runs of models that do not exist yet, in processes beside each other, for the caller to find.

    Nothing is made here where one core or a cluster computes, where processes cannot be forked, or where the data is so
    large that its copies would fill the memory: the parts of a model run beside each other anyway.
    """
    cells = data.metrics["rows_train"] * len(data.contract.columns)
    missing = [each for each in wanted if not evaluate.is_known(explain, each, data)]
    n_processes = min(available_cores(), len(missing))
    if not forks.AVAILABLE or n_processes < 2 or cells > MAX_CELLS:
        return
    import_ahead()
    run_id, slowest_first = tracking.active_run().info.run_id, reversed(missing)  # boosting is last
    jobs = [ModelJob(each, explain, data, run_id) for each in slowest_first]
    for made in forks.iterate_in_forks(make_model, jobs, n_processes):
        execution.LOGGED_RUNS.update(made.run_ids)
        tracking.relay(made.printed)
        follow(made.model, f"train and evaluate, {made.model} is done")


@dataclass(frozen=True)
class ModelJob:
    """A model to train and evaluate in another process, for the main run with an id."""

    params: TrainParams
    explain: EvaluateParams
    data: PreprocessRun
    main_run_id: str


@dataclass(frozen=True)
class ModelMade:
    """What a process did: the runs of a model, by their ids, and what it printed meanwhile."""

    model: str
    run_ids: list[str]
    printed: str


def make_model(job: ModelJob) -> ModelMade:
    """Find or make the runs of one model, as children of the main run."""
    cli.prepare_process()
    printed = tracking.collect_messages()
    tracking.resume(job.main_run_id)
    trained = train.find_or_run(job.params, job.data)
    evaluated = evaluate.find_or_run(job.explain, trained, job.data)
    return ModelMade(job.params.model, [trained.id, evaluated.id], printed.getvalue())
