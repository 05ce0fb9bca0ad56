"""A user's mistake ends in one helpful line, exit code 2 and a FAILED run tagged with the reason."""

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
    """Return a folder of files with a fault each."""
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
        ("train", {"model": "forest"}, "model=forest: invalid choice"),
        ("train", {"modle": "rf"}, "unknown parameter modle; did you mean model?"),
        ("train", {"model_params": "{n_estimators: "}, "not YAML or JSON"),
        ("train", {"model_params": "[1, 2]"}, "must be a mapping"),
        ("train", {"model_params": "{n_estimator: 5}"}, "no parameter n_estimator; did you mean n_estimators?"),
        ("train", {"model_params": "{n_estimators: -5}"}, "'n_estimators' parameter of RandomForestRegressor must be"),
        ("train", {"model": "blend", "model_params": "{linaer: {}}"}, "cannot be blended; did you mean linear?"),
        ("train", {"model": "blend", "model_params": "{blend: {}}"}, "cannot be blended; expected one of linear, knn"),
        ("train", {"model": "blend", "model_params": "{rf: 3}"}, "must map each model to its parameters"),
        ("train", {"cv": "1"}, "cv=1: must be an integer from 2"),
        ("train", {"cv": "5000"}, "for 5000-fold cross-validation: "),
        ("train", {"max_rows": "3"}, "too few distinct rows for 5-fold cross-validation: 3; lower cv"),
        ("train", {"encoder": "one hot"}, "encoder=one hot: invalid choice"),
        ("train", {"log_target": "True"}, "log_target=True: invalid choice; did you mean true?"),
        ("preprocess", {"test_size": "1.5"}, "test_size=1.5: must be a number between 0 and 1"),
        ("preprocess", {"test_size": "0.001"}, "too few rows"),
        ("preprocess", {"seed": "-1"}, "must be an integer from 0"),
        ("preprocess", {"data": "/nowhere/wines.csv"}, "data=/nowhere/wines.csv: no such file"),
        ("preprocess", {"data": "mine.csv"}, 'for a file of yours: -P data="$PWD/mine.csv"'),
        ("preprocess", {"data": "{files}"}, "binary.csv: no rows after the header winery"),
        ("preprocess", {"data": "{files}/empty.csv"}, "an empty file"),
        ("preprocess", {"data": "{files}/header.csv"}, "no rows after the header"),
        ("preprocess", {"data": "{files}/no_target.csv"}, "no column price"),
        ("preprocess", {"data": "{files}/no_feature.csv"}, "no column winery"),
        ("preprocess", {"data": "{files}/text_target.csv"}, "column price is not a number (first: 'cheap' in line 2)"),
        ("preprocess", {"data": "{files}/few.csv"}, "too few rows"),
        ("preprocess", {"data": ""}, "--data is required: expected a path, file://"),
        ("preprocess", {"data": "/"}, "data=/: a folder of 10,000 files or more"),
        ("train", {"model": "knn", "model_params": "{n_neighbors: 100000}"}, '{"n_neighbors": 100000}: knn refuses: '),
        ("preprocess", {"data": "ftps://x.csv"}, "unknown kind of source; expected a path, file://"),
        (
            "preprocess",
            {"contract": "auto", "data": "{files}/few.csv"},
            "--target is required: -P target=<column to predict>; the data has winery, wine",
        ),
        ("preprocess", {"target": "region"}, "target region must be a numeric column of the contract"),
        ("preprocess", {"split": "time"}, "--time is required with split=time: -P time=<column>"),
        ("preprocess", {"split": "time", "time": "region"}, "time region must be a date or numeric column of the"),
        (
            "contract",
            {"data": "{files}/few.csv"},
            "--target is required: -P target=<column to predict>; the data has winery, wine",
        ),
        ("preprocess", {"contract": "{files}/broken.yaml"}, "while parsing"),
        (
            "preprocess",
            {"contract": "{files}/kind.yaml"},
            "column price has kind money; expected one of numeric, categorical, text, boolean, date",
        ),
        ("train", {"preprocess_run_id": "0" * 32}, "no such run"),
        ("main", {"models": "rf,svm"}, "models=rf,svm: invalid choice"),
        (
            "main",
            {"model_params": "{rf: {}}"},
            "not among the models; expected one of linear, extra_trees, boosting, mean_boosting, blend",
        ),
        (
            "main",
            {"model_params": "{svm: {}}"},
            "expected one of linear, extra_trees, boosting, mean_boosting, rf, blend",
        ),
        ("main", {"models": "linear", "model_params": "{svm: {}}"}, "not among the models; expected one of linear"),
        ("main", {"model_params": "{rf: 3}"}, "rf must be mapped to a mapping, as in {rf: {n_estimators: 300}}"),
        ("train", {"model_params": "{max_depth: 2020-01-01}"}, "date is not JSON serializable"),
        ("evaluate", {"shap_samples": "0"}, "must be an integer from 1"),
    ],
)
def test_a_mistake_ends_in_one_line_and_a_failed_run(workflow, files, entry_point, parameters, words):
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


