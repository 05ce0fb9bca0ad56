"""What the process imports from which `forked` forks: all that takes long in the scripts of `steps/`."""

import gc

import distributed
import duckdb
import jinja2
import joblib
import jsonschema
import matplotlib.pyplot
import mlflow.data.pandas_dataset
import mlflow.sklearn
import mlflow.store.tracking.sqlalchemy_store
import optuna
import pyarrow.csv
import pyarrow.parquet
import rich.progress
import scipy.stats
import shap
import sklearn.compose
import sklearn.ensemble
import sklearn.model_selection
import sklearn.neighbors
import skops.io
import sqlalchemy
from mlflow.utils import requirements_utils


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def do_not_wait_for_the_disk(connection, record) -> None:
    """Let SQLite hand a commit to the system, which no test takes down: a step has eighty."""
    if connection.__class__.__module__ == "sqlite3":
        connection.execute("PRAGMA synchronous = OFF")


requirements_utils._init_packages_to_modules_map()  # which MLflow keeps, once it has looked through all packages
gc.freeze()  # nor need those who are forked look through all this for garbage
