"""Validate a data file against its contract, drop exact duplicates, split it into a training set and a test set.

    mlflow run . -e preprocess -P data=/path/to/houses.csv -P target=price
    mlflow run . -e preprocess -P data=/path/to/wines.csv -P contract=/path/to/wines.yaml -P split=group

Without a contract, one is inferred and logged: save it, edit it, and pass it back.
"""

import environment

from workflow.commands import preprocess
from workflow.parameters import PreprocessParams
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(PreprocessParams, __doc__, preprocess.run)
