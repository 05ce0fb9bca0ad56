"""A user's mistake ends in one line that helps, an exit code, and a FAILED run that carries the reason."""

import gzip
import os
import signal
import time
from multiprocessing.process import BaseProcess as Process

import forked
import pytest
from conftest import Workflow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory, small_data):
    """Files that something is wrong with, by name."""
    folder = tmp_path_factory.mktemp("bad")
    lines = small_data.read_text().splitlines()
    content = {
        "empty.csv": b"",
        "header.csv": lines[0].encode(),
        "no_target.csv": "\n".join(line.rpartition(",")[0] for line in lines).encode(),
        "no_feature.csv": "\n".join(line.partition(",")[2] for line in lines).encode(),
        "text_target.csv": "\n".join([lines[0], *(line.rpartition(",")[0] + ",cheap" for line in lines[1:])]).encode(),
        "few.csv": "\n".join(lines[:12]).encode(),
        "binary.csv": gzip.compress(lines[0].encode()),
        "broken.yaml": b"columns: [",
        "kind.yaml": b"target: price\ncolumns: {price: {kind: money}}",
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("entry_point", "parameters", "words"),
    [
        ("train", {"model": "forest"}, "model=forest: no such choice"),
        ("train", {"modle": "rf"}, "unknown parameter modle: did you mean model?"),
        ("train", {"model_params": "{n_estimators: "}, "not YAML or JSON"),
        ("train", {"model_params": "[1, 2]"}, "must be a mapping"),
        ("train", {"model_params": "{n_estimator: 5}"}, "no parameter n_estimator; did you mean n_estimators?"),
        ("train", {"model_params": "{n_estimators: -5}"}, "'n_estimators' parameter of RandomForestRegressor must be"),
        ("train", {"model": "blend", "model_params": "{linaer: {}}"}, "no model to blend; did you mean linear?"),
        ("train", {"model": "blend", "model_params": "{blend: {}}"}, "no model to blend; there are linear, knn"),
        ("train", {"model": "blend", "model_params": "{rf: 3}"}, "must map each model to its parameters"),
        ("train", {"cv": "1"}, "cv=1: must be a whole number from 2"),
        ("train", {"cv": "5000"}, "for 5000-fold cross-validation: "),
        ("train", {"max_rows": "3"}, "too few distinct rows for 5-fold cross-validation: 3; lower cv"),
        ("train", {"encoder": "one hot"}, "encoder=one hot: no such choice"),
        ("train", {"log_target": "True"}, "log_target=True: no such choice; did you mean true?"),
        ("preprocess", {"test_size": "1.5"}, "test_size=1.5: must be a number between 0 and 1"),
        ("preprocess", {"test_size": "0.001"}, "too few rows"),
        ("preprocess", {"seed": "-1"}, "must be a whole number"),
        ("preprocess", {"data": "/nowhere/wines.csv"}, "data=/nowhere/wines.csv: no such file"),
        ("preprocess", {"data": "mine.csv"}, 'for a file of yours: -P data="$PWD/mine.csv"'),
        ("preprocess", {"data": "{files}"}, "binary.csv: no rows after the header winery"),
        ("preprocess", {"data": "{files}/empty.csv"}, "an empty file"),
        ("preprocess", {"data": "{files}/header.csv"}, "no rows after the header"),
        ("preprocess", {"data": "{files}/no_target.csv"}, "no column price"),
        ("preprocess", {"data": "{files}/no_feature.csv"}, "no column winery"),
        ("preprocess", {"data": "{files}/text_target.csv"}, "column price is not a number (first: 'cheap' in line 2)"),
        ("preprocess", {"data": "{files}/few.csv"}, "too few rows"),
        ("preprocess", {"data": ""}, "data: names no file; there are a path, file://"),
        ("preprocess", {"data": "/"}, "data=/: a folder of 10,000 files or more"),
        ("train", {"model": "knn", "model_params": "{n_neighbors: 100000}"}, '{"n_neighbors": 100000}: knn refuses: '),
        ("preprocess", {"data": "ftps://x.csv"}, "no such kind of source"),
        (
            "preprocess",
            {"contract": "auto", "data": "{files}/few.csv"},
            "-P target=<column>; the data has winery, wine",
        ),
        ("preprocess", {"target": "region"}, "target region must be a numeric column of the contract"),
        ("preprocess", {"split": "time"}, "--time is required with split=time: -P time=<column>"),
        ("preprocess", {"split": "time", "time": "region"}, "time region must be a date or numeric column of the"),
        ("contract", {"data": "{files}/few.csv"}, "target: which column is to be predicted?"),
        ("preprocess", {"contract": "{files}/broken.yaml"}, "while parsing"),
        (
            "preprocess",
            {"contract": "{files}/kind.yaml"},
            "column price is money; kinds are numeric, categorical, text, boolean, date",
        ),
        ("train", {"preprocess_run_id": "0" * 32}, "no such run"),
        ("main", {"models": "rf,svm"}, "no such choice"),
        ("main", {"model_params": "{rf: {}}"}, "not among the models; there are linear, extra_trees, boosting, blend"),
        ("main", {"model_params": "{svm: {}}"}, "the models; there are linear, extra_trees, boosting, rf, blend"),
        ("main", {"models": "linear", "model_params": "{svm: {}}"}, "not among the models; there are linear"),
        ("main", {"model_params": "{rf: 3}"}, "must map the model to its parameters"),
        ("train", {"model_params": "{max_depth: 2020-01-01}"}, "date is not JSON serializable"),
        ("evaluate", {"shap_samples": "0"}, "must be a whole number"),
    ],
)
def test_mistake(workflow, files, entry_point, parameters, words):
    given = {name: value.replace("{files}", str(files)) for name, value in parameters.items()}
    if "data" in given and entry_point != "contract":
        given.setdefault("contract", "data/wines.yaml")
    result = workflow.step(entry_point, **given)
    assert result.code == 2
    assert words in result.error
    assert "Traceback" not in result.output
    run = workflow.last()
    assert run.info.status == "FAILED"
    assert run.data.tags["workflow.error"] == result.error
    assert "workflow.fingerprint" not in run.data.tags


