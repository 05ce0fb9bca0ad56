"""Run bare.py as an MLflow run that logs the training set and the test set. See preprocess_scale.py.

python benchmarks/bare_run.py data/wines.csv
"""

import runpy
from pathlib import Path

import mlflow

with mlflow.start_run():
    runpy.run_path(str(Path(__file__).with_name("bare.py")))
    for name in ("train.parquet", "test.parquet"):
        mlflow.log_artifact(name)
