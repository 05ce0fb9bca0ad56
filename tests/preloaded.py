"""Slow imports of the scripts in `steps/`, for the process that `forked` forks from."""

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
    """Turn off fsync in SQLite: a step commits eighty times, and no test crashes the system."""
    if connection.__class__.__module__ == "sqlite3":
        connection.execute("PRAGMA synchronous = OFF")


requirements_utils._init_packages_to_modules_map()  # cached by MLflow; scans all packages
gc.freeze()  # keep the imports out of garbage collections in forked processes
