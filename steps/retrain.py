"""Fit the champion's model again on newer data, and promote it if it fulfils the rules.

    mlflow run . -e retrain -P name=wines -P data=/path/to/newer.csv
    python steps/retrain.py --name wines --data /path/to/newer.csv

The contract, all parameters and the rules are the champion's. Exits with 0 if the new model is the champion or no other
is needed, and with 3 if the data has drifted and the new model does not pass; `mlflow run` makes 1 of every code but 0.
"""

import environment

from workflow.commands import retrain
from workflow.parameters import RetrainParams
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(RetrainParams, __doc__, retrain.run)
