"""A receipt's result made again, from what the receipt says and from nothing else."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow

from workflow.errors import UserError
from workflow.parameters import to_command_line
from workflow.provenance import fingerprint, receipt
from workflow.provenance.comparison import ABSENT, DIFFERS, EQUAL, Row
from workflow.runs import sources
from workflow.runs.tracking import console

SAME, RECORDED = "same", "recorded"


def restore_inputs(
    document: Mapping[str, Any], roots: tuple[Path, Path], folder: Path
) -> tuple[dict[str, Path], list[Row]]:
    """What the receipt's step read, by parameter, with the very bytes that it recorded; and how its source is today.

    Relative sources are looked for in each of `roots`. What is gone or has changed comes from the receipt, or from the
    logged copy, into `folder`. Raises UserError if it cannot be had.
    """
    found, rows = {}, []
    for name, entry in document["inputs"].items():
        source = current_source(name, entry["source"], roots)
        digest = fingerprint.path_digest(source) if source else ABSENT
        same = digest == entry["sha256"]
        found[name] = source if source and same else recorded_copy(name, entry, document, folder)
        verdict = EQUAL if same or not source else DIFFERS
        remark = digest if source else "gone, but a copy is the same"
        rows.append(Row(name, entry["source"], entry["sha256"], remark, verdict))
    return found, rows


def current_source(name: str, source: str, roots: tuple[Path, Path]) -> Path | None:
    """Where an input's source is today, if it still is."""
    for root in roots:
        try:
            return sources.local_copy(name, source, root)
        except UserError:
            continue  # perhaps in the next root; else the recorded copy takes its place, and the table says so
    return None


def recorded_copy(name: str, entry: Mapping[str, Any], document: Mapping[str, Any], folder: Path) -> Path:
    """The recorded content of an input whose source no longer has it; UserError if it cannot be had."""
    if "content" in entry:
        place, copy = "the receipt", folder / f"{name}{Path(entry['source']).suffix}"
        copy.write_text(entry["content"], encoding="utf-8", newline="")
    else:
        place = f"runs:/{next(iter(document['occasion']['runs'].values()))}/{entry['artifact']}"
        try:
            copy = sources.download(place)
        except UserError as error:
            raise UserError(
                f"{name}={entry['source']}: the file is gone or has changed, and there is no copy: {place} {error}"
            ) from error
    if fingerprint.path_digest(copy) != entry["sha256"]:
        raise UserError(f"{name}={entry['source']}: neither it nor the copy in {place} is what was recorded")
    return copy


@contextmanager
def run_again(
    document: Mapping[str, Any], project: Path, inputs: Mapping[str, Path], env: str, store: str, more: list[str]
) -> Iterator[subprocess.Popen[str]]:
    """The recorded entry point, running in `project` with the tracking store `store`, in which is nothing to reuse.

    `more` words are given to it that decide nothing.
    """
    code = document["code"]
    changes = " with its uncommitted changes" if code["patch"] else ""
    console.print(f"reproducing {document['step']} at commit {code['commit']}{changes}")
    words = [*interpreter(document, env, project), f"steps/{document['step']}.py"]
    for name, value in {**document["parameters"], **inputs}.items():
        words += [f"--{name}", to_command_line(value) if name in document["parameters"] else str(value)]
    words += more
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


def interpreter(document: Mapping[str, Any], env: str, project: Path) -> list[str]:
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


def wait_for_receipt(process: subprocess.Popen[str], document: Mapping[str, Any], store: str) -> dict[str, Any]:
    """The receipt that the process leaves in `store`, when it has ended; UserError with its last word if it fails."""
    assert process.stdout is not None
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
    run = next(run for run in client.search_runs(["0"], query) if "mlflow.parentRunId" not in run.data.tags)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(run.info.run_id, receipt.FILE, folder))
        return receipt.read(path.read_text(encoding="utf-8"), "the reproduced receipt")
