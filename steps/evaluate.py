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
    from tabular.learning.testing import Tested
    from tabular.reading.contract import Contract
    from tabular.reading.stored import Stored

REPORT, PREDICTIONS, SHAP_VALUES = "report.html", "predictions.parquet", "shap_values.parquet"
PARAMETERS = (Parameter("shap_samples", "50", "test rows to explain with SHAP", whole(1)),)


def evaluate(parameters: dict[str, Any], upstream: Run) -> None:
    """Log the scores on the test part with their intervals, the pictures, the SHAP values and the report."""
    from tabular.learning import scoring, split, testing
    from tabular.telling import plots
    from tabular.telling.model_report import model_lead, model_report

    model, preprocessed = parameters["model"], lineage.upstream_of(upstream)
    terms, estimator = preprocess.read_contract_of(preprocessed), train.read_model(upstream)
    with preprocess.both_parts(preprocessed) as (training, test):
        tested = testing.test(estimator, training, test, terms)
        true, predicted = tested.true, tested.predicted
        values, figures = explain(estimator, training, test, tested, terms, parameters, upstream)
        worst = scoring.worst(true, predicted)
        worst_rows = scoring.with_errors(test.at(tested.places[worst]), terms.target, predicted[worst])
        beginning = test.at(tested.places[: tracking.dataset_rows(len(terms.columns))])
    leak = warn_of_leak(tested)
    figures["preds.png"] = plots.predictions(true, predicted, terms.target_label, f"{model} on the test part")
    figures["residuals.png"] = plots.residuals(true, predicted, terms.target_label, f"{model}: errors on the test part")
    metrics, others, predictions = scores_of(tested, estimator, upstream, parameters["seed"])
    tables = {"segments.csv": scoring.segments(true, predicted), "worst_predictions.csv": worst_rows}
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
        predictions.to_parquet(folder / PREDICTIONS)
        again = lineage.command_line(STEP, parameters)
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
    tested: "Tested", estimator: "Estimator", upstream: Run, seed: int
) -> "tuple[dict[str, float], dict[str, float], DataFrame]":
    """What models are compared by; the baseline's scores and what the intervals are worth; and the predictions."""
    import pandas as pd

    from tabular.learning import estimators, intervals, scoring

    true, predicted, scale = tested.true, tested.predicted, estimators.scale_of(estimator)
    low, high = intervals.interval(predicted, intervals.half_width(train.read_tested(upstream), scale), scale)
    others = {
        **tested.leaked,
        **scoring.scores_with_intervals(true, tested.typical, seed, "baseline_"),
        "interval_coverage": intervals.coverage(true, low, high),
        "interval_width": float((high - low).mean()),
    }
    predictions = pd.DataFrame({"true": true, "predicted": predicted, "low": low, "high": high})
    return scoring.scores_with_intervals(true, predicted, seed), others, predictions


def warn_of_leak(tested: "Tested") -> str:
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
    training: "Stored",
    test: "Stored",
    tested: "Tested",
    terms: "Contract",
    parameters: dict[str, Any],
    upstream: Run,
) -> "tuple[DataFrame, dict[str, Figure]]":
    """SHAP values of a sample of the test rows, with the mean prediction as column `base`; and their pictures."""
    from tabular.learning import blending, models, shapley
    from tabular.reading.sampling import at_random
    from tabular.telling import plots

    model, seed = parameters["model"], parameters["seed"]
    chosen = at_random(len(tested.places), parameters["shap_samples"], seed)
    sample = test.at(tested.places[chosen])[terms.features].set_axis(chosen)
    parts = blending.parts_of(estimator, model)
    if model == models.BLEND:
        values = shap_values_of_blend({name: share for name, (share, _) in parts.items()}, parameters, upstream)
    else:
        background = training.at(at_random(len(training), shapley.BACKGROUND, seed))[terms.features]
        explainer, track = models.model_of(model).explainer, step.tracker(f"explaining {model}")
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
