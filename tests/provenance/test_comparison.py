import dataclasses
import math

import pytest

from workflow.provenance.comparison import (
    DIFFERS,
    EQUAL,
    MAY_DIFFER,
    WITHIN_TOLERANCE,
    Comparison,
    Row,
    artifact_row,
    compare,
    exact,
    metric_row,
    outcome_rows,
    shortened,
    with_common_labels,
)
from workflow.provenance.receipt import ArtifactDigest, CodeState, Environment, Outcome, Receipt, make

ONE, OTHER = "1" * 64, "2" * 64


def artifact(sha256: str, **sampled) -> ArtifactDigest:
    return ArtifactDigest(sha256=sha256, **sampled)


@pytest.mark.parametrize(
    ("recorded", "reproduced", "rtol", "verdict", "deviation"),
    [
        (1.0, 1.0, 0, EQUAL, 0),
        (None, None, 0, EQUAL, 0),
        (1.0, 1.0 + 1e-15, 0, DIFFERS, pytest.approx(1e-15, rel=0.2)),
        (1.0, 1.0 + 1e-15, 1e-9, WITHIN_TOLERANCE, pytest.approx(1e-15, rel=0.2)),
        (1.0, 1.0 + 0.9e-9, 1e-9, WITHIN_TOLERANCE, pytest.approx(0.9e-9)),
        (1.0, 1.0 + 1.1e-9, 1e-9, DIFFERS, pytest.approx(1.1e-9)),
        (1.0, 1.1, 1e-9, DIFFERS, pytest.approx(0.1)),
        (0.0, 1e-300, 0.5, DIFFERS, math.inf),
        (1.0, None, 0.5, DIFFERS, math.inf),
        (1.0, "–", 0.5, DIFFERS, math.inf),
        (-2.0, -1.0, 0.5, WITHIN_TOLERANCE, 0.5),
    ],
)
def test_the_verdict_on_a_metric_depends_on_its_relative_deviation(recorded, reproduced, rtol, verdict, deviation):
    row = metric_row("train rf", "r2_score", recorded, reproduced, rtol)
    assert (row.verdict, row.deviation) == (verdict, deviation)


@pytest.mark.parametrize(
    ("recorded", "reproduced", "rtol", "verdict"),
    [
        (artifact(ONE), artifact(ONE), 0, EQUAL),
        (artifact(ONE), artifact(OTHER), 0.5, DIFFERS),  # without a sample, nothing can be measured
        (artifact(ONE), None, 0.5, DIFFERS),
        (None, artifact(ONE), 0.5, DIFFERS),
        (artifact(ONE, count=9, sample=[4.0]), artifact(OTHER, count=9, sample=[4.1]), 0, DIFFERS),
        (
            artifact(ONE, count=9, sample=[4.0]),
            artifact(OTHER, count=9, sample=[4.1]),
            0.1,
            WITHIN_TOLERANCE,
        ),
        (artifact(ONE, count=9, sample=[4.0]), artifact(OTHER, count=8, sample=[4.0]), 0.1, DIFFERS),
        (artifact(ONE, count=9, sample=[4.0]), artifact(OTHER, count=9), 0.1, DIFFERS),
        (artifact(ONE, count=9), artifact(OTHER, count=9, sample=[4.0]), 0.1, DIFFERS),
        (
            artifact(ONE, structure=ONE, count=9, sample=[4.0]),
            artifact(OTHER, structure=OTHER, count=9, sample=[4.0]),
            0.1,
            DIFFERS,
        ),
    ],
)
def test_an_artifact_is_within_tolerance_if_its_sample_is_and_its_structure_is_equal(
    recorded, reproduced, rtol, verdict
):
    assert artifact_row("evaluate rf", "predictions.parquet", recorded, reproduced, rtol).verdict == verdict


