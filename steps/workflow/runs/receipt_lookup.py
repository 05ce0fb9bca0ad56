"""Receipts that were recorded: the one that a name leads to, and whether its runs still hold what it says."""

import hashlib
import json
import re
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import mlflow
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from workflow.errors import UserError
from workflow.provenance import crate, receipt
from workflow.provenance.comparison import ABSENT, DIFFERS, EQUAL, NOT_CHECKED, Row, exact, outcome_rows
from workflow.provenance.receipt import ArtifactDigest, Outcome, Receipt
from workflow.runs import integrity, registry, sources
from workflow.runs.artifacts import existing_run
from workflow.runs.execution import outcome_of
from workflow.runs.integrity import receipt_of
from workflow.runs.names import Files, Tags
from workflow.runs.tracking import active_run

RUN_ID = re.compile(r"[0-9a-f]{32}")
AS_LOGGED = "as logged"
DigestFunctions = Mapping[str, Callable[[Path], ArtifactDigest]]


def find_experiment(name: str, project: Path) -> Experiment | None:
    """Return the experiment of that name or id, unless `name` is a run id, a URI, or a file in `project`."""
    if RUN_ID.fullmatch(name) or ":/" in name or (project / name).is_file():
        return None
    if found := mlflow.get_experiment_by_name(name):
        return found
    try:
        return mlflow.get_experiment(name)
    except MlflowException:
        return None


def top_level_runs(experiment_id: str) -> list[Run]:
    """Return the finished runs of an experiment that have a receipt and no parent, the oldest first."""
    runs = mlflow.search_runs(
        [experiment_id],
        f"tags.`{Tags.FINGERPRINT}` != '' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time"],
        output_format="list",
    )
    return [run for run in runs if "mlflow.parentRunId" not in run.data.tags]


def already_verified(run: Run, recorded: Receipt) -> bool:
    """Return whether the last reproduction of `run`, on this host and by this receipt, found it equal bit for bit."""
    try:
        found = mlflow.get_run(run.data.tags[Tags.REPRODUCED_BY])
    except (KeyError, MlflowException):
        return False
    expected = {Tags.VERDICT: EQUAL, Tags.RECEIPT_DIGEST: recorded.sha256}
    host = found.data.tags[Tags.PROCESS].rpartition(":")[0]
    return host == socket.gethostname() and expected.items() <= found.data.tags.items()


def find_receipt(name: str, project: Path, search: bool = False, parameter: str = "run") -> tuple[Receipt, bytes]:
    """Return the receipt that a run id, a URI (of a model, too), or a path in `project` leads to, and its patch.

    The run of a search leads to that of its best model, unless the `search` itself is meant; a retraining leads to
    that of its model. Raises UserError, about the `parameter`, if there is none, if the run has not finished, or if it
    was recorded outside a git repository.
    """
    uri = name
    if name.startswith(registry.SCHEME):
        name = registry.version_of(name).run_id or ""
    if RUN_ID.fullmatch(name):
        uri = receipt_uri(name, search, parameter)
    elif ":/" not in name:
        uri = str(project / Path(name).expanduser())
        if not Path(uri).is_file():
            hint = "" if Path(name).is_absolute() else f'; for a file of yours: -P {parameter}="$PWD/{name}"'
            experiment = ", nor the name of an experiment" if parameter == "run" else ""
            raise UserError(f"{parameter}={name}: neither a run id, nor a file in the project folder{hint}{experiment}")
    try:
        content = sources.read_bytes(uri).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{parameter}={name}: not JSON ({error})") from error
    recorded = receipt.read(content, f"{parameter}={name}")
    if recorded.code.commit is None:
        raise UserError(f"{parameter}={name}: recorded outside a git repository, so its code cannot be checked out")
    return recorded, patch_of(recorded, uri)


@contextmanager
def unpacked(name: str, project: Path) -> Iterator[tuple[str, dict[str, Path]]]:
    """Yield the name of a receipt, and the inputs that came with it in a crate, by parameter.

    Raises UserError for a zip file that is no crate.
    """
    if not name.endswith(crate.SUFFIX):
        yield name, {}
        return
    with tempfile.TemporaryDirectory() as folder:
        file = sources.local_copy("run", name, project)
        receipt_file, packed = crate.unpack(file, f"run={name}", Path(folder))
        yield str(receipt_file), packed


def receipt_uri(run_id: str, search: bool, parameter: str) -> str:
    """Return where the receipt of a finished run is; UserError, about the `parameter`, if it cannot have one."""
    name = f"{parameter}={run_id}"
    run = existing_run(name, run_id)
    tags = run.data.tags
    if run.info.status != "FINISHED":
        reason = tags.get(Tags.ERROR, "it has not finished")
        raise UserError(f"{name}: {run.info.status}, so it has no result to reproduce: {reason}")
    if Tags.STAGE not in tags:
        raise UserError(f"{name}: not a run of this project's workflow")
    leads_on = tags[Tags.STAGE] == "retrain" or (tags[Tags.STAGE] == "tune" and not search)
    if leads_on and Tags.WINNER_EVALUATE_RUN in tags:
        return receipt_uri(tags[Tags.WINNER_EVALUATE_RUN], search, parameter)
    if not any(file.path == Files.RECEIPT for file in mlflow.artifacts.list_artifacts(run_id=run_id)):
        raise UserError(f"{name}: a run of {tags[Tags.STAGE]} without {Files.RECEIPT}; name one that has it")
    return f"runs:/{run_id}/{Files.RECEIPT}"


