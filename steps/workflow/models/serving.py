"""The logged model, which takes rows as the data file has them: how it is saved, and what MLflow loads to serve it.

    mlflow models serve -m models:/<name>@champion --env-manager local

It is a scikit-learn model as MLflow saves it, in a skops file, together with the contract that it was trained under, a
few training rows that explanations start from, the modules of this project that parse a row and explain it, and the
file of the user whose function derives features, if there is one. Loading it runs no other code.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from workflow.data import own_features
from workflow.data.contract import Contract, as_file_values, check, contract_text, read_contract, wrong_json_type
from workflow.data.own_features import OwnFeatures
from workflow.errors import UserError
from workflow.models import estimators, intervals, model_files

if TYPE_CHECKING:
    from numpy import ndarray

ESTIMATOR_FILE, INTERVALS_FILE = "model.skops", "intervals.skops"
CONTRACT_FILE, BACKGROUND_FILE, FEATURES_FILE = "contract.yaml", "background.parquet", "features.py"
READ_FILES = (ESTIMATOR_FILE, INTERVALS_FILE, CONTRACT_FILE, BACKGROUND_FILE)  # to predict or to explain
RECEIPT_FILE = "receipt.sha256"  # written when the training is complete
LEVEL, EXPLAIN, RECEIPT = "level", "explain", "receipt"  # what a request may ask for besides the prediction


class ServedModel:
    """The object whose `predict` MLflow calls."""

    def __init__(
        self,
        estimator: "estimators.Estimator",
        interval_model: intervals.IntervalModel,
        contract: Contract,
        explain: Callable[[pd.DataFrame], pd.DataFrame],
        features: OwnFeatures | None = None,
        receipt: str = "",
    ) -> None:
        """Predict from rows that `contract` parses and `features` adds to; `explain` is a `contributions.Explainer`.

        `receipt` is the digest of the receipt of the training.
        """
        self.estimator, self.intervals, self.explain = estimator, interval_model, explain
        self.contract, self.with_derived = contract.select(contract.raw_features), contract
        self.features, self.receipt = features, receipt

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> "ndarray | pd.DataFrame":
        """Return the predicted target of each row, (rows,), or a frame of `prediction` and what `params` ask for.

        Args:
            rows: strings as in a CSV file, or typed values as in JSON or Parquet. An absent column counts as missing
                in all rows; MLflow has checked that it is optional.
            params: by name. `level` of prediction intervals, between 0 and 1, 0 for none; `explain`: whether to return
                the contributions of the features too; `receipt`: whether to return the digest of the receipt.

        Raises:
            MlflowException: for a value that the contract does not allow, for one that the user's own function fails
                on, and for another level; a server answers with status 400.
        """
        asked = params or {}
        level = asked.get(LEVEL, 0.0)
        if not 0 <= level < 1:
            raise MlflowException(f"level={level:g}: must be a number between 0 and 1", INVALID_PARAMETER_VALUE)
        for name in self.contract.columns:
            for row, value in rows[name].items() if name in rows and rows[name].dtype in (object, bool) else ():
                if reason := wrong_json_type(value, self.contract.columns[name]):
                    raise refused(row, name, value, reason)
        typed, violations = check(as_file_values(rows, self.contract), self.contract)
        if len(violations):
            raise refused(*violations.iloc[0])
        if self.features:
            try:
                typed = self.features.extend(typed, self.with_derived)
            except UserError as error:
                raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error
        predicted = estimators.predict(self.estimator, typed)
        further = [self.interval(typed, predicted, level)] if level else []
        further += [self.explain(typed)] if asked.get(EXPLAIN) else []
        further += [pd.Series(self.receipt, typed.index, name=RECEIPT)] if asked.get(RECEIPT) else []
        if not further:
            return predicted
        return pd.concat([pd.Series(predicted, typed.index, name="prediction"), *further], axis=1)

    def interval(self, typed: pd.DataFrame, predicted: "ndarray", level: float) -> pd.DataFrame:
        """Return both ends of the prediction intervals: (rows, 2)."""
        try:
            low, high = self.intervals.predict(typed, predicted, level)
        except UserError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error
        return pd.DataFrame({"prediction_low": low, "prediction_high": high}, typed.index)


def refused(row: Any, column: str, value: Any, reason: str) -> MlflowException:
    """Return the error about a value of a request, to which a server responds with status 400."""
    return MlflowException(f"row {row}, column {column}: {value!r} {reason}", INVALID_PARAMETER_VALUE)


def _load_pyfunc(folder: str) -> ServedModel:
    """Load the model in a folder that `save_model` has filled; MLflow calls this function by its name."""
    path = Path(folder)
    config = Model.load(folder)
    check_files(path, config.flavors["python_function"].get("digests", {}))
    metadata = config.metadata or {}
    estimator = model_files.load(path / ESTIMATOR_FILE, metadata["models"], metadata["types"])
    interval_model = intervals.load(path / INTERVALS_FILE)
    background = pd.read_parquet(path / BACKGROUND_FILE)
    contract = read_contract(path / CONTRACT_FILE)
    function = next((contract.columns[name].derived for name in contract.derived), "")
    features = own_features.read(path / FEATURES_FILE, function) if function else None

    def explain(rows: pd.DataFrame) -> pd.DataFrame:
        from workflow.evaluation.contributions import Explainer  # late: a plain prediction does without

        return Explainer(estimator, metadata["models"][0], background, metadata["seed"])(rows)

    receipt = path / RECEIPT_FILE
    digest = receipt.read_text(encoding="utf-8").strip() if receipt.exists() else ""
    return ServedModel(estimator, interval_model, contract, explain, features, digest)


def digests_in(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that is read to predict or to explain, by name."""
    names = [*READ_FILES, *([FEATURES_FILE] if (folder / FEATURES_FILE).exists() else [])]
    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}


