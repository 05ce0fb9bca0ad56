"""The workflow on a tracking server, and its pages in the MLflow UI, seen in a real browser."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from browser import find_browser, opened, shown
from conftest import Workflow
from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.slow
VIEW = "workflowType=machine_learning"
CLARET = [0x7B, 0x1E, 0x3A]  # the colour of bars and dots in the figures


@pytest.fixture(scope="module")
def browser():
    """Start headless Chromium."""
    if not (found := find_browser()):
        pytest.skip("Chromium and its driver are not installed")
    with opened(*found) as browser:
        yield browser


def printed(workflow: Workflow, name: str) -> str:
    """Return the address that `main` printed for a page."""
    return re.search(rf"^ +{name} +(http\S+)$", workflow.first_output, re.M)[1]


def links(browser: webdriver.Chrome) -> dict[str, str]:
    """Return the addresses of the links on the page, by their text."""
    return {link.text: link.get_attribute("href") for link in browser.find_elements("tag name", "a")}


def count_claret(browser: webdriver.Chrome) -> int:
    """Count the pixels of the page that have the colour of the figures."""
    pixels = np.asarray(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")).reshape(-1, 3)
    return (np.abs(pixels.astype(int) - CLARET).sum(axis=1) < 40).sum()


def evaluated(workflow: Workflow) -> dict:
    """Return the evaluate run of each model."""
    return {run.data.params["model"]: run for run in workflow.runs("evaluate")}


def test_runs_on_a_tracking_server_are_reused_and_reproduced(on_server):
    again = on_server.step("main", models="linear,knn,dummy", shap_samples="3")
    assert again.code == 0, again.output
    assert again.output.count(" reused ") == 7
    assert f"{on_server.uri}/#/experiments/0/runs/" in again.output
    assert not (on_server.folder / "mlruns").exists()
    result = on_server.step("reproduce", run=on_server.runs("train")[0].info.run_id)
    assert result.code == 0, result.output


def test_a_report_renders_without_a_network(workflow, browser):
    report = workflow.artifacts(workflow.first("evaluate"), "report.html")
    html = report.read_text()
    assert html.count("data:image/png;base64,") == 6
    assert not re.search(r'src="(?!data:)|<link|@import', html)
    shown(browser, report.as_uri(), "What moves a prediction", "Reproduce it")
    assert count_claret(browser) > 5000


@pytest.mark.parametrize("name", ["preds.png", "residuals.png", "shap.png", "shap_beeswarm.png"])
def test_figures_are_not_blank(workflow, name):
    pixels = np.asarray(Image.open(workflow.artifacts(workflow.first("evaluate"), name)).convert("L"))
    assert min(pixels.shape) > 300
    assert 0.02 < (pixels < 225).mean() < 0.6


def test_the_page_of_all_models_shows_their_scores(on_server, browser):
    runs = evaluated(on_server)
    texts = ["small-training", "small-testing", "cv_r2_score", "r2_score_high", *runs]
    texts += [str(run.data.metrics["r2_score"])[:9] for run in runs.values()]
    shown(browser, printed(on_server, "models"), *texts, size=(7000, 900))


def test_a_logged_model_holds_its_scores_by_dataset(on_server):
    trained = {run.data.params["model"]: run for run in on_server.runs("train")}
    for model, run in evaluated(on_server).items():
        logged = on_server.client.get_logged_model(trained[model].outputs.model_outputs[0].model_id)
        assert logged.name == model
        assert {"model": model, "encoder": "auto"}.items() <= logged.params.items()
        scores = {(metric.dataset_name, metric.key): metric.value for metric in logged.metrics}
        assert scores["small-training", "cv_r2_score"] == trained[model].data.metrics["cv_r2_score"]
        for name in ("r2_score", "r2_score_low", "r2_score_high", "mean_absolute_error"):
            assert scores["small-testing", name] == run.data.metrics[name]
        inputs = on_server.client.get_run(run.info.run_id).inputs.model_inputs
        assert [model.model_id for model in inputs] == [logged.model_id]


def test_the_description_of_main_shows_its_leaderboard_with_links(on_server, browser):
    question = "How well the model predicts rows that resemble the training rows:"
    shown(browser, printed(on_server, "leaderboard"), "main linear,knn,dummy", question)
    browser.find_element("xpath", "//button[contains(., 'Show more')]").click()
    addresses = links(browser)
    for model, run in evaluated(on_server).items():
        assert run.info.run_id in (addresses.get(model) or addresses[f"{model} ★"])
    assert "compare-runs" in addresses["side by side"]
    assert "data_report.html" in addresses["the data report"]


def test_the_page_of_the_experiment_links_to_the_latest_result(on_server, browser):
    shown(browser, f"{on_server.uri}/#/experiments/0/runs?{VIEW}", "Latest result:")
    assert on_server.runs("main")[0].info.run_id in links(browser)["leaderboard"]


def test_a_note_that_the_user_wrote_on_the_experiment_is_kept(on_server):
    on_server.client.set_experiment_tag("0", "mlflow.note.content", "ours")
    try:
        assert on_server.step("main", models="dummy", shap_samples="3").code == 0
        assert on_server.client.get_experiment("0").tags["mlflow.note.content"] == "ours"
    finally:
        on_server.client.set_experiment_tag("0", "mlflow.note.content", "")


def test_the_printed_comparison_shows_all_runs_side_by_side(on_server, browser):
    runs = [f"evaluate {model}" for model in evaluated(on_server)]
    shown(browser, printed(on_server, "compare"), "Comparing 3 Runs from 1 Experiment", *runs)


def test_the_saved_view_shows_the_scores_of_all_models(on_server, browser):
    runs = evaluated(on_server)
    scores = [str(run.data.metrics["r2_score"])[:6] for run in runs.values()]
    shown(browser, printed(on_server, "scores"), "r2_score_low", *(f"evaluate {model}" for model in runs), *scores)


@pytest.mark.parametrize(
    ("step", "name"),
    [("evaluate", "report.html"), ("preprocess", "data_report.html"), ("main", "leaderboard.png")],
)
def test_a_page_or_figure_displays_in_the_ui(on_server, browser, step, name):
    run = on_server.first(step)
    shown(browser, f"{on_server.uri}/#/experiments/0/runs/{run.info.run_id}/artifacts/{name}?{VIEW}", "Path: ")
    WebDriverWait(browser, 30).until(lambda _: count_claret(browser) > 1500)


def test_the_links_of_a_report_lead_to_their_pages(on_server, browser):
    report = on_server.artifacts(evaluated(on_server)["linear"], "report.html")
    shown(browser, report.as_uri(), "In MLflow: the run, the model, the data report")
    addresses = links(browser)
    shown(browser, addresses["the run"], "evaluate linear", "Description")
    shown(browser, addresses["the model"], "train linear", "cv_r2_score")
    shown(browser, addresses["the data report"], "data_report.html", "Path: ")


def test_the_description_of_a_run_summarizes_its_result_or_its_error(on_server):
    notes = {step: on_server.first(step).data.tags["mlflow.note.content"] for step in ("preprocess", "evaluate")}
    assert notes["preprocess"].startswith("900 rows in, 0 rejected, ")
    assert re.search(r"\[The data report\]\(#/experiments/0/runs/\w+/artifacts/data_report.html", notes["preprocess"])
    assert notes["evaluate"].startswith("linear has a mean absolute error of ")
    assert re.search(r"\[The report\]\(#/experiments/0/runs/\w+/artifacts/report.html", notes["evaluate"])
    assert on_server.step("train", model="forest").code == 2
    assert on_server.last().data.tags["mlflow.note.content"].startswith("**Failed.** model=forest: invalid choice")


def test_models_are_promoted_rolled_back_and_used_on_a_server(on_server, tmp_path):
    best = on_server.first("main").info.run_id
    for decision in ("version 1 of wines is the champion", "version 1 of wines, the champion, is this very model"):
        result = on_server.step("promote", run=best, name="wines")
        assert result.code == 0, result.output
        assert decision in result.output
    trained = next(run for run in on_server.runs("train") if run.data.params["model"] == "knn")
    assert on_server.step("promote", run=trained.info.run_id, name="wines").code == 0
    on_server.client.set_model_version_tag("wines", "2", "workflow.former_champion", "1")
    on_server.client.set_registered_model_alias("wines", "champion", "2")
    assert on_server.step("rollback", name="wines").code == 0
    assert int(on_server.client.get_registered_model("wines").aliases["champion"]) == 1
    result = on_server.step("predict", model="models:/wines@champion", output=tmp_path / "out.csv")
    assert result.code == 0, result.output
    assert len(pd.read_csv(tmp_path / "out.csv")) == 900