def test_an_item_in_one_receipt_only_differs():
    one = {"train rf": Outcome(metrics={"a": 1.0}, artifacts={})}
    other = {"train knn": Outcome(metrics={}, artifacts={"model": artifact(ONE)})}
    assert [row.verdict for row in outcome_rows(one, other, 0)] == [DIFFERS, DIFFERS]
    assert [row.verdict for row in exact("packages", {"numpy": "2"}, {"scipy": "1"})] == [DIFFERS, DIFFERS]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "all 1 metrics and artifacts match bit for bit"),
        ([Row("packages", "numpy", "1", "2", DIFFERS)], "bit for bit; what changed: packages: numpy 1 → 2"),
        (
            [Row("rf", "mae", "1", "2", DIFFERS, 1.0)],
            "1 of 2 metrics and artifacts differ, e.g. rf: mae 1 → 2",
        ),
        ([Row("rf", "mae", "1", "2", DIFFERS, 1.0)], "the largest deviation is 1 (rf: mae); nothing that is recorded"),
        (
            [Row("rf", "mae", "1", "2", DIFFERS, 1e-8), Row("platform", "blas", "a", "b", MAY_DIFFER)],
            "perhaps because of platform: blas a → b: reproduce it where these are as recorded",
        ),
        (
            [Row("rf", "mae", "1", "2", DIFFERS, 1e-12), Row("platform", "blas", "a", "b", MAY_DIFFER)],
            "because of platform: blas a → b: they match with -P rtol=1e-9",
        ),
        (
            [
                Row("rf", "mae", "1", "2", DIFFERS, 1e-12),
                Row("platform", "processor", "a", "b", MAY_DIFFER),
                Row("platform", "numpy", "V3", "V4", MAY_DIFFER),
            ],
            "because of platform: numpy V3 → V4: they match",
        ),
        (
            [Row("rf", "mae", "1", "2", WITHIN_TOLERANCE, 1e-12), Row("platform", "numpy", "V3", "V4", MAY_DIFFER)],
            "1 of them not bit for bit; the largest deviation is 1e-12 (rf: mae); because of platform: numpy V3 → V4",
        ),
        ([Row("code", str(n), "1", "2", DIFFERS) for n in range(5)], "code: 0 1 → 2, 1 1 → 2, 2 1 → 2 and 2 more"),
    ],
)
def test_the_conclusion_names_what_differs_and_why(rows, words):
    assert words in Comparison([Row("rf", "r2", "1", "1", EQUAL), *rows], {"rf"}, 0).conclusion


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([EQUAL, MAY_DIFFER], "equal"),
        ([EQUAL, WITHIN_TOLERANCE], "equal within 1e-9"),
        ([EQUAL, WITHIN_TOLERANCE, DIFFERS], "differs"),
    ],
)
def test_the_verdict_is_that_of_the_worst_row(verdicts, expected):
    rows = [Row("rf", str(number), "1", "2", verdict) for number, verdict in enumerate(verdicts)]
    assert Comparison(rows, {"rf"}, 1e-9).verdict == expected


def receipt(value=1.0, python="3.11.7", **platform) -> Receipt:
    return make(
        "train",
        {},
        {},
        CodeState(commit=None, folder=None, remote=None, patch=None, files={}),
        Environment(
            python=python,
            packages={},
            supporting={},
            platform={"numpy": "V3", "processor": "A"} | platform,
            threads={},
        ),
        {"rf": Outcome(metrics={"mae": value}, artifacts={})},
        {"rf": "a" * 32},
    )


@pytest.mark.parametrize(
    ("change", "rtol", "verdict"),
    [
        ({}, None, "differs"),
        ({"processor": "B"}, None, "differs"),  # the name of a processor changes no number
        ({"numpy": "V4"}, None, "equal within 1e-9"),
        ({"python": "3.12.1"}, None, "equal within 1e-9"),
        ({"numpy": "V4"}, 0.0, "differs"),
        ({}, 1e-12, "equal within 1e-12"),
        ({"numpy": "V4", "value": 1 + 1e-8}, None, "differs"),
        ({"numpy": "V4", "value": 1.0}, None, "equal"),
    ],
)
def test_numbers_of_another_platform_have_a_tolerance(change, rtol, verdict):
    found = compare(receipt(), receipt(**{"value": 1 + 1e-15} | change), [], rtol)
    assert found.verdict == verdict


def changed(receipt: Receipt, files, parameters, packages, threads, metrics, artifacts) -> Receipt:
    """Return a receipt with other contents."""
    parts = {"packages": packages, "threads": threads}
    return receipt.model_copy(
        update={
            "code": receipt.code.model_copy(update={"files": files}),
            "parameters": parameters,
            "environment": receipt.environment.model_copy(update=parts),
            "outcome": {"rf": Outcome(metrics=metrics, artifacts=artifacts)},
        }
    )


