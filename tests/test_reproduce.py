"""A receipt makes its result again, and whatever is not as it was is caught and named."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import environment

import forked
import mlflow
import pandas as pd
import pytest
from conftest import PROJECT, Result, Workflow, copy_project, git

from workflow.commands.reproduce import STEPS
from workflow.provenance import receipt
from workflow.provenance.comparison import Comparison, compare
from workflow.runs.receipt_lookup import compare_as_logged, tag_original

pytestmark = pytest.mark.slow
SMALL = {"model": "linear", "shap_samples": "2"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, small_data):
    """A committed copy of the project in which a linear model was evaluated, on a file outside it."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    git(folder, "init", "--quiet")
    commit(folder)
    place = tmp_path_factory.mktemp("recorded")
    shutil.copy(small_data, place / "wines.csv")
    shutil.copy(small_data.with_suffix(".yaml"), place / "wines.yaml")
    workflow = Workflow(place, folder, place / "wines.csv")
    result = workflow.step("evaluate", **SMALL)
    assert result.code == 0, result.output
    return workflow


@pytest.fixture(scope="module")
def reproduced(recorded) -> dict:
    """The receipt that one reproduction of the train run made, to compare others with."""
    assert reproduce(recorded, recorded.first("train").info.run_id).code == 0
    return json.loads(recorded.artifacts(recorded.last(), "reproduced.json").read_text())


def compared(workflow: Workflow, document: dict, made: dict, rtol: float | None = None) -> Comparison:
    """What `reproduce` finds in the receipt `document`, if `made` is what its reproduction gives."""
    mlflow.set_tracking_uri(workflow.uri)
    return compare(document, made, compare_as_logged(document, STEPS), rtol)


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a state")
    return git(folder, "rev-parse", "HEAD")


def reproduce(workflow: Workflow, run: str | Path, **parameters: str) -> Result:
    return workflow.step("reproduce", run=str(run), **parameters)


def script_of(workflow: Workflow) -> list[str]:
    """The words by which Python evaluates as `recorded` does, in a process of its own."""
    words = [word for name, value in SMALL.items() for word in (f"--{name}", value)]
    return [str(workflow.project / "steps/evaluate.py"), "--data", str(workflow.data), *words]


def verdict(result: Result) -> str:
    """The conclusion of a reproduction that differs."""
    lines = [line for line in result.output.splitlines() if line.startswith("differs: ")]
    assert result.code == 1, result.output
    assert len(lines) == 1, result.output
    return lines[0]


def receipt_of(workflow: Workflow, step: str = "train") -> dict:
    return json.loads(workflow.artifacts(workflow.first(step), "receipt.json").read_text())


def edited(workflow: Workflow, path: Path, *keys: str, value: object, step: str = "train") -> Path:
    """A copy of a receipt with one value replaced."""
    document = part = receipt_of(workflow, step)
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(json.dumps(document))
    return path


def test_a_run_comes_out_again(recorded):
    original = recorded.first("evaluate")
    result = recorded.run("reproduce", run=original.info.run_id)
    assert result.code == 0, result.output
    assert "metrics and artifacts came out again, bit for bit" in result.output
    run = recorded.last()
    assert run.info.run_name == "reproduce evaluate linear"
    assert run.data.metrics["largest_deviation"] == 0
    original = recorded.client.get_run(original.info.run_id)
    assert original.data.tags["workflow.reproduced"] == run.data.tags["workflow.verdict"] == "equal"
    assert original.data.tags["workflow.reproduced_by"] == run.info.run_id
    table = pd.read_csv(recorded.artifacts(run, "reproduction.csv"))
    assert {"train linear", "evaluate linear", "code", "packages", "as logged"} <= set(table["group"])
    assert set(table["verdict"]) == {"equal"}
    assert "Reproduction of evaluate linear: equal" in recorded.artifacts(run, "reproduction.html").read_text()


def test_nothing_is_reused_and_nothing_stays(recorded):
    before = recorded.runs()
    assert reproduce(recorded, recorded.first("train").info.run_id).code == 0
    made = [run for run in recorded.runs() if run.info.run_id not in {run.info.run_id for run in before}]
    assert [run.data.tags["workflow.step"] for run in made] == ["reproduce"]
    assert git(recorded.project, "status", "--porcelain") == ""


def test_main_comes_out_again_for_all_its_models(recorded, tmp_path):
    assert recorded.step("main", models="dummy,linear", shap_samples="2").code == 0
    path = recorded.artifacts(recorded.last(), "receipt.json")
    document = json.loads(path.read_text())
    labels = ["preprocess", "train dummy", "evaluate dummy", "train linear", "evaluate linear", "main"]
    assert list(document["outcome"]) == list(document["occasion"]["runs"]) == labels
    result = reproduce(recorded, path)
    assert result.code == 0, result.output


