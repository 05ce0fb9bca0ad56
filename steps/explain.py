"""Say why a score has changed between two recorded results: how much is due to data, code, packages, each parameter.

    mlflow run . -e explain -P a=<run id> -P b=<run id>

What lies between the two is run: the code of one with the data of the other, and so on, for what differs. The change of
the score is attributed by Shapley values, with 95 % intervals. It runs the code that both receipts name: explain only
what you trust. An interrupted explanation goes on where it was.
"""

import environment

from workflow.commands import explain
from workflow.parameters import ExplainCommand
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(ExplainCommand, __doc__, explain.run)
