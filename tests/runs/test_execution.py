"""Stages of a few lines on a tracking store of their own: when they run, when they are reused, what they leave."""

import hashlib
import json
import math
from functools import partial
from pathlib import Path
from typing import Annotated

import mlflow
import pytest
from conftest import Workflow, git
from mlflow.entities import Run

from workflow.errors import UserError
from workflow.parsing import FromText, Params, integer
from workflow.provenance import digests, fingerprint
from workflow.provenance.fingerprint import Code
from workflow.provenance.receipt import ArtifactDigest, InputRecord, Outcome
from workflow.runs import execution, integrity, tracking
from workflow.runs.artifacts import METRICS, StageRun, receipt_of
from workflow.runs.execution import InputFile, Report, Task
from workflow.runs.names import Files, Tags

SEEDS, PICTURE = "seeds.txt", "picture.png"


class SowParams(Params):
    seed: Annotated[int, FromText(integer(0))] = 0
    field: Annotated[str, FromText(in_fingerprint=False)] = "field.csv"


class ReapParams(Params):
    model: str = "scythe"


class FarmCommand(SowParams, ReapParams):
    sow_run_id: Annotated[str, FromText(in_fingerprint=False)] = "auto"


class SowRun(StageRun):
    stage = "sow"
    params_types = (SowParams,)


class ReapRun(StageRun):
    stage = "reap"
    params_types = (SowParams, ReapParams)


SOURCES = {
    "sow.py": "import sowing\nimport drawing\n",
    "reap.py": "import reaping\n",
    "sowing.py": "import tools\n",
    "reaping.py": "import tools\n",
    "drawing.py": "import json\n",
    "tools.py": "import json\n",
}


class Farm:
    """Two stages whose source and data lie in a git repository; and what each has done.

    `sow` reads a file and leaves `seeds.txt`, of which `reap` takes the harvest. Lines of the file that begin with #
    do not count, so that another file may lead to the same seeds.
    """

    def __init__(self, folder: Path):
        self.folder, self.steps, self.data, self.done = folder, folder / "steps", folder / "field.csv", []
        self.steps.mkdir()
        for name, text in SOURCES.items():
            (self.steps / name).write_text(text)
        self.data.write_text("wheat\n")
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "a state")
        self.meanwhile = lambda: None  # what somebody else does while `sow` works
        self.care = 1.0  # a metric of `sow`, which decides nothing

    def sow_task(self, params: SowParams) -> Task:
        file = InputFile(params.field, self.folder / params.field)
        return Task(
            stage="sow",
            label="sow",
            script=self.steps / "sow.py",
            code=Code(("sowing.py",), root=self.steps),
            params=params,
            work=partial(self.sow, params, file),
            files={"field": file},
            proven_artifacts={SEEDS: digests.file},
            report=Report(Code(("drawing.py",), root=self.steps), self.draw),
        )

    def sow(self, params: SowParams, file: InputFile) -> None:
        self.done.append("sow")
        rows = file.path.read_text().splitlines() if file.path.is_file() else []
        with tracking.artifacts() as folder:
            (folder / SEEDS).write_text(" ".join([str(params.seed), *(row for row in rows if row[0] != "#")]))
        mlflow.log_metrics({"seeds": params.seed, "care": self.care, "ratio": math.nan, "system/memory": 9})
        self.meanwhile()

    def draw(self, run: Run) -> None:
        self.done.append("draw")
        mlflow.MlflowClient().log_text(run.info.run_id, (self.steps / "drawing.py").read_text(), PICTURE)

    def reap_task(self, params: ReapParams, sown: SowRun) -> Task:
        return Task(
            stage="reap",
            label=f"reap {params.model}",
            script=self.steps / "reap.py",
            code=Code(("reaping.py",), root=self.steps),
            params=params,
            work=partial(self.reap, sown),
            reads={SEEDS: sown.digest(SEEDS)},
            upstream=(sown,),
            lineage=(sown.params_of(SowParams),),
            tags={Tags.UPSTREAM: sown.id},
        )

    def reap(self, sown: SowRun) -> None:
        self.done.append("reap")
        with integrity.downloaded(sown.run, SEEDS) as path:
            mlflow.log_metric("crop", int(path.read_text().split()[0]) * 10)

    def sell(self, sown: SowRun, reaped: ReapRun) -> Run:
        """Find or make the run of a third stage, which is built on both."""
        task = Task(
            stage="sell",
            label="sell",
            script=self.steps / "reap.py",
            code=Code(("reaping.py",), root=self.steps),
            params=Params(),
            work=lambda: None,
            reads={"sow": sown.digest(METRICS), "reap": reaped.digest(METRICS)},
            upstream=(sown, reaped),
            lineage=(reaped.params_of(SowParams), reaped.params_of(ReapParams)),
        )
        with tracking.opened(run_name="caller"):
            return execution.find_or_run(task)

    def sown(self, **given) -> SowRun:
        """Find or make the run of `sow`, as another command would."""
        return self.command(lambda: SowRun(execution.find_or_run(self.sow_task(SowParams(**given)))))

    def reaped(self, **given) -> ReapRun:
        """Find or make the run of `reap`, and that of `sow` unless it is named, as another command would."""
        command = FarmCommand(**given)

        def find_or_run() -> ReapRun:
            if command.sow_run_id == "auto":
                sown = SowRun(execution.find_or_run(self.sow_task(command.narrow(SowParams))))
            else:
                sown = SowRun.named(command.sow_run_id, command)
            return ReapRun(execution.find_or_run(self.reap_task(command.narrow(ReapParams), sown)))

        return self.command(find_or_run)

    def command(self, find_or_run):
        """Call in a run of the caller's, without what another process would not know."""
        self.done.clear()
        execution.LOGGED_RUNS.clear()
        fingerprint.imports.cache_clear()
        fingerprint.direct_imports.cache_clear()
        with tracking.opened(run_name="caller"):
            return find_or_run()

    def edit(self, name: str) -> None:
        """Change a source file, though not what it does."""
        with open(self.steps / name, "a") as file:
            file.write("# edited\n")


