"""What was recorded: the receipt that a name leads to, and whether its runs still hold what it says."""

import hashlib
import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from workflow.errors import UserError
from workflow.provenance import git, receipt
from workflow.provenance.comparison import ABSENT, DIFFERS, EQUAL, NOT_CHECKED, Row, exact, outcomes
from workflow.runs import registry, sources
from workflow.runs.execution import Step, existing_run, outcome_of, parameters_of, receipt_of
from workflow.runs.tracking import active_run

RUN_ID = re.compile(r"[0-9a-f]{32}")
AS_LOGGED = "as logged"


def find_experiment(name: str, project: Path) -> Experiment | None:
    """The experiment of that name or id, unless `name` is a run id, a URI, or a file in `project`."""
    if RUN_ID.fullmatch(name) or ":/" in name or (project / name).is_file():
        return None
    if found := mlflow.get_experiment_by_name(name):
        return found
    try:
        return mlflow.get_experiment(name)
    except MlflowException:
        return None


def top_level_runs(experiment_id: str) -> list[Run]:
    """The finished runs of an experiment that have a receipt and no parent, the oldest first."""
    runs = mlflow.search_runs(
        [experiment_id],
        "tags.`workflow.fingerprint` != '' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time"],
        output_format="list",
    )
    return [run for run in runs if "mlflow.parentRunId" not in run.data.tags]


def is_proven(run: Run, document: Mapping[str, Any]) -> bool:
    """Whether the last reproduction of `run`, on this host and by this very receipt, found it equal, bit for bit."""
    try:
        found = mlflow.get_run(run.data.tags["workflow.reproduced_by"])
    except (KeyError, MlflowException):
        return False
    expected = {"workflow.verdict": EQUAL, "workflow.seal": document["sha256"]}
    host = found.data.tags["workflow.process"].rpartition(":")[0]
    return host == socket.gethostname() and expected.items() <= found.data.tags.items()


def find_receipt(name: str, project: Path, search: bool = False) -> tuple[dict[str, Any], bytes]:
    """The receipt that a run id, a URI (of a model, too), or a path relative to `project` leads to, and its patch.

    The run of a search leads to that of its best model, unless the `search` itself is meant. Raises UserError if there
    is none, or if the run has not finished.
    """
    uri = name
    if name.startswith(registry.SCHEME):
        name = registry.version_of(name).run_id or ""
    if RUN_ID.fullmatch(name):
        uri = receipt_uri(name, search)
    elif ":/" not in name:
        uri = str(project / Path(name).expanduser())
        if not Path(uri).is_file():
            hint = "" if Path(name).is_absolute() else f'; for a file of yours: -P run="$PWD/{name}"'
            raise UserError(
                f"run={name}: neither a run id, nor a file in the project folder{hint}, nor the name of an experiment"
            )
    try:
        content = sources.read_bytes(uri).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"run={name}: not JSON ({error})") from error
    document = receipt.read(content, f"run={name}")
    if document["code"]["commit"] is None:
        raise UserError(f"run={name}: it was made outside a git repository, so its code cannot be had again")
    return document, patch_of(document, uri)


def receipt_uri(run_id: str, search: bool) -> str:
    """Where the receipt that a finished run leads to is; UserError if it cannot have one."""
    run = existing_run(f"run={run_id}", run_id)
    tags = run.data.tags
    if run.info.status != "FINISHED":
        reason = tags.get("workflow.error", "it has not finished")
        raise UserError(f"run={run_id}: {run.info.status}, so it has no result to reproduce: {reason}")
    if "workflow.step" not in tags:
        raise UserError(f"run={run_id}: not a run of this project's workflow")
    if (best := tags.get("workflow.winner_evaluate_run_id")) and not search:
        return receipt_uri(best, search)
    if not any(file.path == receipt.FILE for file in mlflow.artifacts.list_artifacts(run_id=run_id)):
        raise UserError(
            f"run={run_id}: it has no {receipt.FILE}: it is a run of {tags['workflow.step']} or of an older version"
        )
    return f"runs:/{run_id}/{receipt.FILE}"


def patch_of(document: Mapping[str, Any], uri: str) -> bytes:
    """The uncommitted changes that a receipt speaks of: from beside it, or from its run; UserError if not to be had."""
    digest = document["code"]["patch"]
    if digest is None:
        return b""
    places = [f"{uri.rpartition('/')[0]}/{git.PATCH}", f"runs:/{run_id_of(document)}/{git.PATCH}"]
    reasons = []
    for place in places:
        try:
            patch = sources.read_bytes(place)
        except UserError as error:
            reasons.append(str(error))
            continue
        if hashlib.sha256(patch).hexdigest() == digest:
            return patch
        reasons.append(f"{place} is another one")
    raise UserError(f"{git.PATCH}, which this receipt needs, cannot be had: {'; '.join(reasons)}")


def run_id_of(document: Mapping[str, Any]) -> str:
    """The id of the run that the receipt is of."""
    return list(document["occasion"]["runs"].values())[-1]


def compare_as_logged(document: Mapping[str, Any], steps: Mapping[str, Step]) -> list[Row]:
    """Whether the recorded runs still hold what the receipt says: nobody edited a metric or swapped a model."""
    seal = receipt.seal(document)
    remark = "" if seal == document["sha256"] else " (edited after it was written)"
    rows, elsewhere = exact("receipt", {"digest": document["sha256"]}, {"digest": seal + remark}), []
    for label, run_id in document["occasion"]["runs"].items():
        try:
            run = mlflow.get_run(run_id)
        except MlflowException:
            elsewhere.append(label)
            continue
        recorded = document["outcome"][label]
        if document["version"] < receipt.VERSION:  # whose digests of models were made another way
            rows.append(Row(AS_LOGGED, f"{label}: artifacts", ABSENT, "digests of an older form", NOT_CHECKED))
            recorded = recorded | {"artifacts": {}}
        step = steps.get(label.partition(" ")[0])
        proofs = {path: step.proofs[path] for path in recorded["artifacts"]} if step else {}
        try:
            now = outcome_of(run, proofs)
            now["metrics"] = {name: now["metrics"].get(name, ABSENT) for name in recorded["metrics"]}  # more do no harm
            found = outcomes({label: recorded}, {label: now}, rtol=0)
            rows += [replace(row, group=AS_LOGGED, item=f"{label}: {row.item}") for row in found]
        except UserError as error:
            rows.append(Row(AS_LOGGED, label, ", ".join(recorded["artifacts"]), str(error), DIFFERS))
        if run_id == run_id_of(document):
            logged = parameters_of(run)
            given = document["parameters"]
            rows += exact(AS_LOGGED, given, {name: logged.get(name, ABSENT) for name in given})
    if elsewhere:
        rows.append(Row(AS_LOGGED, ", ".join(elsewhere), ABSENT, "not in this tracking store", NOT_CHECKED))
    return rows


def tag_original(document: Mapping[str, Any], verdict: str) -> None:
    """Tag the run that the receipt is of with the outcome, if it is in this tracking store and this is its receipt."""
    client, original = mlflow.MlflowClient(), run_id_of(document)
    try:
        logged = receipt_of(client.get_run(original))
    except (MlflowException, UserError):
        return  # the receipt came from elsewhere, and so did its run
    if logged["sha256"] == receipt.seal(document):
        client.set_tag(original, "workflow.reproduced", verdict)
        client.set_tag(original, "workflow.reproduced_by", active_run().info.run_id)
