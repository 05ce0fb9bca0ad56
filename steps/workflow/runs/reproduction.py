"""The result of a receipt, made again from what the receipt says and from nothing else."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mlflow

from workflow.errors import UserError
from workflow.parameters import SAME
from workflow.parsing import to_command_line
from workflow.provenance import fingerprint, receipt, signatures
from workflow.provenance.comparison import ABSENT, DIFFERS, EQUAL, Row
from workflow.provenance.git import Checkout
from workflow.provenance.receipt import InputRecord, Receipt
from workflow.runs import sources
from workflow.runs.names import Files, Tags
from workflow.runs.tracking import console


def restore_inputs(
    recorded: Receipt, roots: tuple[Path, Path], folder: Path, packed: Mapping[str, Path] | None = None
) -> tuple[dict[str, Path], list[Row]]:
    """Return files with the recorded bytes of each input, by parameter; and a row about each source as it is today.

    Relative sources are looked for in each of `roots`. What is gone or has changed comes from the receipt, or from the
    logged copy, into `folder`. The inputs of a crate are `packed` with it, by parameter: their sources do not count.
    Raises UserError if something is not found.
    """
    found, rows = {}, []
    for name, entry in recorded.inputs.items():
        source = (packed or {}).get(name) or current_source(name, entry.source, roots)
        digest = fingerprint.path_digest(source) if source else ABSENT
        same = digest == entry.sha256
        found[name] = source if source and same else recorded_copy(name, entry, recorded, folder)
        verdict = EQUAL if same or not source else DIFFERS
        remark = digest if source else "gone, but a copy is the same"
        rows.append(Row(name, entry.source, entry.sha256, remark, verdict))
    return found, rows


def current_source(name: str, source: str, roots: tuple[Path, Path]) -> Path | None:
    """Return where an input's source is today, if it still exists."""
    for root in roots:
        try:
            return sources.local_copy(name, source, root)
        except UserError:
            continue  # perhaps in the next root; else the recorded copy replaces it, and the table says so
    return None


def recorded_copy(name: str, entry: InputRecord, recorded: Receipt, folder: Path) -> Path:
    """Return the recorded content of an input whose source no longer has it; UserError if it is not found."""
    if entry.content is not None:
        place, copy = "the receipt", folder / f"{name}{Path(entry.source).suffix}"
        copy.write_text(entry.content, encoding="utf-8", newline="")
    else:
        place = f"runs:/{next(iter(recorded.provenance.runs.values()))}/{entry.artifact}"
        try:
            copy = sources.download(place)
        except UserError as error:
            raise UserError(
                f"{name}={entry.source}: the file is gone or has changed, and there is no copy: {place} {error}"
            ) from error
    if fingerprint.path_digest(copy) != entry.sha256:
        raise UserError(f"{name}={entry.source}: neither the file nor the copy in {place} has the recorded digest")
    return copy


@contextmanager
def run_again(
    recorded: Receipt, code: Checkout, inputs: Mapping[str, Path], env: str, store: str, more: list[str]
) -> Iterator[subprocess.Popen[str]]:
    """Run the recorded entry point of a checkout with a tracking store of its own: an empty one has nothing to reuse.

    `more` are arguments that decide nothing.
    """
    words = [*interpreter(recorded, env, code.git_folder), recorded.script]
    for name, value in recorded.parameters.items():
        words += [f"--{name}", to_command_line(value)]
    for name, path in inputs.items():
        function = recorded.inputs[name].function
        words += [f"--{name}", f"{path}:{function}" if function else str(path)]
    ours = ("MLFLOW_", signatures.PASSPHRASE)  # what the recorded code has no business with
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"MLFLOW_TRACKING_URI": store, "UV_COMPILE_BYTECODE": "1"}
    process = subprocess.Popen(
        [*words, *more],
        cwd=code.project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            end_group(process)
        process.wait()


def end_group(process: subprocess.Popen[str]) -> None:
    """End a process and, where the system has process groups, those that it has started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.kill()


def interpreter(recorded: Receipt, env: str, folder: Path) -> list[str]:
    """Return the command that starts Python: this one, or uv's with the recorded packages, listed in `folder`."""
    if env == SAME:
        return [sys.executable]
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if not uv:
        raise UserError("env=recorded: needs uv to build the environment, which is not installed; pip install uv")
    environment = recorded.environment
    lock = folder / "recorded.txt"
    pins = environment.packages | environment.supporting
    lock.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
    options = ["--no-project", "--isolated", "--python", environment.python, "--with-requirements", str(lock)]
    return [uv, "run", *options, "python"]


def wait_for_receipt(process: subprocess.Popen[str], recorded: Receipt, store: str) -> Receipt:
    """Return the receipt that the process leaves in `store`; UserError with its last line if it fails."""
    assert process.stdout is not None
    output = []
    with console.status(f"reproducing {recorded.step}") as status:
        for line in process.stdout:
            output.append(line)
            status.update(f"reproducing {recorded.step}: {line.strip()[:60]}")
    if process.wait() != 0:
        mlflow.log_text("".join(output), Files.OUTPUT)
        lines = [line.strip() for line in output if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")] or lines or ["no output"]
        raise UserError(f"{recorded.step} at commit {recorded.code.commit} failed: {errors[-1]}; see {Files.OUTPUT}")
    client = mlflow.MlflowClient(tracking_uri=store)
    query = f"tags.`{Tags.STAGE}` = '{recorded.step}' and attributes.status = 'FINISHED'"
    run = next(run for run in client.search_runs(["0"], query) if "mlflow.parentRunId" not in run.data.tags)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(run.info.run_id, Files.RECEIPT, folder))
        return receipt.read(path.read_text(encoding="utf-8"), "the reproduced receipt")