@pytest.fixture
def farm(tmp_path):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(Workflow(tmp_path / "store").uri)
    (tmp_path / "farm").mkdir()
    tracking.warn.cache_clear()  # it prints a message once
    yield Farm(tmp_path / "farm")
    mlflow.set_tracking_uri(before)


def runs_of(stage: str) -> list[Run]:
    return mlflow.search_runs(["0"], f"tags.`{Tags.STAGE}` = '{stage}'", output_format="list")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_complete_runs_are_reused(farm, capsys):
    first = farm.reaped()
    assert farm.done == ["sow", "draw", "reap"]
    again = farm.reaped()
    assert farm.done == []
    assert again.id == first.id
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].split() == ["reap", "scythe", "reused", "run", first.id]
    assert lines[-3].split()[:2] == ["reap", "scythe"]
    assert lines[-3].split()[3:] == ["s", "run", first.id]


def test_a_run_that_several_stages_need_is_logged_once(farm, capsys):
    def twice():
        task = farm.sow_task(SowParams())
        return execution.find_or_run(task), execution.find_or_run(task)

    first, again = farm.command(twice)
    assert again.info.run_id == first.info.run_id
    assert capsys.readouterr().err.count(first.info.run_id) == 1


SOW, REAP = ["sow", "draw"], ["reap"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda farm: {"seed": 1}, SOW + REAP),
        (lambda farm: {"model": "combine"}, REAP),
        (lambda farm: farm.data.write_text("barley\n") and {}, SOW + REAP),
        (lambda farm: farm.edit("tools.py") or {}, SOW + REAP),
        (lambda farm: farm.edit("reaping.py") or {}, REAP),
        (lambda farm: (farm.steps / "reaping.py").write_text("import tools, yaml\n") and {}, REAP),
        (lambda farm: farm.edit("sow.py") or farm.edit("reap.py") or {}, []),
        (lambda farm: (farm.folder / "README.md").write_text("a farm\n") and {}, []),
        (lambda farm: (farm.folder / "copy.csv").write_text("wheat\n") and {"field": "copy.csv"}, []),
    ],
    ids=[
        *("seed", "model", "data", "code of both", "code of one", "package of one", "the scripts", "another file"),
        "the same data elsewhere",
    ],
)
def test_exactly_the_stages_that_depend_on_a_change_run_again(farm, change, expected):
    farm.reaped()
    farm.reaped(**change(farm))
    assert farm.done == expected


