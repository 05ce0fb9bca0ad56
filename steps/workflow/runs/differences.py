"""What differs between two recorded results: gathered from their receipts, and from what these lead to."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
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
from workflow.runs.artifacts import EvaluateRun
from workflow.runs.integrity import downloaded
from workflow.runs.names import Files, Tags

if TYPE_CHECKING:
    from workflow.data.row_differences import RowDifferences
    from workflow.evaluation.ranking import RankingMetric
    from workflow.evaluation.scored_rows import ScoredRows
    from workflow.reports.comparison_report import Score

TABLES = ("data", "test_data")  # inputs that hold rows


@dataclass(frozen=True)
class Recorded:
    """A recorded result: the name that the user gave, its receipt, and its uncommitted changes."""

    name: str
    receipt: Receipt
    patch: bytes


def find_recorded(parameter: str, name: str, project: Path) -> Recorded:
    """Return the result that a run id, a model's URI or a receipt leads to; UserError, about the `parameter`, if none.

    What a run holds must be what its receipt says, apart from `as_logged_rows`.
    """
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
    """Return the entries of two contracts that differ, a row each; none where a contract cannot be read."""
    before, after = contract_of(one), contract_of(other)
    if before is None or after is None:
        return []
    rows = exact("contract", text_differences.flat(before), text_differences.flat(after))
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


def as_logged_rows(sides: Mapping[str, Recorded], proven: Mapping[str, receipt_lookup.DigestFunctions]) -> list[Row]:
    """Return what the recorded runs hold now and did not when they were completed, in the name of each side."""
    rows = []
    for side, each in sides.items():
        found = receipt_lookup.compare_as_logged(each.receipt, proven)
        rows += [replace(row, item=f"{side}: {row.item}") for row in found if row.verdict == DIFFERS]
    return rows


def paired_scores(one: Receipt, other: Receipt) -> "list[Score]":
    """Return the scores of the best model of each receipt, then those of every model that both have."""
    best, other_best = winner_of(one), winner_of(other)
    if best is None or other_best is None:
        return []
    pairs = [(best, other_best), *((model, model) for model in scored_runs(one) if model in scored_runs(other))]
    return [paired_score(one, other, *pair) for pair in dict.fromkeys(pairs)]


def winner_of(recorded: Receipt) -> str | None:
    """Return the model whose score stands for a receipt; None if nothing was scored."""
    return recorded.provenance.tags.get(Tags.WINNER) or next(reversed(scored_runs(recorded)), None)


def scored_runs(recorded: Receipt) -> dict[str, str]:
    """Return the ids of the evaluate runs of a receipt, by model."""
    runs = recorded.provenance.runs.items()
    return {label.partition(" ")[2]: run_id for label, run_id in runs if label.startswith("evaluate ")}


def paired_score(one: Receipt, other: Receipt, model: str, other_model: str) -> "Score":
    """Return the score of a model of each receipt, in pairs if their runs are in this tracking store."""
    from workflow.evaluation.paired import Difference
    from workflow.evaluation.scored_rows import shared_difference
    from workflow.reports.comparison_report import Score

    metric = metric_of(one)
    values = (
        one.outcome[f"evaluate {model}"].metrics.get(metric.name),
        other.outcome[f"evaluate {other_model}"].metrics.get(metric.name),
    )
    name = model if model == other_model else f"{model} → {other_model}"
    try:
        runs = evaluate_run(one, model), evaluate_run(other, other_model)
        unit = runs[0].preprocess().contract.unit if metric.has_target_unit else ""
        left, right = rows_scored_by(runs)
        rows, found = shared_difference(left, right, metric, seed_of(one))
    except (UserError, ValueError) as error:
        return Score(name, metric.name, "", values, remark=str(error))
    value, *ends = (float(metric.as_error(each)) for each in (found.value, found.low, found.high))
    return Score(name, metric.name, unit, values, rows, Difference(value, min(ends), max(ends)))


def metric_of(recorded: Receipt) -> "RankingMetric":
    """Return the metric by which the models of a receipt are ranked."""
    from workflow.evaluation.ranking import ranking_metric

    params = recorded.parameters["metric_params"]
    return ranking_metric(str(recorded.parameters["metric"]), params if isinstance(params, dict) else {})


def seed_of(recorded: Receipt) -> int:
    """Return the seed of a receipt."""
    return int(str(recorded.parameters["seed"]))


def evaluate_run(recorded: Receipt, model: str) -> EvaluateRun:
    """Return the evaluate run of a model in a receipt; UserError if it is not in this store, or was altered since."""
    run = EvaluateRun.of(scored_runs(recorded)[model])
    if run.receipt.own_outcome != recorded.outcome[f"evaluate {model}"]:
        raise UserError(f"evaluate run {run.id}: its outcome is not that of the receipt")
    return run


def rows_scored_by(runs: Sequence[EvaluateRun]) -> "list[ScoredRows]":
    """Return the test rows that some runs have scored; ValueError if their targets differ."""
    from workflow.evaluation.scored_rows import scored_rows, shared_columns

    data = [run.preprocess() for run in runs]
    columns = shared_columns([each.contract for each in data])
    if any(each.contract.target not in columns for each in data):
        raise ValueError("they predict different targets")
    found = []
    for run, each in zip(runs, data, strict=True):
        with each.training_set() as training_set, each.test_set() as test_set:
            found.append(scored_rows(run.predictions(), training_set, test_set, each.contract, columns))
    return found
