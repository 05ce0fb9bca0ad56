"""Score a logged model on the test part, explain it with SHAP, and write a report that a person reads.

    mlflow run . -e evaluate -P model=rf
    mlflow run . -e evaluate -P train_run_id=<id> -P shap_samples=200

Takes the parameters of train and preprocess too: without a train_run_id, they say which run to find or make.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment

import mlflow
from mlflow.entities import LoggedModelInput, Run

import preprocess
import train
from errors import UserError
from runs import lineage, links, step, tracking
from runs.parameters import Parameter, whole
from tabular.learning import digests
from workers import CLUSTER, on_cluster

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from tabular.learning.estimators import Estimator
    from tabular.reading.contract import Contract

REPORT, PREDICTIONS, SHAP_VALUES = "report.html", "predictions.parquet", "shap_values.parquet"
PARAMETERS = (Parameter("shap_samples", "50", "test rows to explain with SHAP", whole(1)),)


def evaluate(parameters: dict[str, Any], upstream: Run) -> None:
    """Log the scores on the test part with their intervals, the pictures, the SHAP values and the report."""
    import pandas as pd

    from tabular.learning import estimators, intervals, scoring, split
    from tabular.telling import plots
    from tabular.telling.model_report import model_lead, model_report

    model, seed = parameters["model"], parameters["seed"]
    preprocessed = lineage.upstream_of(upstream)
    training, test, terms = preprocess.read_parts(preprocessed)
    estimator = train.read_model(upstream)
    typical = estimators.baseline(estimator, training[terms.target])
    test, others, leak = drop_seen_rows(estimator, training, test, terms)
    features, true = test[terms.features], test[terms.target].to_numpy()
    predicted = estimators.predict(estimator, features)
    metrics = scoring.scores_with_intervals(true, predicted, seed)
    others |= scoring.scores_with_intervals(true, estimators.predict(typical, features), seed, "baseline_")
    scale = estimators.scale_of(estimator)
    low, high = intervals.interval(predicted, intervals.half_width(train.read_tested(upstream), scale), scale)
    others |= {
        "interval_coverage": intervals.coverage(true, low, high),
        "interval_width": float((high - low).mean()),
    }
    tables = {
        "segments.csv": scoring.segments(test[terms.target], predicted),
        "worst_predictions.csv": scoring.worst(test, terms.target, predicted),
    }
    values, figures = explain(estimator, training[terms.features], features, terms, parameters, upstream)
    figures["preds.png"] = plots.predictions(true, predicted, terms.target_label, f"{model} on the test part")
    figures["residuals.png"] = plots.residuals(true, predicted, terms.target_label, f"{model}: errors on the test part")
    run, trained = tracking.active_run(), tracking.model_id(upstream)
    pages = {
        "run": links.run_page(run),
        "model": links.model_page(run, trained),
        "data report": links.run_page(preprocessed, preprocess.REPORT),
    }
    question = split.question(parameters["split"], preprocess.split_column(parameters["split"], terms))
    lead = model_lead(model, terms, metrics | others, question)
    with tracking.artifacts() as folder:
        pictures = {name: plots.save(figure, folder / name) for name, figure in figures.items()}
        for name, table in tables.items():
            table.to_csv(folder / name, index=False)
        values.to_parquet(folder / SHAP_VALUES)
        predictions = pd.DataFrame({"true": true, "predicted": predicted, "low": low, "high": high})
        predictions.to_parquet(folder / PREDICTIONS)
        again = lineage.command_line(STEP, parameters)
        learns = estimators.learned_target(estimator, terms.target)
        shown = parameters | {"learns": learns} | estimators.parameters_of(estimator, taken=parameters)
        addresses = {name: links.absolute(page) for name, page in pages.items()}
        html = model_report(shown, terms, metrics | others, tables, pictures, leak, lead, again, addresses)
        (folder / REPORT).write_text(html, encoding="utf-8")
    digest = digests.short_digest(split.row_ids(test))
    dataset = tracking.log_dataset(test, terms.target, parameters["data"], "testing", digest)
    mlflow.MlflowClient().log_inputs(run.info.run_id, models=[LoggedModelInput(trained)])
    mlflow.log_metrics(metrics, model_id=trained, dataset=dataset)
    mlflow.log_metrics(others)
    careful = f"\n\n**Careful.** {leak}" if leak else ""
    tracking.write_note(
        f"{lead}{careful}\n\n[The report]({links.run_page(run, REPORT)}), [the model]({pages['model']}),"
        f" [the data report]({pages['data report']})"
    )


def drop_seen_rows(
    estimator: "Estimator", training: "DataFrame", test: "DataFrame", terms: "Contract"
) -> "tuple[DataFrame, dict[str, float], str]":
    """The test rows that were not seen in training; what a score with the others would read (`leaked_…`); a warning.

    Raises UserError if every test row was seen.
    """
    from tabular.learning import estimators, scoring, split

    seen = split.seen(training, test)
    if seen.all():
        raise UserError("every test row is in the training part too: no score would be honest; drop duplicates")
    if not seen.any():
        return test, {}, ""
    everything, true = estimators.predict(estimator, test[terms.features]), test[terms.target].to_numpy()
    leaked = scoring.scores(scoring.metrics_of(true), true, everything, "leaked_")
    leak = (
        f"{seen.sum():,} of {len(test):,} test rows were seen in training, so the scores leave them out;"
        f" with them, R² would read {leaked['leaked_r2_score']:.2f}."
    )
    mlflow.set_tag("workflow.leak", leak)
    tracking.warn(leak)
    return test[~seen].reset_index(drop=True), leaked, leak


def explain(
    estimator: "Estimator",
    training: "DataFrame",
    features: "DataFrame",
    terms: "Contract",
    parameters: dict[str, Any],
    upstream: Run,
) -> "tuple[DataFrame, dict[str, Figure]]":
    """SHAP values of a sample of the test rows, with the mean prediction as column `base`; and their pictures."""
    from tabular.learning import blending, models, shapley
    from tabular.telling import plots

    model, seed = parameters["model"], parameters["seed"]
    sample = features.sample(min(parameters["shap_samples"], len(features)), random_state=seed)
    parts = blending.parts_of(estimator, model)
    if model == models.BLEND:
        values = shap_values_of_blend({name: share for name, (share, _) in parts.items()}, parameters, upstream)
    else:
        background = training.sample(min(shapley.BACKGROUND, len(training)), random_state=seed)
        explainer, track = models.model_of(model).explainer, step.tracker(f"explaining {model}")
        explained, base = shapley.explain(estimator, sample, background, explainer, seed, track)
        values = explained.assign(base=base)
    _, last = [*parts.values()][-1]
    own = values.drop(columns="base")
    colours = shapley.colour_values(last, sample)
    figures = {
        "shap.png": plots.importance(own, terms.target_label, f"{model}: what moves a prediction"),
        "shap_beeswarm.png": plots.beeswarm(
            own, colours, terms.target_label, f"{model}: what moves which prediction where"
        ),
    }
    return values, figures


def shap_values_of_blend(shares: Mapping[str, float], parameters: Mapping[str, Any], upstream: Run) -> "DataFrame":
    """The weighted mean of what runs of this step have logged, or are made to log, for the models of a blend.

    Shapley values are linear in what they explain. Takes the share of each model, and the train run of the blend;
    raises UserError if that run does not say which runs have fitted its models.
    """
    if train.BLENDS not in upstream.data.tags:
        raise UserError(f"train_run_id={upstream.info.run_id}: a blend of an older version; train it again")
    trained = json.loads(upstream.data.tags[train.BLENDS])
    logged = {
        name: lineage.obtain(STEP, train.part_of_blend(parameters, name) | {train.STEP.run_id_parameter: trained[name]})
        for name in shares
    }
    return sum(share * read_shap_values(logged[name]) for name, share in shares.items())


def read_shap_values(run: Run) -> "DataFrame":
    """What a run of this step has logged as SHAP values: see `explain`."""
    import pandas as pd

    with tracking.downloaded(run, SHAP_VALUES) as path:
        return pd.read_parquet(path)


def read_predictions(run: Run) -> "DataFrame":
    """What a run of this step predicted of each test row: `true`, `predicted`, `low` and `high`."""
    import pandas as pd

    with tracking.downloaded(run, PREDICTIONS) as path:
        return pd.read_parquet(path)


PROOFS = {PREDICTIONS: digests.numbers, SHAP_VALUES: digests.numbers}
STEP = lineage.Step(
    "evaluate", Path(__file__), PARAMETERS, evaluate, upstream=train.STEP, modules=train.modules, proofs=PROOFS
)

if __name__ == "__main__":
    step.run(STEP, __doc__, [CLUSTER], on_cluster)
