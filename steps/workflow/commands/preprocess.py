"""Check a data file against its contract, drop exact duplicates, split it into a training and a test part.

    mlflow run . -e preprocess -P data=/path/to/houses.csv -P target=price
    mlflow run . -e preprocess -P data=/path/to/wines.csv -P contract=/path/to/wines.yaml -P split=group

Without a contract, one is inferred and logged: save it, edit it, and pass it back.
"""

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment

import mlflow
from mlflow.entities import Run

from workflow.errors import UserError
from workflow.parameters import AUTO, Parameter, one_of, whole
from workflow.provenance import digests
from workflow.runs import cli, execution, links, sources, tracking
from workflow.runs.execution import Input
from workflow.runs.secrets import without_secrets

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame

    from workflow.data.contract import Contract, Report
    from workflow.data.inference import Inferred
    from workflow.data.stored import StoredRows
    from workflow.data.tables import Table

PROJECT = Path(__file__).resolve().parent.parent
TRAIN, TEST = "train.parquet", "test.parquet"
CONTRACT, REPORT, EXAMPLES = "contract.yaml", "data_report.html", "examples.json"
BY_CHANCE = 1.02  # times the error that copies make smaller: less says nothing of them
DATA = Parameter("data", "data/wines.csv", "a table: a path, or a URI (see the README)", without_secrets, decides=False)
COLUMNS = (
    Parameter("target", "", "the column to predict; default: the contract's"),
    Parameter("group", "", "the column that split=group keeps together; default: the contract's"),
    Parameter("time", "", "the column that split=time goes by; default: the contract's"),
)
PARAMETERS = (
    DATA,
    Parameter(
        "contract",
        AUTO,
        "what the columns mean: a YAML file; auto: <data>.yaml beside the data, else inferred",
        without_secrets,
        decides=False,
    ),
    *COLUMNS,
    Parameter("duplicates", "drop", "exact duplicates of a row: drop or keep", one_of(("drop", "keep"))),
    Parameter(
        "split",
        "random",
        "random rows, every group in one part, or the latest in time",
        one_of(("random", "group", "time")),
    ),
    Parameter("test_size", "0.2", "share of the rows (or groups) in the test part", share),
    Parameter("seed", "0", "seed of everything random in this and later steps", whole(0)),
)


def inputs(parameters: Mapping[str, Any]) -> dict[str, Input]:
    """The files that preprocess reads: the data, and the contract if there is one."""
    data = sources.local_copy("data", parameters["data"], PROJECT)
    found = {"data": Input(parameters["data"], data)}
    if parameters["contract"] != AUTO:
        found["contract"] = Input(
            parameters["contract"], sources.local_copy("contract", parameters["contract"], PROJECT)
        )
    elif not sources.is_remote(parameters["data"]) and (beside := data.with_suffix(".yaml")).is_file():
        found["contract"] = Input(str(Path(parameters["data"]).with_suffix(".yaml")), beside)
    return found


def preprocess(parameters: dict[str, Any], upstream: None) -> None:
    """Log `train.parquet`, `test.parquet`, the contract and the data report."""
    from workflow.data import contract, split, stored
    from workflow.evaluation import leakage
    from workflow.reports.data_report import data_report, data_summary

    with tracking.artifacts() as folder, tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as beside:
        beside.submit(import_module, "sklearn.model_selection")  # half a second, while DuckDB reads
        typed = Path(scratch) / "typed.arrow"
        kept, terms, notes = keep_typed_rows(parameters, typed)
        rows, copies = stored.deduplicate(typed, Path(scratch) / "distinct.arrow")
        train, test = split_rows(rows, copies, terms, parameters)
        contract.check_text_columns(rows, train, terms)
        parts = ((TRAIN, "training", train), (TEST, "testing", test))
        writes = [beside.submit(rows.write, places, folder / part, contract.typing(terms)) for part, _, places in parts]
        counts = counts_of(kept, rows, copies, train, test)
        scores = leakage.duplicate_leakage_scores(rows, copies, terms, parameters["seed"])
        warnings = [*warn_of_leaky_columns(rows, terms), *warnings_of_copies(counts, scores, terms.unit)]
        lead = data_summary(counts, split.question(parameters["split"], split_column(parameters["split"], terms)))
        run = tracking.active_run()
        page = data_report(rows, terms, notes, kept, counts, lead, warnings, links.absolute(links.run_page(run)))
        (folder / REPORT).write_text(page, encoding="utf-8")
        ids = split.hash_rows(rows)
        for (part, context, places), write in zip(parts, writes, strict=True):
            write.result()
            beginning = stored.open_rows(folder / part).head(tracking.dataset_rows(len(terms.columns)))
            digest = digests.short_digest(ids[places])
            tracking.log_dataset(beginning, terms.target, parameters["data"], context, digest)
        write_facts(folder, kept, terms, notes, counts, warnings)
    mlflow.log_metrics(counts | scores)
    careful = "".join(f"\n\n**Careful.** {warning}" for warning in warnings)
    tracking.write_note(f"{lead}{careful}\n\n[The data report]({links.run_page(run, REPORT)})")


def keep_typed_rows(parameters: dict[str, Any], path: Path) -> "tuple[Report, Contract, dict[str, str]]":
    """Write the rows of the data that keep to its contract to `path`.

    Returns what became of the others, and the contract, given or inferred, with notes on columns.
    """
    from workflow.data import contract, stored, tables

    files = {name: given.file for name, given in inputs(parameters).items()}
    with tables.open_table(files["data"]) as data:
        if "contract" in files:
            chosen: dict[str, Any] = chosen_columns(parameters)
            terms = dataclasses.replace(contract.read_contract(files["contract"]), **chosen)
            terms, notes = contract.checked(terms, f"contract {files['contract']}"), {}
        else:
            found = infer_contract(data, parameters)
            terms, notes = found.contract, found.notes
        with stored.arrow_appender(path) as keep:
            return contract.enforce(data.chunks(), terms, data.lost, keep), terms, notes


