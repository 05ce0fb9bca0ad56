"""A receipt's result made again, from what the receipt says and from nothing else."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from errors import UserError
from runs import fingerprint, git, receipt, sources
from runs.comparison import ABSENT, DIFFERS, EQUAL, UNSEEN, Row, exact, outcomes
from runs.lineage import Step, existing_run, outcome_of, parameters_of, receipt_of
from runs.parameters import as_text
from runs.tracking import console

RUN_ID = re.compile(r"[0-9a-f]{32}")
SAME, RECORDED = "same", "recorded"
AS_LOGGED = "as logged"


def find(name: str, project: Path) -> tuple[dict, bytes]:
    """The receipt that a run id, a URI, or a path relative to `project` leads to, and the patch that belongs to it.

    Raises UserError if there is none, or if the run has not finished.
    """
    uri = name
    if RUN_ID.fullmatch(name):
        uri = receipt_uri(name)
    elif ":/" not in name:
        uri = str(project / Path(name).expanduser())
        if not Path(uri).is_file():
            hint = "" if Path(name).is_absolute() else f'; for a file of yours: -P run="$PWD/{name}"'
            raise UserError(f"run={name}: neither a run id nor a file in the project folder{hint}")
    try:
        content = sources.content(uri).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"run={name}: not JSON ({error})") from error
    document = receipt.read(content, f"run={name}")
    if document["code"]["commit"] is None:
        raise UserError(f"run={name}: it was made outside a git repository, so its code cannot be had again")
    return document, patch_of(document, uri)


def receipt_uri(run_id: str) -> str:
    """Where the receipt of a finished run is; UserError if it cannot have one."""
    run = existing_run(f"run={run_id}", run_id)
    tags = run.data.tags
    if run.info.status != "FINISHED":
        reason = tags.get("workflow.error", "it has not finished")
        raise UserError(f"run={run_id}: {run.info.status}, so it has no result to reproduce: {reason}")
    if "workflow.step" not in tags:
        raise UserError(f"run={run_id}: not a run of this project's workflow")
    if not any(file.path == receipt.FILE for file in mlflow.artifacts.list_artifacts(run_id=run_id)):
        raise UserError(
            f"run={run_id}: it has no {receipt.FILE}: it is a run of {tags['workflow.step']} or of an older version"
        )
    return f"runs:/{run_id}/{receipt.FILE}"


def patch_of(document: Mapping, uri: str) -> bytes:
    """The uncommitted changes that a receipt speaks of: from beside it, or from its run; UserError if not to be had."""
    digest = document["code"]["patch"]
    if digest is None:
        return b""
    places = [f"{uri.rpartition('/')[0]}/{git.PATCH}", f"runs:/{own_run(document)}/{git.PATCH}"]
    reasons = []
    for place in places:
        try:
            patch = sources.content(place)
        except UserError as error:
            reasons.append(str(error))
            continue
        if hashlib.sha256(patch).hexdigest() == digest:
            return patch
        reasons.append(f"{place} is another one")
    raise UserError(f"{git.PATCH}, which this receipt needs, cannot be had: {'; '.join(reasons)}")


def own_run(document: Mapping) -> str:
    """The id of the run that the receipt is of."""
    return list(document["occasion"]["runs"].values())[-1]


def inputs_again(document: Mapping, roots: tuple[Path, Path], folder: Path) -> tuple[dict[str, Path], list[Row]]:
    """What the receipt's step read, by parameter, with the very bytes that it recorded; and how its source is today.

    Relative sources are looked for in each of `roots`. What is gone or has changed comes from the receipt, or from the
    logged copy, into `folder`. Raises UserError if it cannot be had.
    """
    found, rows = {}, []
    for name, entry in document["inputs"].items():
        source = today(name, entry["source"], roots)
        digest = fingerprint.path_digest(source) if source else ABSENT
        same = digest == entry["sha256"]
        found[name] = source if same else copy_of(name, entry, document, folder)
        verdict = EQUAL if same or not source else DIFFERS
        remark = digest if source else "gone, but a copy is the same"
        rows.append(Row(name, entry["source"], entry["sha256"], remark, verdict))
    return found, rows


def today(name: str, source: str, roots: tuple[Path, Path]) -> Path | None:
    """Where an input's source is today, if it still is."""
    for root in roots:
        try:
            return sources.located(name, source, root)
        except UserError:
            continue  # perhaps in the next root; else the recorded copy takes its place, and the table says so
    return None


def copy_of(name: str, entry: Mapping, document: Mapping, folder: Path) -> Path:
    """The recorded content of an input whose source no longer has it; UserError if it cannot be had."""
    if "content" in entry:
        place, copy = "the receipt", folder / f"{name}{Path(entry['source']).suffix}"
        copy.write_text(entry["content"], encoding="utf-8", newline="")
    else:
        place = f"runs:/{next(iter(document['occasion']['runs'].values()))}/{entry['artifact']}"
        try:
            copy = sources.brought(place)
        except UserError as error:
            raise UserError(
                f"{name}={entry['source']}: the file is gone or has changed, and there is no copy: {place} {error}"
            ) from error
    if fingerprint.path_digest(copy) != entry["sha256"]:
        raise UserError(f"{name}={entry['source']}: neither it nor the copy in {place} is what was recorded")
    return copy


