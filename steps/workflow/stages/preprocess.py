"""Preprocess: validate a file against its contract, drop exact duplicates, split into training set and test set."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas import concat

from workflow.data import contract, files, inference, split, stored
from workflow.data.contract import Contract, ValidationReport
from workflow.data.findings import Finding
from workflow.data.inference import InferredContract
from workflow.data.own_features import OwnFeatures
from workflow.data.profile import DataFacts, profile_columns
from workflow.data.rejections import coercion_findings, rejection_findings
from workflow.data.sentinels import sentinel_findings
from workflow.data.stored import MappedRows, StoredRows
from workflow.errors import UserError
from workflow.evaluation import leakage
from workflow.evaluation.formulas import formula_findings
from workflow.evaluation.questions import question_findings, too_good_finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy import ndarray
    from pandas import DataFrame, Series

    from workflow.data.tables import Table
    from workflow.parameters import ContractParams, PreprocessParams


@dataclass(frozen=True)
class PreprocessInputs:
    """What to read.

    Attributes:
        data: the file or folder.
        contract: of it, if there is one.
        test_data: the file of the test set, if that is one of its own.
        features: the function of the user that derives columns, if there is one.
    """

    data: Path
    contract: Path | None = None
    test_data: Path | None = None
    features: OwnFeatures | None = None


@dataclass(frozen=True)
class PreprocessResult:
    """Both sets, the contract that their rows fulfil, and what was found in the file.

    `training_hashes` and `test_hashes` are the `split.row_hashes` of the sets.
    """

    training_set: StoredRows
    test_set: StoredRows
    contract: Contract
    validation: ValidationReport
    facts: DataFacts
    findings: list[Finding]
    training_hashes: "Series"
    test_hashes: "Series"


def run(params: "PreprocessParams", inputs: PreprocessInputs, training_set: Path, test_set: Path) -> PreprocessResult:
    """Preprocess a file that may be larger than memory; the sets are written as Parquet files.

    Args:
        params: how to deduplicate and split.
        inputs: what to read.
        training_set: file to write.
        test_set: file to write.

    Raises UserError for a file or a contract that cannot be used.
    """
    split.check_options(params.split, params.gap)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as beside:
        beside.submit(import_module, "sklearn.model_selection")  # takes half a second, while DuckDB reads
        return run_in(Path(scratch), beside, params, inputs, training_set, test_set)


def run_in(
    scratch: Path,
    beside: ThreadPoolExecutor,
    params: "PreprocessParams",
    inputs: PreprocessInputs,
    training_set: Path,
    test_set: Path,
) -> PreprocessResult:
    """Preprocess with temporary files in `scratch`, and write both sets `beside` the rest of the work.

    No variable of it, and so no mapped file, outlives the folder: Windows could not remove it.
    """
    typed = scratch / "typed.arrow"
    validation, inferred = validate(params, inputs, typed)
    found = inferred.contract
    rows, duplicate_counts = stored.deduplicate(typed, scratch / "distinct.arrow")
    if inputs.test_data:
        parts, of_test = read_test_set(params, inputs, found, rows, duplicate_counts, scratch)
        validation = with_test_file(validation, of_test)
    else:
        parts = Parts(rows, rows, *split_rows(rows, duplicate_counts, found, params))
    contract.check_text_columns(rows, parts.train, found)
    attributes = contract.frame_attributes(found)
    writes = [
        beside.submit(parts.rows.write, parts.train, training_set, attributes),
        beside.submit(parts.test_rows.write, parts.test, test_set, attributes),
    ]
    training_hashes, test_hashes = parts.hashes()
    counts = count_rows(validation, rows, duplicate_counts, training_hashes, test_hashes)
    scores = leakage.duplicate_leakage_scores(rows, duplicate_counts, found, params.seed)
    notes, profiled = inferred.notes, profile_columns(rows, found)
    facts = DataFacts(counts, scores, validation.missing, validation.ignored, notes, *profiled)
    findings = [*inferred.findings, *data_findings(params, validation, rows, found, facts)]
    for write in writes:
        write.result()
    sets = stored.open_rows(training_set), stored.open_rows(test_set)
    check_weights(found, *sets)
    return PreprocessResult(*sets, found, validation, facts, findings, training_hashes, test_hashes)


@dataclass(frozen=True)
class Parts:
    """The distinct rows of which the training set and the test set consist, and the positions of each set in them."""

    rows: MappedRows
    test_rows: MappedRows
    train: "ndarray"
    test: "ndarray"

    def hashes(self) -> "tuple[Series, Series]":
        """Return the `split.row_hashes` of both sets."""
        of_rows = split.hash_rows(self.rows)
        of_test_rows = of_rows if self.test_rows is self.rows else split.hash_rows(self.test_rows)
        return of_rows[self.train], of_test_rows[self.test]


def read_test_set(
    params: "PreprocessParams",
    inputs: PreprocessInputs,
    found: Contract,
    rows: MappedRows,
    duplicate_counts: "ndarray",
    scratch: Path,
) -> tuple[Parts, ValidationReport]:
    """Return the rows of the data as training set and those of another file as test set, and what became of the latter.

    Args:
        params: how to deduplicate.
        inputs: with the file of the test set.
        found: the contract of both files.
        rows: the distinct rows of the data.
        duplicate_counts: how often each occurs: (rows,).
        scratch: folder for temporary files.
    """
    split.split_column(params.split, found)
    typed = scratch / "typed_test.arrow"
    assert inputs.test_data is not None
    with files.open_table(inputs.test_data) as data, stored.arrow_appender(typed) as append:
        try:
            validation, _ = enforce(data, found.raw, inputs.features, append, found)
        except UserError as error:
            raise UserError(f"test_data: {error}") from error
    test_rows, test_counts = stored.deduplicate(typed, scratch / "distinct_test.arrow")
    train, test = (
        np.repeat(np.arange(len(counts)), counted(counts, params)) for counts in (duplicate_counts, test_counts)
    )
    split.check_sizes(len(train), len(test), "add data")
    return Parts(rows, test_rows, train, test), validation


def with_test_file(validation: ValidationReport, of_test: ValidationReport) -> ValidationReport:
    """Return what became of the rows of the data, and of those of the file with the test set."""
    rejected = of_test.rejected.assign(reason=of_test.rejected["reason"] + " (in test_data)")
    coerced = dict(validation.coerced)
    contract.add_coerced(coerced, of_test.coerced)
    return replace(
        validation,
        rows_in=validation.rows_in + of_test.rows_in,
        rows_rejected=validation.rows_rejected + of_test.rows_rejected,
        rejected=concat([validation.rejected, rejected], ignore_index=True),
        coerced=coerced,
    )


def check_weights(found: Contract, training_set: StoredRows, test_set: StoredRows) -> None:
    """Raise UserError if all weights of one of the sets are 0."""
    if not found.weight:
        return
    for name, rows in (("training set", training_set), ("test set", test_set)):
        if not rows[found.weight].any():
            raise UserError(f"weight {found.weight}: is 0 in all rows of the {name}; correct the file, or leave it out")


def data_findings(
    params: "PreprocessParams", validation: ValidationReport, rows: StoredRows, found: Contract, facts: DataFacts
) -> list[Finding]:
    """Return what is odd about the rows of a file, and about scores that it would give."""
    return [
        *row_findings(validation, rows, found),
        *leakage.duplicate_findings(facts.counts, facts.scores, found.unit),
        *score_findings(rows, found, params),
    ]


def row_findings(validation: ValidationReport, rows: StoredRows, contract: Contract) -> list[Finding]:
    """Return findings about values and rows that were rejected, could not be read, or may stand for missing ones."""
    return [
        *coercion_findings(validation.coerced, validation.rows_in),
        *sentinel_findings(rows, contract.raw),
        *rejection_findings(validation.rejected, validation.rows_in, contract.target),
    ]


def score_findings(rows: StoredRows, contract: Contract, params: "PreprocessParams") -> list[Finding]:
    """Return findings about scores that would look better than they are, or too good to be true."""
    found = [*leakage.leaky_columns(rows, contract), *formula_findings(rows, contract)]
    found += question_findings(rows, contract, params.split, params.seed)
    too_good = None if found else too_good_finding(rows, contract, params.seed)
    return [*found, *([too_good] if too_good else [])]


def validate(
    params: "PreprocessParams", inputs: PreprocessInputs, path: Path
) -> tuple[ValidationReport, InferredContract]:
    """Write the rows that fulfil the contract, typed, to `path`.

    Returns what became of the other rows, and the contract, which is given or inferred.
    """
    with files.open_table(inputs.data) as data:
        if inputs.contract:
            chosen: dict[str, Any] = params.chosen_columns
            given = replace(contract.read_contract(inputs.contract), **chosen)
            inferred = InferredContract(raw_contract(given, inputs))
        else:
            inferred = infer_contract(data, params)
        constrained = contract.with_constraints(inferred.contract, params.monotonic)
        inferred = replace(inferred, contract=constrained, findings=(*data.findings, *inferred.findings))
        with stored.arrow_appender(path) as append:
            validation, found = enforce(data, inferred.contract, inputs.features, append)
            return validation, replace(inferred, contract=found)


def raw_contract(given: Contract, inputs: PreprocessInputs) -> Contract:
    """Return a contract that a user gave without its derived columns, which are derived anew; UserError if it is wrong.

    It is the contract of a run, if it has any.
    """
    source = f"contract {inputs.contract}"
    if given.derived and not inputs.features:
        name = given.derived[0]
        function = given.columns[name].derived
        raise UserError(f"{source}: column {name} is derived by {function}; pass -P features=<file>.py:{function}")
    return contract.validated(given.raw, source)


def enforce(
    data: "Table",
    raw: Contract,
    features: OwnFeatures | None,
    append: "Callable[[DataFrame], None]",
    found: Contract | None = None,
) -> tuple[ValidationReport, Contract]:
    """Check the rows of a table against the contract of its file, and pass on the valid ones with the derived columns.

    Args:
        data: the table.
        raw: the contract of the file.
        features: derives columns, if given.
        append: called with the typed rows of each chunk.
        found: the contract with the derived columns, where it is known; else the first rows decide it.

    Returns:
        What became of the rows, and the contract with the derived columns.
    """
    if not features:
        return contract.enforce(data.chunks(), raw, data.malformed, append), raw

    def extend_and_append(typed: "DataFrame") -> None:
        nonlocal found
        if len(typed):
            found = found or features.describe(typed, raw)
            append(features.extend(typed, found))

    validation = contract.enforce(data.chunks(), raw, data.malformed, extend_and_append)
    return validation, found or raw


def infer_contract(data: "Table", params: "ContractParams") -> InferredContract:
    """Infer the contract of a table; UserError if it cannot have one, or if no target is named."""
    if not params.target:
        columns = ", ".join(data.columns[:20])
        raise UserError(f"--target is required: -P target=<column to predict>; the data has {columns}")
    return inference.infer(data.sample(inference.sample_size(len(data.columns))), **params.chosen_columns)


def split_rows(
    rows: MappedRows, duplicate_counts: "ndarray", contract: Contract, params: "PreprocessParams"
) -> "tuple[ndarray, ndarray]":
    """Return the positions of the training set and of the test set."""
    column = split.split_column(params.split, contract)
    values = rows[column] if column else None
    counts = counted(duplicate_counts, params)
    return split.split(counts, params.test_size, params.seed, params.split, values, params.gap)


def counted(duplicate_counts: "ndarray", params: "PreprocessParams") -> "ndarray":
    """Return how often each distinct row counts: once, or as often as it occurs."""
    return duplicate_counts if params.duplicates == "keep" else duplicate_counts.clip(max=1)


def count_rows(
    validation: ValidationReport,
    rows: MappedRows,
    duplicate_counts: "ndarray",
    training_hashes: "Series",
    test_hashes: "Series",
) -> dict[str, int]:
    """Return how many rows of each sort there are, by the names of the metrics."""
    return {
        "rows_in": validation.rows_in,
        "rows_rejected": validation.rows_rejected,
        "rows_duplicate": int(duplicate_counts.sum()) - len(rows),
        "rows_train": len(training_hashes),
        "rows_test": len(test_hashes),
        "rows_overlap": int(test_hashes.isin(training_hashes).sum()),
    }
