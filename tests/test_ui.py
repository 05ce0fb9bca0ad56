"""What a person sees: the pages of the MLflow UI in a real browser, on a real server, and the reports."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import Workflow
from PIL import Image

pytestmark = pytest.mark.slow
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
VIEW = "workflowType=machine_learning"


def chromium(folder: Path, address: str, *flags: str) -> bytes:
    """What headless Chromium prints when it opens a page."""
    name = shutil.which("chromium") or shutil.which("google-chrome") or pytest.skip("Chromium is not installed")
    words = [name, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *QUIET, *flags]
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run([*words, profile, address], check=True, capture_output=True, timeout=120)
    return done.stdout


def page(folder: Path, address: str) -> str:
    """The text of a page when its scripts have run, with its links."""
    html = chromium(folder, address, "--virtual-time-budget=20000", "--dump-dom").decode()
    return re.sub(r"<(?!/?a\b)[^>]*>", " ", html)


def claret(folder: Path, address: str, *flags: str) -> int:
    """How many dots of a page are of the colour of our pictures."""
    picture = folder / "page.png"
    chromium(folder, address, "--window-size=1600,4200", f"--screenshot={picture}", *flags)
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3).astype(int)
    return (np.abs(pixels - [0x7B, 0x1E, 0x3A]).sum(axis=1) < 40).sum()


def evaluated(workflow: Workflow) -> dict:
    """The evaluate run of each model."""
    return {run.data.params["model"]: run for run in workflow.runs("evaluate")}


def test_report_renders_without_a_network(workflow, tmp_path):
    report = workflow.artifacts(workflow.first("evaluate"), "report.html")
    html = report.read_text()
    assert html.count("data:image/png;base64,") == 4
    assert not re.search(r'src="(?!data:)|<link|@import', html)
    assert claret(tmp_path, report.as_uri(), "--host-resolver-rules=MAP * ~NOTFOUND") > 5000  # its bars and dots


@pytest.mark.parametrize("name", ["preds.png", "residuals.png", "shap.png", "shap_beeswarm.png"])
def test_pictures_show_something(workflow, name):
    pixels = np.asarray(Image.open(workflow.artifacts(workflow.first("evaluate"), name)).convert("L"))
    assert min(pixels.shape) > 300
    assert 0.02 < (pixels < 225).mean() < 0.6


def test_the_models_are_a_leaderboard(on_server, tmp_path):
    shown = page(tmp_path, f"{on_server.uri}/#/experiments/0/models?{VIEW}")
    for model, run in evaluated(on_server).items():
        assert re.search(rf">\s*{model}\s*</a>", shown)
        assert str(run.data.metrics["r2_score"])[:6] in shown
    assert {"small-training", "small-testing"} <= set(re.findall(r"small-\w+", shown))


def test_a_logged_model_has_its_scores_by_dataset(on_server):
    trained = {run.data.params["model"]: run for run in on_server.runs("train")}
    for model, run in evaluated(on_server).items():
        logged = on_server.client.get_logged_model(trained[model].outputs.model_outputs[0].model_id)
        assert logged.name == model
        assert {"model": model, "encoder": "target"}.items() <= logged.params.items()
        scores = {(metric.dataset_name, metric.key): metric.value for metric in logged.metrics}
        assert scores["small-training", "cv_r2_score"] == trained[model].data.metrics["cv_r2_score"]
        for name in ("r2_score", "r2_score_low", "r2_score_high", "mean_absolute_error"):
            assert scores["small-testing", name] == run.data.metrics[name]
        assert [used.model_id for used in run.inputs.model_inputs] == [logged.model_id]


def test_the_description_of_main_is_its_leaderboard(on_server, tmp_path):
    main = on_server.first("main")
    shown = page(tmp_path, f"{on_server.uri}/#/experiments/0/runs/{main.info.run_id}?{VIEW}")
    assert "main linear,knn,dummy" in shown
    assert "How well rows like those it has learned from are predicted:" in shown
    for model, run in evaluated(on_server).items():
        assert re.search(rf"<a [^>]*{run.info.run_id}[^>]*>\s*{model}( ★)?\s*</a>", shown)
    for name in ("Side by side", "all scores", "the models", "the data report"):
        assert re.search(rf"<a [^>]*>\s*{name}\s*</a>", shown)


def test_the_door_leads_to_the_latest_result(on_server, tmp_path):
    shown = page(tmp_path, f"{on_server.uri}/#/experiments/0/runs?{VIEW}")
    assert "Latest result:" in shown
    assert on_server.runs("main")[0].info.run_id in shown


def test_a_note_of_somebody_else_stays(on_server):
    on_server.client.set_experiment_tag("0", "mlflow.note.content", "ours")
    try:
        assert on_server.step("main", models="dummy", shap_samples="3").code == 0
        assert on_server.client.get_experiment("0").tags["mlflow.note.content"] == "ours"
    finally:
        on_server.client.set_experiment_tag("0", "mlflow.note.content", "")


def printed(workflow: Workflow, name: str) -> str:
    """The address that `main` printed for a page."""
    return re.search(rf"^ +{name} +(http\S+)$", workflow.first_output, re.M)[1]


def test_the_runs_side_by_side(on_server, tmp_path):
    shown = page(tmp_path, printed(on_server, "compare"))
    assert "Comparing 3 Runs" in shown
    assert all(f"evaluate {model}" in shown for model in ("linear", "knn", "dummy"))


def test_the_view_of_the_scores(on_server, tmp_path):
    shown = page(tmp_path, printed(on_server, "scores"))
    assert "tags.workflow.step = 'evaluate'" in shown or "r2_score" in shown
    for model, run in evaluated(on_server).items():
        assert f"evaluate {model}" in shown
        assert str(run.data.metrics["r2_score"])[:6] in shown


@pytest.mark.parametrize(
    ("step", "name"),
    [("evaluate", "report.html"), ("preprocess", "data_report.html"), ("main", "leaderboard.png")],
)
def test_an_artifact_displays(on_server, tmp_path, step, name):
    run = on_server.first(step)
    address = f"{on_server.uri}/#/experiments/0/runs/{run.info.run_id}/artifacts/{name}?{VIEW}"
    assert claret(tmp_path, address, "--virtual-time-budget=20000") > 1500


def test_where_a_report_leads_to_exists(on_server, tmp_path):
    run = evaluated(on_server)["linear"]
    html = on_server.artifacts(run, "report.html").read_text()
    links = dict(reversed(pair) for pair in re.findall(r'<a href="([^"]+)"[^>]*>([^<]+)</a>', html))
    assert list(links) == ["the run", "the model", "the data report"]
    assert "evaluate linear" in page(tmp_path, links["the run"].replace("&amp;", "&"))
    assert "train linear" in page(tmp_path, links["the model"].replace("&amp;", "&"))
    assert "data_report.html" in page(tmp_path, links["the data report"].replace("&amp;", "&"))


def test_descriptions(on_server):
    notes = {step: on_server.first(step).data.tags["mlflow.note.content"] for step in ("preprocess", "evaluate")}
    assert notes["preprocess"].startswith("900 rows in, 0 rejected, ")
    assert re.search(r"\[The data report\]\(#/experiments/0/runs/\w+/artifacts/data_report.html", notes["preprocess"])
    assert notes["evaluate"].startswith("On rows it has not seen, linear misses the price by ")
    assert re.search(r"\[The report\]\(#/experiments/0/runs/\w+/artifacts/report.html", notes["evaluate"])
    assert on_server.step("train", model="forest").code == 2
    assert on_server.last().data.tags["mlflow.note.content"].startswith("**Failed.** model=forest: no such choice")
