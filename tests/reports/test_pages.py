"""All pages in a browser: for screen readers, on a phone, in dark mode, for the colour-blind, sorted and filtered."""

from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from browser import find_browser, opened
from matplotlib.colors import to_rgb
from selenium import webdriver

from workflow.data.row_differences import EXAMPLE_COLUMNS, RowDifferences
from workflow.evaluation.paired import Difference
from workflow.evaluation.ranking import ranking_metric
from workflow.reports import plots
from workflow.reports.comparison_report import Details, Differences, Score, comparison_report
from workflow.reports.drift_report import drift_report
from workflow.reports.explanation_report import Explanation, Part, explanation_report, waterfall
from workflow.reports.report import Page, Picture, Section
from workflow.reports.reproduction_report import reproduction_report
from workflow.reports.tuning_report import tuning_report

PHONE, DESKTOP = 390, 1200  # pixels
DEUTERANOPIA = np.array(  # Machado, Oliveira, Fernandes 2009, of linear RGB
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # of linear RGB
WHITE = np.array([0.9505, 1, 1.089])
LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]])  # of the cube roots of XYZ


@pytest.fixture(scope="module")
def browser():
    """Start headless Chromium."""
    if not (found := find_browser()):
        pytest.skip("Chromium and its driver are not installed")
    with opened(*found) as browser:
        yield browser


@pytest.fixture(scope="module")
def axe() -> str:
    """Return the rules of axe-core, as JavaScript."""
    package = pytest.importorskip("axe_core_python")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def drift_page() -> Page:
    drifts = pd.DataFrame(
        {
            "feature": ["year", "region", "note"],
            "drift": [0.05, 0.4, np.nan],
            "missing before": [0.0, 0.1, 0.5],
            "missing now": [0.0, 0.2, 1.0],
            "unseen": [np.nan, 0.3, np.nan],
        }
    )
    return drift_report(drifts, "900 rows predicted.", {"run": "http://localhost/#/run"})


def reproduction_page() -> Page:
    lines = [("train rf", f"metric {place}", "0.5", "0.5", "equal") for place in range(12)]
    lines += [("platform", "processor", "x86", "arm", "differs")]
    compared = pd.DataFrame(lines, columns=["group", "item", "recorded", "reproduced", "verdict"])
    return reproduction_report(compared, {"train rf"}, "train rf", "not equal", "the processor differs", "From today.")


ORIGINS = pd.DataFrame({"": ["a", "b"], "run": ["0" * 32, "1" * 32], "commit": ["c" * 12, "d" * 12]})


def comparison_page() -> Page:
    lines = [("parameters", "seed", "0", "1", "differs"), ("evaluate rf", "r2_score", "0.5", "0.6", "differs")]
    rows = pd.DataFrame(lines, columns=["group", "item", "recorded", "reproduced", "verdict"])
    line = (7, "changed", "price", "1.5", "2.5")
    table = RowDifferences(
        [], ["colour"], 0, 0, 1, {"price": 1}, examples=pd.DataFrame([line], columns=EXAMPLE_COLUMNS)
    )
    details = Details({"data": table}, {"train.py": "--- a/train.py\n+++ b/train.py\n-x = 1\n+x = 2"})
    score = Score("rf", "r2_score", "", (0.5, 0.6), 90, Difference(0.1, 0.05, 0.15))
    return comparison_report("Comparison", "The seed.", ORIGINS, Differences(rows, {"evaluate rf"}, details, [score]))


def explanation_page(folder: Path) -> Page:
    parts = [Part("data", "500 rows removed", -2.0, -4.0, 0.5), Part("b is not reproduced", "edited", 1.0)]
    runs = pd.DataFrame(
        {"what": ["a", "b"], "score": [30.0, 28.0], "run": ["0" * 32, "1" * 32], "remark": ["", "reused"]}
    )
    found = Explanation("mean_absolute_error of rf", "EUR", 30.0, 29.0, parts, runs)
    picture = Picture(plots.save(waterfall(found), folder / "explanation.png"), str(found))
    return explanation_report(found, picture, ORIGINS)


