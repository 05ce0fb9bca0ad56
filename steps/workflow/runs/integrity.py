"""Whether runs still hold what their receipts recorded: nothing else is read, reused or published.

A receipt holds the digests of all other files of its run, and the tags and metrics that later stages rely on. Its own
digest is a tag of its run, and stands in the receipts of the runs that build on it.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from workflow.errors import UserError
from workflow.provenance import fingerprint, receipt
from workflow.provenance.receipt import FileRecord, Receipt
from workflow.runs.names import LATER_TAGS, Files, Tags
from workflow.runs.tracking import (
    MODEL_FOLDER,
    artifact_folder,
    has_model,
    is_active,
    is_local,
    listed_sizes,
    unverified_copy,
)

RECEIPTS: dict[tuple[str, str], Receipt] = {}  # cache: by the id of the run and the digest of the file
VERIFIED: dict[str, list[str]] = {}  # cache: by the id of a run that can be reused, its pages to be drawn again
ABSENT = "none"
MAX_LATER_RUNS = 20  # one would do, if it could not be altered too
CODE_FOLDER = f"{MODEL_FOLDER}code/"  # which a server imports


class Contradiction(UserError):
    """A run that was found to be altered after it was reused."""


def altered(run: Run, fault: str) -> UserError:
    """Return the error that a run does not hold what it recorded."""
    stage = run.data.tags.get(Tags.STAGE, "its entry point")
    return UserError(
        f"run {run.info.run_id} ({run.info.run_name}): {fault}: not what was recorded when it was completed; restore"
        f" it, or run {stage} again, which makes it anew"
    )


def altered_artifact(run: Run, path: str, how: str) -> UserError:
    """Return the error that an artifact is not as recorded, and tag its run, so that it is not reused."""
    with suppress(MlflowException):  # of a store that cannot be written to
        mlflow.MlflowClient().set_tag(run.info.run_id, Tags.ALTERED, path)
    return altered(run, f"artifact {path}: {how}")


@contextmanager
def downloaded(run: Run, path: str) -> Iterator[Path]:
    """Yield a temporary local copy of an artifact of `run`, which has the bytes that the run's receipt recorded.

    The active run is still being made: nothing is recorded yet. Raises UserError if the artifact cannot be read or has
    other bytes; its run is then tagged, so that it is not reused.
    """
    with unverified_copy(run, path) as copy:
        if not is_active(run):
            recorded, found = receipt_of(run).provenance.files.get(path), FileRecord.of(copy)
            if found != recorded:
                raise altered_artifact(run, path, deviation(recorded, found))
        yield copy


def verify_copy(run: Run, path: str, copy: Path) -> None:
    """Raise UserError if a copy of an artifact that a user named is not as recorded, where its run recorded it."""
    recorded = receipt_of(run).provenance.files.get(path) if Tags.RECEIPT in run.data.tags else None
    if recorded and recorded != (found := FileRecord.of(copy)):
        raise altered_artifact(run, path, deviation(recorded, found))


def receipt_of(run: Run) -> Receipt:
    """Return the receipt of a complete run; UserError if it has none, or not the one that it was completed with."""
    digest = run.data.tags.get(Tags.RECEIPT, "")
    key = run.info.run_id, digest
    if key not in RECEIPTS:
        with unverified_copy(run, Files.RECEIPT) as path:
            if not digest:
                raise UserError(
                    f"run {key[0]} ({run.info.run_name}): no tag {Tags.RECEIPT}: it was not completed, or by a version"
                    " of this project that recorded no digests of files; run it again"
                )
            if fingerprint.file_digest(path) != digest:
                raise altered(run, f"{Files.RECEIPT}: its SHA-256 is not that of tag {Tags.RECEIPT}")
            RECEIPTS[key] = receipt.read(
                path.read_text(encoding="utf-8", errors="replace"), f"{Files.RECEIPT} of run {key[0]}"
            )
    return RECEIPTS[key]


def verify(run: Run) -> None:
    """Raise UserError if a complete run's tags, parameters or metrics are not those of its receipt."""
    recorded, tags, metrics = receipt_of(run), own_tags(run), run.data.metrics
    about = recorded.provenance
    if recorded.run_id != run.info.run_id:
        raise altered(run, f"{Files.RECEIPT} is of run {recorded.run_id}")
    for name in sorted({*tags, *about.tags}):
        if tags.get(name) != about.tags.get(name):
            raise altered(run, f"tag {name} is {tags.get(name, ABSENT)}, {about.tags.get(name, ABSENT)} recorded")
    for name, value in recorded.own_outcome.metrics.items():
        if metrics.get(name) != value and not (value is None and not math.isfinite(metrics.get(name, 0))):
            raise altered(run, f"metric {name} is {metrics.get(name, ABSENT)}, {value} recorded")
    if fingerprint.digest(run.data.params) != about.params:
        raise altered(run, "its parameters")


def own_tags(run: Run) -> dict[str, str]:
    """Return those tags of a run that this project sets while it is made, and never again."""
    return {
        name: value for name, value in run.data.tags.items() if name.startswith(Tags.PREFIX) and name not in LATER_TAGS
    }


