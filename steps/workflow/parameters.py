"""The parameters of every stage and entry point, with their types, defaults and help; MLproject declares the same."""

from typing import Annotated, Any

from pydantic import Field

from workflow.models.catalog import (
    BLEND,
    BOOSTING_LOSSES,
    BOTH_BOOSTINGS_MAX_ROWS,
    EXTRA_TREES_MAX_ROWS,
    MODELS,
    OPTIONAL,
    default_models,
)
from workflow.models.estimators import ENCODERS, LOG_TARGET, NOMINAL_LEVEL
from workflow.parsing import (
    AUTO,
    FromText,
    Params,
    boolean,
    csv_list,
    fraction,
    integer,
    mapping,
    nested_mapping,
    non_negative,
    one_of,
    or_auto,
)
from workflow.secrets import without_secrets

SINGLE_MODELS = (*MODELS, *OPTIONAL)
MODEL_NAMES = (*SINGLE_MODELS, BLEND)
DEFAULT_METRIC = "mean_absolute_error"
SAME, RECORDED = "same", "recorded"
PROMOTION_RULES = "steps/promotion.yaml"
TRUSTED_KEYS = "trust.yaml"
EstimatorParams = dict[str, Any]  # keyword arguments of an estimator: any JSON value
Seed = Annotated[int, FromText(integer(0)), Field(description="random seed of this and all later stages")]
Split = Annotated[str, FromText(one_of(("random", "group", "time", "fold")))]
Gap = Annotated[
    float,
    FromText(non_negative),
    Field(description="with split=time, days (or units of a numeric time) between training rows and test rows"),
]
Source = Annotated[str, FromText(without_secrets, in_fingerprint=False)]
IntegerOrAuto = Annotated[int | str, FromText(or_auto(integer(2)))]


def model_name(text: str) -> str:
    """Parse the name of a model, or what may be an import path."""
    return text if "." in text else one_of(MODEL_NAMES)(text)


def function_in_file(text: str) -> str:
    """Parse `<file>.py:<function>`, whose file may be a URI; an empty text is allowed."""
    file, _, function = text.rpartition(":")
    if text and not (file and function.isidentifier()):
        raise ValueError("expected <file>.py:<function>")
    return f"{without_secrets(file)}:{function}" if text else ""


def metric_name(text: str) -> str:
    """Parse the name of a ranking metric, or what may be an import path."""
    return text if "." in text else one_of(BOOSTING_LOSSES)(text)


def model_names(text: str) -> list[str]:
    """Parse a comma-separated list of models; an empty one is allowed."""
    return csv_list(model_name)(text) if text else []


def optional_names(text: str) -> list[str]:
    """Parse a comma-separated list of names; an empty one is allowed."""
    return csv_list(str)(text) if text else []


class ContractParams(Params):
    """Parameters of `contract`: the file, and the columns with a role."""

    data: Source = Field(default="data/wines.csv", description="a table: a path, or a URI (see the README)")
    target: str = Field(default="", description="column to predict; default: the contract's")
    group: str = Field(
        default="", description="column whose values split=group keeps together; default: the contract's"
    )
    time: str = Field(default="", description="column by which split=time orders the rows; default: the contract's")
    fold: str = Field(default="", description="column whose values split=fold takes as folds; default: the contract's")
    weight: str = Field(default="", description="column of sample weights, no feature; default: the contract's")

    @property
    def chosen_columns(self) -> dict[str, str]:
        """The roles that the user gave to columns, which override the contract's."""
        roles = ("target", "group", "time", "fold", "weight")
        return {role: column for role in roles if (column := getattr(self, role))}


