"""Steps of a few lines on a tracking store of their own: when they run, when they are reused, what they leave."""

import hashlib
import json
import math
from pathlib import Path

import mlflow
import pytest
from conftest import Workflow, git
from mlflow.entities import Run

from workflow.errors import UserError
from workflow.parameters import Parameter, whole
from workflow.provenance import receipt
from workflow.runs import execution, tracking
from workflow.runs.execution import Input, Step


class Farm:
    """Two steps, `sow` and `reap`, whose scripts and data lie in a git repository; and how often each has worked."""

    def __init__(self, folder: Path):
        self.folder, self.data, self.worked = folder, folder / "field.csv", []
        (folder / "steps").mkdir()
        (folder / "steps/sow.py").write_text("import json\n")
        (folder / "steps/reap.py").write_text("import sow\n")
        self.data.write_text("wheat\n")
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "a state")
        self.meanwhile = lambda: None  # what somebody else does while `sow` works
        self.sow = Step(
            "sow",
            folder / "steps/sow.py",
            (Parameter("seed", "0", "", whole(0)), Parameter("field", "field.csv", "", decides=False)),
            self.do_sow,
            inputs=lambda parameters: {"field": Input(parameters["field"], folder / parameters["field"])},
            proofs={"seeds.txt": lambda path: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}},
        )
        self.reap = Step(
            "reap", folder / "steps/reap.py", (Parameter("model", "scythe", ""),), self.do_reap, upstream=self.sow
        )

    def do_sow(self, parameters, upstream) -> None:
        assert upstream is None
        self.worked.append("sow")
        with tracking.artifacts() as folder:
            (folder / "seeds.txt").write_text(str(parameters["seed"]))
        mlflow.log_metrics({"seeds": parameters["seed"], "ratio": math.nan, "system/memory": 9})
        self.meanwhile()

    def do_reap(self, parameters, upstream) -> None:
        self.worked.append("reap")
        mlflow.log_metric("crop", upstream.data.metrics["seeds"] * 10)

    def obtain(self, step: Step, **given) -> Run:
        """What `obtain` gives within a run of the caller's, and which steps worked for it."""
        self.worked.clear()
        execution.told.clear()  # as another command
        with tracking.opened(run_name="caller"):
            return execution.obtain(step, given)


@pytest.fixture
def farm(tmp_path, request):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(Workflow(tmp_path / "store").uri)
    (tmp_path / "farm").mkdir()
    tracking.warn.cache_clear()  # it says a thing once
    yield Farm(tmp_path / "farm")
    mlflow.set_tracking_uri(before)


def receipt_of(run: Run) -> dict:
    return execution.receipt_of(mlflow.get_run(run.info.run_id))


def test_what_is_there_is_reused(farm, capsys):
    first = farm.obtain(farm.reap)
    assert farm.worked == ["sow", "reap"]
    again = farm.obtain(farm.reap)
    assert farm.worked == []
    assert again.info.run_id == first.info.run_id
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].split() == ["reap", "scythe", "reused", "run", first.info.run_id]
    assert lines[-3].split()[:2] == ["reap", "scythe"]
    assert lines[-3].split()[3:] == ["s", "run", first.info.run_id]


def test_a_run_that_several_need_is_told_of_once(farm, capsys):
    with tracking.opened(run_name="caller"):
        first, again = execution.obtain(farm.reap, {}), execution.obtain(farm.reap, {})
    assert again.info.run_id == first.info.run_id
    assert capsys.readouterr().err.count(first.info.run_id) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda farm: {"seed": 1}, ["sow", "reap"]),
        (lambda farm: {"model": "combine"}, ["reap"]),
        (lambda farm: farm.data.write_text("barley\n") and {}, ["sow", "reap"]),
        (lambda farm: (farm.folder / "steps/sow.py").write_text("import yaml\n") and {}, ["sow", "reap"]),
        (lambda farm: (farm.folder / "steps/reap.py").write_text("import sow, json\n") and {}, ["reap"]),
        (lambda farm: (farm.folder / "README.md").write_text("a farm\n") and {}, []),
        (lambda farm: (farm.folder / "copy.csv").write_text("wheat\n") and {"field": "copy.csv"}, []),
    ],
    ids=["seed", "model", "data", "code of both", "code of one", "another file", "the same data elsewhere"],
)
def test_what_has_changed_runs_again(farm, change, expected):
    farm.obtain(farm.reap)
    farm.obtain(farm.reap, **change(farm))
    assert farm.worked == expected


