"""Typed views of runs: what a stage left, read back from its artifacts and tags."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from workflow.errors import UserError
from workflow.models.catalog import BLEND
from workflow.parameters import EvaluateParams, PreprocessParams, TrainParams
from workflow.parsing import Params, ParamsType, to_command_line
from workflow.provenance import fingerprint
from workflow.provenance.receipt import Receipt
from workflow.runs import integrity
from workflow.runs.integrity import downloaded, receipt_of
from workflow.runs.names import Files, Tags
from workflow.runs.tracking import is_active, model_id, store

if TYPE_CHECKING:
    from pandas import DataFrame

    from workflow.data.contract import Contract
    from workflow.data.findings import Finding
    from workflow.data.own_features import OwnFeatures
    from workflow.data.stored import StoredRows
    from workflow.models.estimators import Estimator
    from workflow.models.intervals import IntervalModel


METRICS = "metrics"  # among the digests of what a run left
StageRunType = TypeVar("StageRunType", bound="StageRun")


@dataclass(frozen=True)
class StageRun:
    """A complete run of a stage, whose tags and metrics are as recorded; or the active run, while it is made."""

    run: Run
    stage: ClassVar[str] = ""
    params_types: ClassVar[tuple[type[Params], ...]] = ()  # of its lineage

    def __post_init__(self) -> None:
        """Raise UserError if the run was altered after it was completed."""
        if not is_active(self.run):
            integrity.verify(self.run)

    @classmethod
    def of(cls, run_id: str) -> Self:
        """Return the view of a run whose id another run has recorded; UserError if it was deleted for good."""
        return cls(existing_run(f"{cls.stage} run {run_id}", run_id))

    @classmethod
    def named(cls, run_id: str, given: Params) -> Self:
        """Return the view of a run that the user named, if it is complete and `given` does not contradict it.

        Raises UserError for any other run id.
        """
        name = f"{cls.stage}_run_id={run_id}"
        run = existing_run(name, run_id)
        made_by = run.data.tags.get(Tags.STAGE)
        if made_by != cls.stage:
            raise UserError(f"{name}: that is a run of {made_by or 'another project'}, not of {cls.stage}")
        if run.info.status != "FINISHED" or Tags.FINGERPRINT not in run.data.tags:
            raise UserError(f"{name}: that run is not complete ({run.info.status}); name another or leave it out")
        integrity.verify_against_later(run)
        found = cls(run)
        for key, recorded in found.logged_parameters.items():
            decides = any(kind.decide(key) for kind in cls.params_types)
            if decides and key in given.model_fields_set and (value := getattr(given, key)) != recorded:
                raise UserError(
                    f"{key}={to_command_line(value)} contradicts {name}, which has {key}={to_command_line(recorded)};"
                    " leave one out"
                )
        return found

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.info.run_id

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags."""
        return self.run.data.tags

    @property
    def metrics(self) -> dict[str, float]:
        """Its metrics, without those that were added after it was completed."""
        metrics = self.run.data.metrics
        return metrics if is_active(self.run) else {name: metrics[name] for name in self.receipt.own_outcome.metrics}

    @property
    def logged_parameters(self) -> dict[str, Any]:
        """All resolved parameters of its lineage, as JSON values (MLflow's own are text, shell-quoted)."""
        return json.loads(self.tags[Tags.PARAMETERS])

    def params_of(self, kind: type[ParamsType]) -> ParamsType:
        """Return the parameters of `kind` that its result rests on."""
        logged = self.logged_parameters
        return kind.model_validate({name: logged[name] for name in kind.model_fields if name in logged})

    def digest(self, artifact: str) -> str:
        """Return the digest of what an artifact holds, or of its `METRICS`."""
        outcome = self.receipt.own_outcome
        return fingerprint.digest(outcome.metrics) if artifact == METRICS else outcome.artifacts[artifact].sha256

    def upstream(self, kind: type[StageRunType], run_id: str) -> StageRunType:
        """Return a run that this one was built on; UserError if it was made anew or altered since."""
        found = kind.of(run_id)
        if not is_active(self.run):
            integrity.verify_link(self.receipt, found.run)
        return found

    @cached_property
    def receipt(self) -> Receipt:
        """Its receipt; UserError if it has none."""
        return receipt_of(self.run)

    @cached_property
    def findings(self) -> "list[Finding]":
        """What it found odd about its data or scores."""
        from workflow.data.findings import Finding

        if not self.tags.get(Tags.FINDINGS):
            return []
        with downloaded(self.run, Files.FINDINGS) as path:
            return [Finding.from_json(values) for values in json.loads(path.read_text(encoding="utf-8"))]

    def table(self, artifact: str) -> "DataFrame":
        """Return a table among its artifacts."""
        import pandas as pd

        with downloaded(self.run, artifact) as path:
            return pd.read_parquet(path) if artifact.endswith(".parquet") else pd.read_csv(path)


