"""The page about one model on the test set, and its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow.data.contract import Contract
from workflow.data.findings import Finding
from workflow.evaluation.effects import ACCUMULATED, CORRELATED
from workflow.evaluation.metrics import level_suffixes
from workflow.evaluation.power_law import gain_of_twice_the_rows
from workflow.evaluation.ranking import IN_TARGET_UNIT
from workflow.formatting import number, percent
from workflow.reports import plots
from workflow.reports.report import Page, Picture, Section

METRIC_NAMES = {
    "r2_score": "R²",
    "mean_absolute_error": "mean absolute error",
    "root_mean_squared_error": "root mean squared error",
    "median_absolute_error": "median absolute error",
    "mean_absolute_percentage_error": "mean absolute percentage error",
    "root_mean_squared_log_error": "root mean squared log error",
    "mean_pinball_loss": "mean pinball loss",
}
SEGMENT_SCORES = {"mean_absolute_error": "error", "bias": "bias", "coverage": "coverage"}
ENDS = {"low": "from", "high": "to"}
PREDICTIONS, RESIDUALS, IMPORTANCE, BEESWARM = "preds.png", "residuals.png", "shap.png", "shap_beeswarm.png"
EFFECTS = "effects.png"
CALIBRATION = "interval_calibration.png"
CURVE = "learning_curve.png"
DESCRIBED_FEATURES = 5  # in words, of a figure
CLEAR_DIRECTION = 0.5  # Spearman's correlation from which on a feature raises or lowers a prediction
SCORES_TEXT = "With 95 % bootstrap confidence intervals; the baseline is a constant prediction."
INTERVALS_TEXT = (
    "An interval of level 90 % should contain the true value of nine rows in ten. Coverage is the fraction of the test"
    " set whose true value is inside, with its 95 % confidence interval. The interval score adds to the width what is"
    " missed; lower is better."
)
SHAP_TEXT = (
    "SHAP values say how much each feature moved a prediction away from the mean prediction. First their mean size;"
    " then every explained row as a dot: blue where the feature's value is low, red where it is high. The value of a"
    " category is the number that it is encoded as."
)


@dataclass(frozen=True)
class ModelResult:
    """What an evaluate run found out about a model.

    Attributes:
        model: its name.
        contract: of the data.
        parameters: of the whole lineage, as texts by name.
        metrics: all scores, `…_low` and `…_high` and `baseline_…` among them.
        predictions: `true` and `predicted` of each test row.
        shap_values: (rows, features) and the column `base`.
        shap_colours: (rows, features).
        calibration: coverage of the prediction intervals by level: see `intervals.calibration`.
        effects: of the most important features: see `effects.effects`.
        interactions: of pairs of them: see `interactions.interactions`.
        learning_curve: scores of the model fitted on fewer rows, if it was asked for.
        named_segments: errors for each value of the columns that are named.
        worst_segments: of any feature, those with significantly larger errors.
        segments: errors by quantile of the target.
        worst: the rows with the largest errors.
        nearest: the training rows nearest to each of them: see `neighbours.nearest_training_rows`.
        findings: what is odd about the test set.
        question: what a score on the test set says: see `split.question`.
    """

    model: str
    contract: Contract
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    predictions: pd.DataFrame
    shap_values: pd.DataFrame
    shap_colours: pd.DataFrame
    calibration: pd.DataFrame
    effects: pd.DataFrame
    interactions: pd.DataFrame
    learning_curve: pd.DataFrame | None
    named_segments: pd.DataFrame
    worst_segments: pd.DataFrame
    segments: pd.DataFrame
    worst: pd.DataFrame
    nearest: pd.DataFrame
    findings: Sequence[Finding]
    question: str


def figures(result: ModelResult) -> dict[str, Figure]:
    """Return the figures about a model, by file name."""
    model, label = result.model, result.contract.target_label
    true, predicted = result.predictions["true"].to_numpy(), result.predictions["predicted"].to_numpy()
    values = result.shap_values.drop(columns="base")
    curve = result.learning_curve
    words = readable_metric(result.parameters["metric"])
    return {
        **({} if curve is None else {CURVE: plots.learning_curve(curve, words, f"{model}: learning curve")}),
        PREDICTIONS: plots.predictions(true, predicted, label, f"{model} on the test set"),
        RESIDUALS: plots.residuals(true, predicted, label, f"{model}: errors on the test set"),
        IMPORTANCE: plots.importance(values, label, f"{model}: what moves a prediction"),
        CALIBRATION: plots.interval_calibration(result.calibration, f"{model}: prediction intervals"),
        BEESWARM: plots.beeswarm(values, result.shap_colours, label, f"{model}: what moves a prediction, row by row"),
        EFFECTS: plots.effects(result.effects, label),
    }


def descriptions(result: ModelResult) -> dict[str, str]:
    """Return what the figures about a model show, in words, by file name."""
    target, unit = result.contract.target, f" {result.contract.unit}" if result.contract.unit else ""
    true, predicted = result.predictions["true"], result.predictions["predicted"]
    errors = predicted - true
    low, high = (number(errors.quantile(fraction)) for fraction in (0.1, 0.9))
    rows, values = f"{len(errors):,} test rows", result.shap_values.drop(columns="base")
    sizes = plots.largest_mean_sizes(values)[::-1].head(DESCRIBED_FEATURES)
    directions = [f"{name}: {direction(values[name], result.shap_colours[name])}" for name in sizes.index]
    return {
        **({} if result.learning_curve is None else {CURVE: curve_text(result)}),
        PREDICTIONS: f"Scatter plot of predicted against true {target} of {rows}, with the line of a perfect"
        f" prediction. Half of the predictions are within {number(errors.abs().median())}{unit} of it.",
        RESIDUALS: f"Scatter plot of predicted − true {target} against predicted {target} of {rows}. Eight of ten"
        f" errors are between {low} and {high}{unit}.",
        EFFECTS: effects_text(result),
        CALIBRATION: "Coverage of the prediction intervals on the test set against their level: "
        + ", ".join(f"{percent(row.level)} covers {percent(row.coverage)}" for row in result.calibration.itertuples()),
        IMPORTANCE: "Bar chart of the mean size of the SHAP values, the largest first: "
        + ", ".join(f"{name} {number(size)}{unit}" for name, size in sizes.items()),
        BEESWARM: f"SHAP values of {len(values):,} rows as dots, coloured by the feature's value. "
        + "; ".join(directions),
    }


def direction(shap_values: pd.Series, feature_values: pd.Series) -> str:
    """Return whether a prediction rises with a feature: by Spearman's correlation of both Series of (rows,)."""
    if shap_values.nunique() < 2:
        return "moves no prediction"
    if feature_values.nunique() < 2:
        return "its values have no order"
    correlation = shap_values.rank().corr(feature_values.rank())
    if not abs(correlation) > CLEAR_DIRECTION:
        return "high values raise some predictions and lower others"
    return f"high values {'raise' if correlation > 0 else 'lower'} the prediction"