COLUMNS = "winery, wine, year, rating, num_reviews, country, region, type, body, acidity, price"
LINES = {  # the ten most frequent mistakes: entry point, parameters, and the whole line
    "unknown parameter": ("train", {"modle": "rf"}, "unknown parameter modle; did you mean model?"),
    "invalid choice": (
        "preprocess",
        {"split": "stratified"},
        "split=stratified: invalid choice; expected one of random, group, time, fold",
    ),
    "missing file": ("preprocess", {"data": "/nowhere/wines.csv"}, "data=/nowhere/wines.csv: no such file"),
    "relative path": (
        "preprocess",
        {"data": "mine.csv"},
        'data=mine.csv: no such file in the project folder; for a file of yours: -P data="$PWD/mine.csv"',
    ),
    "missing target": (
        "preprocess",
        {"data": "{files}/few.csv"},
        f"--target is required: -P target=<column to predict>; the data has {COLUMNS}",
    ),
    "wrong column name": (
        "preprocess",
        {"data": "{files}/few.csv", "target": "prize"},
        "target=prize: no such column; did you mean price?",
    ),
    "unknown run id": (
        "train",
        {"preprocess_run_id": "0" * 32},
        f"preprocess_run_id={'0' * 32}: no such run in {{store}}; copy the id from the UI",
    ),
    "contradiction of a named run": (
        "evaluate",
        {"train_run_id": "{train_run}", "model": "rf"},
        "model=rf contradicts train_run_id={train_run}, which has model=linear; leave one out",
    ),
    "not a number in the target": (
        "preprocess",
        {"data": "{files}/text_target.csv", "contract": "data/wines.yaml"},
        "900 of 900 rows break the contract: column price is not a number (first: 'cheap' in line 2); correct the file"
        " or the contract",
    ),
    "unreachable tracking store": (
        "preprocess",
        {},
        "tracking store http://127.0.0.1:9: [Errno 111] Connection refused; check MLFLOW_TRACKING_URI and that the"
        " server runs",
    ),
}


