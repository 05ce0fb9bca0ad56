"""The entry points from a notebook: the committed one, executed again, and the functions that it calls."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import PROJECT, Workflow, commit_all, copy_project
from nbclient import NotebookClient

from workflow.notebook import as_text

NOTEBOOK = "docs/notebook.ipynb"


def results(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what the cells of a notebook show, without what names runs."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output["data"]["text/plain"] for output in outputs if output["output_type"] == "execute_result"]


@pytest.mark.nightly
@pytest.mark.slow
def test_the_notebook_of_the_documents_shows_the_same_score_again_and_proves_it(tmp_path):
    project = copy_project(tmp_path)
    commit_all(project)
    notebook = nbformat.read(project / NOTEBOOK, as_version=4)
    recorded = results(notebook)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(project / "docs")}}).execute()
    score, report, *_, proof = results(notebook)
    assert float(score) == float(recorded[0])
    assert report.startswith("evaluate linear: run ")
    page = notebook.cells[-1].outputs[-1].data["text/html"]
    assert "<iframe srcdoc=" in page
    assert "match bit for bit" in page
    assert proof.startswith("reproduce ")


def program(folder: Path, workflow: Workflow, code: str) -> subprocess.CompletedProcess:
    """Run a program that imports the entry points."""
    environment = workflow.environment | {"PYTHONPATH": str(PROJECT / "steps")}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_program_gets_the_run_in_its_experiment_with_its_metrics_and_can_complete_parameters(tmp_path, small_data):
    workflow = Workflow(tmp_path, data=small_data)
    done = program(
        small_data.parent,
        workflow,
        "import inspect, json, mlflow; from pathlib import Path; from workflow.notebook import train, EntryPointError\n"
        "mlflow.set_experiment('wines')\n"
        "result = train(model='dummy', data=Path('small.csv'), model_params={'strategy': 'mean'}, cv=3)\n"
        "assert inspect.signature(train).parameters['model'].default == 'rf'\n"
        "try: train(modl='rf')\n"
        "except EntryPointError as error: print(error, error.result.run.info.status)\n"
        "print(json.dumps([result.run.info.run_id, result.run.data.metrics['cv_r2_score'], result._repr_markdown_()]))",
    )
    assert done.returncode == 0, done.stderr
    *_, mistake, shown = done.stdout.splitlines()
    assert mistake == "train: error: unknown parameter modl; did you mean model? FAILED"
    run_id, score, table = json.loads(shown)
    run = workflow.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert workflow.client.get_experiment(run.info.experiment_id).name == "wines"
    assert run.data.metrics["cv_r2_score"] == score
    assert run.data.params["cv"] == "3"
    assert "| cv_r2_score |" in table


def test_a_name_that_is_no_entry_point_is_an_import_error_with_the_nearest():
    done = subprocess.run(
        [sys.executable, "-c", "from workflow.notebook import trian"],
        env=os.environ | {"PYTHONPATH": str(PROJECT / "steps")},
        capture_output=True,
        text=True,
    )
    assert "cannot import name 'trian'" in done.stderr


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("linear", "linear"),
        (3, "3"),
        (True, "true"),
        (["linear", "knn"], "linear,knn"),
        ((0.9, 0.5), "0.9,0.5"),
        ({"alpha": [1, 2]}, '{"alpha": [1, 2]}'),
        (None, "null"),
        (Path("/data/wines.csv"), "/data/wines.csv"),
    ],
)
def test_a_value_is_passed_as_one_would_type_it(value, text):
    assert as_text(value) == text