@pytest.mark.parametrize(
    "change",
    [lambda farm: farm.edit("sowing.py"), lambda farm: farm.data.write_text("# a field\nwheat\n")],
    ids=["code", "data"],
)
def test_a_stage_is_reused_if_the_stages_before_it_leave_the_same_artifacts(farm, change):
    before = farm.reaped()
    change(farm)
    reaped = farm.reaped()
    assert farm.done == SOW
    assert reaped.id == before.id
    assert reaped.tags[Tags.UPSTREAM] != farm.sown().id
    assert farm.done == []


def test_a_receipt_takes_the_newest_run_of_a_stage_though_a_later_one_was_built_on_an_older(farm):
    older, reaped = farm.sown(), farm.reaped()
    farm.care = 2.0
    farm.edit("sowing.py")
    farm.data.write_text("# a field\nwheat\n")
    newer = farm.sown()
    assert farm.reaped().id == reaped.id
    sold = receipt_of(farm.sell(newer, reaped))
    assert older.id != newer.id
    assert reaped.receipt.provenance.runs["sow"] == older.id
    assert reaped.receipt.inputs["field"].sha256 == sha256(b"wheat\n")
    assert reaped.receipt.outcome["sow"].metrics["care"] == 1.0
    assert sold.provenance.runs["sow"] == newer.id
    assert sold.inputs["field"].sha256 == sha256(b"# a field\nwheat\n")
    assert sold.outcome["sow"].metrics["care"] == 2.0
    assert sold.outcome["reap scythe"] == reaped.receipt.outcome["reap scythe"]
    assert list(sold.outcome) == ["sow", "reap scythe", "sell"]


def test_a_stage_that_reads_metrics_runs_again_when_they_change(farm):
    sold = farm.sell(farm.sown(), farm.reaped())
    assert farm.sell(farm.sown(), farm.reaped()).info.run_id == sold.info.run_id
    farm.care = 2.0
    farm.edit("sowing.py")
    assert farm.sell(farm.sown(), farm.reaped()).info.run_id != sold.info.run_id


def test_a_report_whose_code_has_changed_is_drawn_again_in_place_and_once(farm, capsys):
    before = farm.sown()
    farm.edit("drawing.py")
    farm.sown()
    assert farm.done == ["draw"]
    line = capsys.readouterr().err.splitlines()[-1].split()
    assert (line[:2], line[-2:]) == (["report", "sow"], ["run", before.id])
    (run,) = runs_of("sow")
    assert run.info.run_id == before.id
    mark = Code(("drawing.py",), root=farm.steps).fingerprint()
    assert before.tags[Tags.REPORT] != run.data.tags[Tags.REPORT] == mark
    assert {name: value for name, value in run.data.tags.items() if name != Tags.REPORT} == {
        name: value for name, value in before.tags.items() if name != Tags.REPORT
    }
    with tracking.unverified_copy(run, PICTURE) as path:
        assert path.read_text() == "import json\n# edited\n"
    assert receipt_of(run) == before.receipt
    farm.sown()
    assert farm.done == []


def test_the_code_of_a_report_does_not_belong_to_the_receipt(farm):
    assert set(farm.sown().receipt.code.files) == {"sowing.py", "tools.py"}


def test_a_run_that_did_not_finish_is_not_reused(farm):
    mlflow.MlflowClient().set_terminated(farm.sown().id, "FAILED")
    farm.sown()
    assert farm.done == SOW


def test_a_run_of_another_experiment_is_not_reused(farm):
    farm.sown()
    other = mlflow.MlflowClient().create_experiment("other")
    with tracking.opened(experiment_id=other):
        assert execution.find_or_run(farm.sow_task(SowParams())).info.experiment_id == other


def test_a_run_says_what_it_is_and_what_it_was_built_on(farm):
    reaped = farm.reaped()
    sown = SowRun.of(reaped.tags[Tags.UPSTREAM])
    assert (reaped.tags[Tags.STAGE], sown.tags[Tags.STAGE]) == ("reap", "sow")
    assert (reaped.run.info.run_name, sown.run.info.run_name) == ("reap scythe", "sow")
    assert reaped.logged_parameters == {"seed": 0, "field": "field.csv", "model": "scythe"}
    assert sown.logged_parameters == {"seed": 0, "field": "field.csv"}
    assert reaped.run.data.params == {"seed": "0", "field": "field.csv", "model": "scythe"}
    assert Tags.UPSTREAM not in sown.tags
    assert reaped.tags["mlflow.parentRunId"] == sown.tags["mlflow.parentRunId"]
    assert reaped.tags[Tags.FINGERPRINT] != sown.tags[Tags.FINGERPRINT]
    assert reaped.metrics == {"crop": 0}