def counts_of(
    kept: "Report", rows: "StoredRows", copies: "ndarray", train: "ndarray", test: "ndarray"
) -> dict[str, int]:
    """How many rows there are of each sort, by the names of the metrics."""
    import numpy as np

    return {
        "rows_in": kept.rows_in,
        "rows_rejected": kept.rejected["row"].nunique(),
        "rows_duplicate": int(copies.sum()) - len(rows),
        "rows_train": len(train),
        "rows_test": len(test),
        "rows_overlap": int(np.isin(test, train).sum()),
    }


def write_facts(
    folder: Path,
    kept: "Report",
    terms: "Contract",
    notes: dict[str, str],
    counts: dict[str, int],
    warnings: list[str],
) -> None:
    """Write the contract, what became of the rows, and some of them as the file has them."""
    from workflow.data import contract

    (folder / CONTRACT).write_text(contract.contract_text(terms, notes), encoding="utf-8")
    examples = kept.examples.to_json(orient="records", date_format="iso", indent=2)
    (folder / EXAMPLES).write_text(examples, encoding="utf-8")
    kept.rejected.to_csv(folder / "rejected.csv", index=False)
    facts = counts | {"missing": kept.missing, "ignored_columns": kept.ignored, "warnings": warnings}
    (folder / "data_report.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False), encoding="utf-8")


def split_rows(
    rows: "StoredRows", copies: "ndarray", terms: "Contract", parameters: dict[str, Any]
) -> "tuple[ndarray, ndarray]":
    """The places of the training part and of the test part."""
    from workflow.data import split

    counted = copies if parameters["duplicates"] == "keep" else copies.clip(max=1)
    way, by = parameters["split"], split_column(parameters["split"], terms)
    return split.split(counted, parameters["test_size"], parameters["seed"], way, rows[by] if by else None)


def infer_contract(data: "Table", parameters: dict[str, Any]) -> "Inferred":
    """The contract of a table that has none; UserError if it cannot have one, or if no target is named."""
    from workflow.data import inference

    chosen = chosen_columns(parameters)
    if "target" not in chosen:
        columns = ", ".join(data.columns[:20])
        raise UserError(f"target: which column is to be predicted? -P target=<column>; the data has {columns}")
    return inference.infer(data.sample(inference.sample_size(len(data.columns))), **chosen)


def chosen_columns(parameters: dict[str, Any]) -> dict[str, str]:
    """The columns that parameters name, over what a contract says."""
    return {column.name: parameters[column.name] for column in COLUMNS if parameters[column.name]}


def split_column(way: str, terms: "Contract") -> str | None:
    """The column that a split goes by; UserError if it needs one and the contract names none."""
    column = {"group": terms.group, "time": terms.time}.get(way)
    if way != "random" and not column:
        raise UserError(f"split={way}: by which column? -P {way}=<column>, or `{way}: <column>` in the contract")
    return column


def warn_of_leaky_columns(rows: "StoredRows", terms: "Contract") -> list[str]:
    """Warnings about columns that give the target away; they are shown, too."""
    from workflow.evaluation.leakage import leaky_columns

    found = [f"column {name} {how}" for name, how in leaky_columns(rows, terms).items()]
    for warning in found:
        tracking.warn(f"{warning}: leave it out unless it is known before the {terms.target} is")
    if found:
        mlflow.set_tag("workflow.leak", "; ".join(found))
    return found


def warnings_of_copies(counts: dict[str, int], scores: dict[str, float], unit: str) -> list[str]:
    """A sentence about what copies of rows would have done to a score, if that is more than chance does."""
    from workflow.reports.report import number

    if not scores:
        return []
    kept, dropped = (scores[f"mean_absolute_error_{seen}_copies"] for seen in ("with", "without"))
    if dropped <= kept * BY_CHANCE:
        return []
    seeming = f"{number(kept)} {unit}".strip()
    return [
        f"{counts['rows_duplicate']:,} rows are exact copies of another; with copies in both parts, a"
        f" nearest-neighbours model would seem to be off by {seeming} on average, and is off by {number(dropped)}"
        " where it has not seen the row before"
    ]


@contextmanager
def training_part(run: Run) -> "Iterator[StoredRows]":
    """The training part that a preprocess run left."""
    from workflow.data import stored

    with tracking.downloaded(run, TRAIN) as path:
        yield stored.open_rows(path)


@contextmanager
def both_parts(run: Run) -> "Iterator[tuple[StoredRows, StoredRows]]":
    """The training part and the test part that a preprocess run left."""
    from workflow.data import stored

    with training_part(run) as training, tracking.downloaded(run, TEST) as path:
        yield training, stored.open_rows(path)


def read_examples(run: Run) -> "DataFrame":
    """Some rows as the file of a preprocess run has them."""
    import pandas as pd

    with tracking.downloaded(run, EXAMPLES) as path:
        return pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))


def read_contract_of(run: Run) -> "Contract":
    """The contract that a preprocess run kept to."""
    from workflow.data.contract import read_contract

    with tracking.downloaded(run, CONTRACT) as terms:
        return read_contract(terms)


PROOFS = {TRAIN: digests.table, TEST: digests.table}
STEP = execution.Step("preprocess", Path(__file__), PARAMETERS, preprocess, inputs=inputs, proofs=PROOFS)

if __name__ == "__main__":
    cli.run(STEP, __doc__)
