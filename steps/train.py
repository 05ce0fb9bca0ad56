"""Fit one model on the training set of a preprocess run, cross-validate it there, and log it.

    mlflow run . -e train -P model=rf
    mlflow run . -e train -P model=knn -P model_params='{n_neighbors: 7}' -P preprocess_run_id=<id>

Takes the parameters of preprocess too: without a preprocess_run_id, they say which run to find or make.
"""

import environment

from workflow.commands import train
from workflow.parameters import TrainCommand
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(TrainCommand, __doc__, train.run)
