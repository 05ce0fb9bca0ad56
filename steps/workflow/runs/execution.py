"""The chain evaluate → train → preprocess → data: find the run that a step needs, or make it."""

import json
import math
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from workflow.errors import UserError
from workflow.parameters import AUTO, Parameter, resolved, to_command_line
from workflow.provenance import fingerprint, git, receipt
from workflow.runs.tracking import active_run, artifacts, console, describe, downloaded, opened, store, warn

Tell = Callable[[], dict[str, str]]
INPUTS = "inputs"  # the artifact folder with copies of the files that a step read
told: set[str] = set()  # ids of runs


@dataclass
class Input:
    """A file or folder that a step reads: as the user named it, and where it is."""

    source: str
    file: Path

    def __post_init__(self) -> None:
        """Remember how it is now."""
        self.state = fingerprint.path_state(self.file)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its content, which is read once for that."""
        return fingerprint.path_digest(self.file)

    def has_changed(self) -> bool:
        """Whether somebody has written to it since this was made."""
        return fingerprint.path_state(self.file) != self.state


@dataclass(frozen=True)
class Step:
    """One entry point whose work is recorded as one MLflow run."""

    name: str
    script: Path
    parameters: tuple[Parameter, ...]
    work: Callable[
        ..., Tell | None
    ]  # called inside the step's run with (parameters, upstream run, if any); see `record`
    upstream: "Step | None" = None
    inputs: Callable[[Mapping[str, Any]], dict[str, Input]] = lambda parameters: {}  # what it reads, by parameter
    modules: Callable[[Mapping[str, Any]], Iterable[str]] = lambda parameters: ()  # imported because they say so
    proofs: Mapping[str, Callable[[Path], dict[str, Any]]] = field(default_factory=dict)  # of artifacts, by path

    @property
    def run_id_parameter(self) -> str:
        """The parameter by which later steps name a run of this one."""
        return f"{self.name}_run_id"

    def chain(self) -> "list[Step]":
        """This step and all before it, the nearest first."""
        return [self, *(self.upstream.chain() if self.upstream else [])]

    def resolve(self, given: Mapping[str, Any], upstream: Run | None) -> dict[str, Any]:
        """All parameters that the step's result rests on: the upstream run's, and its own, given or default."""
        return (parameters_of(upstream) if upstream else {}) | resolved(self.parameters, given)

    def label(self, parameters: Mapping[str, Any]) -> str:
        """A readable name for a run: `train rf`, `tune rf,boosting`."""
        several = ",".join(parameters.get("models", []))
        return f"{self.name} {several or parameters.get('model', '')}".strip()

    def fingerprint(self, parameters: Mapping[str, Any], upstream: Run | None, inputs: Mapping[str, Input]) -> str:
        """The fingerprint of this step with these parameters and `inputs` on this upstream run."""
        digests = {name: given.digest for name, given in inputs.items()}
        if upstream is not None:
            digests["upstream"] = upstream.data.tags["workflow.fingerprint"]
        deciding = {p.name: parameters[p.name] for p in self.parameters if p.decides}
        return fingerprint.fingerprint(self.name, self.script, deciding, digests, self.modules(parameters))


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
    label, inputs = step.label(parameters), step.inputs(parameters)
    if found := find_run(step.fingerprint(parameters, upstream, inputs)):
        tell_once(label, "reused  ", found.info.run_id)
        return found
    started = time.monotonic()
    with opened(run_name=label, nested=True, experiment_id=active_run().info.experiment_id) as run:
        record(step, parameters, upstream, inputs)
    tell_once(label, f"{time.monotonic() - started:5.1f} s ", run.info.run_id)
    return mlflow.get_run(run.info.run_id)


def tell_once(label: str, how: str, run_id: str) -> None:
    """Say how a run was had, unless this process has said so."""
    if run_id not in told:
        console.print(f"{label:<22} {how} [dim]run {run_id}[/dim]")
        told.add(run_id)


def find_run(mark: str) -> Run | None:
    """The newest complete run with the fingerprint `mark` in the experiment of the active run."""
    runs = mlflow.MlflowClient().search_runs(
        [active_run().info.experiment_id],
        f"tags.`workflow.fingerprint` = '{mark}' and attributes.status = 'FINISHED'",
        max_results=1,
    )
    return runs[0] if runs else None


def finished_run(run_id: str, step: Step, given: Mapping[str, Any]) -> Run:
    """The run `run_id`, if it is a complete run of `step` that `given` does not contradict; else UserError."""
    name = f"{step.run_id_parameter}={run_id}"
    run = existing_run(name, run_id)
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


def existing_run(name: str, run_id: str) -> Run:
    """The run `run_id`; UserError, which begins with `name`, if it is not in this tracking store."""
    try:
        return mlflow.get_run(run_id)
    except MlflowException as error:
        raise UserError(f"{name}: no such run in {store()}; copy the id from the UI") from error


def upstream_of(run: Run) -> Run:
    """The run that `run` has read from."""
    return mlflow.get_run(run.data.tags["workflow.upstream"])


def record(step: Step, parameters: dict[str, Any], upstream: Run | None, inputs: Mapping[str, Input]) -> Tell | None:
    """Do the work of `step` inside the active run, and mark the run complete as the very last thing.

    Returns what the work returns: None, or a function that tells the user of it, and returns pages to look at.

    Raises UserError if the step's data or code changed meanwhile: nobody could say which of them it used.
    """
    mark, label = step.fingerprint(parameters, upstream, inputs), step.label(parameters)
    describe(label, parameters)
    mlflow.set_tag("workflow.step", step.name)
    if upstream:
        mlflow.set_tag("workflow.upstream", upstream.info.run_id)
    earlier = [receipt_of(upstream)] if upstream else []
    with console.status(label):
        result = step.work(parameters, upstream)
    changed = any(given.has_changed() for given in inputs.values())
    if changed or step.fingerprint(parameters, upstream, inputs) != mark:
        raise UserError(f"{step.name}: its data or its code changed while it ran; run it again")
    outcome = outcome_of(mlflow.get_run(active_run().info.run_id), step.proofs)
    logged = {name: log_input(given) for name, given in inputs.items()}
    log_receipt(step.name, label, step.script, parameters, logged, earlier, outcome, step.modules(parameters))
    mlflow.set_tag("workflow.fingerprint", mark)
    return result


def outcome_of(run: Run, proofs: Mapping[str, Callable[[Path], dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What a reproduction of the run must make again: its metrics, and the digests of artifacts that it holds.

    MLflow's own measurements of the machine are left out.
    """
    digests = {}
    for path, digest in proofs.items():
        with downloaded(run, path) as copy:
            digests[path] = digest(copy)
    metrics = {
        name: value if math.isfinite(value) else None  # JSON has no word for it
        for name, value in sorted(run.data.metrics.items())
        if not name.startswith("system/")
    }
    return {"metrics": metrics, "artifacts": digests}


