"""Score a logged model on the test set, explain it with SHAP, and write a report.

    mlflow run . -e evaluate -P model=rf
    mlflow run . -e evaluate -P train_run_id=<id> -P shap_samples=200

Takes the parameters of train and preprocess too: without a train_run_id, they say which run to find or make.
"""

import environment

from workflow.commands import evaluate
from workflow.parameters import EvaluateCommand
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(EvaluateCommand, __doc__, evaluate.run)
