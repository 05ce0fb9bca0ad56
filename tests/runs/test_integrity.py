"""Somebody writes to the store of a two-stage workflow: what is not as recorded is not read, and is made again."""

import json
import shutil
from pathlib import Path

import mlflow
import pytest
from conftest import Workflow
from mlflow.entities import Run

from workflow.errors import UserError
from workflow.parsing import Params
from workflow.provenance import digests
from workflow.provenance.fingerprint import Code
from workflow.runs import execution, integrity, sources, tracking
from workflow.runs.artifacts import StageRun
from workflow.runs.execution import Report, Task
from workflow.runs.names import Files, Tags

DOUGH, PAGE, NOTES = "dough.txt", "page.html", "notes/of/the/cook.txt"


class Dough(StageRun):
    stage = "knead"


class Loaf(StageRun):
    stage = "bake"

    def dough(self) -> Dough:
        return self.upstream(Dough, self.tags[Tags.UPSTREAM])


class Bakery:
    """Two stages: `knead` leaves dough, of which `bake` makes a loaf with as many grams."""

    def __init__(self, folder: Path):
        self.steps, self.done = folder / "steps", []
        self.steps.mkdir(parents=True)
        for name in ("knead.py", "bake.py", "drawing.py"):
            (self.steps / name).write_text("import json\n")

    def task(self, stage: str, work, **more) -> Task:
        script = self.steps / f"{stage}.py"
        code = Code((script.name,), root=self.steps)
        return Task(stage=stage, label=stage, script=script, code=code, params=Params(), work=work, **more)

    def knead(self) -> Dough:
        report = Report(Code(("drawing.py",), root=self.steps), self.draw)
        task = self.task("knead", self.log_dough, proven_artifacts={DOUGH: digests.file}, report=report)
        return Dough(execution.find_or_run(task))

    def log_dough(self) -> None:
        self.done.append("knead")
        with tracking.artifacts() as folder:
            (folder / DOUGH).write_text("500")
            (folder / NOTES).parent.mkdir(parents=True)
            (folder / NOTES).write_text("more salt")
        mlflow.log_metric("grams", 500)
        mlflow.log_param("flour", "rye")

    def draw(self, run: Run) -> None:
        self.done.append("draw")
        mlflow.MlflowClient().log_text(run.info.run_id, "a page", PAGE)

    def bake(self, dough: Dough) -> Loaf:
        def work() -> None:
            self.done.append("bake")
            with integrity.downloaded(dough.run, DOUGH) as path:
                mlflow.log_metric("loaf", float(path.read_text()))

        more = {"reads": {DOUGH: dough.digest(DOUGH)}, "upstream": (dough,), "tags": {Tags.UPSTREAM: dough.id}}
        return Loaf(execution.find_or_run(self.task("bake", work, **more)))

    def main(self) -> Loaf:
        """Find or make both runs, as another command would."""
        self.forget()
        with tracking.opened(run_name="caller"):
            return self.bake(self.knead())

    def forget(self) -> None:
        """Forget what another process would not know."""
        self.done.clear()
        for cache in (execution.LOGGED_RUNS, integrity.VERIFIED, integrity.RECEIPTS):
            cache.clear()
        tracking.warn.cache_clear()


@pytest.fixture
def bakery(tmp_path):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(Workflow(tmp_path / "store").uri)
    yield Bakery(tmp_path / "bakery")
    mlflow.set_tracking_uri(before)


def file_of(run: Run, path: str) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://")) / path


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def set_tag(run: Run, name: str, value: str) -> None:
    mlflow.MlflowClient().set_tag(run.info.run_id, name, value)