class PreprocessParams(ContractParams):
    """Parameters of `preprocess`."""

    contract: Source = Field(
        default=AUTO, description="data contract, a YAML file; auto: <data>.yaml beside the data, else inferred"
    )
    monotonic: Annotated[dict[str, Any], FromText(mapping)] = Field(
        default_factory=dict,
        description="monotonic constraints by column, a mapping: {rating: increasing}; override the contract's",
    )
    test_data: Source = Field(
        default="", description="a file of its own as test set: a path or a URI; data is the training set then"
    )
    features: Annotated[str, FromText(function_in_file, in_fingerprint=False)] = Field(
        default="", description="function that derives columns from the features, row by row: <file>.py:<function>"
    )
    duplicates: Annotated[str, FromText(one_of(("drop", "keep")))] = Field(
        default="drop", description="exact duplicates of a row: drop or keep"
    )
    split: Split = Field(
        default="random",
        description="how to split: random, group (each in one set), time (latest to test) or fold (by a column)",
    )
    gap: Gap = 0.0
    test_size: Annotated[float, FromText(fraction)] = Field(
        default=0.2, description="fraction of the rows (or groups) in the test set"
    )
    seed: Seed = 0

    @property
    def features_file(self) -> str:
        """The file in `features`."""
        return self.features.rpartition(":")[0]

    @property
    def features_function(self) -> str:
        """The function in `features`."""
        return self.features.rpartition(":")[2]


class MetricOptions(Params):
    """The metric by which models are ranked, blended, tuned and promoted, and which boosting learns if it can."""

    metric: Annotated[str, FromText(metric_name)] = Field(
        default=DEFAULT_METRIC,
        description=f"ranks the models: one of {', '.join(BOOSTING_LOSSES)}, or the import path of a function",
    )
    metric_params: Annotated[dict[str, Any], FromText(mapping)] = Field(
        default_factory=dict,
        description="its arguments, a YAML or JSON mapping: {alpha: 0.9}, and of a function {greater_is_better: true}",
    )


class TrainingOptions(MetricOptions):
    """What all compared models share in training."""

    encoder: Annotated[str, FromText(one_of(ENCODERS))] = Field(
        default=AUTO, description="categorical encoder: target, onehot or ordinal; auto picks per model"
    )
    log_target: Annotated[str, FromText(one_of(LOG_TARGET))] = Field(
        default=AUTO,
        description="fit on the logarithm of the target: true or false; auto: if that lowers the cross-validated error",
    )
    max_rows: IntegerOrAuto = Field(
        default=AUTO,
        description="maximum number of training rows, evenly spaced; auto: as many as hold 50 million values",
    )
    cv: IntegerOrAuto = Field(
        default=AUTO, description="number of cross-validation folds; auto: 5, or 2 for large data"
    )
    repeats: Annotated[int, FromText(integer(1))] = Field(
        default=1, description="times that cross-validation is repeated, with other folds each time"
    )


class TrainParams(TrainingOptions):
    """Parameters of `train`; `split`, `gap` and `seed` are the preprocess run's."""

    model: Annotated[str, FromText(model_name)] = Field(
        default="rf", description=f"one of {', '.join(MODEL_NAMES)}, or the import path of a regressor"
    )
    model_params: Annotated[EstimatorParams, FromText(mapping)] = Field(
        default_factory=dict,
        description="estimator parameters, a YAML or JSON mapping; of blend: its members, with theirs",
    )
    split: Split = "random"
    gap: Gap = 0.0
    seed: Seed = 0


class IntervalOptions(Params):
    """How often prediction intervals should contain the true value."""

    level: Annotated[list[float], FromText(csv_list(fraction))] = Field(
        default=[NOMINAL_LEVEL], description="fraction of rows within their prediction intervals; or several: 0.5,0.9"
    )


class EvaluateParams(IntervalOptions, MetricOptions):
    """Parameters of `evaluate`; `seed` is the preprocess run's, and the metric that of the train run."""

    shap_samples: Annotated[int, FromText(integer(1))] = Field(default=50, description="test rows to explain with SHAP")
    curve: Annotated[bool, FromText(boolean)] = Field(
        default=False, description="also fit the model on fewer rows, for a learning curve (not of a blend)"
    )
    segments: Annotated[list[str], FromText(optional_names)] = Field(
        default_factory=list,
        description="columns for whose values the errors are reported, comma-separated; default: the contract's",
    )
    seed: Seed = 0