def model_report(
    result: ModelResult, pictures: Mapping[str, Picture], command: str, addresses: Mapping[str, str]
) -> Page:
    """Return the page about one model.

    Args:
        result: what was found out about it.
        pictures: of `figures`, by file name.
        command: makes the result again.
        addresses: pages to link to, by name.
    """
    target, metrics = result.contract.target, result.metrics
    logged = [(name, str(value)) for name, value in result.parameters.items()]
    sections = [
        Section("Scores", SCORES_TEXT, score_table(metrics, result.parameters["metric"])),
        Section("Prediction intervals", INTERVALS_TEXT, interval_table(result), pictures=(pictures[CALIBRATION],)),
        Section(f"Predicted against true {target}", pictures=(pictures[PREDICTIONS],)),
        Section(
            "What moves a prediction",
            SHAP_TEXT + derived_text(result.contract),
            pictures=(pictures[IMPORTANCE], pictures[BEESWARM]),
        ),
        Section("How the prediction changes with a feature", effects_text(result), pictures=(pictures[EFFECTS],)),
        Section("Features that act together", interactions_text(result), result.interactions),
        Section("Residuals", pictures=(pictures[RESIDUALS],)),
        Section(
            f"From low to high {target}", "Bias is predicted − true.", result.segments.rename(columns=METRIC_NAMES)
        ),
        *segment_sections(result),
        *curve_sections(result, pictures),
        Section("The worst predictions", table=result.worst),
        Section(
            "The training rows nearest to them", nearest_text(result.worst, result.nearest, target), result.nearest
        ),
        Section("Parameters", table=pd.DataFrame(logged, columns=["parameter", "value"])),
        Section("Reproduce it", code=command),
    ]
    title, summary = f"{result.model}: {target} predicted", model_summary(result)
    return Page(title, summary, sections, result.findings, addresses=addresses)