def tuning_page(folder: Path) -> Page:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))

    def error(trial: optuna.Trial) -> float:
        value = trial.suggest_float("min_samples_leaf", 1, 9)
        trial.report(value, 0)
        return value

    study.optimize(error, n_trials=8)
    table = pd.DataFrame({"model": ["rf ★", "knn"], "CV error": ["30.3 ± 5.4", "31.0 ± 4.0"]})
    metric = ranking_metric("mean_absolute_error", {})
    best = {"rf": study.best_params}
    return tuning_report(metric, {"rf": study}, best, table, "No better.", "EUR", folder, "mlflow run .", {})


@pytest.fixture(scope="module")
def pages(workflow, tmp_path_factory) -> dict[str, Path]:
    """Return one page of each sort, by name."""
    folder = tmp_path_factory.mktemp("pages")
    drawn = {"drift": drift_page(), "reproduction": reproduction_page(), "tuning": tuning_page(folder)}
    drawn |= {"compare": comparison_page(), "explanation": explanation_page(folder)}
    for name, page in drawn.items():
        page.save(folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in drawn} | {
        "data_report": workflow.artifacts(workflow.first("preprocess"), "data_report.html"),
        "report": workflow.artifacts(workflow.first("evaluate"), "report.html"),
    }


def look(browser: webdriver.Chrome, page: Path, scheme: str, width: int) -> None:
    """Open a page in a light or dark colour scheme, at a width in pixels."""
    scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme_feature]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", DESKTOP), ("dark", PHONE)])
@pytest.mark.parametrize("name", ["data_report", "report", "tuning", "drift", "reproduction", "compare", "explanation"])
def test_a_page_is_accessible_and_no_wider_than_its_screen(browser, axe, pages, name, scheme, width):
    look(browser, pages[name], scheme, width)
    browser.execute_script(axe)
    found = browser.execute_async_script("const done = arguments[0]; axe.run().then(done)")["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 25, 30)" if scheme == "dark" else "rgb(255, 255, 255)")


def first_column(browser: webdriver.Chrome) -> list[str]:
    """Return the texts of the first column of the table, where they are shown."""
    cells = browser.find_elements("css selector", "tbody td:first-child")
    return [cell.text for cell in cells if cell.is_displayed()]


@pytest.mark.slow
def test_a_table_can_be_sorted_and_filtered(browser, tmp_path):
    table = pd.DataFrame({"name": [f"n{place}" for place in range(12)], "rows": [None, 30, 4, 1000, *range(100, 108)]})
    Page("Page", "", [Section("Table", table=table)]).save(tmp_path / "page.html")
    look(browser, tmp_path / "page.html", "light", DESKTOP)
    name, rows = browser.find_elements("css selector", "th button")
    rows.click()
    assert first_column(browser) == ["n2", "n1", *(f"n{place}" for place in range(4, 12)), "n3", "n0"]
    rows.click()
    assert first_column(browser)[:2] == ["n3", "n11"]
    assert first_column(browser)[-1] == "n0"  # missing values are last in both directions
    name.click()
    assert first_column(browser) == [f"n{place}" for place in range(12)]
    browser.find_element("css selector", "input").send_keys("N1")
    assert first_column(browser) == ["n1", "n10", "n11"]
    assert browser.find_element("css selector", "output").text == "3 of 12 rows"


def test_a_picture_has_a_text_alternative():
    page = Page("Page", "", [Section("Scores", pictures=(Picture(b"png", 'a "plot"'),))])
    assert '<img alt="a &#34;plot&#34;" src="data:image/png;base64,cG5n">' in page.html()


def lab(colour: str | tuple[float, ...]) -> np.ndarray:
    """Return how the deuteranopic see a colour, in CIELAB."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return LAB @ np.cbrt(XYZ @ np.clip(DEUTERANOPIA @ linear, 0, 1) / WHITE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (plots.COLD_TO_WARM(0.0), plots.COLD_TO_WARM(1.0)),
        (plots.COLD_TO_WARM(0.25), plots.COLD_TO_WARM(0.75)),
        (plots.ACCENT, plots.SOFT),
        (plots.ACCENT, plots.WARM),
        (plots.ACCENT, plots.INK),
    ],
)
def test_colours_that_stand_for_something_differ_for_the_colour_blind(one, other):
    assert np.linalg.norm(lab(one) - lab(other)) > 20  # 2 can be seen side by side
