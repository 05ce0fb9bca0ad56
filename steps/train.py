"""Fit one model on the training part of a preprocess run, cross-validate it there, and log it.

    mlflow run . -e train -P model=rf
    mlflow run . -e train -P model=knn -P model_params='{n_neighbors: 7}' -P preprocess_run_id=<id>

Takes the parameters of preprocess too: without a preprocess_run_id, they say which run to find or make.
"""

from pathlib import Path
from typing import Any

import environment

import mlflow
from mlflow.entities import Run

import preprocess
from runs import fingerprint, lineage, step, tracking
from runs.parameters import Parameter, as_text, mapping, one_of, whole
from tabular.learning import digests
from tabular.learning.estimators import ENCODERS, LOG_TARGET, MODELS

PARAMETERS = (
    Parameter("model", "rf", f"one of {', '.join(MODELS)}", one_of(MODELS)),
    Parameter("model_params", "null", "the estimator's own parameters, a YAML or JSON mapping", mapping),
    Parameter("encoder", "target", f"of categorical columns: {', '.join(ENCODERS)}", one_of(ENCODERS)),
    Parameter(
        "log_target",
        "auto",
        "learn the logarithm of the target: true, false, or auto: if all are above 0 and far skewed to the right",
        one_of(LOG_TARGET),
    ),
    Parameter("cv", "5", "folds of the cross-validation", whole(2)),
)
CROSS_VALIDATION = "cross_validation.parquet"


def train(parameters: dict[str, Any], upstream: Run) -> None:
    """Log the fitted model with its training and cross-validated scores, and what the folds predicted."""
    from tabular.learning import estimators, scoring, split

    rows, _, terms = preprocess.read_parts(upstream)
    features, target = rows[terms.features], rows[terms.target]
    estimator = estimators.build(
        parameters["model"],
        terms,
        parameters["encoder"],
        estimators.should_learn_log(parameters["log_target"], target),
        parameters["seed"],
        parameters["model_params"],
    )
    way = parameters["split"]
    folds = split.folds(rows, parameters["cv"], parameters["seed"], way, preprocess.split_column(way, terms))
    track = step.tracker(f"cross-validating {parameters['model']}")
    with estimators.refusals(parameters["model"], parameters["model_params"]):
        tested = scoring.cross_validate(estimator, features, target, folds, track)
        estimators.fit(estimator, features, target)
        predicted = estimators.predict(estimator, features)
    learns = estimators.learned_target(estimator, terms.target)
    logged_parameters = {"learns": learns} | estimators.parameters_of(estimator, taken=parameters)
    mlflow.log_params(logged_parameters)
    with tracking.artifacts() as folder:
        tested.to_parquet(folder / CROSS_VALIDATION)
    dataset = tracking.log_dataset(rows, terms.target, parameters["data"], "training", digests.short_digest(rows))
    logged = mlflow.sklearn.log_model(
        estimator,
        name=parameters["model"],
        params={p.name: as_text(parameters[p.name]) for p in PARAMETERS} | logged_parameters,
        serialization_format="skops",
        skops_trusted_types=estimators.trusted_types(parameters["model"]),
        signature=mlflow.models.infer_signature(features, predicted),
        input_example=features.head(5),
        pip_requirements=[f"{name}=={version}" for name, version in fingerprint.packages(STEP.script).items()],
    )
    mlflow.log_metrics(scoring.cross_validated_scores(tested), model_id=logged.model_id, dataset=dataset)
    mlflow.log_metrics(scoring.scores(scoring.TRAINING, target.to_numpy(), predicted, "training_"))


PROOFS = {"model/model.skops": digests.model, CROSS_VALIDATION: digests.numbers}
STEP = lineage.Step("train", Path(__file__), PARAMETERS, train, upstream=preprocess.STEP, proofs=PROOFS)

if __name__ == "__main__":
    step.run(STEP, __doc__)