def check_files(folder: Path, recorded: Mapping[str, str]) -> None:
    """Raise UserError if one of these files is not the one that was saved with the model."""
    found = digests_in(folder)
    for name in dict.fromkeys([*found, *recorded]):
        if recorded.get(name) != found.get(name):
            raise UserError(f"{folder / name}: not the file that was saved with the model; restore it, or train again")


def save_model(
    path: str,
    mlflow_model: Model,
    estimator: "estimators.Estimator",
    interval_model: intervals.IntervalModel,
    contract: Contract,
    background: pd.DataFrame,
    sources: dict[str, Path],
    features: OwnFeatures | None = None,
    validate_serving_input: bool = True,
    **arguments: Any,
) -> None:
    """Save a model with its contract and code; `mlflow.models.Model.log` calls it, with this module as the flavor.

    Args:
        path: folder to create.
        mlflow_model: its configuration.
        estimator: fitted.
        interval_model: from which its prediction intervals are computed.
        contract: of the rows that it takes.
        background: training rows that explanations start from: see `contributions.background_rows`.
        sources: modules to save with it, by their paths relative to the folder with the code.
        features: the function of the user that derives columns, if there is one.
        validate_serving_input: handled by MLflow, which passes it on nevertheless.
        **arguments: passed on to `mlflow.sklearn.save_model`.
    """
    import mlflow.sklearn

    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, Path(folder) / name)
        code = [str(file) for file in Path(folder).iterdir()]
        mlflow.sklearn.save_model(estimator, path, mlflow_model=mlflow_model, code_paths=code, **arguments)
    intervals.save(interval_model, Path(path) / INTERVALS_FILE)
    (Path(path) / CONTRACT_FILE).write_text(contract_text(contract, {}), encoding="utf-8")
    background.to_parquet(Path(path) / BACKGROUND_FILE)
    if features:
        (Path(path) / FEATURES_FILE).write_bytes(features.source.encode())
    mlflow_model.flavors["python_function"] |= {"loader_module": __name__, "digests": digests_in(Path(path))}
    del mlflow_model.flavors["python_function"]["model_path"]  # points to the skops file; ours loads from the folder
    mlflow_model.save(str(Path(path) / "MLmodel"))


def signature(contract: Contract, optional: set[str]) -> ModelSignature:
    """Return the names of the features, of any type because the contract checks values, and which are `optional`.

    Its params are what a request may ask for besides the prediction.
    """
    anything = AnyType()  # type: ignore[no-untyped-call]
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(anything, name, required=name not in optional) for name in contract.raw_features
    ]
    asked = (ParamSpec(name, DataType.boolean, False) for name in (EXPLAIN, RECEIPT))
    params = ParamSchema([ParamSpec(LEVEL, DataType.double, 0.0), *asked])
    return ModelSignature(Schema(columns), Schema([ColSpec(DataType.double, contract.target)]), params)
