"""The workflow in other places: from a git URL, on a tracking server, and in a browser."""

import os
import pwd
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT, Workflow, free_port, wait_for
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def git_url(tmp_path_factory):
    """The committed project, served by a git daemon."""
    folder = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "clone", "-q", "--bare", PROJECT, folder / "project.git"], check=True)
    port = free_port()
    words = ["git", "daemon", "--export-all", f"--base-path={folder}", f"--port={port}", "--listen=127.0.0.1"]
    daemon = subprocess.Popen([*words, "--reuseaddr"], start_new_session=True)
    wait_for(port)
    yield f"git://127.0.0.1:{port}/project.git"
    os.killpg(daemon.pid, 15)


def test_git_url(git_url, tmp_path, small_data):
    workflow = Workflow(tmp_path, git_url, small_data)
    result = workflow.run("main", models="dummy", shap_samples="3")
    assert result.code == 0, result.output
    run = workflow.first("main")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True).stdout.strip()
    assert run.data.tags["mlflow.source.git.commit"] == commit
    report = workflow.artifacts(workflow.first("evaluate"), "report.html").read_text()
    assert f"mlflow run {git_url} -v {commit} -e evaluate" in report
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifacts", "mlflow.db", "mlruns"]
    again = workflow.run("reproduce", run=workflow.first("evaluate").info.run_id)
    assert again.code == 0, again.output
    assert "came out again, bit for bit" in again.output


def test_git_url_at_a_commit_with_a_relative_store(git_url, tmp_path, small_data):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True).stdout.strip()
    workflow = Workflow(tmp_path, git_url, small_data)
    workflow.environment["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"
    result = workflow.run("preprocess", "-v", commit)
    assert result.code != 0
    assert "set MLFLOW_TRACKING_URI to an absolute one, e.g. sqlite:///$PWD/mlflow.db" in result.error
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A tracking server over HTTP that keeps its runs in PostgreSQL; its address."""
    if not (binaries := sorted(Path("/usr/lib/postgresql").glob("*/bin"))):
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path_factory.mktemp("postgres")
    port = free_port()
    owner = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # initdb refuses root
    database = folder / "database"
    database.mkdir()
    if os.geteuid() == 0:
        shutil.chown(database, owner)
        for parent in (database, *database.parents[:-2]):
            parent.chmod(parent.stat().st_mode | 0o011)
    as_owner = {"user": owner, "check": True, "stdout": subprocess.DEVNULL} if os.geteuid() == 0 else {"check": True}
    subprocess.run([binaries[-1] / "initdb", "-D", database, "-U", "mlflow", "-A", "trust"], **as_owner)
    options = f"-p {port} -k {database} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [binaries[-1] / "pg_ctl", "-D", database, "-w", "-l", database / "log"]
    subprocess.run([*control, "-o", options, "start"], **as_owner)
    store, web_port = f"postgresql://mlflow@127.0.0.1:{port}/postgres", free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(web_port)]
    web = subprocess.Popen([*words, "--artifacts-destination", folder / "artifacts"], start_new_session=True)
    address = f"http://127.0.0.1:{web_port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/health").close()
            break
        except urllib.error.URLError:
            assert web.poll() is None, "the server did not start"
            time.sleep(0.5)
    yield address
    os.killpg(web.pid, 15)
    web.wait()
    subprocess.run([*control, "-m", "immediate", "stop"], **as_owner)


@pytest.fixture(scope="module")
def on_server(server, tmp_path_factory, small_data):
    """A workflow whose `main` ran on the tracking server."""
    workflow = Workflow(tmp_path_factory.mktemp("client"), data=small_data)
    workflow.uri = workflow.environment["MLFLOW_TRACKING_URI"] = server
    result = workflow.run("main", models="linear", shap_samples="3")
    assert result.code == 0, result.output
    return workflow


def test_tracking_server_with_postgresql(on_server):
    again = on_server.run("main", models="linear", shap_samples="3")
    assert again.code == 0, again.output
    assert again.output.count(" reused ") == 3
    assert f"{on_server.uri}/#/experiments/0/runs/" in again.output
    assert not (on_server.folder / "mlruns").exists()
    proof = on_server.run("reproduce", run=on_server.runs("train")[0].info.run_id)
    assert proof.code == 0, proof.output


def find_chromium() -> str:
    return shutil.which("chromium") or shutil.which("google-chrome") or pytest.skip("Chromium is not installed")


def browse(folder: Path, address: str, *flags: str) -> Path:
    """A screenshot of a page in headless Chromium."""
    chromium = find_chromium()
    picture = folder / "page.png"
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    words = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet, *flags]
    words += [f"--user-data-dir={folder / 'profile'}", "--window-size=1000,4200", f"--screenshot={picture}", address]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    return picture


def test_report_renders_without_a_network(workflow, tmp_path):
    report = workflow.artifacts(workflow.first("evaluate"), "report.html")
    html = report.read_text()
    assert html.count("data:image/png;base64,") == 4
    assert 'src="http' not in html
    assert "href=" not in html
    picture = browse(tmp_path, report.as_uri(), "--host-resolver-rules=MAP * ~NOTFOUND")
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3).astype(int)
    claret = (np.abs(pixels - [0x7B, 0x1E, 0x3A]).sum(axis=1) < 40).sum()
    assert claret > 5000  # the bars and dots of the pictures


@pytest.mark.parametrize("name", ["preds.png", "residuals.png", "shap.png", "shap_beeswarm.png"])
def test_pictures_show_something(workflow, name):
    pixels = np.asarray(Image.open(workflow.artifacts(workflow.first("evaluate"), name)).convert("L"))
    assert min(pixels.shape) > 300
    assert 0.02 < (pixels < 225).mean() < 0.6


def test_runs_show_in_the_model_training_view(on_server, tmp_path):
    run = on_server.runs("main")[0]
    address = f"{on_server.uri}/#/experiments/0/runs/{run.info.run_id}?workflowType=machine_learning"
    chromium = find_chromium()
    words = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
    ]
    words += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", address]
    page = subprocess.run(words, capture_output=True, text=True, timeout=120).stdout
    assert "main linear" in page
    assert "cv_r2_score" in page