def test_a_mistake_about_chosen_models_is_told_before_any_work(workflow):
    made = len(workflow.runs("preprocess"))
    assert workflow.step("main", models="linear", model_params="{rf: {}}", seed="77").code == 2
    assert len(workflow.runs("preprocess")) == made


def test_mistake_in_mlflow_run(workflow):
    result = workflow.run("train", model="forest")
    assert result.code != 0
    assert "model=forest: no such choice" in result.error
    run = workflow.last()
    assert (run.info.status, run.data.tags["workflow.error"]) == ("FAILED", result.error)
    assert run.data.params["model"] == "forest"  # as `mlflow run` logged it


def test_run_of_another_step(workflow):
    run = workflow.first("train")
    assert "a run of train, not of preprocess" in workflow.step("train", preprocess_run_id=run.info.run_id).error


def test_run_that_did_not_finish(workflow):
    run = workflow.client.create_run("0", tags={"workflow.step": "preprocess"})
    assert "not complete (RUNNING)" in workflow.step("train", preprocess_run_id=run.info.run_id).error
    workflow.client.set_terminated(run.info.run_id, "KILLED")


def test_unreachable_store(workflow, monkeypatch):
    monkeypatch.setitem(workflow.environment, "MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setitem(workflow.environment, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = workflow.step("preprocess")
    assert result.code == 2
    assert "tracking store http://127.0.0.1:9" in result.error
    assert "Traceback" not in result.output


def test_unwritable_store(workflow, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setitem(workflow.environment, "MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    result = workflow.step("preprocess")
    assert result.code == 2
    assert "Traceback" not in result.output
    assert "tracking store" in result.error


OUTPUT = "output.txt"


def start(workflow: Workflow, *words: str) -> Process:
    """A train script, which writes to `OUTPUT`."""
    script, output = workflow.project / "steps/train.py", workflow.folder / OUTPUT
    return forked.start(script, ["--data", str(workflow.data), *words], workflow.environment, workflow.folder, output)


def at_work(workflow: Workflow) -> Process:
    """A train script that is at work: it waits for enough trees to take a while."""
    process = start(workflow, "--model_params", "{n_estimators: 3000}")
    for _ in range(300):
        if (run := workflow.last()).info.status == "RUNNING" and run.data.tags.get("workflow.step") == "train":
            return process
        time.sleep(0.1)
    raise AssertionError((workflow.folder / OUTPUT).read_text())


def test_interrupting_leaves_a_killed_run(workflow):
    process = at_work(workflow)
    os.kill(process.pid, signal.SIGINT)
    process.join(timeout=60)
    assert process.exitcode == 130
    assert (workflow.folder / OUTPUT).read_text().splitlines()[-1] == "interrupted"
    run = workflow.last()
    assert (run.info.status, run.data.tags["workflow.error"]) == ("KILLED", "interrupted")


def test_what_a_killed_process_left_is_closed_by_the_next_run(workflow):
    process = at_work(workflow)
    abandoned = workflow.last().info.run_id
    process.kill()
    process.join()
    assert workflow.client.get_run(abandoned).info.status == "RUNNING"
    workflow.step("preprocess", data="/nowhere.csv")
    run = workflow.client.get_run(abandoned)
    assert run.info.status == "FAILED"
    reason = "its process ended without closing the run: it was killed, perhaps for want of memory"
    assert run.data.tags["workflow.error"] == reason


def test_what_was_opened_for_a_process_that_never_began_is_closed_after_hours(workflow):
    source = "mlflow.source.name"
    workflow.step("preprocess", data="/nowhere.csv")
    ours, now = workflow.last().data.tags[source], time.time()
    opened = [
        workflow.client.create_run("0", int(1000 * (now - hours * 3600)), {source: name}).info.run_id
        for hours, name in ((7, ours), (5, ours), (7, "another project"))
    ]
    workflow.step("preprocess", data="/nowhere.csv")
    assert [workflow.client.get_run(run_id).info.status for run_id in opened] == ["FAILED", "RUNNING", "RUNNING"]
    assert workflow.client.get_run(opened[0]).data.tags["workflow.error"] == "its process never began"
    for run_id in opened:
        workflow.client.delete_run(run_id)


def test_two_at_once(workflow):
    twins = [start(workflow, "--model", "dummy") for _ in range(2)]
    for twin in twins:
        twin.join()
    assert [twin.exitcode for twin in twins] == [0, 0]
