"""Write down what the columns of a data file are, without training. Read it, edit it, pass it back.

    mlflow run . -e contract -P data=/path/to/houses.csv -P target=price > houses.yaml
    mlflow run . -P data=/path/to/houses.csv -P contract=$PWD/houses.yaml

The contract is printed, and is the artifact contract.yaml of the run.
"""

from typing import Any

import environment

import mlflow

from workflow.commands import preprocess
from workflow.parameters import resolved
from workflow.runs import cli, links, sources, tracking

PARAMETERS = (preprocess.DATA, *preprocess.COLUMNS)


def contract(given: dict[str, Any]) -> None:
    """Infer the contract of the data, log it and print it."""
    from workflow.data import tables
    from workflow.data.contract import contract_text

    parameters = resolved(PARAMETERS, given)
    tracking.describe("contract", parameters)
    mlflow.set_tag("workflow.step", "contract")
    with tables.open_table(sources.local_copy("data", parameters["data"], preprocess.PROJECT)) as data:
        found = preprocess.infer_contract(data, parameters)
    text = contract_text(found.contract, found.notes)
    with tracking.artifacts() as folder:
        (folder / preprocess.CONTRACT).write_text(text, encoding="utf-8")
    print(text)
    cli.print_links({"contract": links.run_page(tracking.active_run())})


if __name__ == "__main__":
    cli.command(__doc__, PARAMETERS, contract)