@pytest.mark.parametrize("change", ["a byte", "the order of rows", "gone"])
def test_data(recorded, change):
    original = recorded.data.read_bytes()
    lines = original.splitlines(keepends=True)
    try:
        if change == "gone":
            recorded.data.unlink()
            result = reproduce(recorded, recorded.first("train").info.run_id)
            assert result.code == 0, result.output
            assert "gone, but a copy is the same" in result.output
            return
        swapped = lines[:-2] + lines[:-3:-1] if change == "the order of rows" else [*lines[:-1], lines[-1][:-2] + b"\n"]
        recorded.data.write_bytes(b"".join(swapped))
        line = verdict(reproduce(recorded, recorded.first("train").info.run_id))
    finally:
        recorded.data.write_bytes(original)
    assert "came out again, bit for bit; what changed: data: " in line


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (["parameters", "seed"], 1, "seed 1 → 0"),
        (["parameters", "model_params"], {"alpha": 9.0}, "model_params {'alpha': 9.0} → {}"),
        (["environment", "packages", "scikit-learn"], "1.0.0", "packages: scikit-learn 1.0.0 →"),
        (["outcome", "train linear", "metrics", "cv_r2_score"], 0.99, "train linear: cv_r2_score 0.99 →"),
        (["outcome", "train linear"], {"metrics": {}, "artifacts": {}}, "train linear: cv_mean_absolute_error – →"),
        (
            ["outcome", "train linear", "artifacts", "model/model.skops", "sha256"],
            "0" * 64,
            "model/model.skops 000000000000",
        ),
    ],
)
def test_an_edited_receipt(recorded, reproduced, tmp_path, keys, value, words):
    document = json.loads(edited(recorded, tmp_path / "receipt.json", *keys, value=value).read_text())
    found = compared(recorded, document, reproduced)
    assert found.verdict == "differs"
    assert words in found.conclusion
    assert "(edited after it was written)" in found.conclusion


def test_an_edited_receipt_of_runs_that_are_elsewhere(recorded, tmp_path):
    keys = ["outcome", "evaluate linear", "metrics", "r2_score"]
    path = edited(recorded, tmp_path / "receipt.json", *keys, value=0.99, step="evaluate")
    result = reproduce(Workflow(tmp_path / "elsewhere", recorded.project), path)
    assert "1 of " in verdict(result)
    assert "evaluate linear: r2_score 0.99 →" in verdict(result)
    assert result.output.count("not examined") == 1


def test_an_edited_receipt_is_not_that_of_its_run(recorded, tmp_path):
    mlflow.set_tracking_uri(recorded.uri)
    keys = ["outcome", "evaluate linear", "metrics", "r2_score"]
    path = edited(recorded, tmp_path / "receipt.json", *keys, value=0.99, step="evaluate")
    before = recorded.first("evaluate").data.tags
    tag_original(json.loads(path.read_text()), "equal")
    assert recorded.first("evaluate").data.tags == before


def test_a_hand_edited_metric(recorded):
    run = recorded.first("evaluate")
    try:
        recorded.client.log_metric(run.info.run_id, "r2_score", 0.99)
        line = verdict(reproduce(recorded, run.info.run_id))
    finally:
        recorded.client.log_metric(run.info.run_id, "r2_score", run.data.metrics["r2_score"])
    assert "came out again, bit for bit; what changed: as logged: evaluate linear: r2_score" in line
    assert "→ 0.99" in line
    assert recorded.client.get_run(run.info.run_id).data.tags["workflow.reproduced"] == "differs"


@pytest.mark.parametrize("swapped", ["another model", "rubbish"])
def test_a_swapped_model(recorded, reproduced, swapped):
    run = recorded.first("train")
    path = (
        Path(recorded.client.get_logged_model(run.outputs.model_outputs[0].model_id).artifact_location) / "model.skops"
    )
    original = path.read_bytes()
    if swapped == "another model":
        assert recorded.step("train", model="dummy").code == 0
        other = recorded.client.get_logged_model(recorded.last().outputs.model_outputs[0].model_id).artifact_location
        content = (Path(other) / "model.skops").read_bytes()
    else:
        content = b"rubbish"
    try:
        path.write_bytes(content)
        found = compared(recorded, receipt_of(recorded), reproduced)
    finally:
        path.write_bytes(original)
    assert found.verdict == "differs"
    assert "came out again, bit for bit; what changed: as logged: train linear" in found.conclusion
    assert "model.skops" in found.conclusion