def test_a_run_that_did_not_finish_is_not_reused(farm):
    run = farm.obtain(farm.sow)
    mlflow.MlflowClient().set_terminated(run.info.run_id, "FAILED")
    farm.obtain(farm.sow)
    assert farm.worked == ["sow"]


def test_a_run_of_another_experiment_is_not_reused(farm):
    farm.obtain(farm.sow)
    other = mlflow.MlflowClient().create_experiment("other")
    with tracking.opened(experiment_id=other):
        assert execution.obtain(farm.sow, {}).info.experiment_id == other


def test_what_a_run_says(farm):
    run = farm.obtain(farm.reap)
    sown = mlflow.get_run(run.data.tags["workflow.upstream"])
    assert (run.data.tags["workflow.step"], sown.data.tags["workflow.step"]) == ("reap", "sow")
    assert (run.info.run_name, sown.info.run_name) == ("reap scythe", "sow")
    assert execution.parameters_of(run) == {"seed": 0, "field": "field.csv", "model": "scythe"}
    assert execution.parameters_of(sown) == {"seed": 0, "field": "field.csv"}
    assert run.data.params == {"seed": "0", "field": "field.csv", "model": "scythe"}
    assert "workflow.upstream" not in sown.data.tags
    assert run.data.tags["mlflow.parentRunId"] == sown.data.tags["mlflow.parentRunId"]
    assert run.data.tags["workflow.fingerprint"] != sown.data.tags["workflow.fingerprint"]


def test_what_a_receipt_says(farm):
    run = farm.obtain(farm.reap, seed=3)
    document = receipt_of(run)
    sown = run.data.tags["workflow.upstream"]
    assert receipt.seal(document) == document["sha256"]
    assert document["step"] == "reap"
    assert document["parameters"] == {"seed": 3, "model": "scythe"}
    digest = hashlib.sha256(b"wheat\n").hexdigest()
    assert document["inputs"] == {"field": {"source": "field.csv", "sha256": digest, "content": "wheat\n"}}
    assert document["outcome"] == {
        "sow": {
            "metrics": {"ratio": None, "seeds": 3.0},
            "artifacts": {"seeds.txt": {"sha256": hashlib.sha256(b"3").hexdigest()}},
        },
        "reap scythe": {"metrics": {"crop": 30.0}, "artifacts": {}},
    }
    assert document["occasion"]["runs"] == {"sow": sown, "reap scythe": run.info.run_id}
    assert document["code"]["commit"] == git(farm.folder, "rev-parse", "HEAD")
    assert set(document["code"]["files"]) == {"sow.py", "reap.py"}
    assert document["code"]["patch"] is None
    assert [file.path for file in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)] == [receipt.FILE]


def test_uncommitted_code_is_kept_with_the_receipt(farm):
    (farm.folder / "steps/sow.py").write_text("import yaml\n")
    run = farm.obtain(farm.sow)
    with tracking.downloaded(run, "uncommitted.patch") as path:
        patch = path.read_bytes()
    assert b"+import yaml" in patch
    assert receipt_of(run)["code"]["patch"] == hashlib.sha256(patch).hexdigest()


def test_a_long_input_is_logged(farm):
    farm.data.write_text("wheat\n" * 10_000)
    run = farm.obtain(farm.sow)
    assert receipt_of(run)["inputs"]["field"]["artifact"] == "inputs/field.csv"
    with tracking.downloaded(run, "inputs/field.csv") as path:
        assert path.read_text() == farm.data.read_text()


def test_a_folder_is_logged_as_it_is(farm):
    (farm.folder / "fields/west").mkdir(parents=True)
    (farm.folder / "fields/west/one.csv").write_text("rye\n")
    run = farm.obtain(farm.sow, field="fields")
    assert receipt_of(run)["inputs"]["field"]["artifact"] == "inputs/fields"
    with tracking.downloaded(run, "inputs/fields") as path:
        assert (path / "west/one.csv").read_text() == "rye\n"


