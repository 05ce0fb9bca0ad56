"""Models that are trained beside each other, in processes: the same results, and no run or process is left open."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from conftest import PROJECT, Workflow
from joblib import cpu_count
from mlflow.entities import Run

from workflow.provenance import receipt
from workflow.runs.names import Files, Tags

pytestmark = [
    pytest.mark.slow,
    pytest.mark.nightly,
    pytest.mark.skipif(cpu_count() < 2, reason="one core trains in sequence"),
]
MODELS = {"models": "linear,rf,dummy,blend", "model_params": "{rf: {n_estimators: 10}}", "shap_samples": "2"}
LONG = {"models": "rf,extra_trees", "model_params": "{rf: {n_estimators: 5000}, extra_trees: {n_estimators: 5000}}"}
OUTPUT = "output.txt"


@pytest.fixture(scope="module")
def beside(tmp_path_factory, small_data) -> Workflow:
    """Return a workflow in which `main` ran once, in two processes, started as users do."""
    workflow = Workflow(tmp_path_factory.mktemp("beside"), data=small_data)
    process = start(workflow, **MODELS)
    assert process.wait() == 0, output(workflow)
    workflow.first_output = output(workflow)
    return workflow


def start(workflow: Workflow, **parameters: str) -> subprocess.Popen:
    """Start main as users do, on two cores and in a process group of its own; it writes to `OUTPUT`."""
    words = [word for name, value in parameters.items() for word in (f"--{name}", value)]
    with open(workflow.folder / OUTPUT, "w") as file:
        return subprocess.Popen(
            [sys.executable, PROJECT / "steps/main.py", "--data", str(workflow.data), *words],
            env=workflow.environment | {"LOKY_MAX_CPU_COUNT": "2"},
            cwd=workflow.folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def output(workflow: Workflow) -> str:
    return (workflow.folder / OUTPUT).read_text()


def family(workflow: Workflow) -> list[Run]:
    """Return the newest main run, and its children."""
    main = workflow.last()
    return [main, *(run for run in workflow.runs() if run.data.tags.get("mlflow.parentRunId") == main.info.run_id)]


def training(workflow: Workflow, process: subprocess.Popen) -> list[psutil.Process]:
    """Return the processes that descend from a main, once it trains two models."""
    for _ in range(600):
        main, *children = family(workflow)
        own = main.data.tags.get(Tags.PROCESS, "").rpartition(":")[2].startswith(f"{process.pid}.")
        if own and [run.data.tags.get(Tags.STAGE) for run in children] == ["train"] * 2:
            return psutil.Process(process.pid).children(recursive=True)
        assert process.poll() is None, output(workflow)
        time.sleep(0.1)
    raise AssertionError(output(workflow))


def ended(processes: list[psutil.Process]) -> bool:
    """Return whether all processes end within seconds."""
    return not psutil.wait_procs(processes, timeout=10)[1]


def outcome(workflow: Workflow) -> dict[str, receipt.Outcome]:
    """Return the outcome in the receipt of the first main run, by label."""
    path = workflow.artifacts(workflow.first("main"), Files.RECEIPT)
    return receipt.read(path.read_text(), str(path)).outcome


def test_the_receipt_is_that_of_one_process_bit_for_bit(beside, tmp_path, small_data):
    alone = Workflow(tmp_path, data=small_data)
    result = alone.step("main", **MODELS)  # on one core
    assert result.code == 0, result.output
    assert list(outcome(beside)) == list(outcome(alone))
    assert outcome(beside) == outcome(alone)
    processes = [{run.data.tags[Tags.PROCESS] for run in workflow.runs("train")} for workflow in (alone, beside)]
    assert [len(each) for each in processes] == [1, 4]  # the blend is trained by main itself


def test_runs_of_all_processes_are_finished_children_of_main_and_printed_once(beside):
    main, *children = family(beside)
    names = [
        "preprocess",
        *(f"{stage} {model}" for model in MODELS["models"].split(",") for stage in ("train", "evaluate")),
    ]
    assert sorted(run.info.run_name for run in children) == sorted(names)
    assert {run.info.status for run in [main, *children]} == {"FINISHED"}
    for run in children:
        line = rf"^{run.info.run_name} +\d+\.\d s +run {run.info.run_id}$"
        assert len(re.findall(line, beside.first_output, re.M)) == 1
    assert beside.first_output.count("reused") == 0


def test_a_second_main_reuses_the_runs_and_starts_no_process(beside):
    made = len(beside.runs("train"))
    process = start(beside, **MODELS)
    assert process.wait() == 0, output(beside)
    assert output(beside).count(" reused ") == 9
    assert len(beside.runs("train")) == made


@pytest.mark.parametrize("stop", ["ctrl-c", "sigterm"])
def test_an_interrupted_main_leaves_no_process_and_no_open_run(beside, stop):
    process = start(beside, **LONG)
    descendants = training(beside, process)
    if stop == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all processes at once
    else:
        process.terminate()
    assert process.wait(timeout=60) == 130
    assert output(beside).splitlines()[-1] == "interrupted"
    assert "Traceback" not in output(beside)
    assert ended(descendants)
    main, *children = family(beside)
    statuses = {run.info.run_name: run.info.status for run in children}
    assert main.info.status == "KILLED"
    assert statuses == {"train rf": "KILLED", "train extra_trees": "KILLED"}
    assert {run.data.tags[Tags.ERROR] for run in [main, *children]} == {"interrupted"}


def test_a_model_that_is_refused_ends_the_others(beside):
    process = start(
        beside, models="rf,extra_trees", model_params="{rf: {n_estimators: -5}, extra_trees: {n_estimators: 5000}}"
    )
    assert process.wait(timeout=60) == 2
    (line,) = [line for line in output(beside).splitlines() if line.startswith("error: ")]
    assert "rf refuses: The 'n_estimators' parameter of RandomForestRegressor must be" in line
    assert "Traceback" not in output(beside)
    main, *children = family(beside)
    assert (main.info.status, main.data.tags[Tags.ERROR]) == ("FAILED", line.removeprefix("error: "))
    statuses = {run.info.run_name: run.info.status for run in children}
    assert statuses.pop("train rf") == "FAILED"
    assert set(statuses.values()) <= {"KILLED"}


def test_a_killed_worker_ends_main_in_one_line(beside):
    process = start(beside, **LONG)
    descendants = training(beside, process)
    marks = {run.data.tags[Tags.PROCESS].rpartition(":")[2] for run in family(beside)[1:]}
    os.kill(int(min(marks).split(".")[0]), signal.SIGKILL)
    assert process.wait(timeout=60) == 2
    (line,) = [line for line in output(beside).splitlines() if line.startswith("error: ")]
    assert line.startswith("error: a worker process died, perhaps out of memory; ")
    assert ended(descendants)
    main, *children = family(beside)
    assert main.info.status == "FAILED"
    assert sorted(run.info.status for run in children) == ["KILLED", "RUNNING"]  # nobody could close the killed one's
    beside.step("preprocess", data="/nowhere.csv")
    assert not [run for run in beside.runs() if run.info.status == "RUNNING"]


def test_the_runs_of_a_killed_main_are_closed_by_the_next_main(beside):
    process = start(beside, **LONG)
    descendants = training(beside, process)
    killed = [run.info.run_id for run in family(beside)]
    process.kill()
    process.wait()
    assert ended(descendants)
    assert "Traceback" not in output(beside)
    following = start(beside, models="linear,knn", shap_samples="2")
    assert following.wait() == 0, output(beside)
    statuses = [beside.client.get_run(run_id).info.status for run_id in killed]
    assert statuses == ["FAILED", "KILLED", "KILLED"]  # processes whose main is gone end, and close their runs
    assert not [run for run in beside.runs() if run.info.status == "RUNNING"]