class CompareParams(TrainingOptions):
    """Parameters of `main`: the models to compare."""

    models: Annotated[list[str] | str, FromText(or_auto(csv_list(model_name)))] = Field(
        default=AUTO,
        description=(
            f"comma-separated, of {', '.join(MODEL_NAMES)}, or import paths of regressors; {BLEND} combines the others;"
            f" auto: {','.join(default_models(0, DEFAULT_METRIC))},{BLEND}, with rf instead of extra_trees above"
            f" {EXTRA_TREES_MAX_ROWS:,} training rows, and mean_boosting up to"
            f" {BOTH_BOOSTINGS_MAX_ROWS:,} rows where boosting does not learn the mean"
        ),
    )
    model_params: Annotated[dict[str, EstimatorParams], FromText(nested_mapping("{rf: {n_estimators: 300}}"))] = Field(
        default_factory=dict, description="estimator parameters by model, a YAML or JSON mapping"
    )


class TuneParams(TrainingOptions):
    """Parameters of `tune`; `split`, `gap` and `seed` are the preprocess run's."""

    model: Annotated[str, FromText(model_name)] = Field(
        default="boosting", description=f"one of {', '.join(SINGLE_MODELS)}, or the import path of a regressor"
    )
    models: Annotated[list[str], FromText(model_names)] = Field(
        default_factory=list, description="several models instead, comma-separated"
    )
    trials: Annotated[int, FromText(integer(1))] = Field(default=50, description="trials per model")
    concurrent: Annotated[int, FromText(integer(1))] = Field(
        default=8, description="trials that may run in parallel; another number tries other parameters"
    )
    timeout: Annotated[int, FromText(integer(0))] = Field(
        default=0, description="seconds after which no trial of a model starts; 0 for no limit"
    )
    space: Annotated[dict[str, EstimatorParams], FromText(nested_mapping("{rf: {max_depth: [5, 10]}}"))] = Field(
        default_factory=dict,
        description=(
            "search space: a mapping of models to parameters, and these to {low: …, high: …, log: true} or a list"
        ),
    )
    split: Split = "random"
    gap: Gap = 0.0
    seed: Seed = 0

    @property
    def tuned_models(self) -> list[str]:
        """The models to tune."""
        return self.models or [self.model]


class ClusterOption(Params):
    """Parameters of every entry point that computes in parallel."""

    cluster: Annotated[str, FromText(in_fingerprint=False)] = Field(
        default="", description="Dask cluster to compute on: local starts one here, tcp://<host>:8786 uses that one"
    )


class PreprocessRunOption(Params):
    """Parameters of stages that build on a preprocess run."""

    preprocess_run_id: Annotated[str, FromText(in_fingerprint=False)] = Field(
        default=AUTO, description="preprocess run to build on; auto finds or makes one"
    )


class TrainRunOption(Params):
    """Parameters of stages that build on a train run."""

    train_run_id: Annotated[str, FromText(in_fingerprint=False)] = Field(
        default=AUTO, description="train run to build on; auto finds or makes one"
    )


class TrainCommand(ClusterOption, PreprocessParams, TrainParams, PreprocessRunOption):
    """What `-e train` takes."""


class EvaluateCommand(TrainCommand, EvaluateParams, TrainRunOption):
    """What `-e evaluate` takes."""


class TuneCommand(ClusterOption, PreprocessParams, TuneParams, EvaluateParams, PreprocessRunOption):
    """What `-e tune` takes."""


class MainCommand(ClusterOption, EvaluateParams, CompareParams, PreprocessParams):
    """What `-e main` takes."""

    time_limit: Annotated[int, FromText(integer(0), in_fingerprint=False)] = Field(
        default=0,
        description="seconds for everything: fewer models, or fewer training rows, if need be; 0 for no limit",
    )
    register_as: Annotated[str, FromText(in_fingerprint=False)] = Field(
        default="",
        alias="register",
        description="registered model that gets the winner as a version, and perhaps as champion",
    )


class PromoteParams(Params):
    """Parameters of `promote`."""

    run: str = Field(default="", description="id of a main or tune run, whose winner is meant, or of a train run")
    name: str = Field(default="", description="registered model; created if it does not exist")
    rules: str = Field(default=PROMOTION_RULES, description="what a champion must fulfil: a YAML file")
    dry_run: Annotated[bool, FromText(boolean)] = Field(
        default=False, description="only decide: register nothing and move no alias"
    )


