"""Work on a Dask cluster: a scheduler and workers as processes of their own, in folders of their own."""

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

pytestmark = pytest.mark.slow
SEARCH = {"model": "knn", "trials": "20", "concurrent": "3", "cv": "3", "shap_samples": "3"}
OUTPUT = "output.txt"
MAIN = {"models": "linear,rf", "model_params": "{rf: {n_estimators: 5}}", "cv": "2", "shap_samples": "2"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, small_data) -> Workflow:
    """A workflow without a cluster, with one core, in which a main and a search have run."""
    workflow = Workflow(tmp_path_factory.mktemp("alone"), data=small_data)
    workflow.environment["LOKY_MAX_CPU_COUNT"] = "1"
    assert workflow.step("main", **MAIN).code == 0
    assert workflow.step("tune", **SEARCH).code == 0
    return workflow


def outcome(workflow: Workflow, step: str) -> dict:
    """What came out, and the packages that it rests on, by the receipt of the last run of a step."""
    text = workflow.artifacts(workflow.runs(step)[0], receipt.FILE).read_text()
    document = receipt.read(text, step)
    return {name: document[name] for name in ("parameters", "outcome")} | document["environment"]["packages"]


def predictions(workflow: Workflow, address: str) -> bytes:
    """What `predict` makes of the workflow's data and model, on the cluster at an address, if any."""
    output = workflow.folder / "predictions.csv"
    words = {"model": workflow.runs("train")[0].info.run_id, "data": str(workflow.data), "output": str(output)}
    result = workflow.step("predict", **words, cluster=address)
    assert result.code == 0, result.output
    assert "900 rows predicted" in result.output
    content = output.read_bytes()
    output.unlink()
    return content


def test_what_workers_compute_is_what_comes_out_without_them(alone, server, tmp_path, small_data):
    workflow = Workflow(tmp_path / "client", data=small_data)
    workflow.uri = workflow.environment["MLFLOW_TRACKING_URI"] = server  # which workers do not know of
    workflow.experiment = workflow.client.create_experiment("on a cluster")
    workflow.environment["MLFLOW_EXPERIMENT_ID"] = workflow.experiment
    with dask_cluster(tmp_path / "cluster") as there:
        for result in (
            workflow.run("tune", **SEARCH, cluster=there.address),
            workflow.step("main", **MAIN, cluster=there.address),
        ):
            assert result.code == 0, result.output
            assert f"computing on {there.address}, workers: 2" in result.output
        predicted = [predictions(alone, place) for place in ("", there.address)]
    assert predicted[0] == predicted[1]
    for step in ("tune", "main"):
        assert outcome(workflow, step) == outcome(alone, step)


def test_a_cluster_of_this_computer(alone):
    run_id = alone.runs("train")[0].info.run_id
    result = alone.step("reproduce", run=run_id, cluster="local")
    assert result.code == 0, result.output
    assert "bit for bit" in result.output


def search_on(there: Cluster, workflow: Workflow) -> Process:
    """A search that is at work, and writes to `OUTPUT`: it has made its first trial."""
    words = [word for name, value in SEARCH.items() for word in (f"--{name}", value)]
    script, output = workflow.project / "steps/tune.py", workflow.folder / OUTPUT
    words += ["--data", str(workflow.data), "--cluster", there.address]
    process = forked.start(script, words, workflow.environment, workflow.folder, output)
    for _ in range(600):
        if workflow.runs("trial"):
            return process
        time.sleep(0.05)
    raise AssertionError(output.read_text())


def test_workers_come_and_go(alone, tmp_path, small_data):
    workflow = Workflow(tmp_path / "client", data=small_data)
    with dask_cluster(tmp_path / "cluster") as there:
        process = search_on(there, workflow)
        there.workers[0].kill()
        there.worker()
        process.join(timeout=120)
    assert process.exitcode == 0, (workflow.folder / OUTPUT).read_text()
    assert outcome(workflow, "tune") == outcome(alone, "tune")


def test_a_scheduler_that_is_gone(alone, tmp_path, small_data):
    workflow = Workflow(tmp_path / "client", data=small_data)
    with dask_cluster(tmp_path / "cluster") as there:
        process = search_on(there, workflow)
        there.scheduler.kill()
        process.join(timeout=120)
    output = (workflow.folder / OUTPUT).read_text()
    assert process.exitcode == 2, output
    assert "the scheduler is gone" in output
    assert "Traceback" not in output
    assert workflow.last().info.status == "FAILED"
    assert workflow.step("tune", **SEARCH).code == 0
    assert outcome(workflow, "tune") == outcome(alone, "tune")


def test_a_worker_that_would_compute_something_else(alone, tmp_path):
    fake = tmp_path / "packages"
    (fake / "skops-9.9.dist-info").mkdir(parents=True)
    (fake / "skops-9.9.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: skops\nVersion: 9.9\n")
    for place, (variables, words) in enumerate(
        (
            ({"OPENBLAS_CORETYPE": "Prescott"}, "OPENBLAS_CORETYPE Prescott there, Haswell here"),
            ({"PYTHONPATH": str(fake)}, "skops 9.9 there, "),
        )
    ):
        with dask_cluster(tmp_path / f"cluster{place}", workers=0) as there:
            there.worker(**variables)
            there.wait()
            result = alone.step("train", model="dummy", cluster=there.address)
        assert result.code == 2, result.output
        assert words in result.error


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://127.0.0.1:9", "cluster=tcp://127.0.0.1:9: no scheduler answers there; start one with `dask scheduler`"),
        ("nowhere", "cluster=nowhere: neither local nor an address, like tcp://host:8786"),
    ],
)
def test_no_cluster(alone, address, words):
    began = time.monotonic()
    result = alone.step("train", model="dummy", cluster=address)
    assert time.monotonic() - began < 30
    assert result.code == 2
    assert words in result.error


def test_tasks_whose_code_another_command_has_replaced_are_refused(tmp_path, monkeypatch):
    with dask_cluster(tmp_path / "cluster", workers=1) as there, cluster.connected(there.address) as client:
        assert list(cluster.each(client, abs, [-1, -2])) == [1, 2]
        ours = cluster.archive()
        monkeypatch.setattr(cluster, "archive", lambda: ("0" * 64, ours[1]))
        with cluster.connected(there.address):
            monkeypatch.setattr(cluster, "archive", lambda: ours)
            with pytest.raises(UserError, match="another command has sent other code to its workers"):
                list(cluster.each(client, abs, [-1]))


def test_what_is_large_is_sent_without_a_warning(tmp_path, recwarn):
    with dask_cluster(tmp_path / "cluster", workers=1) as there, cluster.connected(there.address) as client:
        assert list(cluster.each(client, len, [b"x" * 2**24])) == [2**24]
    assert not [each for each in recwarn if "large graph" in str(each.message)]


def test_no_worker(alone, tmp_path):
    with dask_cluster(tmp_path / "cluster", workers=0) as there:
        result = alone.step("train", model="dummy", cluster=there.address)
    assert result.code == 2
    assert f"no worker has come; start one with `dask worker {there.address}`" in result.error


def test_without_the_parameter_nothing_of_dask_is_imported(alone):
    script = Path(alone.project) / "steps/train.py"
    code = f"import runpy, sys; sys.argv = ['train', '--model', 'dummy', '--data', {str(alone.data)!r}]; " + (
        f"sys.path.insert(0, {str(script.parent)!r}); runpy.run_path({str(script)!r}, run_name='__main__');"
        "print('distributed' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=alone.environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
