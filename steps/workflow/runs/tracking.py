"""One MLflow run: opened, described, given artifacts, closed whatever happens."""

import json
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import mlflow
from mlflow.data.dataset import Dataset
from mlflow.data.pandas_dataset import from_pandas
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]  # defined at run time
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from workflow.data.findings import Finding
from workflow.errors import UserError
from workflow.runs import processes
from workflow.runs.names import Files, Tags
from workflow.secrets import censored, without_secrets

console = Console(stderr=True, highlight=False, soft_wrap=True)
stopped = threading.Event()  # by Ctrl-C or SIGTERM: whatever error follows, that was the reason
DATASET_ROWS = 1000  # of up to a hundred columns
MODEL_FOLDER = "model/"
TAG_LENGTH = 5000  # characters that every tracking store can hold
EXPERIMENT_NOTE = "Latest result:"  # begins the notes of an experiment that are ours
RETRY_SECONDS = 10  # PostgreSQL is back after a crash in less
READ_ONLY = r"(?P<read_only>readonly database|read-only (transaction|file system))"
LASTING = re.compile(rf"{READ_ONLY}|disk is full|No space left|quota exceeded", re.I)  # faults of a store that stay
ABANDONED_SECONDS = 6 * 60 * 60  # `mlflow run` opens a run before it builds an environment, which takes a while
Result = TypeVar("Result")
GENERATED_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")  # MLflow calls an unnamed run clumsy-hare-123


@cache
def warn(message: str) -> None:
    """Print, once, something that the user should know and that stops nothing."""
    console.print(f"[bold yellow]warning:[/bold yellow] {escape(message)}")


@cache
def say(message: str) -> None:
    """Print, once, something that the user may want to know."""
    console.print(f"[dim]{escape(message)}[/dim]")


def collect_messages() -> StringIO:
    """Collect what this process would print about its runs, for `relay` in another one."""
    messages = StringIO()
    console.file = messages
    return messages


def relay(messages: str) -> None:
    """Print what another process has collected."""
    console.print(Text.from_ansi(messages.rstrip()))


@contextmanager
def opened(run_id: str | None = None, **arguments: Any) -> Iterator[Run]:
    """Open a run that is closed whatever happens: FINISHED, KILLED on Ctrl-C, FAILED with the reason as a tag."""
    run = retry_while_unavailable(partial(mlflow.start_run, run_id, **arguments))
    try:
        retry_while_unavailable(partial(mlflow.set_tag, Tags.PROCESS, this_process()))
        yield run
    except BaseException as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        reason = "interrupted" if stopped.is_set() else reason[:TAG_LENGTH]
        retry_while_unavailable(partial(mlflow.set_tag, Tags.ERROR, reason))
        write_note(f"**{'Interrupted' if stopped.is_set() else 'Failed'}.** {reason}")
        mlflow.end_run("KILLED" if stopped.is_set() else "FAILED")
        raise
    mlflow.end_run()


def resume(run_id: str) -> None:
    """Make a run, which another process has opened and will close, the active one of this process."""
    mlflow.start_run(run_id)


def store() -> str:
    """Return the tracking store's address, without a password, for people."""
    return without_secrets(mlflow.get_tracking_uri())


def retry_while_unavailable(call: Callable[[], Result]) -> Result:
    """Call with retries while the store is unavailable, or the run would stay RUNNING."""
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            return call()
        except MlflowException as error:
            passing = error.error_code == "TEMPORARILY_UNAVAILABLE" and not LASTING.search(str(error))
            if not passing or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def active_run() -> Run:
    """Return the run that is open: within a stage there always is one."""
    run = mlflow.active_run()
    assert run is not None, "called outside a run"
    return run


def describe(label: str, parameters: Mapping[str, Any]) -> None:
    """Name the active run and log its resolved parameters.

    A name that the user chose stays. So do parameters that `mlflow run` has logged: they cannot be changed. Its tags
    can, and lose the password of a repository.
    """
    run = mlflow.get_run(active_run().info.run_id)
    tags = {name: without_secrets(value) for name, value in run.data.tags.items() if without_secrets(value) != value}
    for name, value in run.data.params.items():
        if censored(value) != value:
            warn(
                f"`mlflow run` logged the secret in {name} before this project could keep it out: delete the run, and"
                f" pass a variable ({name}='https://…?sig=$NAME'), or keep the password in ~/.netrc"
            )
    tags[Tags.PARAMETERS] = json.dumps(parameters)
    if GENERATED_NAME.fullmatch(run.info.run_name):
        tags["mlflow.runName"] = label
    mlflow.set_tags(tags)
    mlflow.log_params({name: value for name, value in parameters.items() if name not in run.data.params})


