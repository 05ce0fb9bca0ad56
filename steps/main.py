"""Run the whole workflow: preprocess once, train and evaluate every model, compare them and name the best.

    mlflow run .
    mlflow run . -P models=linear,knn,rf,extra_trees -P data=/path/to/wines.csv

Takes the parameters of all stages. Stages whose result exists already are reused.
"""

import environment

from workflow.commands import main
from workflow.parameters import MainCommand
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(MainCommand, __doc__, main.run)
