"""Infer what the columns of a data file are, without training. Read it, edit it, pass it back.

    mlflow run . -e contract -P data=/path/to/houses.csv -P target=price > houses.yaml
    mlflow run . -P data=/path/to/houses.csv -P contract=$PWD/houses.yaml

The contract is printed, and is the artifact contract.yaml of the run.
"""

import environment

from workflow.commands import contract
from workflow.parameters import ContractParams
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(ContractParams, __doc__, contract.run)
