"""Say what differs between two recorded results: data, code, parameters, packages, platform, and scores.

    mlflow run . -e compare -P a=<run id> -P b=<run id>
    mlflow run . -e compare -P a=receipts/wines.json -P b=models:/wines@champion

Nothing is run again. The exit code is 0 if all is equal, 1 if something differs, 2 if they could not be compared.
"""

import environment

from workflow.commands import compare
from workflow.parameters import CompareCommand
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(CompareCommand, __doc__, compare.run)
