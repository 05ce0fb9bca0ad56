"""Score a logged model on the test part, explain it with SHAP, and write a report that a person reads.

    mlflow run . -e evaluate -P model=rf
    mlflow run . -e evaluate -P train_run_id=<id> -P shap_samples=200

Takes the parameters of train and preprocess too: without a train_run_id, they say which run to find or make.
"""

from pathlib import Path

import mlflow
from mlflow.entities import Run

import preprocess
import train
from errors import UserError
from runs import lineage, step
from runs.parameters import Parameter, whole

PARAMETERS = (Parameter("shap_samples", "50", "test rows to explain with SHAP", whole(1)),)


def evaluate(parameters: dict, upstream: Run | None) -> None:
    """Log the scores on the test part with their intervals, the pictures, the SHAP values and the report."""
    import pandas as pd

    from tabular import estimators, plots, scoring, shapley, split
    from tabular.model_report import model_report

    model, seed = parameters["model"], parameters["seed"]
    preprocessed = mlflow.get_run(upstream.data.tags["workflow.upstream"])
    training, test, terms = preprocess.parts(preprocessed)
    with lineage.downloaded(upstream, "model/model.skops") as path:
        estimator = estimators.load(path, model)
    baseline = estimators.build("dummy", terms, parameters["encoder"], parameters["log_target"], seed, {})
    estimators.fit(baseline, training[terms.features], training[terms.target])

    metrics, leak = {}, ""
    seen = split.seen(training, test)
    if seen.all():
        raise UserError("every test row is in the training part too, so no score would be honest; drop duplicates")
    if seen.any():
        everything = estimators.predict(estimator, test[terms.features])
        metrics = scoring.scores(scoring.TEST, test[terms.target].to_numpy(), everything, "leaked_")
        leak = (
            f"{seen.sum():,} of {len(test):,} test rows were seen in training, so the scores leave them out;"
            f" with them, R² would read {metrics['leaked_r2_score']:.2f}."
        )
        mlflow.set_tag("workflow.leak", leak)
        step.warn(f"{model}: {leak}")
    test = test[~seen].reset_index(drop=True)
    features, true = test[terms.features], test[terms.target].to_numpy()
    predicted = estimators.predict(estimator, features)
    metrics |= scoring.scores_with_intervals(true, predicted, seed)
    metrics |= scoring.scores_with_intervals(true, estimators.predict(baseline, features), seed, "baseline_")

    explained = features.sample(min(parameters["shap_samples"], len(test)), random_state=seed)
    background = training[terms.features].sample(min(shapley.BACKGROUND, len(training)), random_state=seed)
    explainer = estimators.MODELS[model].explainer
    track = step.tracker(f"explaining {model}")
    values, base = shapley.explain(estimator, explained, background, explainer, seed, track)
    figures = {
        "preds.png": plots.predictions(true, predicted, terms.target_label, model),
        "residuals.png": plots.residuals(true, predicted, terms.target_label, model),
        "shap.png": plots.importance(values, terms.target_label, model),
        "shap_beeswarm.png": plots.beeswarm(values, shapley.colours(estimator, explained), terms.target_label, model),
    }
    tables = {
        "segments.csv": scoring.segments(test[terms.target], predicted),
        "worst_predictions.csv": scoring.worst(test, terms.target, predicted),
    }
    with lineage.artifacts() as folder:
        pictures = {name: plots.save(figure, folder / name) for name, figure in figures.items()}
        for name, table in tables.items():
            table.to_csv(folder / name, index=False)
        values.assign(base=base).to_parquet(folder / "shap_values.parquet")
        pd.DataFrame({"true": true, "predicted": predicted}).to_parquet(folder / "predictions.parquet")
        again = lineage.instruction(STEP, parameters)
        page = model_report(parameters, terms, metrics, tables, pictures, leak, again)
        (folder / "report.html").write_text(page, encoding="utf-8")
    mlflow.log_metrics(metrics)
    lineage.log_dataset(test, terms.target, parameters["data"], "testing")


STEP = lineage.Step("evaluate", Path(__file__), PARAMETERS, evaluate, upstream=train.STEP)

if __name__ == "__main__":
    step.run(STEP, __doc__)
