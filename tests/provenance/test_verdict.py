import json

import jsonschema
import pytest
from conftest import PROJECT

from workflow.errors import UserError
from workflow.provenance import crate, receipt, verdict
from workflow.provenance.comparison import DIFFERS, EQUAL, Comparison, Row, compare
from workflow.provenance.receipt import Receipt
from workflow.provenance.verdict import CONTENT, RECEIPT, statement_of, why_not_about
from workflow.runs.names import Files


@pytest.fixture(scope="module")
def recorded() -> Receipt:
    return receipt.read((PROJECT / "receipts/wines.json").read_text(), "wines.json")


@pytest.fixture(scope="module")
def statement(recorded) -> verdict.Statement:
    return statement_of(recorded, recorded, compare(recorded, recorded, [], None))


def test_the_published_schema_is_that_of_the_code(statement):
    path = PROJECT / "receipts/verdict.schema.json"
    assert path.read_text() == verdict.schema()
    jsonschema.validate(json.loads(statement.text()), json.loads(path.read_text()))


def test_a_statement_is_about_the_receipt_its_models_and_its_inputs(recorded, statement):
    document = json.loads(statement.text())
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    names = [subject["name"] for subject in document["subject"]]
    assert names[0] == RECEIPT
    assert "model of train blend" in names
    assert names[-2:] == ["data", "contract"]
    assert document["subject"][0]["digest"] == {CONTENT: recorded.sha256}
    assert document["predicate"]["verdict"] == "equal"
    assert document["predicate"]["compared"] == 280
    assert document["predicate"]["largest_deviation"] == 0
    assert statement.says_equal
    assert verdict.read(statement.text(), "here") == statement
    assert why_not_about(statement, recorded) == ""


def test_names_are_those_of_the_artifacts():
    assert verdict.MODEL == Files.MODEL
    assert (crate.RECEIPT, crate.PATCH) == (Files.RECEIPT, Files.PATCH)


def test_a_statement_about_another_receipt_is_named(recorded, statement):
    other = recorded.model_copy(update={"parameters": recorded.parameters | {"seed": 1}})
    assert "it is about another receipt" in why_not_about(statement, other)


def test_a_statement_whose_models_were_exchanged_is_named(recorded, statement):
    subjects = list(statement.subject)
    subjects[1] = subjects[1].model_copy(update={"digest": {CONTENT: "0" * 64}})
    edited = statement.model_copy(update={"subject": subjects})
    assert why_not_about(edited, recorded) == "its models and inputs are not those of the receipt"


def test_a_verdict_on_a_later_step_proves_the_model_of_a_training(recorded, statement):
    label = "train rf" if "train rf" in recorded.outcome else "train linear"
    outcome = {name: recorded.outcome[name] for name in ("preprocess", label)}
    training = recorded.model_copy(update={"step": "train", "outcome": outcome})
    assert why_not_about(statement, training) == ""
    assert why_not_about(statement, training.model_copy(update={"step": "evaluate"})) != ""
    inputs = recorded.inputs | {"data": recorded.inputs["data"].model_copy(update={"sha256": "0" * 64})}
    assert why_not_about(statement, training.model_copy(update={"inputs": inputs})) != ""


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"_type": "https://in-toto.io/Statement/v2"}, "here: not a verdict of this project: _type"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "here: not a verdict of this project: predicateType"),
        ({"subject": []}, "subject"),
        ({"more": 1}, "more"),
    ],
)
def test_a_statement_of_another_kind_is_one_line(statement, edit, words):
    document = json.loads(statement.text()) | edit
    with pytest.raises(UserError) as raised:
        verdict.read(json.dumps(document), "here")
    assert words in str(raised.value)
    with pytest.raises(UserError, match="here: not a verdict"):
        verdict.read(b"\xff{", "here")


@pytest.mark.parametrize(("deviation", "expected"), [(2e-10, 2e-10), (float("inf"), None)])
def test_a_statement_names_the_largest_deviation_that_is_a_number(recorded, deviation, expected):
    equal = Row("train rf", "mae", "1", "1", EQUAL)
    found = Comparison([equal, Row("train rf", "r2", "1", "2", DIFFERS, deviation)], {"train rf"}, 0)
    predicate = statement_of(recorded, recorded, found).predicate
    assert (predicate.largest_deviation, predicate.compared) == (expected, 2)
