"""Results on a Dask cluster are those without it, and its faults are reported in one line."""

import subprocess
import sys
import time
from multiprocessing.process import BaseProcess as Process
from pathlib import Path

import forked
import pytest
from conftest import Workflow
from dask_cluster import Cluster, dask_cluster

from workflow.errors import UserError
from workflow.parallel import cluster
from workflow.provenance import receipt
from workflow.runs.names import Files

pytestmark = [pytest.mark.slow, pytest.mark.nightly]
SEARCH = {"model": "knn", "trials": "6", "concurrent": "3", "cv": "2", "shap_samples": "2"}
LONG_SEARCH = SEARCH | {"trials": "20", "cv": "3"}
OUTPUT = "output.txt"
MAIN = {"models": "dummy,rf", "model_params": "{rf: {n_estimators: 5}}", "cv": "2", "shap_samples": "2"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, small_data) -> Workflow:
    """Return a workflow without a cluster, on one core, in which `main` and `tune` ran once."""
    workflow = Workflow(tmp_path_factory.mktemp("alone"), data=small_data)
    assert workflow.step("main", **MAIN).code == 0
    assert workflow.step("tune", **SEARCH).code == 0
    return workflow


@pytest.fixture(scope="module")
def patient(tmp_path_factory, small_data) -> Workflow:
    """Return a workflow without a cluster in which a long search ran."""
    workflow = Workflow(tmp_path_factory.mktemp("patient"), data=small_data)
    assert workflow.step("tune", **LONG_SEARCH).code == 0
    return workflow


def outcome(workflow: Workflow, step: str) -> tuple:
    """Return parameters, outcome and packages of the last run of a step, from its receipt."""
    made = receipt.read(workflow.artifacts(workflow.runs(step)[0], Files.RECEIPT).read_text(), step)
    return made.parameters, made.outcome, made.environment.packages


def predictions(workflow: Workflow, address: str) -> bytes:
    """Predict the workflow's data with its model on the cluster at an address, if any; return the output."""
    output = workflow.folder / "predictions.csv"
    words = {"model": workflow.runs("train")[0].info.run_id, "data": str(workflow.data), "output": str(output)}
    result = workflow.step("predict", **words, cluster=address)
    assert result.code == 0, result.output
    assert "900 rows predicted" in result.output
    content = output.read_bytes()
    output.unlink()
    return content


def test_results_on_a_cluster_are_those_without_it(alone, server, tmp_path, small_data):
    workflow = Workflow(tmp_path / "client", data=small_data)
    workflow.uri = workflow.environment["MLFLOW_TRACKING_URI"] = server  # which the workers do not know
    workflow.experiment = workflow.client.create_experiment("on a cluster")
    workflow.environment["MLFLOW_EXPERIMENT_ID"] = workflow.experiment
    with dask_cluster(tmp_path / "cluster") as dask:
        for result in (
            workflow.run("tune", **SEARCH, cluster=dask.address),
            workflow.step("main", **MAIN, cluster=dask.address),
        ):
            assert result.code == 0, result.output
            assert f"computing on {dask.address}, workers: 2" in result.output
        assert predictions(alone, "") == predictions(alone, dask.address)
    for step in ("tune", "main"):
        assert outcome(workflow, step) == outcome(alone, step)


def test_a_run_is_reproduced_bit_for_bit_on_a_local_cluster(alone):
    run_id = alone.runs("train")[0].info.run_id
    result = alone.step("reproduce", run=run_id, cluster="local")
    assert result.code == 0, result.output
    assert "bit for bit" in result.output


def start_search(dask: Cluster, workflow: Workflow) -> Process:
    """Start a long search on a cluster that writes to `OUTPUT`, and wait for its first trial."""
    words = [word for name, value in LONG_SEARCH.items() for word in (f"--{name}", value)]
    script, output = workflow.project / "steps/tune.py", workflow.folder / OUTPUT
    words += ["--data", str(workflow.data), "--cluster", dask.address]
    process = forked.start(script, words, workflow.environment, workflow.folder, output)
    for _ in range(600):
        if workflow.runs("trial"):
            return process
        time.sleep(0.05)
    raise AssertionError(output.read_text())


