"""Decisions on challengers: pure functions of rules, models and rows, without a tracking store."""

import numpy as np
import pandas as pd
import pytest
from frames import stored_rows

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.evaluation.ranking import ranking_metric
from workflow.models import estimators
from workflow.stages.promote import (
    Bounds,
    Model,
    Rules,
    check_segments,
    check_thresholds,
    parse_rules,
    run,
    scores_of_both,
)

CONTRACT = Contract("y", {"x": Column("numeric"), "y": Column("numeric")}, unit="kg")
NO_SEGMENTS = pd.DataFrame(columns=["column", "value", "rows", "mean_absolute_error"])
MAE = ranking_metric("mean_absolute_error", {})
ALL_RULES = Rules(
    thresholds={"r2_score": Bounds(min=0)}, baseline="mean_absolute_error", champion="mean_absolute_error"
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A training set, another one, and a test set of rows on a line with noise."""
    random = np.random.default_rng(0)
    x = random.uniform(0, 10, 300)
    frame = pd.DataFrame({"x": x, "y": 100 + 3 * x + random.normal(0, 0.5, 300)})
    parts = frame.iloc[:100], frame.iloc[100:200], frame.iloc[200:]
    return [stored_rows(part.reset_index(drop=True), tmp_path_factory.mktemp("rows")) for part in parts]


def model(name: str, rows) -> Model:
    frame = rows.take(np.arange(len(rows)))
    estimator = estimators.build(name, CONTRACT, "auto", estimators.Preparation(), 0, {})
    return Model(estimators.fit(estimator, frame[["x"]], frame["y"]), rows, CONTRACT)


def test_a_good_model_without_a_champion_is_promoted(sets):
    training_set, _, test_set = sets
    decision = run(ALL_RULES, MAE, {"r2_score": 0.9}, NO_SEGMENTS, model("linear", training_set), test_set, None, "", 0)
    assert decision.passed
    assert [check.rule for check in decision.checks] == [
        "r2_score ≥ 0",
        "mean_absolute_error below that of the constant baseline",
    ]
    assert "kg" in decision.checks[1].found


def test_a_constant_model_fails_the_baseline_and_the_champion(sets):
    training_set, other_set, test_set = sets
    champion = model("linear", other_set)
    decision = run(
        ALL_RULES,
        MAE,
        {"r2_score": -0.1},
        NO_SEGMENTS,
        model("dummy", training_set),
        test_set,
        champion,
        "version 1, the champion",
        0,
    )
    assert [check.passed for check in decision.checks] == [False, False, False]
    assert decision.reason.startswith("r2_score ≥ 0: -0.1; mean_absolute_error below")
    assert decision.checks[2].rule == "mean_absolute_error not above that of version 1, the champion, on 100 rows"
    assert decision.figures["rows_compared"] == 100
    assert decision.figures["difference_low"] > 0
    assert len(decision.larger_errors) == 100


def test_rows_that_the_champion_was_trained_on_are_not_compared(sets):
    training_set, _, test_set = sets
    champion = model("linear", test_set)
    decision = run(
        ALL_RULES, MAE, {"r2_score": 1}, NO_SEGMENTS, model("linear", training_set), test_set, champion, "version 1", 0
    )
    assert not decision.passed
    assert decision.reason.endswith("cannot be compared: the champion was trained on all test rows")


def test_both_models_are_scored_on_the_rows_that_neither_has_seen(sets, tmp_path):
    training_set, _, test_set = sets
    seen, challenger = test_set.take(np.arange(60)), model("linear", training_set)
    champion = model("dummy", stored_rows(seen, tmp_path))
    scores = scores_of_both(MAE, challenger, test_set, champion)
    rows = test_set.take(np.arange(60, 100))
    errors = [np.abs(rows["y"] - estimators.predict(each.estimator, rows[["x"]])) for each in (champion, challenger)]
    assert scores["mean_absolute_error"] == pytest.approx([each.mean() for each in errors], rel=1e-12)
    assert set(scores) >= {"r2_score", "root_mean_squared_error", "mean_absolute_percentage_error"}
    assert scores_of_both(MAE, challenger, test_set, model("linear", test_set)) == {}


def test_a_champion_of_other_columns_is_not_compared(sets):
    training_set, other_set, test_set = sets
    other = Contract("y", {"x": Column("categorical"), "y": Column("numeric")})
    champion = Model(model("linear", other_set).estimator, other_set, other)
    decision = run(
        ALL_RULES, MAE, {"r2_score": 1}, NO_SEGMENTS, model("linear", training_set), test_set, champion, "version 1", 0
    )
    assert "the champion needs the columns x, which differ or are missing here" in decision.reason


def test_a_bound_is_inclusive_at_both_ends(sets):
    training_set, _, test_set = sets
    rules = Rules(thresholds={"r2_score": Bounds(min=0.5, max=0.5)})
    challenger = model("linear", training_set)
    assert run(rules, MAE, {"r2_score": 0.5}, NO_SEGMENTS, challenger, test_set, None, "", 0).passed
    assert not run(rules, MAE, {"r2_score": 0.51}, NO_SEGMENTS, challenger, test_set, None, "", 0).passed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], "rules=r.yaml: expected a mapping with thresholds, coverage, segments, baseline, champion"),
        (
            {"target": 1},
            "rules=r.yaml: unknown rule target; expected one of thresholds, coverage, segments, baseline, champion",
        ),
        (
            {"baseline": "mae"},
            "rules=r.yaml: baseline: not a metric to compare by: mae; expected one of auto, mean_absolute_error",
        ),
        ({"thresholds": {"r2_score": {"mn": 0}}}, "rules=r.yaml: thresholds: r2_score: mn: "),
        ({"thresholds": {"r2_score": {}}}, "rules=r.yaml: thresholds: r2_score: expected {min: …} or {max: …}"),
        ({"thresholds": {"r2_score": 0.5}}, "rules=r.yaml: thresholds: r2_score: "),
    ],
)
def test_rules_of_another_form_are_refused_in_one_line(values, message):
    with pytest.raises(UserError) as error:
        parse_rules(values, "rules=r.yaml")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_rules_that_are_left_out_are_empty():
    assert parse_rules({"champion": None}, "rules=r.yaml") == Rules()


@pytest.mark.parametrize(("covered", "passed"), [(0.9, True), (0.7, False)])
def test_intervals_must_cover_what_the_rules_demand(covered, passed):
    rules = parse_rules({"coverage": {"min": 0.85}}, "rules=r.yaml")
    (check,) = check_thresholds(rules, {"interval_coverage": covered})
    assert (check.rule, check.passed) == ("interval_coverage ≥ 0.85", passed)


SEGMENTS = pd.DataFrame(
    {
        "column": "region",
        "value": ["Rioja", "Jerez", "Toro"],
        "rows": [200, 40, 12],
        "mean_absolute_error": [20.0, 35.0, 99.0],
        "coverage": [0.9, 0.8, 0.1],
    }
)


@pytest.mark.parametrize(
    ("rule", "found", "passed"),
    [
        ({"mean_absolute_error": {"max": 40}}, "35 for region Jerez", True),  # Toro has too few rows
        ({"mean_absolute_error": {"max": 30}}, "35 for region Jerez", False),
        ({"coverage": {"min": 0.85}}, "0.8 for region Jerez", False),
    ],
)
def test_no_large_segment_may_break_a_bound(rule, found, passed):
    (check,) = check_segments(parse_rules({"segments": rule}, "rules=r.yaml"), SEGMENTS)
    assert (check.found, check.passed) == (found, passed)


def test_a_rule_about_segments_needs_segments():
    rules = parse_rules({"segments": {"mean_absolute_error": {"max": 40}}}, "rules=r.yaml")
    (check,) = check_segments(rules, NO_SEGMENTS)
    assert not check.passed
    assert check.found.startswith("no segment with 30 rows; name columns")
