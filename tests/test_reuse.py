"""The stale-reuse matrix: what was edited decides which steps run again, and no other does."""

import shutil

import pandas as pd
import pytest
import yaml
from conftest import Workflow, copy_project

pytestmark = pytest.mark.slow
ALL = {"preprocess", "train", "evaluate"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory, small_data):
    """A copy of the project that a test may edit, where everything has run once."""
    folder = copy_project(tmp_path_factory.mktemp("copy"))
    shutil.copy(small_data, folder / "data/wines.csv")
    workflow = Workflow(tmp_path_factory.mktemp("store"), folder)
    assert again(workflow) == ALL
    return workflow


def again(workflow: Workflow, **parameters: str) -> set[str]:
    """The steps that ran, rather than being reused."""
    before = {run.info.run_id for run in workflow.runs()}
    result = workflow.step("main", **{"models": "linear", "shap_samples": "2"} | parameters)
    assert result.code == 0, result.output
    made = {r.data.tags["workflow.step"] for r in workflow.runs() if r.info.run_id not in before}
    reused = {line.split()[0] for line in result.output.splitlines() if " reused " in line}
    assert made - {"main"} == ALL - reused
    return made - {"main"}


def test_nothing_changed(copy):
    assert again(copy) == set()


def test_a_row_of_the_data(copy):
    path = copy.project / "data/wines.csv"
    pd.read_csv(path, dtype=str, keep_default_na=False).iloc[:-1].to_csv(path, index=False)
    assert again(copy) == ALL


def test_the_contract(copy):
    path = copy.project / "data/wines.yaml"
    terms = yaml.safe_load(path.read_text())
    terms["columns"].pop("acidity")
    path.write_text(yaml.safe_dump(terms))
    assert again(copy) == ALL


def test_a_parameter(copy):
    assert again(copy, encoder="ordinal") == {"train", "evaluate"}
    assert again(copy, encoder="ordinal", shap_samples="3") == {"evaluate"}
    assert again(copy) == set()


def test_a_source_file(copy):
    with open(copy.project / "steps/tabular/learning/scoring.py", "a") as source:
        source.write("\n# edited\n")
    assert again(copy) == {"train", "evaluate"}


def test_a_package(copy, tmp_path, monkeypatch):
    described = tmp_path / "skops-99.9.9.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: skops\nVersion: 99.9.9\n")
    monkeypatch.setitem(copy.environment, "PYTHONPATH", str(tmp_path))
    assert again(copy) == {"train", "evaluate"}
