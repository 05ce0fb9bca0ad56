"""Promote: hold a challenger against rules, a constant baseline and the champion, on rows that neither has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from workflow.data import split
from workflow.errors import UserError
from workflow.evaluation import holdout, metrics
from workflow.evaluation.paired import Difference, difference
from workflow.evaluation.ranking import RankingMetric, ranking_metric
from workflow.formatting import number
from workflow.models.catalog import BOOSTING_LOSSES
from workflow.parameters import TRUSTED_KEYS
from workflow.spelling import nearest

if TYPE_CHECKING:
    from pandas import DataFrame

    from workflow.data.contract import Contract
    from workflow.data.own_features import OwnFeatures
    from workflow.data.stored import StoredRows
    from workflow.models.estimators import Estimator

AUTO = "auto"  # as a metric: the one that ranked the challenger
MIN_SEGMENT_ROWS = 30  # fewer test rows say little about a segment
COMPARED = (AUTO, *BOOSTING_LOSSES)


def metric_name(name: str | None) -> str | None:
    """Return the name of a metric to compare by, `auto` or None; ValueError for another name."""
    if name not in (None, *COMPARED):
        raise ValueError(f"not a metric to compare by: {name}; {nearest(str(name), COMPARED)}")
    return name


MetricName = Annotated[str | None, AfterValidator(metric_name)]


class Bounds(BaseModel):
    """The range that a metric must lie in."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def check_bound(self) -> "Bounds":
        """Require at least one bound."""
        if self.min is None and self.max is None:
            raise ValueError("expected {min: …} or {max: …}")
        return self


class Proof(BaseModel):
    """Who must have reproduced and signed the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    signatures: int = Field(default=1, ge=1)
    by: list[str] = Field(default_factory=list)
    trust: str = TRUSTED_KEYS


class Rules(BaseModel):
    """What a model must fulfil to become the champion; see steps/promotion.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    thresholds: dict[str, Bounds] = Field(default_factory=dict)
    coverage: Bounds | None = None
    segments: dict[str, Bounds] = Field(default_factory=dict)
    baseline: MetricName = None
    champion: MetricName = None
    proof: Proof | None = None


@dataclass(frozen=True)
class Model:
    """A fitted estimator with its training set, the contract of its rows, and what derives columns of them, if any."""

    estimator: "Estimator"
    training_set: "StoredRows"
    contract: "Contract"
    features: "OwnFeatures | None" = None


@dataclass(frozen=True)
class BothPredictions:
    """Predictions of challenger and champion for the test rows that neither has seen, and weights: (rows,) each."""

    true: "np.ndarray"
    challenger: "np.ndarray"
    champion: "np.ndarray"
    weight: "np.ndarray | None"


@dataclass(frozen=True)
class Check:
    """One rule, what was found, and whether it is fulfilled."""

    rule: str
    found: str
    passed: bool


@dataclass(frozen=True)
class Decision:
    """The checks of a challenger.

    Attributes:
        checks: in the order of the rules.
        figures: of the comparison with the champion, by the names of metrics.
        larger_errors: by how much the challenger's absolute error is larger than the champion's: (compared rows,).
    """

    checks: Sequence[Check]
    figures: Mapping[str, float] = field(default_factory=dict)
    larger_errors: "np.ndarray | None" = None

    @property
    def passed(self) -> bool:
        """Whether all rules are fulfilled."""
        return all(check.passed for check in self.checks)

    @property
    def reason(self) -> str:
        """What was not fulfilled."""
        return "; ".join(f"{check.rule}: {check.found}" for check in self.checks if not check.passed)


def parse_rules(values: Any, name: str) -> Rules:
    """Return the rules in parsed YAML; UserError, which begins with `name`, for anything else."""
    known = list(Rules.model_fields)
    if not isinstance(values, dict):
        raise UserError(f"{name}: expected a mapping with {', '.join(known)}")
    for rule in values:
        if rule not in known:
            raise UserError(f"{name}: unknown rule {rule}; {nearest(str(rule), known)}")
    try:
        return Rules.model_validate({rule: value for rule, value in values.items() if value is not None})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ": ".join(map(str, fault["loc"]))
        raise UserError(f"{name}: {place}: {fault['msg'].removeprefix('Value error, ')}") from None