def describe_command(stage: str, label: str, parameters: Mapping[str, Any]) -> None:
    """Name the active run of an entry point that is no stage of the lineage, and log its parameters."""
    describe(label, parameters)
    mlflow.set_tag(Tags.STAGE, stage)


def tag_winner(model: str, train_run_id: str, evaluate_run_id: str) -> None:
    """Tag the active run with the best model that it has found, for `promote`, `predict` and `reproduce`."""
    mlflow.set_tags({Tags.WINNER: model, Tags.WINNER_RUN: train_run_id, Tags.WINNER_EVALUATE_RUN: evaluate_run_id})


def write_findings(folder: Path, findings: Sequence[Finding]) -> None:
    """Write findings to a folder of artifacts of the active run, and tag the run with their codes."""
    values = [finding.to_json() for finding in findings]
    (folder / Files.FINDINGS).write_text(json.dumps(values, indent=2, ensure_ascii=False), encoding="utf-8")
    mlflow.set_tag(Tags.FINDINGS, " ".join(dict.fromkeys(finding.code for finding in findings)))


def write_note(text: str, run_id: str | None = None) -> None:
    """Show a text, in Markdown, as the description of a run in the MLflow UI; of the active one by default."""
    mlflow.MlflowClient().set_tag(run_id or active_run().info.run_id, MLFLOW_RUN_NOTE, text[:TAG_LENGTH])


def note_of(run: Run) -> str:
    """Return the description of a run, in Markdown."""
    return run.data.tags.get(MLFLOW_RUN_NOTE, "")


def decorate_experiment(experiment_id: str, tag: str, value: str) -> None:
    """Set a tag of an experiment that only the MLflow UI shows. Where that is refused, warn: the result stands."""
    try:
        mlflow.MlflowClient().set_experiment_tag(experiment_id, tag, value)
    except MlflowException as error:
        warn(f"the page of the experiment will lack {tag}: {str(error).splitlines()[0]}")


def save_view(experiment_id: str, tag: str, view: str) -> None:
    """Save a view of an experiment's runs for the MLflow UI, unless it has been saved."""
    if tag not in mlflow.get_experiment(experiment_id).tags:
        decorate_experiment(experiment_id, tag, view)


def write_experiment_note(text: str) -> None:
    """Show a line, in Markdown, above the runs of the active run's experiment, unless somebody else wrote there."""
    experiment = mlflow.get_experiment(active_run().info.experiment_id)
    if experiment.tags.get(MLFLOW_RUN_NOTE, EXPERIMENT_NOTE).startswith(EXPERIMENT_NOTE):
        decorate_experiment(experiment.experiment_id, MLFLOW_RUN_NOTE, f"{EXPERIMENT_NOTE} {text}")


def close_abandoned(experiment_id: str) -> None:
    """Mark FAILED the runs that a killed process of this machine left RUNNING, and those that no process ever started.

    A process of another machine or container, whose runs stay as they are, cannot be seen from here. Nothing says to
    whom runs that were not started belong: those that `mlflow run` opened for this project get `ABANDONED_SECONDS`.
    """
    client = mlflow.MlflowClient()
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    source = active_run().data.tags.get("mlflow.source.name", "")
    for run in running:
        process = run.data.tags.get(Tags.PROCESS, "").rpartition(":")[2]
        ours = run.data.tags.get("mlflow.source.name") == source
        if processes.has_ended(process):
            reason = "its process ended without closing the run: it was killed, perhaps for lack of memory"
        elif not process and ours and time.time() - run.info.start_time / 1000 > ABANDONED_SECONDS:
            reason = "its process never started"
        else:
            continue
        client.set_tag(run.info.run_id, Tags.ERROR, reason)
        client.set_terminated(run.info.run_id, "FAILED")


def this_process() -> str:
    """Return the host and the mark of this process."""
    return f"{socket.gethostname()}:{processes.mark()}"


