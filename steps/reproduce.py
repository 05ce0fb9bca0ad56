"""Make a logged result again from its receipt, compare, and prove that it is the same.

    mlflow run . -e reproduce -P run=<run id>
    mlflow run . -e reproduce -P run=receipts/wines.json -P env=recorded
    mlflow run . -e reproduce -P run=models:/wines@champion
    mlflow run . -e reproduce -P run=<name of an experiment>

The exit code is 0 if all is equal, bit for bit on the same platform and within 1e-9 on another; 1 if something differs;
2 if it could not be compared. It runs the code that the receipt names: reproduce only what you trust.
"""

import environment

from workflow.commands import reproduce
from workflow.parameters import ReproduceCommand
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(ReproduceCommand, __doc__, reproduce.run)
