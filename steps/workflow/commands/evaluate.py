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

from workflow.commands import preprocess, train
from workflow.errors import UserError
from workflow.parallel.cluster import CLUSTER, on_cluster
from workflow.parameters import Parameter, whole
from workflow.provenance import digests
from workflow.runs import cli, execution, links, tracking

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from workflow.data.contract import Contract
    from workflow.data.stored import StoredRows
    from workflow.evaluation.holdout import TestPredictions
    from workflow.models.estimators import Estimator

REPORT, PREDICTIONS, SHAP_VALUES = "report.html", "predictions.parquet", "shap_values.parquet"
PARAMETERS = (Parameter("shap_samples", "50", "test rows to explain with SHAP", whole(1)),)


def evaluate(parameters: dict[str, Any], upstream: Run) -> None:
    """Log the scores on the test part with their intervals, the pictures, the SHAP values and the report."""
    from workflow.data import split
    from workflow.evaluation import holdout, metrics
    from workflow.reports import plots
    from workflow.reports.model_report import model_report, model_summary

    model, preprocessed = parameters["model"], execution.upstream_of(upstream)
    terms, estimator = preprocess.read_contract_of(preprocessed), train.read_model(upstream)
    with preprocess.both_parts(preprocessed) as (training, test):
        tested = holdout.predict_test_set(estimator, training, test, terms)
        true, predicted = tested.true, tested.predicted
        values, figures = explain(estimator, training, test, tested, terms, parameters, upstream)
        worst = metrics.worst(true, predicted)
        worst_rows = metrics.with_errors(test.take(tested.places[worst]), terms.target, predicted[worst])
        beginning = test.take(tested.places[: tracking.dataset_rows(len(terms.columns))])
    leak = warn_of_leak(tested)
    figures["preds.png"] = plots.predictions(true, predicted, terms.target_label, f"{model} on the test part")
    figures["residuals.png"] = plots.residuals(true, predicted, terms.target_label, f"{model}: errors on the test part")
    metrics, others, predictions = scores_of(tested, estimator, upstream, parameters["seed"])
    tables = {"segments.csv": metrics.segments(true, predicted), "worst_predictions.csv": worst_rows}
    run, trained = tracking.active_run(), tracking.model_id(upstream)
    pages = {
        "run": links.run_page(run),
        "model": links.model_page(run, trained),
        "data report": links.run_page(preprocessed, preprocess.REPORT),
    }
    question = split.question(parameters["split"], preprocess.split_column(parameters["split"], terms))
    lead = model_summary(model, terms, metrics | others, question)
    with tracking.artifacts() as folder:
        pictures = {name: plots.save(figure, folder / name) for name, figure in figures.items()}
        for name, table in tables.items():
            table.to_csv(folder / name, index=False)
        values.to_parquet(folder / SHAP_VALUES)
        predictions.to_parquet(folder / PREDICTIONS)
        again = execution.command_line(STEP, parameters)
        logged = upstream.data.params
        shown = parameters | {name: logged[name] for name in sorted(logged.keys() - parameters)}
        addresses = {name: links.absolute(page) for name, page in pages.items()}
        html = model_report(shown, terms, metrics | others, tables, pictures, leak, lead, again, addresses)
        (folder / REPORT).write_text(html, encoding="utf-8")
    digest = digests.short_digest(tested.ids)
    dataset = tracking.log_dataset(beginning, terms.target, parameters["data"], "testing", digest)
    mlflow.MlflowClient().log_inputs(run.info.run_id, models=[LoggedModelInput(trained)])
    mlflow.log_metrics(metrics, model_id=trained, dataset=dataset)
    mlflow.log_metrics(others)
    careful = f"\n\n**Careful.** {leak}" if leak else ""
    tracking.write_note(
        f"{lead}{careful}\n\n[The report]({links.run_page(run, REPORT)}), [the model]({pages['model']}),"
        f" [the data report]({pages['data report']})"
    )