def derived_text(contract: Contract) -> str:
    """Return which features are derived by a function of the user, as a sentence to append; empty if none is."""
    return f" Derived by the function of features: {', '.join(contract.derived)}." if contract.derived else ""


def model_summary(result: ModelResult) -> str:
    """Return how good a model is, in a sentence, and which question its score answers."""
    ranking, metrics = result.parameters["metric"], result.metrics
    words = METRIC_NAMES.get(ranking, ranking)
    unit = f" {result.contract.unit}" if result.contract.unit and ranking in IN_TARGET_UNIT else ""
    score, baseline = metrics[ranking], metrics[f"baseline_{ranking}"]
    low, high = number(metrics[f"{ranking}_low"]), number(metrics[f"{ranking}_high"])
    return (
        f"{result.model} has {'an' if words == 'R²' else 'a'} {words} of {number(score)}{unit} on the test set (95 %"
        f" confidence interval {low}–{high}); the constant baseline has {number(baseline)}{unit}. This says how well"
        f" {result.question}."
    )


def effects_text(result: ModelResult) -> str:
    """Return which feature changes the prediction most and how, and what the figure of the effects shows."""
    table, unit = result.effects, f" {result.contract.unit}" if result.contract.unit else ""
    if table.empty:
        return "No feature has two values."
    spans = table.groupby("feature", sort=False)["effect"].agg(np.ptp)
    feature = spans.idxmax()
    if not spans[feature] > 0:
        return "No feature changes the prediction."
    of_feature = table[table["feature"] == feature]
    low, high = (of_feature.loc[of_feature["effect"].agg(which)] for which in ("idxmin", "idxmax"))
    correlated = table.loc[table["method"] == ACCUMULATED, "feature"].unique()
    reason = f"absolute rank correlation with another number is {CORRELATED} or more"
    others = f"; accumulated local effects of {', '.join(correlated)}, whose {reason}" if len(correlated) else ""
    change = (
        f"from {number(low['effect'])}{unit} at {low['value']} to {number(high['effect'])}{unit} at {high['value']}"
    )
    return (
        f"Of the most important features, {feature} changes the mean prediction most: {change}. The figure shows"
        f" partial dependence, with single rows as thin lines{others}."
    )


def interactions_text(result: ModelResult) -> str:
    """Return which pair of features interacts most, and how much."""
    table, unit = result.interactions, f" {result.contract.unit}" if result.contract.unit else ""
    if not (table["strength"] > 0).any():
        return "The prediction is a sum of the effects of the most important features: no two of them interact."
    first = table.iloc[0]
    return (
        f"{first['feature']} and {first['other']} interact most: their joint effect on the prediction departs from the"
        f" sum of both by {number(first['strength'])}{unit} (root mean square), {percent(first['h'])} of its size. H is"
        " that share, by Friedman's definition; all pairs of the most important features are shown."
    )


def nearest_text(worst: pd.DataFrame, nearest: pd.DataFrame, target: str) -> str:
    """Return how often the training rows nearest to the worst predictions speak for the prediction."""
    known = nearest.groupby("of")[target].median().to_numpy()
    as_predicted = (abs(known - worst["predicted"]) < abs(known - worst[target])).sum()
    first = nearest.groupby("of")["distance"].min()
    return (
        "Each feature counts alike in the distance, which is between the encoded rows: 1 is that of two random training"
        f" rows. In {as_predicted} of {len(worst)}, the median {target} of the nearest training rows is closer to the"
        f" prediction than to the true {target}: there, the features do not tell the row from others with another"
        f" {target}. The nearest one is at a distance of {number(first.min())} to {number(first.max())}."
    )