ATTACKS = {
    "a bit of an artifact": lambda run: flip(file_of(run, DOUGH)),
    "a bit of a file in a folder": lambda run: flip(file_of(run, NOTES)),
    "an artifact cut short": lambda run: file_of(run, DOUGH).write_text("5"),
    "an artifact deleted": lambda run: file_of(run, DOUGH).unlink(),
    "all artifacts deleted": lambda run: shutil.rmtree(file_of(run, "")),
    "a bit of the receipt": lambda run: flip(file_of(run, Files.RECEIPT)),
    "the receipt deleted": lambda run: file_of(run, Files.RECEIPT).unlink(),
    "a metric": lambda run: mlflow.MlflowClient().log_metric(run.info.run_id, "grams", 5),
    "a parameter": lambda run: mlflow.MlflowClient().log_param(run.info.run_id, "yeast", "5"),
    "a tag": lambda run: set_tag(run, Tags.PARAMETERS, '{"seed": 5}'),
    "a tag that was added": lambda run: set_tag(run, Tags.WINNER_RUN, "5"),
    "the digest of the receipt": lambda run: set_tag(run, Tags.RECEIPT, "5"),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_altered_run_and_those_built_on_it_are_made_again_with_a_warning(bakery, capsys, attack):
    first = bakery.main()
    attack(first.dough().run)
    again = bakery.main()
    assert bakery.done == ["knead", "draw", "bake"]
    assert again.metrics == {"loaf": 500}
    assert again.dough().id != first.tags[Tags.UPSTREAM]
    warnings = [line for line in capsys.readouterr().err.splitlines() if " is not reused: " in line]
    assert len(warnings) == 2
    assert all(first.tags[Tags.UPSTREAM] in warning for warning in warnings)
    assert bakery.main().id == again.id
    assert bakery.done == []


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_named_run_that_was_altered_is_refused_in_one_line(bakery, attack):
    dough = bakery.main().dough()
    attack(dough.run)
    bakery.forget()
    with pytest.raises(UserError, match=dough.id) as refused, tracking.opened(run_name="caller"):
        integrity.verify_files(Dough.named(dough.id, Params()).run)
    assert "\n" not in str(refused.value)


def test_an_altered_page_is_drawn_again_and_nothing_else(bakery, capsys):
    first = bakery.main()
    flip(file_of(first.dough().run, PAGE))
    assert bakery.main().id == first.id
    assert bakery.done == ["draw"]
    assert f"{PAGE}: not what was recorded, so drawn again" in capsys.readouterr().err
    assert file_of(first.dough().run, PAGE).read_text() == "a page"
    bakery.main()
    assert bakery.done == []


def test_a_run_whose_model_is_gone_is_refused_in_one_line(bakery):
    dough = bakery.main().dough()
    with pytest.raises(UserError, match=rf"run {dough.id} \(knead\): it has no model, or no longer; train again"):
        dough.table(Files.MODEL)


def test_a_metric_that_was_added_later_does_not_count(bakery):
    dough = bakery.main().dough()
    mlflow.MlflowClient().log_metric(dough.id, "loaf", 900)
    assert Dough.of(dough.id).metrics == {"grams": 500}


def test_an_artifact_is_checked_when_it_is_read_and_then_not_reused(bakery):
    dough = bakery.main().dough()
    flip(file_of(dough.run, DOUGH))
    with pytest.raises(UserError, match=rf"run {dough.id} \(knead\): artifact dough.txt: SHA-256 \w+…, \w+… recorded"):
        dough.table(DOUGH)
    assert mlflow.get_run(dough.id).data.tags[Tags.ALTERED] == DOUGH


def test_an_artifact_that_the_receipt_does_not_name_is_not_read(bakery):
    dough = bakery.main().dough()
    mlflow.MlflowClient().log_text(dough.id, "a,b\n1,2\n", "added.csv")
    with pytest.raises(UserError, match=r"artifact added.csv: not recorded"):
        dough.table("added.csv")


def test_an_artifact_that_is_named_as_a_source_is_checked(bakery):
    dough = bakery.main().dough()
    assert sources.download(f"runs:/{dough.id}/{DOUGH}").read_text() == "500"
    sources.download.cache_clear()
    flip(file_of(dough.run, DOUGH))
    with pytest.raises(UserError, match=rf"artifact {DOUGH}: SHA-256 .* recorded"):
        sources.download(f"runs:/{dough.id}/{DOUGH}")


def test_files_of_a_remote_store_are_listed_before_reuse_and_read_only_when_needed(bakery, monkeypatch):
    first = bakery.main()
    monkeypatch.setattr(integrity, "is_local", lambda _: False)
    monkeypatch.setattr(integrity, "files_of", lambda _: pytest.fail("it read all files"))
    assert bakery.main().id == first.id
    file_of(first.dough().run, DOUGH).write_text("5")
    monkeypatch.undo()
    monkeypatch.setattr(integrity, "is_local", lambda _: False)
    assert bakery.main().id != first.id


def rewrite(run: Run, digits: str) -> None:
    """Replace the dough, and all that its run says of it, as somebody would who knows how it is checked."""
    file_of(run, DOUGH).write_text(digits)
    path = file_of(run, Files.RECEIPT)
    document = json.loads(path.read_text())
    document["provenance"]["files"][DOUGH] = integrity.FileRecord.of(file_of(run, DOUGH)).model_dump()
    path.write_text(json.dumps(document))
    set_tag(run, Tags.RECEIPT, integrity.FileRecord.of(path).sha256)


def test_a_run_that_was_altered_with_its_receipt_contradicts_those_built_on_it(bakery):
    first = bakery.main()
    rewrite(first.dough().run, "900")
    bakery.forget()
    with pytest.raises(UserError, match=rf"receipt.json: not the one on which run {first.id} \(bake\) was built"):
        Loaf.of(first.id).dough()
    with pytest.raises(UserError, match=r"receipt.json: not the one on which"), tracking.opened(run_name="caller"):
        Dough.named(first.tags[Tags.UPSTREAM], Params())


def test_a_run_that_was_altered_with_its_receipt_is_made_again_by_the_next_command(bakery):
    first = bakery.main()
    rewrite(first.dough().run, "900")
    with pytest.raises(integrity.Contradiction, match=r"receipt.json: not the one on which"):
        bakery.main()
    assert bakery.main().metrics == {"loaf": 500}
    assert bakery.done == ["knead", "draw", "bake"]


def test_a_receipt_of_another_run_is_refused(bakery):
    loaf = bakery.main()
    receipt = file_of(loaf.dough().run, Files.RECEIPT)
    shutil.copy(receipt, file_of(loaf.run, Files.RECEIPT))
    set_tag(loaf.run, Tags.RECEIPT, integrity.FileRecord.of(receipt).sha256)
    with pytest.raises(UserError, match=f"receipt.json is of run {loaf.dough().id}"):
        Loaf.of(loaf.id)


def test_a_fingerprint_that_was_moved_to_another_run_is_not_believed(bakery):
    first = bakery.main()
    with tracking.opened(run_name="forged") as forged:
        mlflow.set_tags({Tags.FINGERPRINT: first.tags[Tags.FINGERPRINT], Tags.STAGE: "bake"})
    assert bakery.main().id not in (first.id, forged.info.run_id)
