"""The steps of the GitHub action and of the GitLab template, run as their services would."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import PROJECT, Workflow, commit_all, copy_project, git
from keys import write_key

from workflow.reports.badge import badge

NETWORK = re.compile(r"(HOME|PATH|(SSL|UV|PIP|REQUESTS)_\w+|\w+_PROXY)$", re.I)  # what a runner has of its own
ACTION = yaml.safe_load((PROJECT / "action.yml").read_text())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, small_data):
    """Return a workflow with the receipt of a dummy model, whose repository has a bare one as its remote."""
    folder = tmp_path_factory.mktemp("forge")
    project = copy_project(folder / "project")
    commit_all(project)
    git(project, "remote", "add", "origin", f"file://{folder}/group/wines.git")
    git(folder, "clone", "--quiet", "--bare", str(project), "group/wines.git")
    workflow = Workflow(folder / "store", project, small_data)
    assert workflow.step("evaluate", model="dummy", shap_samples="2").code == 0
    shutil.copy(workflow.artifacts(workflow.last(), "receipt.json"), folder / "receipt.json")
    return workflow


@pytest.fixture
def job(recorded, tmp_path) -> Path:
    """Return the folder of a job: its checkout holds the receipt, and the action has no git repository."""
    (tmp_path / "checkout/receipts").mkdir(parents=True)
    (tmp_path / "temp").mkdir()
    shutil.copy(recorded.folder.parent / "receipt.json", tmp_path / "checkout/receipts/dummy.json")
    (tmp_path / "action").mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=recorded.project, capture_output=True, check=True).stdout
    subprocess.run(["tar", "--extract", "--directory", tmp_path / "action"], input=archive, check=True)
    return tmp_path


def run_steps(job: Path, skip: str = "", repository: str = "", **inputs: str) -> tuple[int, str]:
    """Run the `run:` steps of the action from a `repository`, with hardly anything of this environment.

    Stops at a failure.
    """
    values = {name: each.get("default", "") for name, each in ACTION["inputs"].items()} | inputs
    known = {f"inputs.{name}": value for name, value in values.items()} | {"github.action_path": str(job / "action")}
    output = ""
    for step in ACTION["runs"]["steps"]:
        if "run" not in step or step["name"] == skip:
            continue
        variables = {name: filled_in(text, known) for name, text in step["env"].items()}
        variables |= {name: value for name, value in os.environ.items() if NETWORK.match(name)}
        variables |= {"RUNNER_TEMP": str(job / "temp")}
        server, _, name = repository.partition("/group/")
        variables |= {"GITHUB_SERVER_URL": server, "GITHUB_ACTION_REPOSITORY": f"group/{name}"} if name else {}
        variables |= {name: str(job / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(words, cwd=job / "checkout", env=variables, capture_output=True, text=True)
        output += done.stdout + done.stderr
        if done.returncode:
            return done.returncode, output
    return 0, output


def filled_in(text: str, known: dict[str, str]) -> str:
    """Return a text with the values of its expressions."""
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: known[found[1]], text)


def outputs(job: Path) -> dict[str, str]:
    """Return what the action has set for the steps after it."""
    lines = (job / "GITHUB_OUTPUT").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def use_this_python(job: Path) -> None:
    """Let the step that installs the lock be skipped."""
    (job / "temp/tabular-regression").symlink_to(sys.prefix)


@pytest.mark.nightly
@pytest.mark.slow
def test_the_action_installs_the_lock_and_reproduces_a_receipt_and_signs(recorded, job):
    key = write_key(job, "ci").read_text()
    trust = f"file://{recorded.folder.parent}/group/wines"
    inputs = {"receipt": "receipts/dummy.json", "env": "same", "trust": trust, "sign": key}
    code, output = run_steps(job, **inputs)
    assert code == 0, output
    assert outputs(job)["verdict"] == "equal"
    assert "match bit for bit" in outputs(job)["conclusion"]
    assert "evaluate dummy: mean_absolute_error" in (job / "GITHUB_STEP_SUMMARY").read_text()
    assert json.loads((job / "checkout/verdict/badge.json").read_text())["message"].startswith("bit for bit, 20")
    assert json.loads((job / "checkout/verdict/verdict.dsse.json").read_text())["signatures"]
    assert key.splitlines()[1] not in output
    assert not list((job / "temp").rglob("key.pem"))


@pytest.mark.nightly
@pytest.mark.slow
def test_the_action_fails_if_something_differs(recorded, job):
    use_this_python(job)
    path = job / "checkout/receipts/dummy.json"
    document = json.loads(path.read_text())
    document["outcome"]["evaluate dummy"]["metrics"]["r2_score"] = 0.99
    path.write_text(json.dumps(document))
    forge = f"file://{recorded.folder.parent}/group/wines"
    code, output = run_steps(job, "Install the lock", forge, receipt="receipts/dummy.json", env="same")
    assert code == 1, output
    assert outputs(job)["verdict"] == "differs"
    assert "evaluate dummy: r2_score 0.99 →" in outputs(job)["conclusion"]
    assert json.loads((job / "checkout/verdict/badge.json").read_text())["color"] == "red"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("receipt", "trust", "words"),
    [
        ("receipts/missing.json", "", "neither a run id, nor a file in the project folder"),
        pytest.param(
            *("receipts/dummy.json", "https://example.com/another", "is another project's: running it needs -P trust="),
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            *("receipts/old.json", "", "a receipt of version 4, but this project reads version 5"),
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_the_action_says_why_it_could_not_compare(job, receipt, trust, words):
    use_this_python(job)
    (job / "checkout/receipts/old.json").write_text('{"version": 4}')
    code, output = run_steps(job, "Install the lock", receipt=receipt, env="same", trust=trust)
    assert code == 2, output
    assert outputs(job)["verdict"] == "error"
    assert words in outputs(job)["conclusion"]
    assert words in (job / "GITHUB_STEP_SUMMARY").read_text()


def test_every_expression_of_the_action_is_known():
    text = (PROJECT / "action.yml").read_text()
    steps = [step["id"] for step in ACTION["runs"]["steps"] if "id" in step]
    known = {f"inputs.{name}" for name in ACTION["inputs"]} | {"github.action_path"}
    known |= {f"steps.{step}.outputs.{name}" for step in steps for name in ACTION["outputs"]}
    assert set(re.findall(r"\$\{\{ (.*?) \}\}", text)) <= known
    assert ACTION["runs"]["using"] == "composite"
    assert all(step.get("shell") == "bash" for step in ACTION["runs"]["steps"] if "run" in step)


def test_the_gitlab_job_runs_the_same_script_with_the_same_variables():
    job = yaml.safe_load((PROJECT / ".gitlab/reproduce.yml").read_text())["reproduce"]
    assert job["script"] == ["sh /tmp/project/.github/reproduce.sh"]
    script = (PROJECT / ".github/reproduce.sh").read_text()
    used = set(re.findall(r"\$\{?([A-Z_]+)", script))
    assert {name for name in job["variables"] if not name.startswith("PROJECT")} <= used


@pytest.mark.parametrize(
    ("verdict", "message", "colour"),
    [
        ("equal", "bit for bit, 2026-11-28", "brightgreen"),
        ("equal within 1e-9", "equal within 1e-9, 2026-11-28", "green"),
        ("differs", "differs, 2026-11-28", "red"),
    ],
)
def test_the_badge_shows_the_verdict_and_the_day(verdict, message, colour):
    found = json.loads(badge(verdict, "2026-11-28T07:00:00+00:00"))
    assert found == {"schemaVersion": 1, "label": "reproduced", "message": message, "color": colour}
