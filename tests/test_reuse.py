"""The stale-reuse matrix: after each kind of change, exactly the stages that depend on it run again."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import Workflow, copy_project

from workflow.provenance import receipt

pytestmark = pytest.mark.slow
STAGES = {"preprocess", "train", "evaluate"}
REPORTS = {"report preprocess", "report evaluate"}
PACKAGE = "workflow"


@pytest.fixture(scope="module")
def edited(tmp_path_factory, small_data) -> Workflow:
    """A copy of the project that a test may edit, where everything has run once."""
    folder = copy_project(tmp_path_factory.mktemp("copy"))
    shutil.copy(small_data, folder / "data/wines.csv")
    workflow = Workflow(tmp_path_factory.mktemp("store"), folder)
    assert again(workflow) == STAGES
    return workflow


def again(workflow: Workflow, **parameters: str) -> set[str]:
    """Run main; return the stages that ran and the reports that were drawn again, rather than reused."""
    before = {run.info.run_id for run in workflow.runs()}
    result = workflow.step("main", **{"models": "linear", "shap_samples": "2"} | parameters)
    assert result.code == 0, result.output
    ran = {run.data.tags["workflow.step"] for run in workflow.runs() if run.info.run_id not in before} - {"main"}
    reused = {line.split()[0] for line in result.output.splitlines() if " reused " in line}
    assert ran == STAGES - reused
    return ran | set(re.findall(r"^(report \w+)", result.output, re.M))


def append(path: str, text: str) -> Callable[[Path], None]:
    """Return a change that appends a text to a file of the package."""

    def change(project: Path) -> None:
        with open(project / "steps" / PACKAGE / path, "a", encoding="utf-8") as file:
            file.write(text)

    return change


def replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    """Return a change that replaces a text in a file of the package."""

    def change(project: Path) -> None:
        file = project / "steps" / PACKAGE / path
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def drop_last_row(project: Path) -> None:
    path = project / "data/wines.csv"
    pd.read_csv(path, dtype=str, keep_default_na=False).iloc[:-1].to_csv(path, index=False)


def repeat_last_row(project: Path) -> None:
    """Append an exact duplicate, which preprocess drops."""
    path = project / "data/wines.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines, lines[-1]]) + "\n", encoding="utf-8")


def drop_a_column(project: Path) -> None:
    path = project / "data/wines.yaml"
    contract = yaml.safe_load(path.read_text())
    contract["columns"].pop("acidity")
    path.write_text(yaml.safe_dump(contract))


def comment_the_contract(project: Path) -> None:
    with open(project / "data/wines.yaml", "a") as file:
        file.write("# a remark\n")


COMMENT = "\n# edited\n"
CHANGES = {
    "nothing": (lambda project: None, set()),
    "a row of the data": (drop_last_row, STAGES),
    "a duplicate of a row": (repeat_last_row, {"preprocess"}),
    "a column of the contract": (drop_a_column, STAGES),
    "a comment in the contract": (comment_the_contract, {"preprocess"}),
    "the file of preprocess": (append("stages/preprocess.py", COMMENT), {"preprocess"}),
    "the file of train": (append("stages/train.py", COMMENT), {"train"}),
    "the file of evaluate": (append("stages/evaluate.py", COMMENT), {"evaluate"}),
    "a module of train": (append("evaluation/tree_count.py", COMMENT), {"train"}),
    "a module of evaluate": (append("evaluation/effects.py", COMMENT), {"evaluate"}),
    "a module of train and evaluate": (append("evaluation/metrics.py", COMMENT), {"train", "evaluate"}),
    "the names of artifacts": (append("runs/names.py", COMMENT), STAGES),
    "the style of the reports": (replace("reports/report.html", "max-width: 60rem", "max-width: 61rem"), REPORTS),
    "the colour of a plot": (replace("reports/plots.py", "#7b1e3a", "#7b1e3b"), {"report evaluate"}),
    "a text of a report": (replace("reports/data_report.py", "in the file", "of the file"), {"report preprocess"}),
    "a docstring of a report": (
        replace("reports/model_report.py", '"""The page about one model', '"""A page about one model'),
        {"report evaluate"},
    ),
    "the help of a parameter": (replace("parameters.py", "test rows to explain", "rows to explain"), set()),
    "what the terminal shows": (append("runs/cli.py", COMMENT), set()),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_change_runs_exactly_what_depends_on_it(edited, change, expected):
    """Changes add up: what an earlier one left to run would run here."""
    change(edited.project)
    assert again(edited) == expected


def test_a_parameter_runs_exactly_the_stages_that_take_it(edited):
    assert again(edited, encoder="ordinal") == {"train", "evaluate"}
    assert again(edited, encoder="ordinal", shap_samples="3") == {"evaluate"}
    assert again(edited) == set()


def test_another_version_of_a_package_runs_the_stages_that_import_it(edited, tmp_path, monkeypatch):
    described = tmp_path / "skops-99.9.9.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: skops\nVersion: 99.9.9\n")
    monkeypatch.setitem(edited.environment, "PYTHONPATH", str(tmp_path))
    assert again(edited) == {"train", "evaluate"}


def test_a_report_is_drawn_again_in_the_run_that_it_describes(edited):
    again(edited)
    evaluated = edited.client.get_run(edited.last().data.tags["workflow.winner_evaluate_run_id"])
    scores, count = dict(evaluated.data.metrics), len(edited.runs("evaluate"))
    replace("reports/report.html", "<h1>", "<h1 class='drawn-again'>")(edited.project)
    assert again(edited) == REPORTS
    assert len(edited.runs("evaluate")) == count
    run = edited.client.get_run(evaluated.info.run_id)
    assert run.data.metrics == scores
    assert "drawn-again" in edited.artifacts(run, "report.html").read_text()


def test_the_receipt_of_main_takes_the_newest_train_run_and_names_the_packages_of_its_lineage(edited):
    """Other metrics of the same model: train runs again, and evaluate, which reads no metric of it, is reused."""
    replace("stages/train.py", '"training_"', '"fitted_"')(edited.project)
    assert again(edited) == {"train"}
    made = receipt.read(edited.artifacts(edited.last(), "receipt.json").read_text(), "main")
    trained = edited.runs("train")[0]
    assert made.provenance.runs["train linear"] == trained.info.run_id
    assert (
        made.outcome["train linear"].metrics.items()
        >= {"fitted_r2_score": trained.data.metrics["fitted_r2_score"]}.items()
    )
    assert {"workflow/stages/preprocess.py", "workflow/stages/train.py"} <= made.code.files.keys()
    assert {"duckdb", "scikit-learn", "skops"} <= made.environment.packages.keys()


@pytest.mark.nightly
def test_another_version_of_a_metric_runs_what_scores_by_it(edited, tmp_path, monkeypatch):
    monkeypatch.setitem(edited.environment, "PYTHONPATH", str(tmp_path))
    for factor in (1, 2):
        text = f"cost = lambda true, predicted: {factor} * float(abs(true - predicted).mean())\n"
        (tmp_path / "my_costs.py").write_text(text)
        assert again(edited, metric="my_costs.cost") == {"train", "evaluate"}
    newest, *_ = edited.runs("evaluate")
    scores = newest.data.metrics
    assert scores["my_costs.cost"] == pytest.approx(2 * scores["mean_absolute_error"])