def patch_of(recorded: Receipt, uri: str) -> bytes:
    """Return the uncommitted changes of a receipt: from beside it, or from its run; UserError if they are not found."""
    digest = recorded.code.patch
    if digest is None:
        return b""
    reasons = []
    for place in (f"{uri.rpartition('/')[0]}/{Files.PATCH}", f"runs:/{recorded.run_id}/{Files.PATCH}"):
        try:
            patch = sources.read_bytes(place)
        except UserError as error:
            reasons.append(str(error))
            continue
        if hashlib.sha256(patch).hexdigest() == digest:
            return patch
        reasons.append(f"{place} has another digest")
    raise UserError(f"{Files.PATCH}, which this receipt needs, not found: {'; '.join(reasons)}")


def compare_as_logged(recorded: Receipt, proven_artifacts: Mapping[str, DigestFunctions] | None = None) -> list[Row]:
    """Compare what the recorded runs hold now with the receipt: an edited metric or a swapped model shows.

    Args:
        recorded: the receipt.
        proven_artifacts: how the artifacts of each stage are digested. None: they are what the run's own receipt says,
            which is compared with the bytes of its files; that is faster.
    """
    actual = recorded.self_digest()
    remark = "" if actual == recorded.sha256 else " (edited after it was written)"
    rows, elsewhere = exact("receipt", {"digest": recorded.sha256}, {"digest": actual + remark}), []
    for label, run_id in recorded.provenance.runs.items():
        try:
            run = mlflow.get_run(run_id)
        except MlflowException:
            elsewhere.append(label)
            continue
        known = None if proven_artifacts is None else proven_artifacts.get(label.partition(" ")[0], {})
        rows += run_rows(label, recorded.outcome[label], run, known)
        if run_id == recorded.run_id:
            logged = json.loads(run.data.tags.get(Tags.PARAMETERS, "{}"))
            given = recorded.parameters
            rows += exact(AS_LOGGED, given, {name: logged.get(name, ABSENT) for name in given})
    if elsewhere:
        rows.append(Row(AS_LOGGED, ", ".join(elsewhere), ABSENT, "not in this tracking store", NOT_CHECKED))
    return rows


def run_rows(label: str, recorded: Outcome, run: Run, proven_artifacts: DigestFunctions | None) -> list[Row]:
    """Compare the outcome of a recorded run with what the run holds now, as `compare_as_logged` does."""
    proven = proven_artifacts or {}
    try:
        now = outcome_of(run, {path: proven[path] for path in recorded.artifacts if path in proven})
        if proven_artifacts is None:
            now = now.model_copy(update={"artifacts": receipt_of(run).own_outcome.artifacts})
    except UserError as error:
        return [Row(AS_LOGGED, label, ", ".join(recorded.artifacts), str(error), DIFFERS)]
    metrics = {name: value for name, value in now.metrics.items() if name in recorded.metrics}  # more do no harm
    found = outcome_rows({label: recorded}, {label: now.model_copy(update={"metrics": metrics})}, rtol=0)
    return [*(replace(row, group=AS_LOGGED, item=f"{label}: {row.item}") for row in found), file_row(label, run)]


def file_row(label: str, run: Run) -> Row:
    """Compare all files of a recorded run with those of its own receipt, byte for byte."""
    if Tags.RECEIPT not in run.data.tags:  # made before receipts held the digests of files
        return Row(AS_LOGGED, f"{label}: files", ABSENT, "no digests are recorded", NOT_CHECKED)
    expected = "as completed"
    try:
        integrity.verify(run)
        found = "; ".join(f"{path}: {how}" for path, how in integrity.altered_files(run).items()) or expected
    except UserError as error:
        found = str(error)
    return exact(AS_LOGGED, {f"{label}: files": expected}, {f"{label}: files": found})[0]


def tag_original(recorded: Receipt, verdict: str) -> None:
    """Tag the run that the receipt is of with the verdict, if it is in this tracking store and this is its receipt."""
    client = mlflow.MlflowClient()
    try:
        logged = receipt_of(client.get_run(recorded.run_id))
    except (MlflowException, UserError):
        return  # the receipt came from elsewhere, and so did its run
    if logged.sha256 == recorded.self_digest():
        client.set_tag(recorded.run_id, Tags.REPRODUCED, verdict)
        client.set_tag(recorded.run_id, Tags.REPRODUCED_BY, active_run().info.run_id)
