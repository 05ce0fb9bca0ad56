"""Search for better parameters of a model by cross-validation, and check on the test set whether they are better.

    mlflow run . -e tune -P model=boosting -P trials=50
    mlflow run . -e tune -P models=rf,boosting -P timeout=600 -P space='{rf: {max_features: {low: 0.2, high: 0.8}}}'

Trials see the training set only, all of them the same folds. They are runs, and none is run twice: given again after
it was stopped, or with more trials, the command continues from what exists. Takes the parameters of preprocess too:
without a preprocess_run_id, they say which run to find or make.
"""

import environment

from workflow.commands import tune
from workflow.parameters import TuneCommand
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(TuneCommand, __doc__, tune.run)
