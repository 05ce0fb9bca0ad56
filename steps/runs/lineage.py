"""The chain evaluate → train → preprocess → data: find the run that a step needs, or make it."""

import json
import os
import re
import shlex
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.data.sources import LocalArtifactDatasetSource
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from rich.console import Console

from errors import UserError
from runs import fingerprint
from runs.parameters import Parameter

console = Console(stderr=True, highlight=False, soft_wrap=True)
AUTO = "auto"
stopped = threading.Event()  # by Ctrl-C or SIGTERM: whatever error follows, that was the reason
TAG_LENGTH = 5000  # the least that tracking stores hold
MADE_UP_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")  # MLflow calls an unnamed run clumsy-hare-123


@dataclass(frozen=True)
class Step:
    """One entry point whose work is recorded as one MLflow run."""

    name: str
    script: Path
    parameters: tuple[Parameter, ...]
    work: Callable[[dict, Run | None], None]  # called inside the step's run with (parameters, upstream run)
    upstream: "Step | None" = None
    inputs: Callable[[Mapping], dict[str, str]] = lambda parameters: {}  # digests of the files it reads

    @property
    def run_id_parameter(self) -> str:
        """The parameter by which later steps name a run of this one."""
        return f"{self.name}_run_id"

    def chain(self) -> "list[Step]":
        """This step and all before it, the nearest first."""
        return [self, *(self.upstream.chain() if self.upstream else [])]

    def resolve(self, given: Mapping[str, Any], upstream: Run | None) -> dict[str, Any]:
        """All parameters that the step's result rests on: the upstream run's, and its own, given or default."""
        own = {p.name: given.get(p.name, p.convert(p.default)) for p in self.parameters}
        return (parameters_of(upstream) if upstream else {}) | own

    def label(self, parameters: Mapping[str, Any]) -> str:
        """A readable name for a run: `train rf`."""
        return " ".join([self.name, parameters.get("model", "")]).strip()

    def fingerprint(self, parameters: Mapping[str, Any], upstream: Run | None) -> str:
        """The fingerprint of this step with these parameters on this upstream run."""
        inputs = self.inputs(parameters)
        if upstream is not None:
            inputs = inputs | {"upstream": upstream.data.tags["workflow.fingerprint"]}
        deciding = {p.name: parameters[p.name] for p in self.parameters if p.decides}
        return fingerprint.fingerprint(self.name, self.script, deciding, inputs)


def parameters_of(run: Run) -> dict[str, Any]:
    """The parameters that the run's result rests on, with their types (MLflow's own are text, shell-quoted)."""
    return json.loads(run.data.tags["workflow.parameters"])


def obtain(step: Step, given: Mapping[str, Any]) -> Run:
    """The finished run of `step` for the parameters `given`: named by its id, or found, or made under the active run.

    Raises UserError for a run id that cannot be used.
    """
    named = given.get(step.run_id_parameter, AUTO)
    if named != AUTO:
        return finished_run(named, step, given)
    upstream = obtain(step.upstream, given) if step.upstream else None
    parameters = step.resolve(given, upstream)
    label = step.label(parameters)
    if found := find(step.fingerprint(parameters, upstream)):
        console.print(f"{label:<22} reused   [dim]run {found.info.run_id}[/dim]")
        return found
    started = time.monotonic()
    with opened(run_name=label, nested=True) as run:
        record(step, parameters, upstream)
    console.print(f"{label:<22} {time.monotonic() - started:5.1f} s  [dim]run {run.info.run_id}[/dim]")
    return mlflow.get_run(run.info.run_id)


def find(mark: str) -> Run | None:
    """The newest complete run with the fingerprint `mark` in the experiment of the active run."""
    runs = mlflow.MlflowClient().search_runs(
        [mlflow.active_run().info.experiment_id],
        f"tags.`workflow.fingerprint` = '{mark}' and attributes.status = 'FINISHED'",
        max_results=1,
    )
    return runs[0] if runs else None


def finished_run(run_id: str, step: Step, given: Mapping[str, Any]) -> Run:
    """The run `run_id`, if it is a complete run of `step` that `given` does not contradict; else UserError."""
    name = f"{step.run_id_parameter}={run_id}"
    try:
        run = mlflow.get_run(run_id)
    except MlflowException as error:
        raise UserError(f"{name}: no such run in {mlflow.get_tracking_uri()}; copy the id from the UI") from error
    made_by = run.data.tags.get("workflow.step")
    if made_by != step.name:
        raise UserError(f"{name}: that is a run of {made_by or 'another project'}, not of {step.name}")
    if run.info.status != "FINISHED" or "workflow.fingerprint" not in run.data.tags:
        raise UserError(f"{name}: that run is not complete ({run.info.status}); name another or leave it out")
    recorded = parameters_of(run)
    names = {p.name for link in step.chain() for p in link.parameters if p.decides}
    for key in names & given.keys() & recorded.keys():
        if given[key] != recorded[key]:
            raise UserError(
                f"{key}={given[key]} contradicts {name}, which was made with {key}={recorded[key]}; leave one out"
            )
    return run