def test_a_line_of_code(recorded, tmp_path):
    head = git(recorded.project, "rev-parse", "HEAD")
    module = recorded.project / "steps/tabular/learning/models.py"
    module.write_text(module.read_text().replace('"sklearn.linear_model.Ridge"', '"sklearn.linear_model.Lasso"'))
    other = commit(recorded.project)
    git(recorded.project, "reset", "--quiet", "--hard", head)
    line = verdict(reproduce(recorded, edited(recorded, tmp_path / "receipt.json", "code", "commit", value=other)))
    assert "did not come out again" in line
    assert "code: tabular/learning/models.py" in line


def test_uncommitted_changes_are_part_of_the_receipt(recorded):
    module, new = (
        recorded.project / "steps/tabular/learning/scoring.py",
        recorded.project / "steps/tabular/brand_new.py",
    )
    head = git(recorded.project, "rev-parse", "HEAD")
    try:
        new.write_text("FACTOR = 1.0\n")
        module.write_text(module.read_text() + "\nfrom tabular.brand_new import FACTOR  # noqa: E402, F401\n")
        assert recorded.step("train", model="dummy").code == 0
        dirty = recorded.last()
        assert git(recorded.project, "diff", "--cached", "--name-only") == ""
    finally:
        git(recorded.project, "checkout", "--quiet", ".")
        new.unlink()
    patch = recorded.artifacts(dirty, "uncommitted.patch").read_text()
    assert "+FACTOR = 1.0" in patch
    assert git(recorded.project, "rev-parse", "HEAD") == head
    result = reproduce(recorded, dirty.info.run_id)
    assert result.code == 0, result.output
    assert "with its uncommitted changes" in result.output


@pytest.mark.skipif(
    not environment.processor_flags() >= environment.NEEDED, reason="a processor without AVX2, or none that tells"
)
def test_another_processor(recorded, monkeypatch):
    monkeypatch.delitem(recorded.environment, forked.ADDRESS)  # what is forked has chosen its level already
    monkeypatch.setitem(recorded.environment, "OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setitem(recorded.environment, "NPY_ENABLE_CPU_FEATURES", "none")
    result = reproduce(recorded, recorded.first("evaluate").info.run_id)
    assert result.code == 0, result.output
    assert "bit for bit" in result.output


@pytest.fixture(scope="module")
def unpinned(tmp_path_factory, recorded):
    """As `recorded`, of a project that leaves its level to numpy and OpenBLAS; and the environment of another level."""
    folder = copy_project(tmp_path_factory.mktemp("unpinned"))
    module = folder / "steps/environment.py"
    module.write_text(module.read_text().replace('NEEDED = {"avx2", "fma"}', 'NEEDED = {"no processor has this"}'))
    git(folder, "init", "--quiet")
    commit(folder)
    workflow = Workflow(tmp_path_factory.mktemp("unpinned-runs"), folder, recorded.data)
    for name in (*environment.PINS, forked.ADDRESS):  # what is forked has chosen its level already
        workflow.environment.pop(name, None)
    assert workflow.execute([sys.executable, *script_of(workflow)]).code == 0
    workflow.environment |= {"OPENBLAS_CORETYPE": "Prescott", "NPY_ENABLE_CPU_FEATURES": "none"}
    return workflow


def test_another_platform_may_round_otherwise(unpinned):
    run = unpinned.first("evaluate")
    result = reproduce(unpinned, run.info.run_id)
    assert result.code == 0, result.output
    line = result.output.splitlines()[-1]
    assert line.startswith("equal within 1e-9: all 58 metrics and artifacts came out again, ")
    assert "of them not bit for bit; the largest deviation is" in line
    assert "because of platform: numpy X86_V" in line
    assert unpinned.last().data.tags["workflow.verdict"] == "equal within 1e-9"
    made = json.loads(unpinned.artifacts(unpinned.last(), "reproduced.json").read_text())
    exact = compared(unpinned, receipt_of(unpinned, "evaluate"), made, rtol=0)
    assert exact.verdict == "differs"
    assert "because of platform: numpy X86_V" in exact.conclusion
    assert "it comes out with -P rtol=1e-9" in exact.conclusion


def test_a_blend_comes_out_again_with_all_that_it_is_made_of(recorded):
    assert recorded.step("train", model="blend", model_params="{dummy: {}, linear: {}}").code == 0
    blend = next(run for run in recorded.runs("train") if run.info.run_name == "train blend")
    result = reproduce(recorded, blend.info.run_id)
    assert result.code == 0, result.output
    assert result.output.splitlines()[-1].endswith("bit for bit")


def test_the_recorded_environment(recorded):
    result = reproduce(recorded, recorded.first("train").info.run_id, env="recorded")
    assert result.code == 0, result.output
    assert "bit for bit" in result.output


def test_all_runs_of_an_experiment(recorded):
    """Proven once, they are only looked at; what somebody edited is found all the same."""
    place = recorded.client.create_experiment("wines")
    recorded.environment["MLFLOW_EXPERIMENT_ID"] = place
    try:
        for seed in ("1", "2"):
            assert recorded.step("preprocess", seed=seed).code == 0
    finally:
        del recorded.environment["MLFLOW_EXPERIMENT_ID"]
    first = reproduce(recorded, "wines")
    assert first.code == 0, first.output
    assert "proven before" not in first.output
    assert "equal: 2 of 2 runs of experiment wines came out again" in first.output
    one, _ = recorded.client.search_runs([place])
    recorded.client.log_metric(one.info.run_id, "rows_in", 1)
    second = reproduce(recorded, place)
    assert verdict(second) == "differs: 1 of 2 runs of experiment wines came out again; not preprocess"
    assert second.output.count("proven before") == 1
    nested = recorded.client.search_runs(["0"], f"tags.mlflow.parentRunId = '{recorded.last().info.run_id}'")
    assert [run.data.tags["workflow.verdict"] for run in nested] == ["differs"]
    assert "proven before" not in reproduce(recorded, "wines", again="true").output


def test_an_experiment_without_runs(recorded):
    recorded.client.create_experiment("empty")
    refused(recorded, "empty", "run=empty: that experiment has no finished run with a receipt")


def refused(workflow: Workflow, run: str | Path, words: str, **parameters: str) -> None:
    result = reproduce(workflow, run, **parameters)
    assert result.code == 2
    assert words in result.error
    assert "Traceback" not in result.output
    assert "equal" not in result.output
    assert workflow.last().data.tags["workflow.error"] == result.error
    assert workflow.last().info.status == "FAILED"


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("", "name the run to reproduce"),
        ("0" * 32, "no such run"),
        ("receipts/none.json", "neither a run id, nor a file in the project"),
        ("runs:/" + "0" * 32 + "/receipt.json", "cannot be read"),
        ("http://127.0.0.1:9/receipt.json", "cannot be read"),
    ],
)
def test_nothing_there(recorded, run, words):
    refused(recorded, run, words)