@contextmanager
def started(
    document: Mapping, project: Path, inputs: Mapping[str, Path], env: str, store: str
) -> Iterator[subprocess.Popen]:
    """The recorded entry point, running in `project` with the tracking store `store`, in which is nothing to reuse."""
    code = document["code"]
    changes = " with its uncommitted changes" if code["patch"] else ""
    console.print(f"reproducing {document['step']} at commit {code['commit']}{changes}")
    words = [*interpreter(document, env, project), f"steps/{document['step']}.py"]
    for name, value in {**document["parameters"], **inputs}.items():
        words += [f"--{name}", as_text(value) if name in document["parameters"] else str(value)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {"MLFLOW_TRACKING_URI": store, "UV_COMPILE_BYTECODE": "1"}
    process = subprocess.Popen(
        words,
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def interpreter(document: Mapping, env: str, project: Path) -> list[str]:
    """The command that starts Python: this one, or uv's with what the receipt recorded."""
    if env == SAME:
        return [sys.executable]
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if not uv:
        raise UserError("env=recorded: builds the environment with uv, which is not installed; pip install uv")
    recorded = document["environment"]
    pins = recorded["packages"] | recorded["supporting"]
    lock = project / ".git" / "recorded.txt"
    lock.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
    return [
        uv,
        "run",
        "--no-project",
        "--isolated",
        "--python",
        recorded["python"],
        "--with-requirements",
        str(lock),
        "python",
    ]


def result(process: subprocess.Popen, document: Mapping, store: str) -> dict:
    """The receipt that the process leaves in `store`, when it has ended; UserError with its last word if it fails."""
    output = []
    with console.status(f"reproducing {document['step']}") as status:
        for line in process.stdout:
            output.append(line)
            status.update(f"reproducing {document['step']}: {line.strip()[:60]}")
    if process.wait() != 0:
        mlflow.log_text("".join(output), "output.txt")
        reasons = [line.strip() for line in output if line.strip()]
        said = [line for line in reasons if line.startswith("error: ")] or reasons or ["no output"]
        raise UserError(f"{document['step']} at commit {document['code']['commit']} failed: {said[-1]}; see output.txt")
    client = mlflow.MlflowClient(tracking_uri=store)
    query = f"tags.`workflow.step` = '{document['step']}' and attributes.status = 'FINISHED'"
    run = client.search_runs(["0"], query, max_results=1)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(run.info.run_id, receipt.FILE, folder))
        return receipt.read(path.read_text(encoding="utf-8"), "the reproduced receipt")


def examined(document: Mapping, steps: Mapping[str, Step]) -> list[Row]:
    """Whether the recorded runs still hold what the receipt says: nobody edited a metric or swapped a model."""
    seal = receipt.seal(document)
    remark = "" if seal == document["sha256"] else " (edited after it was written)"
    rows = exact("receipt", {"digest": document["sha256"]}, {"digest": seal + remark})
    for label, run_id in document["occasion"]["runs"].items():
        try:
            run = mlflow.get_run(run_id)
        except MlflowException:
            rows.append(Row(AS_LOGGED, label, run_id, "no such run in this tracking store", UNSEEN))
            continue
        recorded = document["outcome"][label]
        step = steps.get(label.partition(" ")[0])
        proofs = {path: step.proofs[path] for path in recorded["artifacts"]} if step else {}
        try:
            now = outcome_of(run, proofs)
            now["metrics"] = {name: now["metrics"].get(name, ABSENT) for name in recorded["metrics"]}  # more do no harm
            found = outcomes({label: recorded}, {label: now}, rtol=0)
            rows += [replace(row, group=AS_LOGGED, item=f"{label}: {row.item}") for row in found]
        except UserError as error:
            rows.append(Row(AS_LOGGED, label, ", ".join(recorded["artifacts"]), str(error), DIFFERS))
        if run_id == own_run(document):
            logged = parameters_of(run)
            given = document["parameters"]
            rows += exact(AS_LOGGED, given, {name: logged.get(name, ABSENT) for name in given})
    return rows


def tag_original(document: Mapping, verdict: str) -> None:
    """Tag the run that the receipt is of with the outcome, if it is in this tracking store and this is its receipt."""
    client, original = mlflow.MlflowClient(), own_run(document)
    try:
        logged = receipt_of(client.get_run(original))
    except (MlflowException, UserError):
        return  # the receipt came from elsewhere, and so did its run
    if logged["sha256"] == receipt.seal(document):
        client.set_tag(original, "workflow.reproduced", verdict)
        client.set_tag(original, "workflow.reproduced_by", mlflow.active_run().info.run_id)