def test_a_run_has_the_digests_of_what_later_stages_read(farm):
    sown = farm.sown(seed=3)
    metrics = fingerprint.digest({"care": 1.0, "ratio": None, "seeds": 3.0})
    assert (sown.digest(SEEDS), sown.digest(METRICS)) == (sha256(b"3 wheat"), metrics)


def test_a_receipt_says_how_to_make_a_run_again_and_what_must_match(farm):
    reaped = farm.reaped(seed=3)
    found = reaped.receipt
    assert found.self_digest() == found.sha256
    assert found.step == "reap"
    assert found.parameters == {"seed": 3, "model": "scythe"}
    assert found.inputs == {"field": InputRecord(source="field.csv", sha256=sha256(b"wheat\n"), content="wheat\n")}
    assert found.outcome == {
        "sow": Outcome(
            metrics={"care": 1.0, "ratio": None, "seeds": 3.0},
            artifacts={SEEDS: ArtifactDigest(sha256=sha256(b"3 wheat"))},
        ),
        "reap scythe": Outcome(metrics={"crop": 30.0}, artifacts={}),
    }
    assert found.provenance.runs == {"sow": reaped.tags[Tags.UPSTREAM], "reap scythe": reaped.id}
    assert (found.label, found.run_id) == ("reap scythe", reaped.id)
    assert found.code.commit == git(farm.folder, "rev-parse", "HEAD")
    assert set(found.code.files) == {"reaping.py", "sowing.py", "tools.py"}
    assert found.code.files["tools.py"] == sha256((farm.steps / "tools.py").read_bytes())
    assert found.code.patch is None
    assert [file.path for file in mlflow.artifacts.list_artifacts(run_id=reaped.id)] == [Files.RECEIPT]


@pytest.mark.parametrize("name", ["sowing.py", "sow.py", "drawing.py"])
def test_uncommitted_code_is_kept_with_the_receipt(farm, name):
    farm.edit(name)
    sown = farm.sown()
    with integrity.downloaded(sown.run, Files.PATCH) as path:
        patch = path.read_bytes()
    assert b"+# edited" in patch
    assert sown.receipt.code.patch == sha256(patch)


def test_a_source_that_git_does_not_track_is_kept_with_the_receipt(farm):
    (farm.steps / "new.py").write_text("import csv\n")
    (farm.steps / "sowing.py").write_text("import tools, new\n")
    with integrity.downloaded(farm.sown().run, Files.PATCH) as path:
        assert b"+import csv" in path.read_bytes()


def test_a_long_input_is_logged(farm):
    farm.data.write_text("wheat\n" * 10_000)
    sown = farm.sown()
    assert sown.receipt.inputs["field"].artifact == "inputs/field.csv"
    with integrity.downloaded(sown.run, "inputs/field.csv") as path:
        assert path.read_text() == farm.data.read_text()


def test_an_input_folder_is_logged_with_all_its_files(farm):
    (farm.folder / "fields/west").mkdir(parents=True)
    (farm.folder / "fields/west/one.csv").write_text("rye\n")
    sown = farm.sown(field="fields")
    assert sown.receipt.inputs["field"].artifact == "inputs/fields"
    with tracking.unverified_copy(sown.run, "inputs/fields") as path:
        assert (path / "west/one.csv").read_text() == "rye\n"


@pytest.mark.parametrize("name", ["field.csv", "steps/sowing.py", "steps/tools.py"])
def test_a_change_of_data_or_code_while_a_stage_runs_fails_it(farm, name):
    farm.meanwhile = lambda: (farm.folder / name).write_text("import os, sys\n")
    with pytest.raises(UserError, match=r"^sow: its data or its code changed while it ran; run it again$"):
        farm.sown()
    (run,) = runs_of("sow")
    assert run.info.status == "FAILED"
    assert "changed while it ran" in run.data.tags[Tags.ERROR]
    assert Tags.FINGERPRINT not in run.data.tags


