"""The champion's model on newer data: promoted, refused, or left alone where nothing has changed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Workflow

pytestmark = pytest.mark.slow
ROWS = 400


def write_flats(path: Path, seed: int, area: tuple[float, float] = (40, 200), slope: float = 20) -> Path:
    """Write flats whose price is a line of their area, with noise; return the file."""
    random = np.random.default_rng(seed)
    areas, floor = random.uniform(*area, ROWS), random.choice(["low", "high"], ROWS)
    price = 1000 + slope * areas + random.normal(0, 50, ROWS)
    pd.DataFrame({"area": areas.round(1), "floor": floor, "price": price.round()}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def flats(tmp_path_factory):
    """Return a workflow whose first champion of `flats` was trained with parameters that are not the defaults."""
    folder = tmp_path_factory.mktemp("flats")
    workflow = Workflow(folder / "store", data=write_flats(folder / "flats.csv", 0))
    options = {"target": "price", "seed": "3", "test_size": "0.3", "cv": "3", "metric": "root_mean_squared_error"}
    trained = workflow.step("train", model="linear", model_params="{alpha: 2.5}", **options)
    assert trained.code == 0, trained.output
    rules = folder / "rules.yaml"
    rules.write_text("champion: auto\nthresholds: {r2_score: {min: 0.5}}\n")
    promoted = workflow.step("promote", run=workflow.last().info.run_id, name="flats", rules=rules)
    assert promoted.code == 0, promoted.output
    return workflow


def champion(workflow: Workflow) -> int:
    return int(workflow.client.get_registered_model("flats").aliases["champion"])


def test_a_model_that_passes_on_new_data_is_promoted_with_the_parameters_of_the_champion(flats, tmp_path):
    result = flats.step("retrain", name="flats", data=write_flats(tmp_path / "new.csv", 1, area=(100, 260)))
    assert result.code == 0, result.output
    assert "version 2 of flats is the champion, after version 1" in result.output
    assert "The new rows have drifted in area." in result.output
    assert champion(flats) == 2
    run, (trained, first) = flats.last(), flats.runs("train")
    parameters, before = (json.loads(each.data.tags["workflow.parameters"]) for each in (trained, first))
    assert {name for name in parameters if parameters[name] != before[name]} == {"data", "contract"}
    assert (parameters["seed"], parameters["test_size"], parameters["model_params"]) == (3, 0.3, {"alpha": 2.5})
    checks = pd.read_csv(flats.artifacts(flats.runs("promote")[0], "decision.csv"))
    assert list(checks["rule"].str.split(" ").str[0]) == ["r2_score", "root_mean_squared_error"]
    drifts = pd.read_csv(flats.artifacts(run, "drift.csv")).set_index("column")["drift"]
    assert drifts["area"] > 0.2 > drifts["floor"]
    page = json.loads(flats.artifacts(run, "retrain.json").read_text())
    sections = {section["title"]: section for section in page["sections"]}
    assert list(sections) == ["Rows", "Drift by feature", "Scores", "Rules"]
    scores = {row["metric"]: row for row in sections["Scores"]["table"]}
    scored = flats.client.get_run(run.data.tags["workflow.winner_evaluate_run_id"]).data.metrics
    assert scores["root mean squared error"]["new"] == pytest.approx(scored["root_mean_squared_error"])
    assert sections["Rows"]["table"][3] == {"": "training rows", "version 1": 280, "new": 280}


def test_a_model_that_fails_on_drifted_data_ends_with_3_and_changes_nothing(flats, tmp_path):
    before = champion(flats)
    data = write_flats(tmp_path / "noise.csv", 2, area=(100, 300), slope=0)
    result = flats.step("retrain", name="flats", data=data)
    assert result.code == 3, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("not promoted: ")]
    assert "was not promoted: r2_score ≥ 0.5: " in line
    assert "the data has drifted (area)" in line
    assert champion(flats) == before
    assert flats.last().info.status == "FAILED"
    assert flats.artifacts(flats.last(), "retrain.html").is_file()


def test_a_model_that_fails_is_no_fault_where_nothing_has_drifted(flats, tmp_path):
    versions = len(flats.client.search_model_versions("name = 'flats'"))
    before, rules = champion(flats), tmp_path / "rules.yaml"
    rules.write_text("thresholds: {r2_score: {min: 1}}")
    words = {"name": "flats", "rules": rules, "dry_run": "true"}
    result = flats.step("retrain", data=write_flats(tmp_path / "alike.csv", 4, area=(100, 260)), **words)
    assert "the model, as a version of flats, would not be promoted: r2_score ≥ 1: " in result.output
    assert "No feature has drifted." in result.output
    assert result.code == 0, result.output
    assert champion(flats) == before
    assert len(flats.client.search_model_versions("name = 'flats'")) == versions


def test_the_same_data_is_not_trained_on_again(flats, tmp_path):
    assert flats.step("retrain", name="flats", data=write_flats(tmp_path / "third.csv", 5, area=(100, 260))).code == 0
    version, runs = champion(flats), len(flats.runs())
    copy = shutil.copy(tmp_path / "third.csv", tmp_path / "copy.csv")
    result = flats.step("retrain", name="flats", data=copy)
    assert result.code == 0, result.output
    assert f"nothing to do: version {version} of flats, the champion, was trained on this data" in result.output
    assert len(flats.runs()) == runs + 1


def test_a_retraining_leads_to_the_proof_of_its_model(flats):
    retrained = [run for run in flats.runs("retrain") if "workflow.winner_evaluate_run_id" in run.data.tags]
    result = flats.step("reproduce", run=next(run for run in retrained if run.info.status == "FINISHED").info.run_id)
    assert result.code == 0, result.output
    assert "equal: all " in result.output


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"name": "", "data": "x"}, "--name is required: -P name=<registered model>"),
        ({"name": "flats", "data": ""}, "--data is required: -P data=<file>"),
        ({"name": "flat", "data": "x"}, "no registered model flat; did you mean flats?"),
        ({"name": "unpromoted", "data": "x"}, "unpromoted has no alias champion; it has none"),
        ({"name": "flats", "data": "nowhere.csv"}, "data=nowhere.csv: no such file"),
        ({"name": "flats", "data": "x", "rules": "nowhere.yaml"}, "rules=nowhere.yaml: no such file"),
        ({"name": "flats", "data": "{tmp}/narrow.csv"}, "no column area"),
        ({"name": "flats", "data": "{tmp}/unlabelled.csv"}, "no column price"),
    ],
)
def test_a_mistake_ends_in_one_line(flats, tmp_path, parameters, words):
    if "unpromoted" not in {model.name for model in flats.client.search_registered_models()}:
        flats.client.create_registered_model("unpromoted")
    rows = pd.read_csv(flats.data)
    rows.drop(columns="area").to_csv(tmp_path / "narrow.csv", index=False)
    rows.drop(columns="price").to_csv(tmp_path / "unlabelled.csv", index=False)
    result = flats.step("retrain", **{name: value.format(tmp=tmp_path) for name, value in parameters.items()})
    assert result.code == 2, result.output
    assert words in result.error
    assert "Traceback" not in result.output
    assert flats.last().info.status == "FAILED"
