"""The entry points without `mlflow run`: python -m workflow."""

import os
import re
import subprocess
import sys

import pytest
import yaml
from conftest import PROJECT, Workflow


def module(*words: str, **variables: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "steps")} | variables
    return subprocess.run(
        [sys.executable, "-m", "workflow", *words], cwd=PROJECT, env=environment, capture_output=True, text=True
    )


def test_every_entry_point_is_listed_with_what_it_does():
    done = module("--help")
    declared = yaml.safe_load((PROJECT / "MLproject").read_text())["entry_points"]
    lines = done.stdout.partition("Entry points:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == sorted(declared)
    assert all(len(line.split()) > 4 for line in lines)


def test_an_entry_point_that_does_not_exist_is_one_line_with_the_nearest():
    done = module("trian")
    assert done.returncode == 2
    assert done.stderr == "error: no entry point trian; did you mean train?\n"


@pytest.mark.slow
def test_it_makes_the_runs_that_mlflow_run_reuses(tmp_path, small_data):
    workflow = Workflow(tmp_path, data=small_data)
    done = module("train", "--data", str(small_data), "--model", "dummy", MLFLOW_TRACKING_URI=workflow.uri)
    assert done.returncode == 0, done.stderr
    result = workflow.run("train", model="dummy", model_params="{strategy: median}")
    assert result.code == 0, result.output
    assert re.search("^preprocess +reused ", result.output, re.M), result.output