def log_input(given: Input) -> dict[str, str]:
    """How a receipt holds what the active run read: the content of a short file, else a logged copy."""
    entry = {"source": given.source, "sha256": given.digest}
    if content := receipt.short_text(given.file):
        return entry | {"content": content}
    place = f"{INPUTS}/{given.file.name}"
    if given.file.is_dir():
        mlflow.log_artifacts(str(given.file), place)
    else:
        mlflow.log_artifact(str(given.file), INPUTS)
    return entry | {"artifact": place}


def log_receipt(
    step: str,
    label: str,
    script: Path,
    parameters: Mapping[str, Any],
    inputs: dict[str, dict[str, Any]],
    earlier: Iterable[dict[str, Any]],
    outcome: dict[str, dict[str, Any]],
    modules: Iterable[str] = (),
) -> None:
    """Log the receipt of the active run, with those of `earlier` runs in it; and the uncommitted changes."""
    sources = fingerprint.sources(script)
    project = script.parent.parent
    code, patch = git.state(project, [f"{script.parent.name}/{name}" for name in sources])
    if code["commit"] is None:
        warn(f"{project} is in no git repository with a commit: what runs now cannot be reproduced elsewhere")
    outcomes: dict[str, dict[str, Any]] = {}
    runs: dict[str, str] = {}
    for document in earlier:
        inputs = document["inputs"] | inputs
        outcomes |= document["outcome"]
        runs |= document["occasion"]["runs"]
        warn_of_other_code(document, sources)
    document = receipt.make(
        step,
        {name: value for name, value in parameters.items() if name not in inputs},
        inputs,
        code | {"files": sources},
        receipt.environment(script, modules),
        outcomes | {label: outcome},
        runs | {label: active_run().info.run_id},
    )
    with artifacts() as folder:
        (folder / receipt.FILE).write_text(receipt.text(document), encoding="utf-8")
        if patch:
            (folder / git.PATCH).write_bytes(patch)


def warn_of_other_code(document: dict[str, Any], sources: Mapping[str, str]) -> None:
    """Say so if a run named by its id was made by code that is no longer here: no commit holds both."""
    other = [name for name, digest in document["code"]["files"].items() if sources.get(name, digest) != digest]
    if other:
        warn(
            f"the {document['step']} run was made with another version of {', '.join(other)}:"
            " this receipt may not come out again"
        )


def receipt_of(run: Run) -> dict[str, Any]:
    """The receipt that a run logged; UserError if it has none."""
    with downloaded(run, receipt.FILE) as path:
        return receipt.read(path.read_text(encoding="utf-8"), f"{receipt.FILE} of run {run.info.run_id}")


def command_line(step: Step, parameters: Mapping[str, Any]) -> str:
    """The `mlflow run` command that makes this step's result again, at the recorded commit of the project."""
    tags = mlflow.get_run(active_run().info.run_id).data.tags
    url, commit = tags.get("mlflow.source.git.repoURL"), tags.get("mlflow.source.git.commit")
    # `-v` on a folder would check the commit out in that very folder, over what the user is working on.
    place, remark = ([url, "-v", commit], "") if url else (["."], f"# in the project's folder, at commit {commit}\n")
    given = arguments((p for link in step.chain() for p in link.parameters), parameters)
    return remark + shlex.join(["mlflow", "run", *place, "-e", step.name, *given])


def arguments(parameters: Iterable[Parameter], values: Mapping[str, Any]) -> list[str]:
    """What `mlflow run` must be given for these `values` of parameters: nothing for a default."""
    chosen = {p.name: values[p.name] for p in parameters if values[p.name] != p.convert(p.default)}
    return [word for name, value in chosen.items() for word in ("-P", f"{name}={to_command_line(value)}")]
