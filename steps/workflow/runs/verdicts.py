"""Signed verdicts on a receipt: found in this store and beside the receipt, and checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow

from workflow.errors import UserError
from workflow.provenance import crate, signatures, verdict
from workflow.provenance.receipt import Receipt
from workflow.provenance.verdict import Statement
from workflow.runs import sources
from workflow.runs.names import Files, Tags
from workflow.runs.tracking import unverified_copy

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

SUFFIX = ".dsse.json"


@dataclass(frozen=True)
class CheckedVerdict:
    """A signed verdict, and what is wrong with it.

    Attributes:
        place: where it is.
        signers: the trusted people whose signatures it has.
        statement: what they have signed; None if it cannot be read.
        fault: why it does not count; empty if it does.
        is_forged: whether somebody has edited or misplaced it; else it is only not trusted.
    """

    place: str
    signers: tuple[str, ...] = ()
    statement: Statement | None = None
    fault: str = ""
    is_forged: bool = False

    @property
    def verdict(self) -> str:
        """What it says; empty if it cannot be read."""
        return self.statement.predicate.verdict if self.statement else ""

    @property
    def time(self) -> str:
        """When the reproduction was made, in UTC; empty if it cannot be read."""
        return self.statement.predicate.time if self.statement else ""


def envelopes_of(recorded: Receipt, beside: Path | None = None) -> dict[str, bytes]:
    """Return the signed verdicts on a receipt, by their places: those in this tracking store, and in files.

    Args:
        recorded: the receipt.
        beside: the file of the receipt, if it is one on this machine: `wines.json` has `wines.<name>.dsse.json`, and
            that of a crate a folder `verdicts`.
    """
    found: dict[str, bytes] = {}
    for digests in digests_of(recorded):
        about = [f"tags.`{Tags.SUBJECTS}` LIKE '%{digest}%'" for digest in digests]
        runs = mlflow.search_runs(
            search_all_experiments=True,
            filter_string=" and ".join([*about, f"tags.`{Tags.SIGNED}` != ''"]),
            output_format="list",
        )
        for run in runs:
            with unverified_copy(run, Files.SIGNED_VERDICT) as path:  # a signature says more than a digest
                found[f"run {run.info.run_id}"] = path.read_bytes()
    if beside:
        files = [*beside.parent.glob(f"{beside.stem}.*{SUFFIX}"), *beside.parent.glob(f"{crate.VERDICTS}/*{SUFFIX}")]
        found |= {path.name: path.read_bytes() for path in sorted(files)}
    return found


def digests_of(recorded: Receipt) -> list[list[str]]:
    """Return what verdicts on a receipt are about: its own digest; or, of a training, those of its model and inputs."""
    own, *others = [digest for each in verdict.subjects_of(recorded) for digest in each.digest.values()]
    return [[own], others] if recorded.step == "train" else [[own]]


def named_envelopes(places: Iterable[str], project: Path) -> dict[str, bytes]:
    """Return the signed verdicts in files, folders or at URIs; UserError for a place where there is none."""
    found: dict[str, bytes] = {}
    for place in places:
        path = sources.local_copy("verdicts", place, project)
        files = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not files:
            raise UserError(f"verdicts={place}: no file in it ends in {SUFFIX}")
        found |= {str(file): file.read_bytes() for file in files}
    return found


def check(envelopes: Mapping[str, bytes], keys: "Mapping[str, SSlibKey]", recorded: Receipt) -> list[CheckedVerdict]:
    """Return what signed verdicts are worth: by whom they are, and whether they are about a receipt."""
    return [check_one(place, content, keys, recorded) for place, content in envelopes.items()]


def check_one(place: str, content: bytes, keys: "Mapping[str, SSlibKey]", recorded: Receipt) -> CheckedVerdict:
    """Return what one signed verdict is worth."""
    try:
        signed = signatures.verify(content, keys, place)
        statement = verdict.read(signed.payload, place)
    except UserError as error:
        return CheckedVerdict(place, fault=str(error).removeprefix(f"{place}: "), is_forged=True)
    if reason := verdict.why_not_about(statement, recorded):
        return CheckedVerdict(place, signed.signers, statement, reason, is_forged=True)
    if not signed.signers:
        unknown = ", ".join(f"{key[:12]}…" for key in signed.unknown)
        return CheckedVerdict(place, (), statement, f"nobody trusted has signed it, only the key {unknown}")
    return CheckedVerdict(place, signed.signers, statement)


def signers_of(checked: Iterable[CheckedVerdict]) -> list[str]:
    """Return who has reproduced and signed a result; UserError if one of them has signed that it differs.

    Of several verdicts of one person, the last counts.
    """
    last: dict[str, CheckedVerdict] = {}
    for each in sorted((each for each in checked if not each.fault), key=lambda each: each.time):
        last |= dict.fromkeys(each.signers, each)
    for signer, each in last.items():
        if each.statement and not each.statement.says_equal:
            raise UserError(f"{signer} signed that it differs ({each.place})")
    return sorted(last)
