"""Evaluate: score an estimator on the test set, with intervals and a baseline, and explain it with SHAP values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workflow.data.findings import Finding
from workflow.data.sampling import evenly_spaced_positions, random_positions
from workflow.data.stored import CHUNK_ROWS
from workflow.evaluation import (
    contributions,
    effects,
    holdout,
    interactions,
    learning_curve,
    metrics,
    neighbours,
    segments,
    shapley,
)
from workflow.evaluation.intervals import calibration, interval_columns, interval_scores
from workflow.evaluation.ranking import ranking_metric
from workflow.models import blending, estimators
from workflow.models.catalog import BLEND
from workflow.models.intervals import labels_in
from workflow.parallel.executors import no_progress_bar

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from workflow.data.contract import Contract
    from workflow.data.stored import StoredRows
    from workflow.evaluation.holdout import TestPredictions
    from workflow.models.estimators import Estimator
    from workflow.models.intervals import IntervalModel
    from workflow.parallel.executors import ProgressBar
    from workflow.parameters import EvaluateParams

CALIBRATED_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of prediction intervals, whose coverage is shown


@dataclass(frozen=True)
class EvaluateInputs:
    """A fitted estimator, from what its prediction intervals are computed, both sets and their contract.

    Of a blend, `member_shap_values` are the SHAP values of its members, by model, as `run` returns them.
    """

    model: str
    estimator: "Estimator"
    intervals: "IntervalModel"
    training_set: "StoredRows"
    test_set: "StoredRows"
    contract: "Contract"
    member_shap_values: "Mapping[str, DataFrame]" = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """What moves the predictions of an estimator.

    Attributes:
        shap_values: of a sample of the scored rows, with the mean prediction as column `base`.
        shap_colours: numbers that order the values of each feature in that sample.
        effects: of the most important features on the prediction: see `effects.effects`.
        interactions: of the most important of these: see `interactions.interactions`.
    """

    shap_values: "DataFrame"
    shap_colours: "DataFrame"
    effects: "DataFrame"
    interactions: "DataFrame"


@dataclass(frozen=True)
class Errors:
    """Where an estimator errs.

    Attributes:
        by_target: errors by quantile of the target.
        named_segments: errors for each value of the columns that are named: see `segments.segments_of`.
        worst_segments: of any feature: see `segments.worst_segments`.
        segments_tested: number of segments among which these were found.
        worst: the rows with the largest errors.
        nearest: the training rows nearest to these: see `neighbours.nearest_training_rows`.
        learning_curve: see `learning_curve.learning_curve`; None unless it is asked for, and for a blend.
    """

    by_target: "DataFrame"
    named_segments: "DataFrame"
    worst_segments: "DataFrame"
    segments_tested: int
    worst: "DataFrame"
    nearest: "DataFrame"
    learning_curve: "DataFrame | None"


@dataclass(frozen=True)
class EvaluateResult:
    """Scores and explanations of an estimator on the test rows that were not seen in training.

    Attributes:
        predictions: `true`, `predicted`, `low`, `high`, both ends at further levels, any `weight`: (scored rows, …).
        scores: test metrics with their 95 % intervals, by which models are compared.
        other_scores: those of the baseline, of the prediction intervals, and with leaked rows.
        calibration: coverage of the prediction intervals by level: see `intervals.calibration`.
        explanation: what moves the predictions.
        errors: where they are wrong.
        findings: what is odd about the test set.
        head: the first scored rows, and `hashes`, the `split.row_hashes` of all of them.
    """

    predictions: "DataFrame"
    scores: dict[str, float]
    other_scores: dict[str, float]
    calibration: "DataFrame"
    explanation: Explanation
    errors: Errors
    findings: list[Finding]
    head: "DataFrame"
    hashes: "Series"


def run(
    params: "EvaluateParams",
    inputs: EvaluateInputs,
    head_rows: int = 0,
    progress: "Callable[[str], ProgressBar]" = no_progress_bar,
) -> EvaluateResult:
    """Score and explain an estimator; UserError if every test row was seen in training, or a score is no number.

    Args:
        params: which rows to explain, and the seed.
        inputs: what to score.
        head_rows: how many of the scored rows to return.
        progress: makes a progress bar of a description.
    """
    test_set, metric = inputs.test_set, ranking_metric(params.metric, params.metric_params)
    tested = holdout.predict_test_set(inputs.estimator, inputs.training_set, test_set, inputs.contract, metric)
    scored = metrics.applicable_metrics(tested.true) | {metric.name: metric.function}
    scores = metrics.scores_with_intervals(scored, tested.true, tested.predicted, params.seed, weight=tested.weight)
    metric.check_score(scores[metric.name], "on the test set")
    sizes, labels = residual_sizes(inputs, tested), group_labels(inputs, tested)
    ends, calibrated = (
        {level: inputs.intervals.around(tested.predicted, sizes, level, labels) for level in levels}
        for levels in (params.level, CALIBRATED_LEVELS)
    )
    errors = errors_of(params, inputs, tested, ends[params.level[0]], scores[metric.name], progress)
    return EvaluateResult(
        predictions=with_intervals(tested, ends),
        scores=scores,
        other_scores=other_scores(scored, tested, ends, params.seed) | {"segments_tested": errors.segments_tested},
        calibration=calibration(tested.true, calibrated, tested.weight),
        explanation=explanation_of(params, inputs, tested, progress),
        errors=errors,
        findings=findings_of(tested),
        head=test_set.take(tested.positions[:head_rows]),
        hashes=tested.ids,
    )


def explanation_of(
    params: "EvaluateParams",
    inputs: EvaluateInputs,
    tested: "TestPredictions",
    progress: "Callable[[str], ProgressBar]",
) -> Explanation:
    """Return what moves the predictions."""
    rows = sample_rows(params, inputs, tested.positions)
    values = shap_values(params, inputs, rows, progress)
    changes, pairs = effects_of(params, inputs, values)
    return Explanation(values, shapley.colour_values(last_member(inputs), rows), changes, pairs)


def errors_of(
    params: "EvaluateParams",
    inputs: EvaluateInputs,
    tested: "TestPredictions",
    ends: tuple[np.ndarray, np.ndarray],
    score: float,
    progress: "Callable[[str], ProgressBar]",
) -> Errors:
    """Return where the predictions are wrong, given the `ends` of their intervals and the ranking `score`."""
    contract, rows = inputs.contract, rows_for_segments(inputs, tested, ends)
    worst_segments, n_tested = segments.worst_segments(rows, contract, params.seed)
    worst = metrics.worst(tested.true, tested.predicted)
    worst_rows = inputs.test_set.take(tested.positions[worst])
    return Errors(
        by_target=metrics.segments(tested.true, tested.predicted, weight=tested.weight),
        named_segments=segments.segments_of(params.segments or contract.segments, rows, contract, params.seed),
        worst_segments=worst_segments,
        segments_tested=n_tested,
        worst=metrics.with_errors(worst_rows, contract.target, tested.predicted[worst]),
        nearest=neighbours.nearest_training_rows(last_member(inputs), inputs.training_set, worst_rows, contract),
        learning_curve=curve_of(params, inputs, tested, score, progress),
    )


def sample_rows(params: "EvaluateParams", inputs: EvaluateInputs, positions: np.ndarray) -> "DataFrame":
    """Return the test rows to explain, of those at `positions`, with their number among these as index."""
    sample = random_positions(len(positions), params.shap_samples, params.seed)
    return inputs.test_set.take(positions[sample])[inputs.contract.features].set_axis(sample)


def residual_sizes(inputs: EvaluateInputs, tested: "TestPredictions") -> np.ndarray:
    """Return the typical size of the residual of each scored row, on which its prediction interval depends: (rows,)."""
    model, features = inputs.intervals, inputs.contract.features
    chunks = [slice(start, start + CHUNK_ROWS) for start in range(0, len(tested.positions), CHUNK_ROWS)]
    return np.concatenate(
        [model.sizes(inputs.test_set.take(tested.positions[rows])[features], tested.predicted[rows]) for rows in chunks]
    )


def curve_of(
    params: "EvaluateParams",
    inputs: EvaluateInputs,
    tested: "TestPredictions",
    score: float,
    progress: "Callable[[str], ProgressBar]",
) -> "DataFrame | None":
    """Return the learning curve of a single model, if it is asked for; `score` is that of the model itself."""
    if not params.curve or inputs.model == BLEND:
        return None
    metric, contract = ranking_metric(params.metric, params.metric_params), inputs.contract
    learned = evenly_spaced_positions(len(inputs.training_set), learning_curve.MAX_ROWS)
    test_rows = tested.positions[evenly_spaced_positions(len(tested.positions), learning_curve.MAX_ROWS)]
    sets = learning_curve.Sets(inputs.training_set.take(learned), inputs.test_set.take(test_rows), contract)
    bar = progress(f"learning curve of {inputs.model}")
    return learning_curve.learning_curve(inputs.estimator, sets, score, metric, bar)


def rows_for_segments(
    inputs: EvaluateInputs, tested: "TestPredictions", ends: tuple[np.ndarray, np.ndarray]
) -> segments.ScoredRows:
    """Return the scored rows, or evenly spaced ones of them, with the `ends` of their prediction intervals."""
    sample = evenly_spaced_positions(len(tested.positions), segments.MAX_ROWS)
    features = inputs.test_set.take(tested.positions[sample])[inputs.contract.features]
    low, high = (each[sample] for each in ends)
    weight = None if tested.weight is None else tested.weight[sample]
    return segments.ScoredRows(features, tested.true[sample], tested.predicted[sample], low, high, weight)


def group_labels(inputs: EvaluateInputs, tested: "TestPredictions") -> np.ndarray | None:
    """Return the group of each scored row that decides about its prediction interval: (rows,); None without groups."""
    group = inputs.intervals.group
    return labels_in(inputs.test_set[group].iloc[tested.positions]) if group else None


def with_intervals(tested: "TestPredictions", ends: Mapping[float, tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """Return the predictions of the scored rows with their prediction intervals."""
    columns = interval_columns(("low", "high"), ends)
    weights = {} if tested.weight is None else {"weight": tested.weight}
    return pd.DataFrame({"true": tested.true, "predicted": tested.predicted, **columns, **weights})


def other_scores(
    scored: Mapping[str, Callable[..., Any]],
    tested: "TestPredictions",
    ends: Mapping[float, tuple[np.ndarray, np.ndarray]],
    seed: int,
) -> dict[str, float]:
    """Return the scores of the baseline, of the prediction intervals, and with leaked rows."""
    return {
        **tested.leaked_scores,
        **metrics.scores_with_intervals(scored, tested.true, tested.baseline, seed, "baseline_", tested.weight),
        **interval_scores(tested.true, ends, tested.weight),
    }


def shap_values(
    params: "EvaluateParams", inputs: EvaluateInputs, rows: "DataFrame", progress: "Callable[[str], ProgressBar]"
) -> "DataFrame":
    """Return the SHAP values of `rows`, with the mean prediction as column `base`.

    Shapley values are linear in what they explain, so those of a blend are the weighted mean of its members'.
    """
    if inputs.model == BLEND:
        members = blending.blend_members(inputs.estimator)
        return sum(weight * inputs.member_shap_values[name] for name, (weight, _) in members.items())
    background = contributions.background_rows(inputs.training_set, inputs.contract.features, params.seed)
    track = progress(f"explaining {inputs.model}")
    values, base = contributions.shap_values(inputs.estimator, inputs.model, rows, background, params.seed, track)
    return values.assign(base=base)


def effects_of(
    params: "EvaluateParams", inputs: EvaluateInputs, explanation: "DataFrame"
) -> "tuple[DataFrame, DataFrame]":
    """Return the effects and the interactions of the features with the largest SHAP values, those in `explanation`."""
    features = effects.most_important(explanation.drop(columns="base"), inputs.contract)
    background = contributions.background_rows(inputs.training_set, inputs.contract.features, params.seed)
    predict = partial(estimators.predict, inputs.estimator)
    return effects.effects(predict, background, features), interactions.interactions(predict, background, features)


def findings_of(tested: "TestPredictions") -> list[Finding]:
    """Return a finding if test rows were seen in training, so that no score counts them."""
    if not tested.seen_rows:
        return []
    rows, r2 = tested.seen_rows + len(tested.true), tested.leaked_scores["leaked_r2_score"]
    message = (
        f"{tested.seen_rows:,} of {rows:,} test rows were seen in training, so the scores leave them out; with them, R²"
        f" would be {r2:.2f}"
    )
    return [Finding("M001", message, figures={"rows_seen": tested.seen_rows, "leaked_r2_score": r2})]


def last_member(inputs: EvaluateInputs) -> "Estimator":
    """Return the estimator whose encoding orders values and tells distances: itself, or the last member of a blend."""
    _, member = [*blending.blend_members(inputs.estimator, inputs.model).values()][-1]
    return member
