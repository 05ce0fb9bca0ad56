"""Register a model, and make it the champion if it fulfils the rules: no worse than the champion, for example.

    mlflow run . -e promote -P run=<id of a main or train run> -P name=wines
    mlflow run . -e promote -P run=<id> -P name=wines -P rules=/path/to/rules.yaml -P dry_run=true

Challenger and champion are scored on the same rows: the challenger's test set, without the champion's training rows. A
model that is not promoted is still a version of the registered model, with the reason in its tags.
"""

import environment

from workflow.commands import promote
from workflow.parameters import PromoteParams
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(PromoteParams, __doc__, promote.run)