def test_a_run_that_has_no_result(recorded):
    assert recorded.step("train", model="nonsense").code == 2
    refused(recorded, recorded.last().info.run_id, "FAILED, so it has no result to reproduce")
    foreign = recorded.client.create_run("0").info.run_id
    recorded.client.set_terminated(foreign)
    refused(recorded, foreign, "not a run of this project's workflow")
    old = recorded.client.create_run("0", tags={"workflow.step": "train"}).info.run_id
    recorded.client.set_terminated(old)
    refused(recorded, old, "it has no receipt.json")


def test_what_cannot_be_had(recorded, tmp_path):
    path = tmp_path / "receipt.json"
    path.write_bytes(b"\xff\xfe\x00")
    refused(recorded, path, "not JSON")
    refused(recorded, edited(recorded, path, "version", value=5), "a receipt of version 5")
    refused(recorded, edited(recorded, path, "code", "commit", value="0" * 40), "commit " + "0" * 40 + " cannot be had")
    refused(recorded, edited(recorded, path, "code", "commit", value=None), "outside a git repository")
    refused(
        recorded, edited(recorded, path, "code", "patch", value="0" * 64), "uncommitted.patch, which this receipt needs"
    )
    refused(recorded, edited(recorded, path, "parameters", "seed", value="zero"), "seed=zero: must be a whole number")
    elsewhere = Workflow(tmp_path / "elsewhere", recorded.project)
    gone = {"source": "/nowhere/wines.csv", "sha256": "0" * 64, "artifact": "inputs/wines.csv"}
    refused(
        elsewhere,
        edited(recorded, path, "inputs", "data", value=gone),
        "the file is gone or has changed, and there is no copy",
    )
    refused(recorded, edited(recorded, path, "inputs", "data", value=gone), "is what was recorded")


def test_the_receipt_is_what_its_schema_says(recorded):
    document = receipt_of(recorded, "evaluate")
    assert receipt.read(json.dumps(document), "it") == document
    assert document["sha256"] == receipt.seal(document)
    assert document["code"]["commit"] == git(recorded.project, "rev-parse", "HEAD")
    assert document["code"]["patch"] is None
    assert str(PROJECT) not in json.dumps(document["code"])


def test_the_committed_receipt(tmp_path):
    path = PROJECT / "receipts/wines.json"
    known = json.loads(path.read_text())["code"]["commit"]
    if subprocess.run(["git", "cat-file", "-e", known], cwd=PROJECT, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a shallow clone, which lacks the recorded commit")
    result = Workflow(tmp_path).step("reproduce", run="receipts/wines.json")
    assert "all 204 metrics and artifacts came out again" in result.output
    assert result.code == 0, result.output