def scores_of(
    tested: "TestPredictions", estimator: "Estimator", upstream: Run, seed: int
) -> "tuple[dict[str, float], dict[str, float], DataFrame]":
    """What models are compared by; the baseline's scores and what the intervals are worth; and the predictions."""
    import pandas as pd

    from workflow.evaluation import conformal, metrics
    from workflow.models import estimators

    true, predicted, scale = tested.true, tested.predicted, estimators.target_transform_of(estimator)
    low, high = conformal.interval(predicted, conformal.conformal_quantile(train.read_tested(upstream), scale), scale)
    others = {
        **tested.leaked,
        **metrics.scores_with_intervals(true, tested.typical, seed, "baseline_"),
        "interval_coverage": conformal.coverage(true, low, high),
        "interval_width": float((high - low).mean()),
    }
    predictions = pd.DataFrame({"true": true, "predicted": predicted, "low": low, "high": high})
    return metrics.scores_with_intervals(true, predicted, seed), others, predictions


def warn_of_leak(tested: "TestPredictions") -> str:
    """A warning that is shown, too, if test rows were seen in training; else nothing."""
    if not tested.leaked:
        return ""
    leak = (
        f"{tested.seen:,} of {tested.seen + len(tested.true):,} test rows were seen in training, so the scores leave"
        f" them out; with them, R² would read {tested.leaked['leaked_r2_score']:.2f}."
    )
    mlflow.set_tag("workflow.leak", leak)
    tracking.warn(leak)
    return leak


def explain(
    estimator: "Estimator",
    training: "StoredRows",
    test: "StoredRows",
    tested: "TestPredictions",
    terms: "Contract",
    parameters: dict[str, Any],
    upstream: Run,
) -> "tuple[DataFrame, dict[str, Figure]]":
    """SHAP values of a sample of the test rows, with the mean prediction as column `base`; and their pictures."""
    from workflow.data.sampling import random_positions
    from workflow.evaluation import shapley
    from workflow.models import blending, catalog
    from workflow.reports import plots

    model, seed = parameters["model"], parameters["seed"]
    chosen = random_positions(len(tested.places), parameters["shap_samples"], seed)
    sample = test.take(tested.places[chosen])[terms.features].set_axis(chosen)
    parts = blending.blend_members(estimator, model)
    if model == catalog.BLEND:
        values = shap_values_of_blend({name: share for name, (share, _) in parts.items()}, parameters, upstream)
    else:
        background = training.take(random_positions(len(training), shapley.BACKGROUND, seed))[terms.features]
        explainer, track = catalog.get_model(model).explainer, cli.tracker(f"explaining {model}")
        explained, base = shapley.explain(estimator, sample, background, explainer, seed, track)
        values = explained.assign(base=base)
    _, last = [*parts.values()][-1]
    own = values.drop(columns="base")
    colours = shapley.colour_values(last, sample)
    label = terms.target_label
    return values, {
        "shap.png": plots.importance(own, label, f"{model}: what moves a prediction"),
        "shap_beeswarm.png": plots.beeswarm(own, colours, label, f"{model}: what moves which prediction where"),
    }


def shap_values_of_blend(shares: Mapping[str, float], parameters: Mapping[str, Any], upstream: Run) -> "DataFrame":
    """The weighted mean of what runs of this step have logged, or are made to log, for the models of a blend.

    Shapley values are linear in what they explain. Takes the share of each model, and the train run of the blend;
    raises UserError if that run does not say which runs have fitted its models.
    """
    if train.BLENDS not in upstream.data.tags:
        raise UserError(f"train_run_id={upstream.info.run_id}: a blend of an older version; train it again")
    trained = json.loads(upstream.data.tags[train.BLENDS])
    logged = {
        name: execution.obtain(
            STEP, train.part_of_blend(parameters, name) | {train.STEP.run_id_parameter: trained[name]}
        )
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
STEP = execution.Step(
    "evaluate", Path(__file__), PARAMETERS, evaluate, upstream=train.STEP, modules=train.modules, proofs=PROOFS
)

if __name__ == "__main__":
    cli.run(STEP, __doc__, [CLUSTER], on_cluster)