def run(
    rules: Rules,
    metric: RankingMetric,
    metrics: Mapping[str, float],
    segments: "DataFrame",
    challenger: Model,
    test_set: "StoredRows",
    champion: Model | None,
    champion_name: str,
    seed: int,
) -> Decision:
    """Decide whether a challenger becomes the champion.

    Args:
        rules: to fulfil.
        metric: that ranked the challenger.
        metrics: of the challenger's train run and evaluate run.
        segments: errors of the named segments: see `segments.segments_of`.
        challenger: the model to decide on.
        test_set: of the challenger.
        champion: the present champion, if there is one and it is another model.
        champion_name: what the checks call it.
        seed: of the bootstrap.

    Raises UserError if every test row was seen in training.
    """
    contract = challenger.contract
    by_baseline, by_champion = (compared_by(rule, metric) for rule in (rules.baseline, rules.champion))
    tested = holdout.predict_test_set(
        challenger.estimator, challenger.training_set, test_set, contract, by_baseline or metric
    )
    checks = [*check_thresholds(rules, metrics), *check_segments(rules, segments)]
    if by_baseline:
        checks.append(check_baseline(by_baseline, tested, contract, seed))
    if not by_champion or not champion_name:
        return Decision(checks)
    against = compare_with_champion(by_champion, champion_name, champion, test_set, tested, contract, seed)
    return replace(against, checks=[*checks, *against.checks])


def compared_by(rule: str | None, metric: RankingMetric) -> RankingMetric | None:
    """Return the metric that a rule compares by: the one that ranked the challenger for `auto`."""
    return metric if rule == AUTO else ranking_metric(rule, {}) if rule else None


def compare_with_champion(
    metric: RankingMetric,
    name: str,
    champion: Model | None,
    test_set: "StoredRows",
    tested: holdout.TestPredictions,
    contract: "Contract",
    seed: int,
) -> Decision:
    """Check that a challenger is not significantly worse than the champion, on rows that neither has seen."""
    rule = f"{metric.name} not {'below' if metric.greater_is_better else 'above'} that of {name}"
    if champion is None:
        return Decision([Check(rule, "it is the same model", True)])
    if reason := why_not_comparable(champion, contract):
        return Decision([Check(rule, f"cannot be compared: {reason}", False)])
    both = predict_with_champion(tested, test_set, champion)
    if both is None:
        return Decision([Check(rule, "cannot be compared: the champion was trained on all test rows", False)])
    found = difference(both.true, both.challenger, both.champion, metric, seed, both.weight)
    rows = len(both.true)
    check = Check(f"{rule}, on {rows:,} rows", difference_text(found, metric, contract.unit), found.low <= 0)
    figures = {"difference": found.value, "difference_low": found.low, "difference_high": found.high}
    larger = np.abs(both.true - both.challenger) - np.abs(both.true - both.champion)
    return Decision([check], {"rows_compared": rows} | figures, larger)


def predict_with_champion(
    tested: holdout.TestPredictions, test_set: "StoredRows", champion: Model
) -> BothPredictions | None:
    """Return the predictions for the tested rows that the champion has not seen either; None if there are none."""
    rows = test_set.select(champion.contract.content)
    seen = split.content_hashes(champion.training_set, champion.contract)
    unseen = ~split.hash_rows(rows)[tested.positions].isin(seen).to_numpy()
    if not unseen.any():
        return None
    theirs = holdout.predictions(champion.estimator, rows, champion.contract, champion.features)
    theirs = theirs[tested.positions][unseen]
    weight = None if tested.weight is None else tested.weight[unseen]
    return BothPredictions(tested.true[unseen], tested.predicted[unseen], theirs, weight)