@dataclass(frozen=True)
class PreprocessRun(StageRun):
    """A run of preprocess: the contract, the training set and the test set."""

    stage = "preprocess"
    params_types = (PreprocessParams,)

    @property
    def params(self) -> PreprocessParams:
        """Its parameters."""
        return self.params_of(PreprocessParams)

    @cached_property
    def contract(self) -> "Contract":
        """The contract that the rows fulfil."""
        from workflow.data.contract import read_contract

        with downloaded(self.run, Files.CONTRACT) as path:
            return read_contract(path)

    @contextmanager
    def training_set(self) -> "Iterator[StoredRows]":
        """Yield the rows of the training set."""
        from workflow.data import stored

        with downloaded(self.run, Files.TRAINING_SET) as path:
            yield stored.open_rows(path)

    @contextmanager
    def test_set(self) -> "Iterator[StoredRows]":
        """Yield the rows of the test set."""
        from workflow.data import stored

        with downloaded(self.run, Files.TEST_SET) as path:
            yield stored.open_rows(path)

    @cached_property
    def features(self) -> "OwnFeatures | None":
        """The function of the user that derived columns, if there was one."""
        from workflow.data import own_features

        if not self.params.features:
            return None
        with downloaded(self.run, Files.FEATURES) as path:
            return own_features.read(path, self.params.features_function)

    def examples(self) -> "DataFrame":
        """Return some rows as the data file has them."""
        import pandas as pd

        with downloaded(self.run, Files.EXAMPLES) as path:
            return pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))

    def digests(self, *names: str) -> dict[str, str]:
        """Return the digests of some of its artifacts, by path."""
        return {name: self.digest(name) for name in names}


@dataclass(frozen=True)
class TrainRun(StageRun):
    """A run of train: the fitted estimator and its out-of-fold predictions."""

    stage = "train"
    params_types = (PreprocessParams, TrainParams)

    @property
    def params(self) -> TrainParams:
        """Its parameters."""
        return self.params_of(TrainParams)

    def preprocess(self) -> PreprocessRun:
        """Return the run whose training set it was fitted on."""
        return self.upstream(PreprocessRun, self.tags[Tags.UPSTREAM])

    @property
    def model_id(self) -> str:
        """The id of its logged model."""
        return model_id(self.run)

    def estimator(self) -> "Estimator":
        """Return the fitted estimator; what its file may hold is as its receipt says."""
        from workflow.models import model_files
        from workflow.models.members import member_params

        params = TrainParams.model_validate({name: self.receipt.parameters[name] for name in ("model", "model_params")})
        types = self.receipt.own_outcome.artifacts[Files.MODEL].types or []
        with downloaded(self.run, Files.MODEL) as path:
            return model_files.load(path, member_params(params.model, params.model_params), types)

    def intervals(self) -> "IntervalModel":
        """Return from what the prediction intervals of its estimator are computed."""
        from workflow.models import intervals

        with downloaded(self.run, Files.INTERVALS) as path:
            return intervals.load(path)

    def oof_predictions(self) -> "DataFrame":
        """Return the out-of-fold predictions: see `cross_validation.cross_val_predict_and_refit`."""
        return self.table(Files.OOF_PREDICTIONS)

    def members(self) -> "dict[str, TrainRun]":
        """Return the train runs of a blend's members, by model."""
        return {
            model: self.upstream(TrainRun, run_id)
            for model, run_id in json.loads(self.tags[Tags.BLEND_MEMBERS]).items()
        }


@dataclass(frozen=True)
class EvaluateRun(StageRun):
    """A run of evaluate: predictions of the test set, their scores, and SHAP values."""

    stage = "evaluate"
    params_types = (PreprocessParams, TrainParams, EvaluateParams)

    @property
    def params(self) -> EvaluateParams:
        """Its parameters."""
        return self.params_of(EvaluateParams)

    def train(self) -> TrainRun:
        """Return the run whose model it scored."""
        return self.upstream(TrainRun, self.tags[Tags.UPSTREAM])

    def preprocess(self) -> PreprocessRun:
        """Return the run whose test set it scored."""
        return self.upstream(PreprocessRun, self.tags[Tags.PREPROCESS])

    def predictions(self) -> "DataFrame":
        """Return `true`, `predicted`, `low` and `high` of each scored test row, and the ends at further levels."""
        return self.table(Files.PREDICTIONS)

    def learning_curve(self) -> "DataFrame | None":
        """Return the learning curve of the model, if the run has one."""
        has_one = self.params.curve and self.train().params.model != BLEND
        return self.table(Files.LEARNING_CURVE) if has_one else None

    def named_segments(self) -> "DataFrame":
        """Return the errors for each value of the columns that were named: see `segments.segments_of`."""
        return self.table(Files.NAMED_SEGMENTS)

    def shap_values(self) -> "DataFrame":
        """Return the SHAP values of a sample of the test rows, with the mean prediction as column `base`."""
        return self.table(Files.SHAP_VALUES)


@dataclass(frozen=True)
class ModelRuns:
    """The runs of one model on a leaderboard."""

    train: TrainRun
    evaluate: EvaluateRun

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of both."""
        return self.train.metrics | self.evaluate.metrics


def existing_run(name: str, run_id: str) -> Run:
    """Return the run `run_id`; UserError, which begins with `name`, if it is not in this tracking store."""
    try:
        return mlflow.get_run(run_id)
    except MlflowException as error:
        raise UserError(f"{name}: no such run in {store()}; copy the id from the UI") from error
