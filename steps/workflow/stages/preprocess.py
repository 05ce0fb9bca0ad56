"""Preprocess: validate a file against its contract, drop exact duplicates, split into training set and test set."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.data import contract, files, inference, split, stored
from workflow.data.contract import Contract, ValidationReport
from workflow.data.findings import Finding
from workflow.data.inference import InferredContract
from workflow.data.profile import DataFacts, profile_columns
from workflow.data.rejections import coercion_findings, rejection_findings
from workflow.data.sentinels import sentinel_findings
from workflow.data.stored import MappedRows, StoredRows
from workflow.errors import UserError
from workflow.evaluation import leakage
from workflow.evaluation.formulas import formula_findings
from workflow.evaluation.questions import question_findings, too_good_finding

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import Series

    from workflow.data.tables import Table
    from workflow.parameters import ContractParams, PreprocessParams


@dataclass(frozen=True)
class PreprocessInputs:
    """The data file or folder, and its contract if there is one."""

    data: Path
    contract: Path | None = None


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
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as beside:
        beside.submit(import_module, "sklearn.model_selection")  # takes half a second, while DuckDB reads
        typed = Path(scratch) / "typed.arrow"
        validation, inferred = validate(params, inputs, typed)
        found = inferred.contract
        rows, duplicate_counts = stored.deduplicate(typed, Path(scratch) / "distinct.arrow")
        train, test = split_rows(rows, duplicate_counts, found, params)
        contract.check_text_columns(rows, train, found)
        attributes = contract.frame_attributes(found)
        writes = [
            beside.submit(rows.write, positions, path, attributes)
            for positions, path in ((train, training_set), (test, test_set))
        ]
        counts = count_rows(validation, rows, duplicate_counts, train, test)
        scores = leakage.duplicate_leakage_scores(rows, duplicate_counts, found, params.seed)
        facts = DataFacts(
            counts, scores, validation.missing, validation.ignored, inferred.notes, profile_columns(rows, found)
        )
        findings = [
            *inferred.findings,
            *row_findings(validation, rows, found),
            *leakage.duplicate_findings(counts, scores, found.unit),
            *score_findings(rows, found, params),
        ]
        hashes = split.hash_rows(rows)
        for write in writes:
            write.result()
    sets = stored.open_rows(training_set), stored.open_rows(test_set)
    return PreprocessResult(*sets, found, validation, facts, findings, hashes[train], hashes[test])


def row_findings(validation: ValidationReport, rows: StoredRows, contract: Contract) -> list[Finding]:
    """Return findings about values and rows that were rejected, could not be read, or may stand for missing ones."""
    return [
        *coercion_findings(validation.coerced, validation.rows_in),
        *sentinel_findings(rows, contract),
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
            inferred = InferredContract(contract.validated(given, f"contract {inputs.contract}"))
        else:
            inferred = infer_contract(data, params)
        inferred = replace(inferred, findings=(*data.findings, *inferred.findings))
        with stored.arrow_appender(path) as append:
            return contract.enforce(data.chunks(), inferred.contract, data.malformed, append), inferred


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
    counted = duplicate_counts if params.duplicates == "keep" else duplicate_counts.clip(max=1)
    column = split.split_column(params.split, contract)
    values = rows[column] if column else None
    return split.split(counted, params.test_size, params.seed, params.split, values)


def count_rows(
    validation: ValidationReport, rows: MappedRows, duplicate_counts: "ndarray", train: "ndarray", test: "ndarray"
) -> dict[str, int]:
    """Return how many rows of each sort there are, by the names of the metrics."""
    return {
        "rows_in": validation.rows_in,
        "rows_rejected": validation.rejected["row"].nunique(),
        "rows_duplicate": int(duplicate_counts.sum()) - len(rows),
        "rows_train": len(train),
        "rows_test": len(test),
        "rows_overlap": int(np.isin(test, train).sum()),
    }
