from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frames import stored_rows

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation.formulas import formula_findings
from workflow.evaluation.leakage import duplicate_findings, leaky_columns
from workflow.evaluation.questions import (
    near_duplicate_groups,
    question_findings,
    too_good_finding,
)
from workflow.evaluation.ranking import ranking_metric
from workflow.stages.compare import baseline_findings

RANDOM = np.random.default_rng(0)
ROWS = 600


def contract_of(frame: pd.DataFrame, **kinds: str) -> Contract:
    return Contract("y", {name: Column(kinds.get(name, "numeric")) for name in frame})


def codes_of(frame: pd.DataFrame, folder: Path, strategy: str = "random", **kinds: str) -> list[str]:
    frame = frame.sort_values(list(frame), ignore_index=True)
    found = question_findings(stored_rows(frame, folder), contract_of(frame, **kinds), strategy, 0)
    return [finding.code for finding in found]


def customers(shared: float) -> pd.DataFrame:
    """Rows of 60 customers, whose target is `shared` by the rows of one."""
    customer = RANDOM.integers(0, 60, ROWS)
    height, level = RANDOM.normal(170, 10, 60)[customer], RANDOM.normal(0, 30, 60)[customer]
    dose = RANDOM.normal(size=ROWS)
    noise = RANDOM.normal(size=ROWS)
    names = pd.Series([f"c{number}" for number in customer], dtype="str")
    return pd.DataFrame({"customer": names, "height": height, "dose": dose, "y": shared * level + dose + noise})


@pytest.mark.parametrize(
    ("shared", "strategy", "expected"), [(1, "random", ["D104"]), (0, "random", []), (1, "group", [])]
)
def test_an_entity_that_recurs_is_measured(tmp_path, shared, strategy, expected):
    assert codes_of(customers(shared), tmp_path, strategy, customer="categorical") == expected


def test_the_finding_about_an_entity_has_both_scores_and_the_command(tmp_path):
    frame = customers(1).sort_values("customer", ignore_index=True)
    (found,) = question_findings(stored_rows(frame, tmp_path), contract_of(frame, customer="categorical"), "random", 0)
    assert found.figures["r2_random"] > 0.9 > 0.2 > found.figures["r2_honest"]
    assert f"R² {found.figures['r2_random']:.2f}" in found.message
    assert f"{found.figures['r2_honest']:.2f}" in found.message
    assert "-P split=group -P group=customer" in found.remedy


@pytest.mark.parametrize(("walks", "expected"), [(True, ["D105"]), (False, [])])
def test_rows_that_follow_each_other_in_time_are_measured(tmp_path, walks, expected):
    steps = RANDOM.normal(size=ROWS)
    frame = pd.DataFrame(
        {"at": np.arange(ROWS) / 24, "x": RANDOM.normal(size=ROWS), "y": steps.cumsum() if walks else steps}
    )
    assert codes_of(frame, tmp_path, at="date") == expected
    assert codes_of(frame, tmp_path, "time", at="date") == []