def test_a_run_may_be_named_to_build_on(farm):
    sown = farm.sown(seed=7)
    assert farm.reaped(sow_run_id=sown.id).metrics == {"crop": 70}
    assert farm.done == REAP
    assert farm.reaped(sow_run_id=sown.id, seed=7).metrics == {"crop": 70}
    assert farm.reaped(sow_run_id=sown.id, field="elsewhere.csv").metrics == {"crop": 70}  # a path decides nothing
    assert farm.done == []


def test_a_named_run_of_another_kind_is_refused(farm):
    reaped = farm.reaped()
    with tracking.opened() as other:
        pass
    unfinished = farm.sown(seed=1).id
    mlflow.MlflowClient().set_terminated(unfinished, "FAILED")
    with tracking.opened() as unmarked:
        mlflow.set_tags({Tags.STAGE: "sow", Tags.PARAMETERS: "{}"})
    sentences = {
        "0" * 32: "no such run in sqlite:",
        reaped.id: "that is a run of reap, not of sow$",
        other.info.run_id: "that is a run of another project, not of sow$",
        unfinished: r"that run is not complete \(FAILED\); name another or leave it out$",
        unmarked.info.run_id: r"that run is not complete \(FINISHED\); name another or leave it out$",
    }
    for run_id, words in sentences.items():
        with pytest.raises(UserError, match=f"^sow_run_id={run_id}: {words}"):
            farm.reaped(sow_run_id=run_id)


def test_a_parameter_that_contradicts_a_named_run_is_refused(farm):
    reaped = farm.reaped()
    sown = reaped.tags[Tags.UPSTREAM]
    with pytest.raises(UserError, match=f"^seed=5 contradicts sow_run_id={sown}, which has seed=0; leave one out$"):
        farm.reaped(sow_run_id=sown, seed=5)
    assert ReapRun.named(reaped.id, FarmCommand(seed=0, model="scythe")).id == reaped.id
    for given, words in (({"seed": 5}, "seed=5 contradicts"), ({"model": "combine"}, "model=combine contradicts")):
        with pytest.raises(UserError, match=f"^{words} reap_run_id={reaped.id}"):
            ReapRun.named(reaped.id, FarmCommand(**given))


@pytest.mark.parametrize(
    "name",
    [
        "tools.py",
        "sowing.py",
    ],
)
def test_a_named_run_that_was_made_by_other_code_is_warned_of(farm, capsys, name):
    sown = farm.sown()
    farm.edit(name)
    farm.reaped(sow_run_id=sown.id)
    words = f"the sow run was made with another version of {name}: this result may not be reproducible"
    assert words in " ".join(capsys.readouterr().err.split())


def test_code_outside_a_repository_is_warned_of(farm, capsys, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(farm.folder.parent))
    (farm.folder / ".git").rename(farm.folder / "gone")
    assert farm.sown().receipt.code.commit is None
    assert "is in no git repository with a commit" in capsys.readouterr().err


def test_a_run_without_a_receipt_is_refused(farm):
    with tracking.opened() as run:
        pass
    with pytest.raises(UserError, match=r"artifact receipt\.json of run \w+ cannot be read"):
        receipt_of(run)


def test_the_command_of_a_run_names_its_commit_and_what_is_not_the_default(farm):
    tags = {"mlflow.source.git.repoURL": "https://example.com/farm.git", "mlflow.source.git.commit": "abc"}
    parameters = {"seed": 3, "field": "my field.csv", "model": "scythe"}
    words = "-e reap -P seed=3 -P 'field=my field.csv'"
    with tracking.opened(tags=tags) as run:
        command = execution.command_line("reap", FarmCommand, parameters, run)
        assert command == f"mlflow run https://example.com/farm.git -v abc {words}"
    with tracking.opened(tags={"mlflow.source.git.commit": "abc"}) as run:
        command = execution.command_line("reap", FarmCommand, parameters, run)
        assert command == f"# in the project's folder, at commit abc\nmlflow run . {words}"


def test_logged_parameters_keep_their_types(farm):
    sown = farm.sown(seed=4)
    assert json.loads(sown.tags[Tags.PARAMETERS])["seed"] == 4
    assert sown.params_of(SowParams) == SowParams(seed=4)
