"""Execution of a stage as one MLflow run: reused where a complete run has the same fingerprint, else recorded."""

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

from workflow.errors import UserError
from workflow.parsing import Params, options_of, to_command_line
from workflow.provenance import fingerprint, git, receipt
from workflow.provenance.fingerprint import Code
from workflow.provenance.receipt import ArtifactDigest, InputRecord, Outcome, Receipt
from workflow.runs import integrity
from workflow.runs.artifacts import StageRun
from workflow.runs.names import Files, Tags
from workflow.runs.tracking import (
    active_run,
    artifacts,
    console,
    describe,
    has_model,
    log_with_model,
    opened,
    unverified_copy,
    warn,
)

LOGGED_RUNS: set[str] = set()  # cache: runs that this process has told the user about
ARTIFACT_FILES = ("workflow/runs/artifacts.py", "workflow/runs/names.py")  # read and write what stages exchange


@dataclass
class InputFile:
    """A file or folder that a stage reads: as the user named it, and where it is; and a function in it, if named."""

    source: str
    path: Path
    function: str | None = None

    def __post_init__(self) -> None:
        """Remember its present state."""
        self.state = fingerprint.path_state(self.path)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its content, computed once."""
        return fingerprint.path_digest(self.path)

    def has_changed(self) -> bool:
        """Return whether it was modified since this was made."""
        return fingerprint.path_state(self.path) != self.state

    def record(self) -> InputRecord:
        """Return how a receipt holds it: the content of a short file, else the path of a copy that is logged."""
        if content := receipt.short_text(self.path):
            return InputRecord(source=self.source, sha256=self.digest, function=self.function, content=content)
        copy = f"{Files.INPUTS}/{self.path.name}"
        if self.path.is_dir():
            mlflow.log_artifacts(str(self.path), copy)
        else:
            mlflow.log_artifact(str(self.path), Files.INPUTS)
        return InputRecord(source=self.source, sha256=self.digest, function=self.function, artifact=copy)


@dataclass(frozen=True)
class Report:
    """The page and figures of a run: code that decides only how a result looks, and a function that draws it anew."""

    code: Code
    draw: Callable[[Run], None]


@dataclass(frozen=True)
class Task:
    """One execution of a stage: everything that decides its result, and the function that records it.

    Attributes:
        stage: name of the stage.
        label: readable name of the run.
        script: the entry point.
        code: what decides the result.
        params: the stage's own parameters.
        work: called in the active run; logs the result.
        reads: digests of the artifacts that it reads, by name.
        upstream: runs that it builds on, the earliest stage first.
        lineage: parameters of the stages before it, the earliest first.
        tags: of the run: which runs it builds on.
        files: files that it reads, by parameter.
        proven_artifacts: how artifacts that a reproduction must make again are digested, by path.
        modules: packages that it imports because a parameter names them.
        report: its page and figures, if it has any.
    """

    stage: str
    label: str
    script: Path
    code: Code
    params: Params
    work: Callable[[], None]
    reads: Mapping[str, str] = field(default_factory=dict)
    upstream: tuple[StageRun, ...] = ()
    lineage: tuple[Params, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, InputFile] = field(default_factory=dict)
    proven_artifacts: Mapping[str, Callable[[Path], ArtifactDigest]] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    report: Report | None = None

    def fingerprint(self) -> str:
        """Return the digest of everything that decides the result."""
        inputs = {name: file.digest for name, file in self.files.items()} | dict(self.reads)
        return fingerprint.fingerprint(self.stage, self.code, self.params.deciding(), inputs, self.modules)

    def all_parameters(self) -> dict[str, Any]:
        """Return all parameters that the result rests on, by name: those of the lineage, and its own."""
        values = [params.model_dump(mode="json", by_alias=True) for params in (*self.lineage, self.params)]
        return {name: value for each in values for name, value in each.items()}


def find_or_run(task: Task) -> Run:
    """Return the complete run of a task: found by its fingerprint, or executed under the active run."""
    if found := find_run(task.fingerprint()):
        log_once(found.info.run_id, f"{task.label:<22} reused  ")
        draw_outdated_report(task, found)
        return found
    started = time.monotonic()
    with opened(run_name=task.label, nested=True, experiment_id=active_run().info.experiment_id) as run:
        execute(task)
    log_once(run.info.run_id, f"{task.label:<22} {time.monotonic() - started:5.1f} s ")
    return mlflow.get_run(run.info.run_id)


def log_once(run_id: str, line: str) -> None:
    """Log once whether a run was reused or executed."""
    if run_id not in LOGGED_RUNS:
        console.print(f"{line} [dim]run {run_id}[/dim]")
        LOGGED_RUNS.add(run_id)


def find_run(digest: str) -> Run | None:
    """Return the newest complete run with a fingerprint in the experiment of the active run, if it is as recorded.

    Warns if it is not: it was altered, or something of it was deleted. Raises Contradiction if that goes for a run that
    was reused before.
    """
    runs = mlflow.MlflowClient().search_runs(
        [active_run().info.experiment_id],
        f"tags.`{Tags.FINGERPRINT}` = '{digest}' and attributes.status = 'FINISHED'",
        max_results=1,
    )
    if not runs:
        return None
    try:
        pages = integrity.verify_for_reuse(runs[0])
    except integrity.Contradiction:
        raise
    except UserError as error:
        warn(f"{runs[0].info.run_name} is not reused: {error}")
        return None
    if pages:
        warn(f"run {runs[0].info.run_id}: {', '.join(pages)}: not what was recorded, so drawn again")
    return runs[0]


def draw_outdated_report(task: Task, run: Run) -> None:
    """Draw the page and figures of a reused run again if their code has changed, or they have."""
    if task.report is None:
        return
    if run.data.tags.get(Tags.REPORT) == task.report.code.fingerprint() and not integrity.verify_for_reuse(run):
        return
    started = time.monotonic()
    with console.status(f"report of {task.label}"):
        draw_report(task.report, run)
    console.print(f"{f'report {task.label}':<22} {time.monotonic() - started:5.1f} s  [dim]run {run.info.run_id}[/dim]")


def draw_report(report: Report, run: Run) -> None:
    """Draw the page and figures of a run, and tag it with the fingerprint of their code."""
    report.draw(run)
    mlflow.MlflowClient().set_tag(run.info.run_id, Tags.REPORT, report.code.fingerprint())
    integrity.VERIFIED.pop(run.info.run_id, None)


def execute(task: Task) -> None:
    """Do the work of a task in the active run, and mark the run complete as the very last thing.

    Raises UserError if the stage's data or code changed meanwhile: nobody could say which of them it used.
    """
    started_with, run_id = task.fingerprint(), active_run().info.run_id
    describe(task.label, task.all_parameters())
    mlflow.set_tags({Tags.STAGE: task.stage, **task.tags})
    with console.status(task.label):
        task.work()
        if task.report:
            draw_report(task.report, mlflow.get_run(run_id))
    if any(file.has_changed() for file in task.files.values()) or task.fingerprint() != started_with:
        raise UserError(f"{task.stage}: its data or its code changed while it ran; run it again")
    mlflow.set_tag(Tags.RECEIPT, log_receipt(task, started_with))
    mlflow.set_tag(Tags.FINGERPRINT, started_with)


def outcome_of(run: Run, proven_artifacts: Mapping[str, Callable[[Path], ArtifactDigest]]) -> Outcome:
    """Return what a reproduction of the run must make again: its metrics, and the digests of its artifacts.

    MLflow's own measurements of the machine are left out.
    """
    digests = {}
    for path, digest in proven_artifacts.items():
        with unverified_copy(run, path) as copy:
            digests[path] = digest(copy)
    metrics = {
        name: value if math.isfinite(value) else None  # JSON cannot express it
        for name, value in sorted(run.data.metrics.items())
        if not name.startswith("system/")
    }
    return Outcome(metrics=metrics, artifacts=digests)


def make_receipt(task: Task, outcome: Outcome) -> tuple[Receipt, bytes]:
    """Return the receipt of the active run, with those of its upstream runs in it; and the uncommitted changes."""
    root, project, earlier = task.code.root, task.code.root.parent, [run.receipt for run in task.upstream]
    files = upstream_code(earlier, root) | task.code.digests()
    needed, _ = fingerprint.imports(task.script, root)
    code, patch = git.state(project, sorted({f"{root.name}/{name}" for name in {*files, *needed}}), files)
    if code.commit is None:
        warn(f"{project} is in no git repository with a commit: this result cannot be reproduced elsewhere")
    inputs, outcomes, runs = receipt.merged(earlier)
    inputs |= {name: file.record() for name, file in task.files.items()}
    names = {name for each in earlier for name in each.environment.packages}
    packages = fingerprint.versions(names) | task.code.packages(task.modules)
    made = receipt.make(
        task.stage,
        {name: value for name, value in task.all_parameters().items() if name not in inputs},
        inputs,
        code,
        receipt.current_environment(packages, fingerprint.supporting_packages(task.script, packages, root)),
        outcomes | {task.label: outcome},
        runs | {task.label: active_run().info.run_id},
    )
    return made, patch


def log_receipt(task: Task, digest: str) -> str:
    """Log the receipt of the active run, whose fingerprint will be `digest`, and return the SHA-256 of its file."""
    run = mlflow.get_run(active_run().info.run_id)
    made, patch = make_receipt(task, outcome_of(run, task.proven_artifacts))
    with artifacts() as folder:
        if patch:
            (folder / Files.PATCH).write_bytes(patch)
    if has_model(run):
        log_with_model(run, Files.RECEIPT_DIGEST, f"{made.sha256}\n")
    provenance = made.provenance.model_copy(
        update={
            "receipts": {each.id: each.tags[Tags.RECEIPT] for each in task.upstream},
            "files": integrity.files_of(run),
            "tags": integrity.own_tags(run) | {Tags.FINGERPRINT: digest},
            "params": fingerprint.digest(run.data.params),
            "report": run.data.tags.get(Tags.REPORT),
        }
    )
    with artifacts() as folder:
        path = folder / Files.RECEIPT
        path.write_text(made.model_copy(update={"provenance": provenance}).text(), encoding="utf-8")
        return fingerprint.file_digest(path)


def upstream_code(earlier: Iterable[Receipt], root: Path) -> dict[str, str]:
    """Return the present digests of the files that decided upstream runs, the earliest stage first.

    Warns if a run was made by code that has changed since: no commit holds both. A file of two runs is compared for the
    first one only: a reused later stage may have run before the earlier one changed.
    """
    found: dict[str, str] = {}
    for each in earlier:
        own = [name for name in each.code.files if name not in found]
        present = {name: fingerprint.file_digest(root / name) for name in own if (root / name).is_file()}
        if other := [name for name in own if present.get(name) != each.code.files[name]]:
            warn(
                f"the {each.step} run was made with another version of {', '.join(other)}:"
                " this result may not be reproducible"
            )
        found |= present
    return found


def command_line(entry_point: str, kind: type[Params], parameters: Mapping[str, Any], run: Run) -> str:
    """Return the `mlflow run` command that makes a run's result again, at the recorded commit of the project."""
    url, commit = run.data.tags.get("mlflow.source.git.repoURL"), run.data.tags.get("mlflow.source.git.commit")
    # `-v` on a folder would check the commit out in that very folder, over what the user is working on.
    state = f", at commit {commit}" if commit else ""
    project, remark = ([url, "-v", commit], "") if url else (["."], f"# in the project's folder{state}\n")
    return remark + shlex.join(["mlflow", "run", *project, "-e", entry_point, *arguments(kind, parameters)])


def arguments(kind: type[Params], values: Mapping[str, Any]) -> list[str]:
    """Return the `mlflow run` arguments for those parameters of `kind` whose values are not the defaults."""
    chosen = {
        name: values[name]
        for name, option in options_of(kind).items()
        if name in values and values[name] != option.get_default(call_default_factory=True)
    }
    return [word for name, value in chosen.items() for word in ("-P", f"{name}={to_command_line(value)}")]