@pytest.mark.parametrize(("copies", "expected"), [("abc", ["D103"]), ("", [])])
def test_near_duplicates_are_counted_and_measured(tmp_path, copies, expected):
    frame = pd.DataFrame(RANDOM.normal(size=(ROWS // 4, 6)), columns=["a", "b", "c", "d", "e", "y"])
    near = [frame.assign(**{name: RANDOM.normal(size=len(frame))}) for name in copies]
    assert codes_of(pd.concat([frame, *near], ignore_index=True), tmp_path) == expected


def test_rows_that_differ_in_one_cell_share_a_group():
    frame = pd.DataFrame({"a": [1, 1, 1, 2, 1], "b": [1, 2, 2, 9, 1], "c": [1, 1, 3, 9, 7]})
    assert near_duplicate_groups(frame).tolist() == [0, 0, 0, 1, 0]
    linked_by_the_last = pd.DataFrame({"a": [1, 2, 1], "b": [1, 2, 2], "c": [3, 3, 3]})
    assert near_duplicate_groups(linked_by_the_last).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (lambda rows: rows["a"] + rows["b"], ("a", "b")),
        (lambda rows: rows["a"] - 2 * rows["b"] + rows["c"], ("a", "b", "c")),
        (lambda rows: rows["a"] * rows["b"], ("a", "b")),
        (lambda rows: (rows["a"] / rows["c"]).round(3), ("a", "c")),
        (lambda rows: rows["a"] + rows["b"] + RANDOM.normal(0, 2, ROWS), None),
        (lambda rows: 3 * rows["a"], None),  # a single column: another finding
    ],
)
def test_the_fewest_columns_of_a_formula_are_named(tmp_path, target, expected):
    frame = pd.DataFrame(RANDOM.lognormal(2, 1, (ROWS, 4)), columns=["a", "b", "c", "d"])
    frame["y"] = target(frame)
    found = formula_findings(stored_rows(frame, tmp_path), contract_of(frame))
    assert [set(finding.columns) for finding in found] == ([set(expected)] if expected else [])


def test_one_large_row_makes_no_leak(tmp_path):
    frame = pd.DataFrame(RANDOM.integers(0, 100, (ROWS, 2)), columns=["x", "y"], dtype=float)
    assert leaky_columns(stored_rows(frame, tmp_path), contract_of(frame)) == []
    frame.iloc[-1] = 90_000
    (tmp_path / "outlier").mkdir()
    assert leaky_columns(stored_rows(frame, tmp_path / "outlier"), contract_of(frame)) == []


def test_a_quick_model_that_is_too_good_names_the_columns_that_suffice(tmp_path):
    frame = pd.DataFrame({"band": RANDOM.integers(0, 9, ROWS), "x": RANDOM.normal(size=ROWS)})
    frame["y"] = np.array([5, 1, 9, 3, 7, 2, 8, 0, 4])[frame["band"]] + 0.01 * RANDOM.normal(size=ROWS)
    found = too_good_finding(stored_rows(frame, tmp_path), contract_of(frame), 0)
    assert found
    assert (found.code, found.columns) == ("D107", ("band",))
    frame["y"] = RANDOM.normal(size=ROWS)
    assert too_good_finding(stored_rows(frame, tmp_path), contract_of(frame), 0) is None


@pytest.mark.parametrize(
    ("r2", "words"),
    [
        ([0.5, -0.1], ""),
        (
            [-0.1, -0.2],
            "no model beats the constant baseline: a has R² -0.10 cross-validated and -0.10 on the test set",
        ),
        ([-0.1, 0.2], "the first, a, does not beat the constant baseline"),
    ],
)
def test_a_winner_below_the_baseline_is_a_finding(r2, words):
    errors = {"mean_absolute_error": 3.0, "baseline_mean_absolute_error": 4.0}
    table = pd.DataFrame({"model": ["a", "b"], "cv_r2_score": r2, "r2_score": r2, **errors})
    found = baseline_findings(ranking_metric("mean_absolute_error", {}), table)
    assert [finding.code for finding in found] == (["M002"] if words else [])
    assert words in (found[0].message if found else "")


def test_entities_of_many_rows_are_sampled_too(tmp_path):
    entity = np.repeat(np.arange(25), 200)
    level = RANDOM.permutation(25) * 100.0
    frame = pd.DataFrame({"site": entity * 1.0, "x": RANDOM.normal(size=5000), "y": level[entity]})
    frame["y"] += RANDOM.normal(size=5000)
    assert codes_of(frame, tmp_path) == ["D104"]


def test_rows_of_few_values_are_one_group_of_near_duplicates_and_no_finding(tmp_path):
    frame = pd.DataFrame(RANDOM.integers(0, 4, (3000, 5)), columns=["a", "b", "c", "d", "y"], dtype=float)
    assert codes_of(frame.drop_duplicates(), tmp_path) == []


def test_a_column_that_gives_the_target_away_is_named_with_its_correlation_and_what_to_do(tmp_path):
    target = pd.Series(RANDOM.permutation(ROWS), dtype=float)
    frame = pd.DataFrame(
        {
            "tax": target / 5,
            "rounded": target // 50,
            "word": target.astype(str),
            "noise": RANDOM.normal(size=ROWS),
            "y": target,
        }
    )
    found = {
        each.columns[0]: each for each in leaky_columns(stored_rows(frame, tmp_path), contract_of(frame, word="text"))
    }
    assert set(found) == {"tax", "rounded", "word"}
    assert str(found["tax"]) == (
        "D106 column tax moves one to one with the target (correlation 1.0000); drop it unless it is known before y is"
    )
    assert found["rounded"].message.startswith(
        "column rounded moves almost one to one with the target (correlation 0.99"
    )
    assert found["word"].message == "column word is a copy of the target"
    assert found["tax"].figures == {"correlation": pytest.approx(1)}
    assert found["word"].figures == {}


def test_copies_in_both_sets_are_a_warning_and_those_that_would_flatter_a_note():
    counts = {"rows_overlap": 3, "rows_duplicate": 1200}
    scores = {"mean_absolute_error_with_copies": 1.0, "mean_absolute_error_without_copies": 1.02}
    assert duplicate_findings(counts, {}, "EUR") == []
    (overlap,) = duplicate_findings(counts, scores, "EUR")
    assert str(overlap) == (
        "D102 3 test rows are exact duplicates of training rows: they will not be scored; leave duplicates=keep out"
    )
    assert overlap.figures == {"rows_overlap": 3}
    scores["mean_absolute_error_without_copies"] = 2.0
    (note,) = duplicate_findings(counts | {"rows_overlap": 0}, scores, "EUR")
    assert note.message == (
        "1,200 rows are exact duplicates; with duplicates in both sets, a nearest-neighbours model would seem to have a"
        " mean absolute error of 1 EUR, but has 2 on rows that it has not seen"
    )
    assert note.figures == {"rows_duplicate": 1200, **scores}
