"""The page about one model on the test part."""

from typing import Any

import pandas as pd

from workflow.data.contract import Contract
from workflow.reports.report import Section, number, page, percent

METRIC_NAMES = {
    "r2_score": "R²",
    "mean_absolute_error": "mean absolute error",
    "root_mean_squared_error": "root mean squared error",
    "median_absolute_error": "median absolute error",
    "mean_absolute_percentage_error": "mean absolute percentage error",
}
SCORES_TEXT = (
    "With 95 % bootstrap intervals; the baseline always answers the same. The interval around a prediction that is to"
    " hold the true value in 90 % of rows holds it in {covered} of the test part."
)
SHAP_TEXT = (
    "SHAP values say how much each column moved a prediction away from the average one. First their average size;"
    " then every explained row as a dot, by direction: blue where the column's value is low, red where it is high. A"
    " category's value is the number that the model makes of it."
)


def model_report(
    parameters: dict[str, Any],
    terms: Contract,
    metrics: dict[str, float],
    tables: dict[str, pd.DataFrame],
    pictures: dict[str, bytes],
    leak: str,
    lead: str,
    instruction: str,
    addresses: dict[str, str],
) -> str:
    """The page about one model on the test part.

    Args:
        parameters: of the whole lineage, the model's name among them.
        terms: the contract of the data.
        metrics: all scores, `…_low` and `…_high` and `baseline_…` among them.
        tables: `segments.csv` and `worst_predictions.csv`.
        pictures: PNG bytes by file name.
        leak: what is wrong with the test part, if anything.
        lead: how good the model is, in a sentence.
        instruction: the command that makes the result again.
        addresses: of its run, its model and its data report, by these names.
    """
    model = parameters["model"]
    segments = tables["segments.csv"].rename(columns=METRIC_NAMES)
    written = pd.DataFrame([(name, str(value)) for name, value in parameters.items()], columns=["parameter", "value"])
    sections = [
        Section("Scores", SCORES_TEXT.format(covered=percent(metrics["interval_coverage"])), scores(metrics)),
        Section(f"Predicted against true {terms.target}", pictures=(pictures["preds.png"],)),
        Section(
            "What moves a prediction",
            SHAP_TEXT,
            pictures=(pictures["shap.png"], pictures["shap_beeswarm.png"]),
        ),
        Section("Where it errs", pictures=(pictures["residuals.png"],)),
        Section(f"From low to high {terms.target}", "Bias is predicted − true.", segments),
        Section("The worst predictions", table=tables["worst_predictions.csv"]),
        Section("What was run", table=written),
        Section("Make it again", code=instruction),
    ]
    return page(f"{model}: {terms.target} predicted", lead, sections, leak, addresses)


def model_summary(model: str, terms: Contract, metrics: dict[str, float], question: str) -> str:
    """How good a model is, in a sentence, and which `question` its score answers."""
    unit = f" {terms.unit}" if terms.unit else ""
    error, typical = metrics["mean_absolute_error"], metrics["baseline_mean_absolute_error"]
    return (
        f"On rows it has not seen, {model} misses the {terms.target} by {number(error)}{unit} on average (95 % interval"
        f" {number(metrics['mean_absolute_error_low'])} to {number(metrics['mean_absolute_error_high'])});"
        f" always answering the typical {terms.target} misses by {number(typical)}{unit}. This is how well {question}."
    )


def scores(metrics: dict[str, float]) -> pd.DataFrame:
    """The test scores beside the baseline's, a row per metric."""
    return pd.DataFrame(
        [
            {
                "score": label,
                "model": metrics[name],
                "from": metrics[f"{name}_low"],
                "to": metrics[f"{name}_high"],
                "baseline": metrics[f"baseline_{name}"],
                "baseline from": metrics[f"baseline_{name}_low"],
                "baseline to": metrics[f"baseline_{name}_high"],
            }
            for name, label in METRIC_NAMES.items()
            if name in metrics  # a percentage is only there for a target above 0
        ]
    )