def verify_link(built: Receipt, upstream: Run) -> None:
    """Raise UserError if the receipt of `upstream` is not the one that a run `built` on it names, if it names one."""
    digest = upstream.data.tags.get(Tags.RECEIPT)
    if digest != built.provenance.receipts.get(upstream.info.run_id, digest):
        raise altered_artifact(upstream, Files.RECEIPT, contradicted_by(built))


def contradicted_by(built: Receipt) -> str:
    """Return that the receipt of a run is not the one that a later one names."""
    return f"not the one on which run {built.run_id} ({built.label}) was built"


def verify_against_later(run: Run) -> None:
    """Raise UserError if a run that was built on `run` names another receipt than its present one."""
    later = mlflow.search_runs(
        [run.info.experiment_id],
        f"tags.`{Tags.UPSTREAM}` = '{run.info.run_id}' and attributes.status = 'FINISHED'",
        max_results=MAX_LATER_RUNS,
        output_format="list",
    )
    for each in later:
        try:
            built = receipt_of(each)
        except UserError:
            continue  # it was altered itself, and says nothing
        verify_link(built, run)


def verify_for_reuse(run: Run) -> list[str]:
    """Return which pages and figures of a run are not as recorded; UserError if anything else is not.

    The same holds for the runs that it builds on. Files in a remote store are listed, not downloaded: their content is
    compared when they are read. Raises Contradiction if it was built on a run that was reused already, but with another
    receipt.
    """
    if run.info.run_id in VERIFIED:
        return VERIFIED[run.info.run_id]
    verify(run)
    recorded = receipt_of(run)
    if path := run.data.tags.get(Tags.ALTERED):
        raise altered(run, f"artifact {path}")
    changed = altered_files(run, read=is_local(run))
    for path in changed:
        if not is_page(path, recorded.provenance.files):
            raise altered(run, f"artifact {path}: {changed[path]}")
    for run_id, digest in recorded.provenance.receipts.items():
        if run_id not in VERIFIED:
            verify_upstream(recorded, run_id)
        elif (run_id, digest) not in RECEIPTS:
            raise Contradiction(str(altered_artifact(mlflow.get_run(run_id), Files.RECEIPT, contradicted_by(recorded))))
    VERIFIED[run.info.run_id] = [*changed]
    return VERIFIED[run.info.run_id]


def verify_upstream(built: Receipt, run_id: str) -> None:
    """Raise UserError unless a run that another was `built` on can be reused."""
    try:
        upstream = mlflow.get_run(run_id)
    except MlflowException as error:
        raise UserError(f"run {run_id}, on which {built.label} was built: no such run") from error
    verify_link(built, upstream)
    verify_for_reuse(upstream)


def files_of(run: Run) -> dict[str, FileRecord]:
    """Return the size and digest of every file that a run holds now, its model's included, by artifact path."""
    found: dict[str, FileRecord] = {}
    for prefix in ["", MODEL_FOLDER] if has_model(run) else [""]:
        with artifact_folder(run, prefix) as folder:
            paths = {prefix + path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
            found |= {name: FileRecord.of(path) for name, path in paths.items() if path.is_file()}
    return found


def altered_files(run: Run, read: bool = True) -> dict[str, str]:
    """Return how files of a complete run are not as its receipt recorded, by artifact path.

    Files that were added beside the recorded ones do no harm, except among the code of a model. Pages and figures that
    were drawn again since, by other code, are left out. Raises UserError without a receipt.

    Args:
        run: the run.
        read: read all files; else compare sizes, as listed, of those that are not in a folder of their own.
    """
    about = receipt_of(run).provenance
    drawn_again = run.data.tags.get(Tags.REPORT) != about.report
    recorded = {path: file for path, file in about.files.items() if not (drawn_again and is_page(path, about.files))}
    if not read:
        sizes = listed_sizes(run)
        listed = {path: file.bytes for path, file in recorded.items() if "/" not in path.removeprefix(MODEL_FOLDER)}
        return {
            path: f"{sizes.get(path, 'no')} bytes, {size} recorded"
            for path, size in listed.items()
            if sizes.get(path) != size
        }
    found = files_of(run)
    added = [path for path in found if path.startswith(CODE_FOLDER) and path not in about.files and not is_cache(path)]
    names = [path for path in [*recorded, *added] if recorded.get(path) != found.get(path)]
    return {path: deviation(recorded.get(path), found.get(path)) for path in names}


def verify_files(run: Run) -> None:
    """Raise UserError if a file of a complete run is not as recorded; all of them are read."""
    for path, how in altered_files(run).items():
        raise altered_artifact(run, path, how)


def is_cache(path: str) -> bool:
    """Return whether a file is bytecode, which Python writes beside code that it imports."""
    return "__pycache__" in PurePosixPath(path).parts


def is_page(path: str, files: Mapping[str, FileRecord]) -> bool:
    """Return whether a file is a page, the values of one, or a figure: drawn again when their code changes."""
    return path.endswith(".png") or PurePosixPath(path).with_suffix(".html").as_posix() in files


def deviation(recorded: FileRecord | None, found: FileRecord | None) -> str:
    """Return how a file is not as recorded."""
    if found is None or recorded is None:
        return "gone" if recorded else "not recorded"
    return f"SHA-256 {found.sha256[:12]}…, {recorded.sha256[:12]}… recorded"