def record(step: Step, parameters: dict[str, Any], upstream: Run | None) -> None:
    """Do the work of `step` inside the active run, and mark the run complete as the very last thing.

    Raises UserError if the step's data or code changed meanwhile: nobody could say which of them it used.
    """
    mark = step.fingerprint(parameters, upstream)
    describe(step.label(parameters), parameters)
    mlflow.set_tag("workflow.step", step.name)
    if upstream:
        mlflow.set_tag("workflow.upstream", upstream.info.run_id)
    step.work(parameters, upstream)
    if step.fingerprint(parameters, upstream) != mark:
        raise UserError(f"{step.name}: its data or its code changed while it ran; run it again")
    mlflow.set_tag("workflow.fingerprint", mark)


def describe(label: str, parameters: Mapping[str, Any]) -> None:
    """Name the active run and log its resolved parameters.

    A name that the user chose stays. So do parameters that `mlflow run` has logged: they cannot be changed.
    """
    run = mlflow.get_run(mlflow.active_run().info.run_id)
    tags = {"workflow.parameters": json.dumps(parameters)}
    if MADE_UP_NAME.fullmatch(run.info.run_name):
        tags["mlflow.runName"] = label
    mlflow.set_tags(tags)
    mlflow.log_params({name: value for name, value in parameters.items() if name not in run.data.params})


@contextmanager
def opened(run_id: str | None = None, **arguments: Any) -> Iterator[Run]:
    """An active run that is closed whatever happens: FINISHED, KILLED on Ctrl-C, FAILED with the reason as a tag."""
    run = mlflow.start_run(run_id, **arguments)
    try:
        mlflow.set_tag("workflow.process", f"{socket.gethostname()}:{os.getpid()}")
        yield run
    except BaseException as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        mlflow.set_tag("workflow.error", "interrupted" if stopped.is_set() else reason[:TAG_LENGTH])
        mlflow.end_run("KILLED" if stopped.is_set() else "FAILED")
        raise
    mlflow.end_run()


def close_abandoned(experiment_id: str) -> None:
    """Mark FAILED the runs that a killed process of this host left RUNNING."""
    client = mlflow.MlflowClient()
    host = socket.gethostname()
    query = f"attributes.status = 'RUNNING' and tags.`workflow.process` LIKE '{host}:%'"
    for run in client.search_runs([experiment_id], query):
        process = int(run.data.tags["workflow.process"].rpartition(":")[2])
        if not is_alive(process):
            client.set_tag(run.info.run_id, "workflow.error", "its process ended without closing the run")
            client.set_terminated(run.info.run_id, "FAILED")


def is_alive(process: int) -> bool:
    """Whether a process of this host is still there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def instruction(step: Step, parameters: Mapping[str, Any]) -> str:
    """The `mlflow run` command that makes this step's result again, at the recorded commit of the project."""
    tags = mlflow.get_run(mlflow.active_run().info.run_id).data.tags
    url, commit = tags.get("mlflow.source.git.repoURL"), tags.get("mlflow.source.git.commit")
    # `-v` on a folder would check the commit out in that very folder, over what the user is working on.
    place, remark = ([url, "-v", commit], "") if url else (["."], f"# in the project's folder, at commit {commit}\n")
    words = ["mlflow", "run", *place, "-e", step.name]
    for parameter in (p for link in step.chain() for p in link.parameters):
        value = parameters[parameter.name]
        if value != parameter.convert(parameter.default):
            words += ["-P", f"{parameter.name}={value if isinstance(value, str) else json.dumps(value)}"]
    return remark + shlex.join(words)


def log_dataset(frame: Any, target: str, data: str, context: str) -> None:
    """Log one part of the file `data`, a DataFrame, as a dataset of the active run: `wines-training`."""
    source = LocalArtifactDatasetSource(data)
    dataset = mlflow.data.from_pandas(frame, source=source, targets=target, name=f"{Path(data).stem}-{context}")
    mlflow.log_input(dataset, context=context)


@contextmanager
def artifacts() -> Iterator[Path]:
    """A temporary folder whose files become artifacts of the active run, all at once, when the block succeeds."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        mlflow.log_artifacts(folder)


@contextmanager
def downloaded(run: Run, path: str) -> Iterator[Path]:
    """A temporary local copy of an artifact of `run`; UserError if it cannot be had."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            copy = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/{path}", dst_path=folder)
        except (MlflowException, OSError) as error:
            raise UserError(f"artifact {path} of run {run.info.run_id} cannot be read: {error}") from error
        yield Path(copy)