def dataset_rows(columns: int) -> int:
    """Return how many rows of a table `log_dataset` needs."""
    return max(10, min(DATASET_ROWS, 100 * DATASET_ROWS // columns))


def log_dataset(frame: Any, target: str, data: str, context: str, digest: str) -> Dataset:
    """Log one set of the file `data` as a dataset of the active run, called `wines-training` for example.

    MLflow looks at every value to find the types, so of a long frame it gets the first rows; `digest` is of all rows.
    """
    name, source = f"{Path(data).stem}-{context}", LocalArtifactDatasetSource(data)
    head = frame.head(dataset_rows(len(frame.columns)))
    dataset = from_pandas(head, source, targets=target, name=name, digest=digest)
    mlflow.log_input(dataset, context=context)
    return dataset


def model_id(run: Run) -> str:
    """Return the id of the model that a run logged; UserError if it has none."""
    if run.outputs is None or not run.outputs.model_outputs:
        raise UserError(f"run {run.info.run_id} ({run.info.run_name}): it has no model, or no longer; train again")
    return run.outputs.model_outputs[0].model_id


@contextmanager
def artifacts(run_id: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder whose files become artifacts of a run, the active one by default, all at once."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        mlflow.log_artifacts(folder, run_id=run_id)


def log_with_model(run: Run, path: str, text: str) -> None:
    """Add a text file to the model that a run has logged; its `path` begins with `model/`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.removeprefix(MODEL_FOLDER)
        file.write_text(text, encoding="utf-8")
        mlflow.MlflowClient().log_model_artifact(model_id(run), str(file))


def is_active(run: Run) -> bool:
    """Return whether a run is the one that is open in this process."""
    active = mlflow.active_run()
    return active is not None and active.info.run_id == run.info.run_id


@contextmanager
def unverified_copy(run: Run, path: str) -> Iterator[Path]:
    """Yield a temporary local copy of an artifact of `run`, or of a folder; UserError if it cannot be read.

    Read artifacts by `integrity.downloaded`. A path that begins with `model/` leads into the model that the run logged,
    whatever that is called.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            found, name = repository(run, path), path.removeprefix(MODEL_FOLDER)
            if isinstance(found, LocalArtifactRepository) and (file := Path(found.artifact_dir, name)).is_file():
                copy = shutil.copy(file, folder)  # a tenth of the time that MLflow takes for a small file
            else:
                copy = found.download_artifacts(name, folder)  # type: ignore[no-untyped-call]
        except (MlflowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"artifact {path} of run {run.info.run_id} cannot be read: {reason}") from error
        yield Path(copy)


def repository(run: Run, path: str) -> ArtifactRepository:
    """Return where an artifact is, by its own address: `runs:/` would look up the run again, and search its models.

    Raises UserError if it belongs to a model that was deleted.
    """
    if not path.startswith(MODEL_FOLDER):
        return get_artifact_repository(run.info.artifact_uri)
    try:
        return get_artifact_repository(mlflow.get_logged_model(model_id(run)).artifact_location)
    except MlflowException as error:
        reason = " ".join(str(error).split())
        raise UserError(f"run {run.info.run_id} ({run.info.run_name}): its model cannot be read: {reason}") from error


@contextmanager
def artifact_folder(run: Run, path: str) -> Iterator[Path]:
    """Yield the folder of artifacts at `path`: itself where the store is on this machine, else a temporary copy."""
    if isinstance(found := repository(run, path), LocalArtifactRepository):
        yield Path(found.artifact_dir)
    else:
        with unverified_copy(run, path) as copy:
            yield copy


def is_local(run: Run) -> bool:
    """Return whether the artifacts of a run are on this machine."""
    return isinstance(repository(run, ""), LocalArtifactRepository)


def listed_sizes(run: Run) -> dict[str, int]:
    """Return the sizes in bytes of the files of a run and of its model, those in folders left out, by artifact path."""
    sizes: dict[str, int] = {}
    for folder in ["", MODEL_FOLDER] if has_model(run) else [""]:
        try:
            found = repository(run, folder).list_artifacts()
        except (MlflowException, OSError) as error:
            raise UserError(f"artifacts of run {run.info.run_id} cannot be listed: {error}") from error
        sizes |= {folder + file.path: file.file_size or 0 for file in found if not file.is_dir}
    return sizes


def has_model(run: Run) -> bool:
    """Return whether a run has logged a model."""
    return bool(run.outputs and run.outputs.model_outputs)