@pytest.mark.parametrize("mistake", LINES)
def test_a_frequent_mistake_prints_exactly_this_line(workflow, files, monkeypatch, mistake):
    entry_point, parameters, line = LINES[mistake]
    if mistake == "unreachable tracking store":
        monkeypatch.setitem(workflow.environment, "MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.setitem(workflow.environment, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    trained = next(run for run in workflow.runs("train") if run.info.run_name == "train linear")
    values = {"files": str(files), "train_run": trained.info.run_id, "store": workflow.uri}
    result = workflow.step(entry_point, **{name: value.format(**values) for name, value in parameters.items()})
    assert result.code == 2
    assert result.output == f"error: {line.format(**values)}\n"


def test_parameters_of_models_that_are_not_compared_are_refused_before_any_work(workflow):
    made = len(workflow.runs("preprocess"))
    assert workflow.step("main", models="linear", model_params="{rf: {}}", seed="77").code == 2
    assert len(workflow.runs("preprocess")) == made


def test_mlflow_run_reports_a_mistake_in_one_line(workflow):
    result = workflow.run("train", model="forest")
    assert result.code != 0
    assert "model=forest: invalid choice" in result.error
    run = workflow.last()
    assert (run.info.status, run.data.tags["workflow.error"]) == ("FAILED", result.error)
    assert run.data.params["model"] == "forest"  # as `mlflow run` logged it


def test_a_run_id_of_another_stage_is_refused(workflow):
    run = workflow.first("train")
    assert "a run of train, not of preprocess" in workflow.step("train", preprocess_run_id=run.info.run_id).error


def test_a_run_id_of_an_unfinished_run_is_refused(workflow):
    run = workflow.client.create_run("0", tags={"workflow.step": "preprocess"})
    assert "not complete (RUNNING)" in workflow.step("train", preprocess_run_id=run.info.run_id).error
    workflow.client.set_terminated(run.info.run_id, "KILLED")


def test_a_tracking_store_that_cannot_be_created_is_reported_in_one_line(workflow, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setitem(workflow.environment, "MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    result = workflow.step("preprocess")
    assert result.code == 2
    assert "Traceback" not in result.output
    assert "tracking store" in result.error


OUTPUT = "output.txt"


def start(workflow: Workflow, *words: str) -> Process:
    """Start a train script that writes to `OUTPUT`."""
    script, output = workflow.project / "steps/train.py", workflow.folder / OUTPUT
    return forked.start(script, ["--data", str(workflow.data), *words], workflow.environment, workflow.folder, output)


def start_training(workflow: Workflow) -> Process:
    """Start a train script that fits many trees, and wait until it does."""
    process = start(workflow, "--model_params", "{n_estimators: 3000}")
    for _ in range(300):
        if (run := workflow.last()).info.status == "RUNNING" and run.data.tags.get("workflow.step") == "train":
            return process
        time.sleep(0.1)
    raise AssertionError((workflow.folder / OUTPUT).read_text())


def test_ctrl_c_leaves_a_killed_run(workflow):
    process = start_training(workflow)
    os.kill(process.pid, signal.SIGINT)
    process.join(timeout=60)
    assert process.exitcode == 130
    assert (workflow.folder / OUTPUT).read_text().splitlines()[-1] == "interrupted"
    run = workflow.last()
    assert (run.info.status, run.data.tags["workflow.error"]) == ("KILLED", "interrupted")


def test_the_run_of_a_killed_process_is_closed_by_the_next_run(workflow):
    process = start_training(workflow)
    abandoned = workflow.last().info.run_id
    process.kill()
    process.join()
    assert workflow.client.get_run(abandoned).info.status == "RUNNING"
    workflow.step("preprocess", data="/nowhere.csv")
    run = workflow.client.get_run(abandoned)
    assert run.info.status == "FAILED"
    reason = "its process ended without closing the run: it was killed, perhaps for lack of memory"
    assert run.data.tags["workflow.error"] == reason


def test_a_run_whose_process_never_started_is_closed_after_hours(workflow):
    source = "mlflow.source.name"
    workflow.step("preprocess", data="/nowhere.csv")
    ours, now = workflow.last().data.tags[source], time.time()
    opened = [
        workflow.client.create_run("0", int(1000 * (now - hours * 3600)), {source: name}).info.run_id
        for hours, name in ((7, ours), (5, ours), (7, "another project"))
    ]
    workflow.step("preprocess", data="/nowhere.csv")
    assert [workflow.client.get_run(run_id).info.status for run_id in opened] == ["FAILED", "RUNNING", "RUNNING"]
    assert workflow.client.get_run(opened[0]).data.tags["workflow.error"] == "its process never started"
    for run_id in opened:
        workflow.client.delete_run(run_id)


def test_two_identical_commands_at_once_both_succeed(workflow):
    twins = [start(workflow, "--model", "dummy") for _ in range(2)]
    for twin in twins:
        twin.join()
    assert [twin.exitcode for twin in twins] == [0, 0]