@pytest.mark.parametrize("name", ["field.csv", "steps/sow.py"])
def test_what_changes_while_a_step_works_ends_it(farm, name):
    farm.meanwhile = lambda: (farm.folder / name).write_text("import os, sys\n")
    with pytest.raises(UserError, match="sow: its data or its code changed while it ran; run it again"):
        farm.obtain(farm.sow)
    run = mlflow.search_runs(["0"], "tags.`workflow.step` = 'sow'", output_format="list")[0]
    assert run.info.status == "FAILED"
    assert "changed while it ran" in run.data.tags["workflow.error"]
    assert "workflow.fingerprint" not in run.data.tags


def test_an_upstream_run_may_be_named(farm):
    run = farm.obtain(farm.sow, seed=7)
    assert farm.obtain(farm.reap, sow_run_id=run.info.run_id).data.metrics == {"crop": 70}
    assert farm.worked == ["reap"]
    assert farm.obtain(farm.reap, sow_run_id=run.info.run_id, seed=7).data.metrics == {"crop": 70}


def test_an_upstream_run_that_cannot_be_used(farm):
    sown, reaped = farm.obtain(farm.sow), farm.obtain(farm.reap)
    with tracking.opened() as other:
        pass
    unfinished = farm.obtain(farm.sow, seed=1).info.run_id
    mlflow.MlflowClient().set_terminated(unfinished, "FAILED")
    with tracking.opened() as unmarked:
        mlflow.set_tags({"workflow.step": "sow", "workflow.parameters": "{}"})
    sentences = {
        "0" * 32: "no such run in sqlite:",
        reaped.info.run_id: "that is a run of reap, not of sow",
        other.info.run_id: "that is a run of another project, not of sow",
        unfinished: r"that run is not complete \(FAILED\); name another or leave it out",
        unmarked.info.run_id: r"that run is not complete \(FINISHED\)",
    }
    for run_id, words in sentences.items():
        with pytest.raises(UserError, match=f"^sow_run_id={run_id}: {words}"):
            farm.obtain(farm.reap, sow_run_id=run_id)
    run_id = sown.info.run_id
    with pytest.raises(UserError, match=f"^seed=5 contradicts sow_run_id={run_id}, which was made with seed=0; leave"):
        farm.obtain(farm.reap, sow_run_id=run_id, seed=5)


def test_code_of_another_version_is_told(farm, capsys):
    run = farm.obtain(farm.sow)
    (farm.folder / "steps/sow.py").write_text("import yaml\n")
    farm.obtain(farm.reap, sow_run_id=run.info.run_id)
    words = "the sow run was made with another version of sow.py: this receipt may not come out again"
    assert words in " ".join(capsys.readouterr().err.split())


def test_code_in_no_repository_is_told(farm, capsys, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(farm.folder.parent))
    (farm.folder / ".git").rename(farm.folder / "gone")
    run = farm.obtain(farm.sow)
    assert receipt_of(run)["code"]["commit"] is None
    assert "is in no git repository with a commit" in capsys.readouterr().err


def test_a_run_without_a_receipt(farm):
    with tracking.opened() as run:
        pass
    with pytest.raises(UserError, match=r"artifact receipt\.json of run \w+ cannot be read"):
        execution.receipt_of(run)


def test_the_command_that_makes_a_run_again(farm):
    tags = {"mlflow.source.git.repoURL": "https://example.com/farm.git", "mlflow.source.git.commit": "abc"}
    parameters = {"seed": 3, "field": "my field.csv", "model": "scythe"}
    words = "-e reap -P seed=3 -P 'field=my field.csv'"
    with tracking.opened(tags=tags):
        assert execution.command_line(farm.reap, parameters) == (
            f"mlflow run https://example.com/farm.git -v abc {words}"
        )
    with tracking.opened(tags={"mlflow.source.git.commit": "abc"}):
        assert execution.command_line(farm.reap, parameters) == (
            f"# in the project's folder, at commit abc\nmlflow run . {words}"
        )


def test_parameters_have_their_types(farm):
    run = farm.obtain(farm.sow, seed=4)
    assert json.loads(run.data.tags["workflow.parameters"])["seed"] == 4
    assert execution.parameters_of(run)["seed"] == 4
