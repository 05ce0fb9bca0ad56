"""Predict the target of every row of a file, as the file has them, with a logged or registered model.

    mlflow run . -e predict -P model=models:/wines@champion -P data=/path/to/new.csv -P output=/path/to/prices.csv
    mlflow run . -e predict -P model=<id of a train or main run> -P data=s3://bucket/new/ -P output=s3://bucket/out.parquet

The output has the columns of the file, and for each row the prediction with its 90 % prediction interval. Rejected rows
are in rejected.csv of the run, with the reason. If the file has the target, the scores are logged too. The file may be
larger than memory.
"""

import environment

from workflow.commands import predict
from workflow.parameters import PredictCommand
from workflow.runs import cli

if __name__ == "__main__":
    cli.main(PredictCommand, __doc__, predict.run)
