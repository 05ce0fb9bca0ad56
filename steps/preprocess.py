"""Check a data file against its contract, drop exact duplicates, split it into a training and a test part.

mlflow run . -e preprocess -P data=/path/to/wines.csv -P split=group
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import Run

from errors import UserError
from runs import lineage, step, tracking
from runs.parameters import Parameter, one_of, share, whole
from tabular import digests

if TYPE_CHECKING:
    from pandas import DataFrame

    from tabular.contract import Contract

PROJECT = Path(__file__).resolve().parent.parent
PARAMETERS = (
    Parameter("data", "data/wines.csv", "a CSV file: absolute path, or in the project folder", decides=False),
    Parameter("contract", "data/wines.yaml", "what the columns mean: a YAML file", decides=False),
    Parameter("duplicates", "drop", "exact duplicates of a row: drop or keep", one_of(("drop", "keep"))),
    Parameter(
        "split",
        "random",
        "random rows, or every group of the contract in one part",
        one_of(("random", "group")),
    ),
    Parameter("test_size", "0.2", "share of the rows (or groups) in the test part", share),
    Parameter("seed", "0", "seed of everything random in this and later steps", whole(0)),
)


def local_path(parameter: str, text: str) -> Path:
    """The file that a parameter names, relative to the project folder; UserError if it is not there."""
    path = PROJECT / Path(text).expanduser()
    if path.is_file():
        return path
    if path.exists():
        raise UserError(f"{parameter}={text}: not a file")
    hint = (
        "" if Path(text).is_absolute() else f' in the project folder; for a file of yours: -P {parameter}="$PWD/{text}"'
    )
    raise UserError(f"{parameter}={text}: no such file{hint}")


def inputs(parameters: dict) -> dict[str, Path]:
    """The files that preprocess reads."""
    return {name: local_path(name, parameters[name]) for name in ("data", "contract")}


def preprocess(parameters: dict, upstream: Run | None) -> None:
    """Log `train.parquet`, `test.parquet`, the contract and the data report."""
    from tabular import contract, split
    from tabular.data_report import data_report

    data, terms_file = local_path("data", parameters["data"]), local_path("contract", parameters["contract"])
    terms = contract.read_contract(terms_file)
    if parameters["split"] == "group" and not terms.group:
        raise UserError("split=group: the contract names no group column; add `group: <column>` to it")
    found = contract.read_data(data, terms)
    rows, kept = contract.enforce(found, terms, parameters["duplicates"] == "drop")
    group = terms.group if parameters["split"] == "group" else None
    train, test = split.split(rows, parameters["test_size"], parameters["seed"], group)
    counts = {
        "rows_in": len(found),
        "rows_rejected": kept.rejected["row"].nunique(),
        "rows_duplicate": kept.rows_duplicate,
        "rows_train": len(train),
        "rows_test": len(test),
        "rows_overlap": int(split.seen(train, test).sum()),
    }
    with tracking.artifacts() as folder:
        train.to_parquet(folder / "train.parquet")
        test.to_parquet(folder / "test.parquet")
        (folder / "contract.yaml").write_bytes(terms_file.read_bytes())
        kept.rejected.to_csv(folder / "rejected.csv", index=False)
        facts = counts | {"missing": kept.missing, "ignored_columns": kept.ignored}
        (folder / "data_report.json").write_text(json.dumps(facts, indent=2))
        page = data_report(counts, kept.rejected, kept.missing, kept.ignored)
        (folder / "data_report.html").write_text(page, encoding="utf-8")
    mlflow.log_metrics(counts)
    tracking.log_dataset(train, terms.target, parameters["data"], "training")
    tracking.log_dataset(test, terms.target, parameters["data"], "testing")


def parts(run: Run) -> "tuple[DataFrame, DataFrame, Contract]":
    """The training part, the test part and the contract that a preprocess run left."""
    import pandas as pd

    with tracking.downloaded(run, "train.parquet") as train, tracking.downloaded(run, "test.parquet") as test:
        return pd.read_parquet(train), pd.read_parquet(test), contract_of(run)


def contract_of(run: Run) -> "Contract":
    """The contract that a preprocess run kept to."""
    from tabular.contract import read_contract

    with tracking.downloaded(run, "contract.yaml") as terms:
        return read_contract(terms)


PROOFS = {"train.parquet": digests.table, "test.parquet": digests.table}
STEP = lineage.Step("preprocess", Path(__file__), PARAMETERS, preprocess, inputs=inputs, proofs=PROOFS)

if __name__ == "__main__":
    step.run(STEP, __doc__)