def scores_of_both(
    metric: RankingMetric, challenger: Model, test_set: "StoredRows", champion: Model
) -> dict[str, tuple[float, float]]:
    """Return the champion's and the challenger's test scores by metric, `metric` among them, on the same rows.

    They are the test rows that neither has seen; nothing is returned if there are none.
    """
    tested = holdout.predict_test_set(
        challenger.estimator, challenger.training_set, test_set, challenger.contract, metric
    )
    both = predict_with_champion(tested, test_set, champion)
    if both is None:
        return {}
    scored = metrics.applicable_metrics(both.true) | {metric.name: metric.function}
    former, own = (
        metrics.scores(scored, both.true, each, weight=both.weight) for each in (both.champion, both.challenger)
    )
    return {name: (former[name], own[name]) for name in scored}


def check_proof(proof: Proof, signers: Sequence[str]) -> Check:
    """Return the check that enough people have reproduced and signed the model.

    Args:
        proof: who must have.
        signers: names of those who have, among the trusted.
    """
    counted = [name for name in signers if name in proof.by or not proof.by]
    whom = " of those trusted" if not proof.by else f" of {', '.join(proof.by)}"
    rule = f"reproduction signed by {proof.signatures}{whom}"
    return Check(rule, ", ".join(counted) or "nobody", len(counted) >= proof.signatures)


def check_thresholds(rules: Rules, metrics: Mapping[str, float]) -> list[Check]:
    """Return a check for each bound of a metric, and of the coverage of the prediction intervals."""
    checks = []
    coverage = {"interval_coverage": rules.coverage} if rules.coverage else {}
    for name, bounds in (rules.thresholds | coverage).items():
        if bounds.min is not None:
            checks.append(Check(f"{name} ≥ {bounds.min:g}", number(metrics[name]), metrics[name] >= bounds.min))
        if bounds.max is not None:
            checks.append(Check(f"{name} ≤ {bounds.max:g}", number(metrics[name]), metrics[name] <= bounds.max))
    return checks


def check_segments(rules: Rules, segments: "DataFrame") -> list[Check]:
    """Return a check for each bound of the scores of the named segments, which every large enough one must fulfil.

    Args:
        rules: to fulfil.
        segments: as `segments.segments_of` returns them.
    """
    checks, large = [], segments[segments["rows"] >= MIN_SEGMENT_ROWS]
    for name, bounds in rules.segments.items():
        for bound, worst, sign in ((bounds.min, "idxmin", "≥"), (bounds.max, "idxmax", "≤")):
            if bound is None:
                continue
            rule = f"{name} of each segment {sign} {bound:g}"
            if large.empty:
                found = f"no segment with {MIN_SEGMENT_ROWS} rows; name columns in the contract or in main -P segments="
                checks.append(Check(rule, found, False))
                continue
            own = large.loc[getattr(large[name], worst)()]
            passed = own[name] >= bound if sign == "≥" else own[name] <= bound
            checks.append(Check(rule, f"{number(own[name])} for {own['column']} {own['value']}", bool(passed)))
    return checks


def check_baseline(metric: RankingMetric, tested: holdout.TestPredictions, contract: "Contract", seed: int) -> Check:
    """Check that a model is significantly better than a constant prediction."""
    found = difference(tested.true, tested.predicted, tested.baseline, metric, seed, tested.weight)
    rule = f"{metric.name} {'above' if metric.greater_is_better else 'below'} that of the constant baseline"
    return Check(rule, difference_text(found, metric, contract.unit), found.high < 0)


def why_not_comparable(champion: Model, contract: "Contract") -> str:
    """Return why the champion cannot predict the challenger's test rows; empty if it can."""
    kinds = {name: column.kind for name, column in contract.raw.columns.items()}
    theirs = champion.contract
    other = [name for name in theirs.content if kinds.get(name) != theirs.columns[name].kind]
    return f"the champion needs the columns {', '.join(other)}, which differ or are missing here" if other else ""


def difference_text(found: Difference, metric: RankingMetric, unit: str) -> str:
    """Return a difference of a metric with its confidence interval."""
    unit = f" {unit}" if unit and metric.has_target_unit else ""
    value, *ends = (metric.as_error(each) for each in (found.value, found.low, found.high))
    return f"{value:+.3g}{unit} ({number(min(ends))} to {number(max(ends))})"
