"""Fit one model on the training part of a preprocess run, cross-validate it there, and log it.

    mlflow run . -e train -P model=rf
    mlflow run . -e train -P model=knn -P model_params='{n_neighbors: 7}' -P preprocess_run_id=<id>

Takes the parameters of preprocess too: without a preprocess_run_id, they say which run to find or make.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment

import mlflow
from mlflow.entities import Run

from workflow.commands import preprocess
from workflow.errors import UserError
from workflow.models.catalog import BLEND, DEFAULT_BLEND_MEMBERS, MODELS, OPTIONAL, get_model
from workflow.models.estimators import ENCODERS, LOG_TARGET
from workflow.parallel.cluster import CLUSTER, on_cluster
from workflow.parameters import AUTO, Parameter, mapping, nearest, one_of, or_auto, to_command_line, whole
from workflow.provenance import digests, fingerprint
from workflow.runs import cli, execution, tracking

if TYPE_CHECKING:
    from pandas import DataFrame

    from workflow.data.contract import Contract
    from workflow.data.stored import StoredRows
    from workflow.models.estimators import Estimator

SINGLE = (*MODELS, *OPTIONAL)
NAMES = (*SINGLE, BLEND)


def model_name(text: str) -> str:
    """The name of a model, or what may be an import path."""
    return text if "." in text else one_of(NAMES)(text)


OWN = (
    Parameter("model", "rf", f"one of {', '.join(NAMES)}, or a regressor's import path", model_name),
    Parameter(
        "model_params",
        "null",
        "the estimator's own parameters, a YAML or JSON mapping; of blend: the models that it combines, with theirs",
        mapping,
    ),
)
SHARED = (  # by all models that are compared
    Parameter(
        "encoder",
        "auto",
        f"of categorical columns: {', '.join(ENCODERS)}, which is what the model does best with",
        one_of(ENCODERS),
    ),
    Parameter(
        "log_target",
        "auto",
        "learn the logarithm of the target: true, false, or auto: if none is below 0 and it is far skewed to the right",
        one_of(LOG_TARGET),
    ),
    Parameter(
        "max_rows",
        AUTO,
        "rows of the training part to learn from, evenly spaced if there are more; auto: those of 50 million values",
        or_auto(whole(2)),
    ),
    Parameter("cv", AUTO, "folds of the cross-validation; auto: 5, or 2 of very many values", or_auto(whole(2))),
)
PARAMETERS = (*OWN, *SHARED)
MODEL, CROSS_VALIDATION = "model/model.skops", "cross_validation.parquet"
BLENDS = "workflow.blends"  # tag of a blend: the runs that have fitted its models


def train(parameters: dict[str, Any], upstream: Run) -> None:
    """Log the fitted model with its training and cross-validated scores, and what the folds predicted."""
    from mlflow.models import Model

    from workflow.data import split
    from workflow.evaluation import cross_validation, metrics
    from workflow.models import estimators, model_files, serving

    model = parameters["model"]
    rows, terms = read_training(parameters, upstream)
    features, target = rows[terms.features], rows[terms.target]
    estimator, tested = (fit_blend if model == BLEND else fit)(parameters, upstream, rows, terms)
    predicted = estimators.predict(estimator, features)
    learns = estimators.target_expression(estimator, terms.target)
    described = {"learns": learns, "folds": str(tested["fold"].nunique()), "learned_rows": str(len(rows))}
    described |= estimators.parameters_of(estimator, taken=parameters)
    if model != BLEND:
        described["encodes"] = estimators.resolve_encoder(model, parameters["encoder"])
    mlflow.log_params(described)
    with tracking.artifacts() as folder:
        tested.to_parquet(folder / CROSS_VALIDATION)
    digest = digests.short_digest(split.row_hashes(rows))
    dataset = tracking.log_dataset(rows, terms.target, parameters["data"], "training", digest)
    sources, _ = fingerprint.imports(Path(serving.__file__))
    logged = Model.log(
        None,
        serving,
        name=model.rpartition(".")[2],
        params={p.name: to_command_line(parameters[p.name]) for p in PARAMETERS} | described,
        metadata={"models": list(parts(parameters))},
        estimator=estimator,
        terms=terms,
        sources=sources,
        serialization_format="skops",
        skops_trusted_types=model_files.trusted_types_of(estimator, parts(parameters)),
        signature=serving.signature(terms, optional={name for name in features if features[name].hasnans}),
        input_example=preprocess.read_examples(upstream)[terms.features],
        validate_serving_input=False,
        pip_requirements=[
            f"{name}=={version}" for name, version in fingerprint.packages(STEP.script, modules(parameters)).items()
        ],
    )
    mlflow.log_metrics(cross_validation.cross_validation_scores(tested), model_id=logged.model_id, dataset=dataset)
    mlflow.log_metrics(metrics.scores(metrics.TRAINING, target.to_numpy(), predicted, "training_"))


def read_training(parameters: Mapping[str, Any], upstream: Run) -> "tuple[DataFrame, Contract]":
    """The rows of a preprocess run that a model learns from, and their contract."""
    terms = preprocess.read_contract_of(upstream)
    with preprocess.training_part(upstream) as training:
        return learned_rows(parameters, training, terms), terms


def learned_rows(parameters: Mapping[str, Any], training: "StoredRows", terms: "Contract") -> "DataFrame":
    """The rows of the training part that a model learns from: all of them, or evenly spaced ones."""
    from workflow.data.sampling import evenly_spaced_positions

    return training.take(evenly_spaced_positions(len(training), most_rows(parameters, terms)))


def most_rows(parameters: Mapping[str, Any], terms: "Contract") -> int:
    """How many rows of the training part a model learns from, if there are so many."""
    from workflow.data import split

    most = parameters.get("max_rows", AUTO)  # older runs have none
    return split.max_training_rows(len(terms.features)) if most == AUTO else most


def fit(
    parameters: dict[str, Any], upstream: Run, rows: "DataFrame", terms: "Contract"
) -> "tuple[Estimator, DataFrame]":
    """A model, fitted on all `rows`; and what it predicted of each fold after it was fitted on the others."""
    from workflow.evaluation import tree_count
    from workflow.models import estimators

    model, model_params = parameters["model"], parameters["model_params"]
    features, target = rows[terms.features], rows[terms.target]
    estimator, folds = unfitted(parameters, rows, terms), folds_of(parameters, rows, terms)
    with estimators.estimator_errors_as_user_errors(model, model_params):
        return tree_count.select_and_cross_validate(
            model, model_params, estimator, features, target, folds, cli.tracker
        )


def unfitted(parameters: Mapping[str, Any], rows: "DataFrame", terms: "Contract") -> "Estimator":
    """The model that the parameters ask for, to be fitted on `rows` or a part of them."""
    from workflow.models import estimators

    model, encoder, seed = parameters["model"], parameters["encoder"], parameters["seed"]
    scale = estimators.choose_target_transform(parameters["log_target"], rows[terms.target])
    return estimators.build(model, terms, encoder, scale, seed, parameters["model_params"], len(rows))


def folds_of(parameters: Mapping[str, Any], rows: "DataFrame", terms: "Contract") -> list[tuple[Any, ...]]:
    """The folds of the training rows to test a model on."""
    from workflow.data import split

    way, count = parameters["split"], parameters["cv"]
    count = split.default_n_folds(*rows[terms.features].shape) if count == AUTO else count
    return split.folds(rows, count, parameters["seed"], way, preprocess.split_column(way, terms))


def fit_blend(
    parameters: dict[str, Any], upstream: Run, rows: "DataFrame", terms: "Contract"
) -> "tuple[Estimator, DataFrame]":
    """As `fit`: a blend of models that runs of this step have fitted; they are found, or made under the active run."""
    from workflow.models import blending

    named = {preprocess.STEP.run_id_parameter: upstream.info.run_id}
    runs = {part: execution.obtain(STEP, part_of_blend(parameters, part) | named) for part in parts(parameters)}
    mlflow.set_tag(BLENDS, json.dumps({part: run.info.run_id for part, run in runs.items()}))
    models, tables = ({part: read(run) for part, run in runs.items()} for read in (read_model, read_tested))
    tested, predicted = blending.stack_oof_predictions(tables)
    weights = blending.fit_mae_weights(predicted, tested["true"].to_numpy())
    return blending.blend(models, weights), blending.cross_validate(tested, predicted)


def parts(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The models that the chosen one is made of, with the parameters of each: itself, or those that it blends, sorted.

    Raises UserError for parameters of a blend that do not map models to theirs.
    """
    model, given = parameters["model"], parameters["model_params"]
    if model != BLEND:
        return {model: given}
    for part, own in given.items():
        if part not in SINGLE and "." not in part:
            raise UserError(f"model_params={{{part}: …}}: no model to blend; {nearest(part, SINGLE)}")
        if not isinstance(own, dict):
            raise UserError(f"model_params={{{part}: {own}}}: must map each model to its parameters, or to {{}}")
    return dict(sorted(given.items())) or {part: {} for part in sorted(DEFAULT_BLEND_MEMBERS)}


def part_of_blend(parameters: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The parameters of one model that a blend combines."""
    return {**parameters, "model": part, "model_params": parts(parameters)[part]}


def modules(parameters: Mapping[str, Any]) -> set[str]:
    """The packages that the chosen models come from."""
    return {get_model(part).path.partition(".")[0] for part in parts(parameters)}


def read_model(run: Run) -> "Estimator":
    """The estimator that a run of this step has logged."""
    from workflow.models import model_files

    with tracking.downloaded(run, MODEL) as path:
        return model_files.load(path, parts(execution.parameters_of(run)))


def read_tested(run: Run) -> "DataFrame":
    """What a run of this step predicted in cross-validation: see `cross_validation.cross_val_predict_and_refit`."""
    import pandas as pd

    with tracking.downloaded(run, CROSS_VALIDATION) as path:
        return pd.read_parquet(path)


PROOFS = {MODEL: digests.model, CROSS_VALIDATION: digests.numbers}
STEP = execution.Step(
    "train", Path(__file__), PARAMETERS, train, upstream=preprocess.STEP, modules=modules, proofs=PROOFS
)

if __name__ == "__main__":
    cli.run(STEP, __doc__, [CLUSTER], on_cluster)
