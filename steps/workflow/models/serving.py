"""The logged model, which takes rows as the file has them: how it is saved, and what MLflow loads to serve it.

    mlflow models serve -m models:/wines@champion --env-manager local

It is a scikit-learn model as MLflow saves it, in a skops file, with two things beside it: the contract that it was
trained under, and those files of this project that read a row by it. No other code runs when it is loaded.
"""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.types.schema import AnyType, ColSpec, DataType, Schema, TensorSpec

from workflow.data import contract
from workflow.models import estimators, model_files

if TYPE_CHECKING:
    from numpy import ndarray

ESTIMATOR, CONTRACT = "model.skops", "contract.yaml"


class Served:
    """What MLflow calls to predict."""

    def __init__(self, estimator: "estimators.Estimator", terms: contract.Contract) -> None:
        """Predict with `estimator` from rows that are read by `terms`."""
        self.estimator, self.terms = estimator, terms.select(terms.features)

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> "ndarray":
        """The predicted target of each row: (rows,).

        `rows` hold texts, as a CSV file does, or what JSON or Parquet can say. A column that is absent is missing in
        all rows: MLflow has seen to it that it may be. Raises MlflowException, which a server answers with status 400,
        for a value that cannot be read as the contract says.
        """
        typed, faults = contract.check(contract.as_file_values(rows, self.terms), self.terms)
        if len(faults):
            row, column, value, reason = faults.iloc[0]
            raise MlflowException(f"row {row}, column {column}: {value!r} {reason}", INVALID_PARAMETER_VALUE)
        return estimators.predict(self.estimator, typed)


def _load_pyfunc(folder: str) -> Served:
    """The model in a folder that `save_model` has filled: MLflow asks for it by this name."""
    path = Path(folder)
    models = (Model.load(folder).metadata or {})["models"]
    return Served(model_files.load(path / ESTIMATOR, models), contract.read_contract(path / CONTRACT))


def save_model(
    path: str,
    mlflow_model: Model,
    estimator: "estimators.Estimator",
    terms: contract.Contract,
    sources: dict[str, Path],
    validate_serving_input: bool = True,
    **arguments: Any,
) -> None:
    """Save a model in the way that MLflow asks of a flavor, with its contract and `sources`, by relative path.

    `validate_serving_input` is MLflow's own, which passes it on; `arguments` are `mlflow.sklearn.save_model`'s.
    """
    import mlflow.sklearn

    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, Path(folder) / name)
        code = [str(file) for file in Path(folder).iterdir()]
        mlflow.sklearn.save_model(estimator, path, mlflow_model=mlflow_model, code_paths=code, **arguments)
    (Path(path) / CONTRACT).write_text(contract.contract_text(terms, {}), encoding="utf-8")
    mlflow_model.flavors["python_function"] |= {"loader_module": __name__}
    del mlflow_model.flavors["python_function"]["model_path"]  # of the skops file: ours wants the folder
    mlflow_model.save(str(Path(path) / "MLmodel"))


def signature(terms: contract.Contract, optional: set[str]) -> ModelSignature:
    """What a row must have: the features, of which some are `optional`. Their types are the contract's business."""
    anything = AnyType()  # type: ignore[no-untyped-call]
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(anything, name, required=name not in optional) for name in terms.features
    ]
    return ModelSignature(Schema(columns), Schema([ColSpec(DataType.double, terms.target)]))