def test_each_item_of_two_receipts_has_a_row():
    one = changed(
        receipt(),
        files={"train.py": ONE},
        parameters={"seed": 0},
        packages={"numpy": "2"},
        threads={"cpus": 2},
        metrics={"mae": 1.0},
        artifacts={"a": artifact(ONE), "c": artifact(ONE)},
    )
    other = changed(
        receipt(numpy="V4", python="3.12.1"),
        files={"train.py": OTHER, "new.py": ONE},
        parameters={"seed": 1},
        packages={},
        threads={"cpus": 8},
        metrics={"r2": 0.5},
        artifacts={"b": artifact(OTHER), "c": artifact(ONE)},
    )
    first = Row("data", "wines.csv", ONE, ONE, EQUAL)
    found = compare(one, other, [first], 0)
    assert list(found.rows) == [
        first,
        Row("code", "train.py", ONE, OTHER, DIFFERS),
        Row("code", "new.py", "–", ONE, DIFFERS),
        Row("parameters", "seed", "0", "1", DIFFERS),
        Row("packages", "numpy", "2", "–", DIFFERS),
        Row("platform", "python", "3.11.7", "3.12.1", MAY_DIFFER),
        Row("platform", "numpy", "V3", "V4", MAY_DIFFER),
        Row("platform", "processor", "A", "A", EQUAL),
        Row("threads", "cpus", "2", "8", MAY_DIFFER),
        Row("rf", "mae", "1.0", "–", DIFFERS, math.inf),
        Row("rf", "r2", "–", "0.5", DIFFERS, math.inf),
        Row("rf", "a", ONE, "–", DIFFERS, math.inf),
        Row("rf", "c", ONE, ONE, EQUAL),
        Row("rf", "b", "–", OTHER, DIFFERS, math.inf),
    ]
    assert set(found.results) == {"rf"}


def test_the_row_of_an_artifact_says_how_many_numbers_were_compared():
    recorded = artifact(ONE, count=9, sample=[4.0, None, 2.0])
    made = artifact(OTHER, count=9, sample=[4.0 + 4e-10, None, 2.0])
    row = artifact_row("evaluate rf", "shap", recorded, made, 1e-9)
    expected = Row("evaluate rf", "shap", ONE, f"{OTHER} (3 of 9 numbers compared)", WITHIN_TOLERANCE, row.deviation)
    assert row == expected
    assert row.deviation == pytest.approx(1e-10, rel=1e-3)
    assert artifact_row("evaluate rf", "shap", recorded, made, 0).reproduced == OTHER
    one, other = ({"rf": Outcome(metrics={}, artifacts={"shap": digest})} for digest in (recorded, made))
    assert outcome_rows(one, other, 1) == [dataclasses.replace(row, group="rf")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0123456789abcdef" * 4, "0123456789ab"),
        ("0123456789abcdef" * 4 + " (3 of 9 numbers compared)", "0123456789ab (3 of 9 numbers compared)"),
        ("0123456789abcdef" * 3, "0123456789abcdef" * 3),
        ("x" * 64, "x" * 64),
        ("abc", "abc"),
    ],
)
def test_a_digest_is_quoted_by_its_beginning(text, expected):
    assert shortened(text) == expected


def test_a_conclusion_names_every_change_in_one_line():
    rows = [
        Row("rf", "mae", "1", "2", DIFFERS, math.inf),
        Row("knn", "mae", "1", "1", WITHIN_TOLERANCE, 1e-12),
        Row("code", "a.py", ONE, OTHER, DIFFERS),
        Row("packages", "numpy", "1", "2", DIFFERS),
        *(Row("parameters", str(number), "1", "2", DIFFERS) for number in range(3)),
    ]
    assert Comparison(rows, {"rf", "knn"}, 0).conclusion == (
        "1 of 2 metrics and artifacts differ, e.g. rf: mae 1 → 2; the largest deviation is 1e-12"
        " (knn: mae); what changed: code: a.py 111111111111 → 222222222222; packages: numpy 1 → 2;"
        " parameters: 0 1 → 2, 1 1 → 2, 2 1 → 2"
    )
    lone = Comparison([Row("rf", "mae", "1", "–", DIFFERS, math.inf)], {"rf"}, 0)
    assert "; no number to measure a deviation by; nothing that is recorded" in lone.conclusion
    close = [Row("rf", "mae", "1", "2", DIFFERS, 1e-9), Row("platform", "blas", "a", "b", MAY_DIFFER)]
    assert "they match with -P rtol=1e-9" in Comparison(close, {"rf"}, 0).conclusion


def test_the_only_run_of_a_stage_has_the_same_label_whatever_its_model():
    def outcomes(*labels: str) -> Receipt:
        return receipt().model_copy(update={"outcome": {label: Outcome(metrics={}, artifacts={}) for label in labels}})

    one = outcomes("preprocess", "train rf", "evaluate rf")
    other = outcomes("preprocess", "train blend", "train linear", "evaluate blend")
    renamed = with_common_labels(one, other)
    assert [list(each.outcome) for each in renamed] == [
        ["preprocess", "train rf", "evaluate"],
        ["preprocess", "train blend", "train linear", "evaluate"],
    ]
