"""The workflow started from a git URL."""

import os
import subprocess

import forked
import pytest
from conftest import PROJECT, Workflow
from ports import free_port, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def git_url(tmp_path_factory):
    """Serve the committed project with a git daemon; yield its URL."""
    folder = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "clone", "-q", "--bare", PROJECT, folder / "project.git"], check=True)
    port = free_port()
    words = ["git", "daemon", "--export-all", f"--base-path={folder}", f"--port={port}", "--listen=127.0.0.1"]
    daemon = subprocess.Popen([*words, "--reuseaddr"], start_new_session=True)
    wait_for(port)
    yield f"git://127.0.0.1:{port}/project.git"
    os.killpg(daemon.pid, 15)


def test_main_and_reproduce_run_from_a_git_url(git_url, tmp_path, small_data):
    workflow = Workflow(tmp_path, git_url, small_data)
    address = workflow.environment.pop(forked.ADDRESS)  # start Python as users do
    result = workflow.run("main", models="dummy", shap_samples="3")
    assert result.code == 0, result.output
    run = workflow.first("main")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True).stdout.strip()
    assert run.data.tags["mlflow.source.git.commit"] == commit
    report = workflow.artifacts(workflow.first("evaluate"), "report.html").read_text()
    assert f"mlflow run {git_url} -v {commit} -e evaluate" in report
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifacts", "mlflow.db", "mlruns"]
    workflow.environment[forked.ADDRESS] = address
    again = workflow.run("reproduce", run=workflow.first("preprocess").info.run_id)
    assert again.code == 0, again.output
    assert "match bit for bit" in again.output


def test_a_relative_store_is_refused_with_the_absolute_one_to_set(git_url, tmp_path, small_data):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True).stdout.strip()
    workflow = Workflow(tmp_path, git_url, small_data)
    workflow.environment["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"
    result = workflow.run("preprocess", "-v", commit)
    assert result.code != 0
    assert "set MLFLOW_TRACKING_URI to an absolute one, e.g. sqlite:///$PWD/mlflow.db" in result.error
    assert "Traceback" not in result.output
