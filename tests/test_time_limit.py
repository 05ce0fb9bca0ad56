"""A time limit of main: what is planned stands in the receipt, the limit does not."""

import pandas as pd
import pytest
from conftest import PROJECT, Workflow

from workflow.provenance import receipt
from workflow.runs.names import Files

pytestmark = pytest.mark.slow
GIVEN = {
    "models": "rf,dummy,linear",
    "model_params": "{rf: {n_estimators: 10}, linear: {alpha: 2.0}}",
    "cv": "2",
    "shap_samples": "2",
}
PLANNED = "planned for "


@pytest.fixture(scope="module")
def hurried(tmp_path_factory) -> Workflow:
    """Return a workflow in which `main` ran with a limit that is over at once, on some two thousand training rows."""
    data = tmp_path_factory.mktemp("data") / "wines.csv"
    rows = pd.read_csv(PROJECT / "data/wines.csv", dtype=str, keep_default_na=False).drop_duplicates().head(2500)
    rows.to_csv(data, index=False)
    data.with_suffix(".yaml").write_bytes((PROJECT / "data/wines.yaml").read_bytes())
    workflow = Workflow(tmp_path_factory.mktemp("hurried"), data=data)
    workflow.first_result = workflow.step("main", **GIVEN, time_limit="1")
    assert workflow.first_result.code == 0, workflow.first_result.output
    workflow.main = workflow.last()
    return workflow


def test_the_first_model_is_made_with_few_rows_and_the_plan_is_printed(hurried):
    """The forest is the last to be kept, whatever the order of the models."""
    assert pd.read_csv(hurried.artifacts(hurried.main, Files.LEADERBOARD))["model"].tolist() == ["dummy"]
    (trained,) = hurried.runs("train")
    assert trained.data.params["training_rows"] == "1000"
    (line,) = [line for line in hurried.first_result.output.splitlines() if line.startswith(PLANNED)]
    assert ": dummy on 1,000 of " in line


def test_the_receipt_has_the_plan_and_not_the_limit(hurried):
    made = receipt.read(hurried.artifacts(hurried.main, Files.RECEIPT).read_text(), "main")
    assert (made.parameters["models"], made.parameters["max_rows"]) == (["dummy"], 1000)
    assert made.parameters.get("model_params", {}) == {}  # those of models that are not made would be refused
    assert "time_limit" not in made.parameters


def test_a_plan_is_reproduced_without_planning(hurried):
    result = hurried.step("reproduce", run=hurried.main.info.run_id)
    assert result.code == 0, result.output
    assert "match bit for bit" in result.output
    assert PLANNED not in result.output


def test_the_planned_command_without_a_limit_finds_the_same_runs(hurried):
    result = hurried.step("main", models="dummy", max_rows="1000", cv="2", shap_samples="2")
    assert result.code == 0, result.output
    assert result.output.count(" reused ") == 3


@pytest.mark.nightly
def test_enough_time_changes_nothing(hurried):
    without = hurried.step("main", **GIVEN, time_limit="0")
    assert without.code == 0, without.output
    assert PLANNED not in without.output
    enough = hurried.step("main", **GIVEN, time_limit="100000")
    assert enough.code == 0, enough.output
    (line,) = [line for line in enough.output.splitlines() if line.startswith(PLANNED)]
    assert ": dummy, linear, rf on all " in line
    assert enough.output.count(" reused ") == 7
    mains = [run for run in hurried.runs("main") if run.info.status == "FINISHED"][:2]
    made = [receipt.read(hurried.artifacts(run, Files.RECEIPT).read_text(), "main") for run in mains]
    assert made[0].parameters == made[1].parameters
    assert made[0].outcome == made[1].outcome
    assert made[0].parameters["models"] == GIVEN["models"].split(",")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"time_limit": "-1"}, "time_limit=-1: must be an integer from 0"),
        ({"time_limit": "60", "models": "blend"}, "time_limit: models=blend leaves nothing to plan; name the models"),
        (
            {"time_limit": "60", "models": "dummy,rf", "model_params": "{rf: {n_estimators: -5}}"},
            "rf refuses: The 'n_estimators' parameter of RandomForestRegressor must be",
        ),
    ],
)
def test_a_mistake_ends_in_one_line_and_a_failed_run(hurried, given, words):
    result = hurried.step("main", **given)
    assert result.code == 2, result.output
    assert words in result.error
    assert (hurried.last().info.status, hurried.last().data.tags["workflow.error"]) == ("FAILED", result.error)
