"""Make the former champion of a registered model the champion again.

mlflow run . -e rollback -P name=wines
"""

import environment

from workflow.commands import rollback
from workflow.parameters import RollbackParams
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(RollbackParams, __doc__, rollback.run)