class RetrainParams(Params):
    """Parameters of `retrain`."""

    name: str = Field(default="", description="registered model, whose champion is fitted again")
    data: Source = Field(default="", description="newer rows, with the target: a path or a URI, as for preprocess")
    rules: str = Field(
        default=AUTO, description="what a champion must fulfil: a YAML file; auto: the rules that promoted this one"
    )
    dry_run: Annotated[bool, FromText(boolean)] = Field(
        default=False, description="train and decide, but register nothing and move no alias"
    )


class HistoryParams(Params):
    """Parameters of `history`."""

    name: str = Field(default="", description="registered model")


class RollbackParams(Params):
    """Parameters of `rollback`."""

    name: str = Field(default="", description="registered model")


class PredictCommand(ClusterOption, IntervalOptions):
    """What `-e predict` takes."""

    model: str = Field(
        default="", description="models:/<name>@<alias>, models:/<name>/<version>, or the id of a train or main run"
    )
    data: Source = Field(
        default="", description="rows in the form of the training file: a path or a URI, as for preprocess"
    )
    output: Source = Field(default="", description="file to write, ending in .csv or .parquet: a path, or a URI")
    overwrite: Annotated[bool, FromText(boolean)] = Field(default=False, description="replace the output if it exists")
    escape_formulas: Annotated[bool, FromText(boolean)] = Field(
        default=False, description="in a CSV, put ' before texts that a spreadsheet would run, such as =1+2"
    )
    explain: Annotated[bool, FromText(boolean)] = Field(
        default=False, description="write how much each feature contributes to each prediction; slow for knn"
    )


class ExportParams(Params):
    """Parameters of `export`."""

    model: str = Field(
        default="", description="models:/<name>@<alias>, models:/<name>/<version>, or the id of a train or main run"
    )
    output: Source = Field(
        default="", description="file to write: a path, or a URI; ends in .onnx, or in .zip for a crate"
    )
    overwrite: Annotated[bool, FromText(boolean)] = Field(default=False, description="replace the output if it exists")


class ReproduceCommand(ClusterOption):
    """What `-e reproduce` takes."""

    run: Source = Field(
        default="",
        description=("a run id, models:/<name>@<alias>, a receipt's path or URI, or an experiment's name or id"),
    )
    env: Annotated[str, FromText(one_of((SAME, RECORDED)))] = Field(
        default=SAME, description="environment: same as now, or recorded, which uv builds"
    )
    rtol: Annotated[float | str, FromText(or_auto(non_negative))] = Field(
        default=AUTO,
        description="relative tolerance of numbers; 0 is bit for bit; auto: 0, or 1e-9 on another platform",
    )
    search: Annotated[bool, FromText(boolean)] = Field(
        default=False, description="of a tune run, reproduce the whole search, not only its best model"
    )
    again: Annotated[bool, FromText(boolean)] = Field(
        default=False, description="of an experiment, also reproduce runs already verified on this machine"
    )
    trust: Source = Field(
        default="", description="URL of another project's repository whose code may run, if the receipt names it"
    )
    sign: Source = Field(default="", description="file of a private key in PEM that signs the verdict")


class VerifyCommand(Params):
    """What `-e verify` takes."""

    run: Source = Field(
        default="", description="a run id, models:/<name>@<alias>, or a receipt's path or URI: what is verified"
    )
    verdicts: Annotated[list[str], FromText(optional_names)] = Field(
        default_factory=list,
        description="more signed verdicts, comma-separated: files, folders or URIs; those in this store are found",
    )
    trust: Source = Field(default=TRUSTED_KEYS, description="whose signatures count: a YAML file of public keys")
    signatures: Annotated[int, FromText(integer(0))] = Field(
        default=1, description="how many trusted people must have reproduced and signed it"
    )


class CompareCommand(Params):
    """What `-e compare` takes."""

    a: Source = Field(default="", description="a run id, models:/<name>@<alias>, or a receipt's path or URI")
    b: Source = Field(default="", description="what is compared with it, in one of the same forms")


class ExplainCommand(ClusterOption, CompareCommand):
    """What `-e explain` takes."""

    runs: Annotated[int, FromText(integer(2))] = Field(
        default=32, description="most counterfactual runs; of many causes, fewer orders of their changes are then tried"
    )
    trust: Source = Field(
        default="", description="URL of another project's repository whose code may run, if a receipt names it"
    )
