"""What differs between two results is named, and the change of a score is attributed to it."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import Result, Workflow, own_workflow

pytestmark = pytest.mark.slow
SMALL = {"model": "linear", "shap_samples": "2"}
CATALOG = "steps/workflow/models/catalog.py"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, small_data):
    """Return a committed copy of the project in which a linear model was evaluated, on a file outside it."""
    workflow = own_workflow(tmp_path_factory, small_data)
    workflow.first_run = evaluate(workflow)
    return workflow


def evaluate(workflow: Workflow, **parameters: str) -> str:
    """Evaluate a model and return the id of the run."""
    result = workflow.step("evaluate", **SMALL | parameters)
    assert result.code == 0, result.output
    return workflow.last().info.run_id


@pytest.fixture(scope="module")
def fewer_rows(recorded) -> str:
    """Return a run on the file without 300 of its rows, and with another seed."""
    original = recorded.data.read_bytes()
    lines = original.splitlines(keepends=True)
    try:
        recorded.data.write_bytes(b"".join([lines[0], *lines[301:]]))
        return evaluate(recorded, seed="3")
    finally:
        recorded.data.write_bytes(original)


@pytest.fixture(scope="module")
def edited_code(recorded) -> str:
    """Return a run with an uncommitted change of the code."""
    module = recorded.project / CATALOG
    original = module.read_text()
    try:
        module.write_text(original.replace('"sklearn.linear_model.Ridge"', '"sklearn.linear_model.Lasso"'))
        return evaluate(recorded)
    finally:
        module.write_text(original)


def step(workflow: Workflow, name: str, other: str | Path, one: str | Path = "", **parameters: str) -> Result:
    """Compare a result with that of `recorded`, or explain."""
    return workflow.step(name, a=str(one or workflow.first_run), b=str(other), **parameters)


def page(workflow: Workflow, name: str) -> dict:
    """Return the values of the page that the last command has logged."""
    return json.loads(workflow.artifacts(workflow.last(), f"{name}.json").read_text())


def sections(workflow: Workflow, name: str) -> dict:
    return {section["title"]: section for section in page(workflow, name)["sections"]}


def differs(result: Result) -> str:
    """Return the sentence that says what differs."""
    assert result.code == 1, result.output
    return next(line for line in result.output.splitlines() if line.startswith("differs: "))


def test_equal_results_are_equal_and_nothing_explains_a_change_that_is_none(recorded):
    again = evaluate(recorded)
    result = recorded.run("compare", a=recorded.first_run, b=again)
    assert result.code == 0, result.output
    assert "equal: all 65 metrics and artifacts are equal" in result.output
    result = step(recorded, "explain", again)
    assert result.code == 0, result.output
    assert "nothing differs that could change it" in result.output
    assert recorded.last().data.metrics["change"] == 0


def test_rows_parameters_and_scores_that_differ_are_named_shown_and_compared_in_pairs(recorded, fewer_rows):
    line = differs(step(recorded, "compare", fewer_rows))
    assert line.startswith("differs: data: 300 rows removed; parameters: seed 0 → 3; ")
    assert "mean_absolute_error of linear" in line
    assert "rows that both tested)" in line
    found = sections(recorded, "compare")
    assert found["Rows of data"]["table"][0]["kind"] == "removed"
    assert 0 < found["Scores"]["table"][0]["shared rows"] < 146
    table = pd.read_csv(recorded.artifacts(recorded.last(), "compare.csv"))
    assert set(table.loc[table["group"] == "packages", "verdict"]) == {"equal"}


def test_lines_of_code_that_differ_are_named_and_shown_though_nobody_committed_them(recorded, edited_code):
    line = differs(step(recorded, "compare", edited_code))
    assert "code: workflow/models/catalog.py (+1 −1); uncommitted changes in b" in line
    assert '+        "sklearn.linear_model.Lasso",' in sections(recorded, "compare")["Source"]["code"]


def test_an_entry_of_the_contract_that_differs_is_named(recorded):
    contract = recorded.data.with_suffix(".yaml")
    original = contract.read_text()
    try:
        contract.write_text(original.replace("[0.01, 1.0e+6]", "[0.01, 90]"))
        other = evaluate(recorded)
    finally:
        contract.write_text(original)
    line = differs(step(recorded, "compare", other))
    assert "contract: columns.price.range [0.01, 1000000.0] → [0.01, 90]" in line


def test_a_score_that_somebody_edited_is_named_and_not_credited_to_anything_else(recorded):
    edited = evaluate(recorded)
    recorded.client.log_metric(edited, "mean_absolute_error", 1.0)
    assert "as logged: b: evaluate linear: mean_absolute_error" in differs(step(recorded, "compare", edited))
    assert step(recorded, "explain", edited).code == 0
    (part,) = sections(recorded, "explanation")["Why"]["table"]
    assert part["cause"] == "b is not reproduced"
    change = recorded.last().data.metrics["change"]
    assert float(part["moves the score by"]) == pytest.approx(change, rel=1e-3)


def test_receipts_from_elsewhere_are_compared_without_their_runs(recorded, fewer_rows, tmp_path):
    paths = []
    for name, run_id in (("one", recorded.first_run), ("other", fewer_rows)):
        copy = recorded.artifacts(recorded.client.get_run(run_id), "receipt.json")
        paths.append(shutil.copy(copy, tmp_path / f"{name}.json"))
    elsewhere = Workflow(tmp_path / "elsewhere", recorded.project)
    line = differs(step(elsewhere, "compare", paths[1], paths[0]))
    assert "parameters: seed 0 → 3" in line
    assert "no such run" in sections(elsewhere, "compare")["Scores"]["table"][0]["difference"]


@pytest.fixture(scope="module")
def explained(recorded, fewer_rows) -> Result:
    """Return the explanation of the change from `recorded` to `fewer_rows`."""
    return step(recorded, "explain", fewer_rows)


def test_the_change_of_a_score_is_attributed_to_its_causes(recorded, fewer_rows, explained):
    assert explained.code == 0, explained.output
    run = next(run for run in recorded.runs("explain") if run.data.params["b"] == fewer_rows)
    found = json.loads(recorded.artifacts(run, "explanation.json").read_text())
    parts = next(section for section in found["sections"] if section["title"] == "Why")["table"]
    assert {part["cause"] for part in parts} == {"data", "chance (seed)"}
    before, after = (
        recorded.client.get_run(run_id).data.metrics["mean_absolute_error"]
        for run_id in (recorded.first_run, fewer_rows)
    )
    assert run.data.metrics["change"] == after - before
    assert sum(float(part["moves the score by"]) for part in parts) == pytest.approx(after - before, abs=0.01)
    mixtures = recorded.client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert {each.info.run_name for each in mixtures} >= {"a with data of b", "a with chance (seed) of b"}


def test_an_explanation_goes_on_where_another_one_was(recorded, fewer_rows, explained):
    result = step(recorded, "explain", fewer_rows)
    assert result.code == 0, result.output
    assert "to make" not in result.output
    assert [row["remark"] for row in sections(recorded, "explanation")["Runs"]["table"]] == ["reused"] * 4
    assert explained.output.splitlines()[-1] == result.output.splitlines()[-1]


@pytest.mark.nightly
def test_a_mixture_that_was_altered_is_made_again(recorded, fewer_rows, explained):
    run = next(run for run in recorded.runs("counterfactual") if run.info.run_name == "a with data of b")
    path = Path(recorded.client.get_run(run.info.run_id).info.artifact_uri) / "predictions.parquet"
    pd.read_parquet(path).assign(predicted=1.0).to_parquet(path)
    result = step(recorded, "explain", fewer_rows)
    assert result.code == 0, result.output
    assert f"warning: run {run.info.run_id} (a with data of b): not what it has logged" in result.output
    assert explained.output.splitlines()[-1] == result.output.splitlines()[-1]


@pytest.mark.nightly
def test_what_cannot_be_combined_is_one_cause(recorded):
    contract = recorded.data.with_suffix(".yaml")
    before = recorded.data.read_bytes(), contract.read_text()
    try:
        pd.read_csv(recorded.data, dtype=str, keep_default_na=False).drop(columns="rating").to_csv(
            recorded.data, index=False
        )
        contract.write_text("\n".join(line for line in before[1].splitlines() if "rating:" not in line))
        other = evaluate(recorded)
    finally:
        recorded.data.write_bytes(before[0])
        contract.write_text(before[1])
    result = step(recorded, "explain", other)
    assert result.code == 0, result.output
    assert "data and contract" in result.output
    assert "cannot be run" in result.output
    (part,) = sections(recorded, "explanation")["Why"]["table"]
    assert part["what changed"].startswith("column rating removed; columns.rating")


@pytest.mark.parametrize(
    ("name", "one", "other", "words"),
    [
        ("compare", "", "0" * 32, "b=00000000000000000000000000000000: no such run"),
        ("compare", "nothing.json", "", "a=nothing.json: neither a run id, nor a file in the project folder"),
        ("explain", "train", "", "train linear has no score on a test set; name a run of evaluate, main or tune"),
        ("explain", "receipts/wines.json", "", "is of main, b="),
    ],
)
def test_what_cannot_be_compared_is_one_line(recorded, name, one, other, words):
    if one == "train":
        one = recorded.first("train").info.run_id
    if one == "receipts/wines.json":
        one = str(recorded.project / one)
    result = step(recorded, name, other or recorded.first_run, one)
    assert result.code == 2, result.output
    assert words in result.error
    assert recorded.last().data.tags["workflow.error"] == result.error


@pytest.mark.nightly
def test_an_inferred_contract_follows_from_the_data_and_is_no_cause(recorded, tmp_path):
    rows = pd.read_csv(recorded.data, dtype=str, keep_default_na=False)
    runs = []
    for name, table in (("one", rows), ("other", rows.drop(columns="acidity"))):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        runs.append(evaluate(recorded, data=str(tmp_path / f"{name}.csv"), target="price", model="dummy"))
    line = differs(step(recorded, "compare", runs[1], runs[0]))
    assert line.startswith("differs: data: column acidity removed; inferred contract: columns.acidity.kind ")