def test_workers_may_leave_and_join_during_a_search(patient, tmp_path, small_data):
    workflow = Workflow(tmp_path / "client", data=small_data)
    with dask_cluster(tmp_path / "cluster") as dask:
        process = start_search(dask, workflow)
        dask.workers[0].kill()
        dask.worker()
        process.join(timeout=120)
    assert process.exitcode == 0, (workflow.folder / OUTPUT).read_text()
    assert outcome(workflow, "tune") == outcome(patient, "tune")


def test_a_dead_scheduler_ends_a_search_in_one_line_and_it_can_be_resumed(patient, tmp_path, small_data):
    workflow = Workflow(tmp_path / "client", data=small_data)
    with dask_cluster(tmp_path / "cluster") as dask:
        process = start_search(dask, workflow)
        dask.scheduler.kill()
        process.join(timeout=120)
    output = (workflow.folder / OUTPUT).read_text()
    assert process.exitcode == 2, output
    assert "the scheduler is gone" in output
    assert "Traceback" not in output
    assert workflow.last().info.status == "FAILED"
    assert workflow.step("tune", **LONG_SEARCH).code == 0
    assert outcome(workflow, "tune") == outcome(patient, "tune")


def test_a_worker_with_another_environment_is_refused(alone, tmp_path):
    fake = tmp_path / "packages"
    (fake / "skops-9.9.dist-info").mkdir(parents=True)
    (fake / "skops-9.9.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: skops\nVersion: 9.9\n")
    for variables, words in (
        ({"OPENBLAS_CORETYPE": "Prescott"}, "has OPENBLAS_CORETYPE Prescott, expected Haswell"),
        ({"PYTHONPATH": str(fake)}, "has skops 9.9, expected "),
    ):
        with dask_cluster(tmp_path / f"cluster with {'_'.join(variables)}", workers=0) as dask:
            dask.worker(**variables)
            dask.wait()
            result = alone.step("train", model="dummy", cluster=dask.address)
        assert result.code == 2, result.output
        assert words in result.error


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://127.0.0.1:9", "cluster=tcp://127.0.0.1:9: no scheduler answers; start one with `dask scheduler`"),
        ("nowhere", "cluster=nowhere: expected local or an address such as tcp://host:8786"),
    ],
)
def test_an_address_without_a_cluster_is_refused_within_seconds(alone, address, words):
    began = time.monotonic()
    result = alone.step("train", model="dummy", cluster=address)
    assert time.monotonic() - began < 30
    assert result.code == 2
    assert words in result.error


def test_a_task_is_refused_when_another_command_has_replaced_the_code_of_the_workers(tmp_path, monkeypatch):
    with dask_cluster(tmp_path / "cluster", workers=1) as dask, cluster.connected(dask.address, []) as client:
        assert list(cluster.map_on_cluster(client, abs, [-1, -2])) == [1, 2]
        ours = cluster.code_zip()
        monkeypatch.setattr(cluster, "code_zip", lambda: ("0" * 64, ours[1]))
        with cluster.connected(dask.address, []):
            monkeypatch.setattr(cluster, "code_zip", lambda: ours)
            with pytest.raises(UserError, match="another command has sent other code to its workers"):
                list(cluster.map_on_cluster(client, abs, [-1]))


def test_large_items_are_sent_without_a_warning(tmp_path, recwarn):
    with dask_cluster(tmp_path / "cluster", workers=1) as dask, cluster.connected(dask.address, []) as client:
        assert list(cluster.map_on_cluster(client, len, [b"x" * 2**24])) == [2**24]
    assert not [each for each in recwarn if "large graph" in str(each.message)]


def test_a_cluster_without_workers_is_refused_with_the_command_to_start_one(alone, tmp_path):
    with dask_cluster(tmp_path / "cluster", workers=0) as dask:
        result = alone.step("train", model="dummy", cluster=dask.address)
    assert result.code == 2
    assert f"no workers; start one with `dask worker {dask.address}`" in result.error


def test_dask_is_not_imported_without_a_cluster(alone):
    script = Path(alone.project) / "steps/train.py"
    code = f"import runpy, sys; sys.argv = ['train', '--model', 'dummy', '--data', {str(alone.data)!r}]; " + (
        f"sys.path.insert(0, {str(script.parent)!r}); runpy.run_path({str(script)!r}, run_name='__main__');"
        "print('distributed' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=alone.environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
