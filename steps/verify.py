"""Check that trusted people have signed a result, and that nothing of it was edited; nothing is run again.

    mlflow run . -e verify -P run=<run id>
    mlflow run . -e verify -P run=receipts/wines.json -P verdicts=received/ -P trust=trust.yaml

`reproduce -P sign=<private key>` signs a verdict. The exit code is 0 if enough trusted people have reproduced and
signed the result; 1 if too few have, or if something was edited or forged; 2 if it could not be checked.
"""

import environment

from workflow.commands import verify
from workflow.parameters import VerifyCommand
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(VerifyCommand, __doc__, verify.run)