def score_table(metrics: Mapping[str, float], ranking: str) -> pd.DataFrame:
    """Return the test scores beside the baseline's, a row per metric; the ranking one may be a function of the user."""
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
            for name, label in (METRIC_NAMES | {ranking: METRIC_NAMES.get(ranking, ranking)}).items()
            if name in metrics  # a percentage exists only for a positive target
        ]
    )


def interval_table(result: ModelResult) -> pd.DataFrame:
    """Return how good the prediction intervals of each level are on the test set, a row per level."""
    metrics, levels = result.metrics, result.parameters["level"]
    return pd.DataFrame(
        [
            {
                "level": f"{100 * level:.10g} %",
                "coverage": percent(metrics[f"interval_coverage{suffix}"], 1),
                "from": percent(metrics[f"interval_coverage{suffix}_low"], 1),
                "to": percent(metrics[f"interval_coverage{suffix}_high"], 1),
                "mean width": metrics[f"interval_width{suffix}"],
                "interval score": metrics[f"interval_score{suffix}"],
            }
            for suffix, level in zip(level_suffixes(levels), levels, strict=True)
        ]
    )


def segment_sections(result: ModelResult) -> list[Section]:
    """Return the sections about the segments that are named, if any, and those that were found."""
    sections = []
    if len(result.named_segments):
        unit = f" {result.contract.unit}" if result.contract.unit else ""
        worst = result.named_segments.loc[result.named_segments["mean_absolute_error"].idxmax()]
        text = (
            f"The largest mean absolute error, {number(worst['mean_absolute_error'])}{unit}, is that of"
            f" {worst['column']} {worst['value']}, on {worst['rows']:,} rows. With 95 % confidence intervals; coverage"
            " is that of the prediction intervals."
        )
        sections.append(Section("Errors by segment", text, segment_table(result.named_segments)))
    tested = int(result.metrics["segments_tested"])
    found = len(result.worst_segments)
    text = (
        f"Of {tested:,} segments of all features, {found or 'none'} {'has' if found == 1 else 'have'} larger absolute"
        " errors than the other rows, by Mann and Whitney's test with Holm's correction for so many tests at 5 %."
    )
    table = segment_table(result.worst_segments) if found else None
    return [*sections, Section("Where the model errs more than elsewhere", text, table)]


def segment_table(segments: pd.DataFrame) -> pd.DataFrame:
    """Return the errors of segments, to be read."""
    named = {
        f"{name}_{end}": f"{words} {other}" for name, words in SEGMENT_SCORES.items() for end, other in ENDS.items()
    }
    shares = [name for name in segments if name.startswith("coverage")]
    texts = {name: segments[name].map(lambda share: percent(share)) for name in shares}
    return segments.assign(**texts).rename(columns=named | SEGMENT_SCORES)


def readable_metric(name: str) -> str:
    """Return the name of a ranking metric for people; that of a function of the user stays."""
    return METRIC_NAMES.get(name, name)


def curve_sections(result: ModelResult, pictures: Mapping[str, Picture]) -> list[Section]:
    """Return the section with the learning curve, if it was asked for."""
    if result.learning_curve is None:
        return []
    return [Section("What more rows may bring", curve_text(result), pictures=(pictures[CURVE],))]


def curve_text(result: ModelResult) -> str:
    """Return how the score changes with the number of training rows, and what twice the rows may bring."""
    curve, metric = result.learning_curve, result.parameters["metric"]
    assert curve is not None
    means = curve.groupby("rows")["score"].mean()
    words, unit = readable_metric(metric), f" {result.contract.unit}" if metric in IN_TARGET_UNIT else ""
    first, last = means.index[0], means.index[-1]
    seen = (
        f"With {first:,} rows the {words} is {number(means.iloc[0])}{unit}, with {last:,} rows"
        f" {number(means.iloc[-1])}{unit}."
    )
    if len(means) < 2:
        return f"{seen} There are too few rows for a curve."
    if metric not in METRIC_NAMES or metric == "r2_score" or not (curve["score"] > 0).all():
        return seen
    gain, low, high = gain_of_twice_the_rows(curve)
    return (
        f"{seen} By the power law through these points, twice the rows would lower it by {percent(gain)} (95 %"
        f" confidence interval {percent(low)} to {percent(high)}); that is rough."
    )
