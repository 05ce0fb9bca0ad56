"""What differs between two recorded results: gathered from their receipts, and from what these lead to."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.exceptions import MlflowException

from workflow.documents import read_yaml
from workflow.errors import UserError
from workflow.provenance import git, text_differences
from workflow.provenance.comparison import ABSENT, DIFFERS, EQUAL, MAY_DIFFER, Row, exact
from workflow.provenance.receipt import InputRecord, Receipt
from workflow.runs import receipt_lookup, reproduction
from workflow.runs.integrity import downloaded
from workflow.runs.names import Files

if TYPE_CHECKING:
    from workflow.data.row_differences import RowDifferences

TABLES = ("data", "test_data")  # inputs that hold rows
ENTRIES, INFERRED = "contract entries", "inferred contract"  # groups of rows


@dataclass(frozen=True)
class Recorded:
    """A recorded result: the name that the user gave, its receipt, and its uncommitted changes."""

    name: str
    receipt: Receipt
    patch: bytes


def find_recorded(parameter: str, name: str, project: Path) -> Recorded:
    """Return the result that a name leads to, as `reproduce` takes it; UserError, about the `parameter`, if none."""
    recorded, patch = receipt_lookup.find_receipt(name, project, parameter=parameter)
    return Recorded(name, recorded, patch)


def input_rows(one: Receipt, other: Receipt) -> list[Row]:
    """Return a row per input that one of two receipts has."""
    rows = []
    for name in {**one.inputs, **other.inputs}:
        before, after = (content_of(receipt.inputs.get(name)) for receipt in (one, other))
        found = one.inputs.get(name) or other.inputs[name]
        rows.append(Row(name, found.source, before, after, EQUAL if before == after else DIFFERS))
    return rows


def content_of(record: InputRecord | None) -> str:
    """Return the digest of an input, with the function that is called in it."""
    if record is None:
        return ABSENT
    return f"{record.sha256} {record.function}" if record.function else record.sha256


def git_rows(one: Receipt, other: Receipt) -> list[Row]:
    """Return the commits of two receipts and their uncommitted changes, which need not change a file that decides."""
    before, after = (
        {"commit": str(receipt.code.commit), "uncommitted changes": receipt.code.patch or "none"}
        for receipt in (one, other)
    )
    return exact("git", before, after, MAY_DIFFER)


@contextmanager
def input_paths(recorded: Receipt, project: Path) -> Iterator[tuple[dict[str, Path], dict[str, str]]]:
    """Yield files with the recorded bytes of the inputs, by parameter; and why others are not found."""
    found: dict[str, Path] = {}
    reasons: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, entry in recorded.inputs.items():
            alone = recorded.model_copy(update={"inputs": {name: entry}})
            try:
                found |= reproduction.restore_inputs(alone, (project, project), Path(folder))[0]
            except UserError as error:
                reasons[name] = str(error)
        yield found, reasons


def table_differences(one: Receipt, other: Receipt, project: Path) -> "dict[str, RowDifferences | str]":
    """Return how the rows of each table differ, or why that cannot be said, by parameter."""
    changed = [name for name in TABLES if differs(one, other, name) and {name} <= one.inputs.keys() & other.inputs]
    if not changed:
        return {}
    with input_paths(one, project) as (left, gone), input_paths(other, project) as (right, also_gone):
        return {
            name: rows_of_both(left[name], right[name]) if name in left.keys() & right else (gone | also_gone)[name]
            for name in changed
        }


def differs(one: Receipt, other: Receipt, name: str) -> bool:
    """Return whether an input differs between two receipts."""
    return content_of(one.inputs.get(name)) != content_of(other.inputs.get(name))


def rows_of_both(one: Path, other: Path) -> "RowDifferences | str":
    """Return how the rows of two files differ, or why they cannot be read."""
    from workflow.data.files import open_table
    from workflow.data.row_differences import compare_rows

    try:
        with open_table(one) as left, open_table(other) as right:
            return compare_rows(left, right)
    except UserError as error:
        return str(error)


def contract_rows(one: Receipt, other: Receipt) -> list[Row]:
    """Return the entries of two contracts that differ, a row each; none where a contract cannot be read.

    An inferred contract is a group of its own: it is no cause, but follows from the data.
    """
    before, after = contract_of(one), contract_of(other)
    if before is None or after is None:
        return []
    group = ENTRIES if "contract" in {**one.inputs, **other.inputs} else INFERRED
    rows = exact(group, text_differences.flat(before), text_differences.flat(after))
    return [row for row in rows if row.verdict != EQUAL]


def contract_of(recorded: Receipt) -> Mapping[str, Any] | None:
    """Return the values in a contract: as given, else as inferred, where the preprocess run is in this store."""
    entry = recorded.inputs.get("contract")
    try:
        if entry and entry.content:
            return read_yaml(entry.content)
        run = mlflow.get_run(recorded.provenance.runs.get("preprocess", ""))
        with downloaded(run, Files.CONTRACT) as path:
            return read_yaml(path.read_text(encoding="utf-8"))
    except (ValueError, UserError, MlflowException):
        return None


def source_differences(one: Recorded, other: Recorded, project: Path) -> dict[str, str]:
    """Return the unified diffs of the files that decide and differ, by name; nothing of the code runs.

    Raises UserError if a commit is not found.
    """
    files = [each.receipt.code.files for each in (one, other)]
    names = sorted(name for name in {**files[0], **files[1]} if files[0].get(name) != files[1].get(name))
    if not names:
        return {}
    with ExitStack() as stack:
        folders = []
        for each in (one, other):
            target = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            found = git.checkout(each.receipt.code, each.patch, project, target, each.receipt.script)
            folders.append((found.project / each.receipt.script).parent)
        return text_differences.source_difference(folders[0], folders[1], names)


def as_logged_rows(sides: Mapping[str, Recorded]) -> list[Row]:
    """Return what the recorded runs hold now and did not when they were completed, in the name of each side."""
    rows = []
    for side, each in sides.items():
        found = receipt_lookup.compare_as_logged(each.receipt)
        rows += [replace(row, item=f"{side}: {row.item}") for row in found if row.verdict == DIFFERS]
    return rows
