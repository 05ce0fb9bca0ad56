"""Say which versions of a registered model were the champion, when, why, and who has proven them.

mlflow run . -e history -P name=wines
"""

import environment

from workflow.commands import history
from workflow.parameters import HistoryParams
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(HistoryParams, __doc__, history.run)
