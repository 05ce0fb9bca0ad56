"""A receipt reproduces its result, and every difference is detected and named."""

import json
import re
import subprocess
import sys
from pathlib import Path

import environment

import forked
import mlflow
import pandas as pd
import pytest
from conftest import PROJECT, Result, Workflow, commit_all, copy_project, edit_json, git, own_workflow

from workflow.commands.reproduce import PROVEN_ARTIFACTS
from workflow.provenance import receipt
from workflow.provenance.comparison import Comparison, compare
from workflow.provenance.receipt import Receipt
from workflow.runs.receipt_lookup import compare_as_logged, tag_original

pytestmark = pytest.mark.slow
SMALL = {"model": "linear", "shap_samples": "2"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, small_data):
    """Return a committed copy of the project in which a linear model was evaluated, on a file outside it."""
    workflow = own_workflow(tmp_path_factory, small_data)
    result = workflow.step("evaluate", **SMALL)
    assert result.code == 0, result.output
    return workflow


@pytest.fixture(scope="module")
def reproduced(recorded) -> Receipt:
    """Return the receipt that one reproduction of the train run made, to compare others with."""
    assert reproduce(recorded, recorded.first("train").info.run_id).code == 0
    return read_receipt(recorded.artifacts(recorded.last(), "reproduced.json"))


def read_receipt(path: Path) -> Receipt:
    return receipt.read(path.read_text(), str(path))


def compared(workflow: Workflow, original: Receipt, made: Receipt, rtol: float | None = None) -> Comparison:
    """Compare a receipt as `reproduce` does once the reproduction has made another."""
    mlflow.set_tracking_uri(workflow.uri)
    return compare(original, made, compare_as_logged(original, PROVEN_ARTIFACTS), rtol)


def reproduce(workflow: Workflow, run: str | Path, **parameters: str) -> Result:
    return workflow.step("reproduce", run=str(run), **parameters)


def script_of(workflow: Workflow) -> list[str]:
    """Return the arguments for Python to evaluate as `recorded` did, in a process that is not forked."""
    words = [word for name, value in SMALL.items() for word in (f"--{name}", value)]
    return [str(workflow.project / "steps/evaluate.py"), "--data", str(workflow.data), *words]


def verdict(result: Result) -> str:
    """Return the conclusion of a reproduction that differs."""
    lines = [line for line in result.output.splitlines() if line.startswith("differs: ")]
    assert result.code == 1, result.output
    assert len(lines) == 1, result.output
    return lines[0]


def receipt_of(workflow: Workflow, step: str = "train") -> Receipt:
    return read_receipt(workflow.artifacts(workflow.first(step), "receipt.json"))


def document_of(workflow: Workflow, step: str) -> dict:
    return json.loads(workflow.artifacts(workflow.first(step), "receipt.json").read_text())


def edited(workflow: Workflow, path: Path, *keys: str, value: object, step: str = "train") -> Path:
    """Write a copy of a receipt with one value replaced to `path`."""
    path.write_text(json.dumps(document_of(workflow, step)))
    return edit_json(path, *keys, value=value)


def test_a_reproduction_matches_bit_for_bit_and_is_recorded_at_the_original(recorded):
    original = recorded.first("evaluate")
    result = recorded.run("reproduce", run=original.info.run_id)
    assert result.code == 0, result.output
    assert "metrics and artifacts match bit for bit" in result.output
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


def test_a_reproduction_reuses_no_run_and_leaves_no_files_behind(recorded):
    before = recorded.runs()
    assert reproduce(recorded, recorded.first("train").info.run_id).code == 0
    made = [run for run in recorded.runs() if run.info.run_id not in {run.info.run_id for run in before}]
    assert [run.data.tags["workflow.step"] for run in made] == ["reproduce"]
    assert git(recorded.project, "status", "--porcelain") == ""


@pytest.mark.nightly
def test_the_receipt_of_main_reproduces_all_its_models(recorded, tmp_path):
    assert recorded.step("main", models="dummy,linear", shap_samples="2").code == 0
    path = recorded.artifacts(recorded.last(), "receipt.json")
    document = json.loads(path.read_text())
    labels = ["preprocess", "train dummy", "evaluate dummy", "train linear", "evaluate linear", "main"]
    assert list(document["outcome"]) == list(document["provenance"]["runs"]) == labels
    result = reproduce(recorded, path)
    assert result.code == 0, result.output


@pytest.mark.parametrize("change", ["a byte", "gone", pytest.param("the order of rows", marks=pytest.mark.nightly)])
def test_changed_data_is_reported_and_the_recorded_copy_is_used(recorded, change):
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
    assert "match bit for bit; what changed: data: " in line


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
def test_an_edit_of_a_receipt_is_detected_and_named(recorded, reproduced, tmp_path, keys, value, words):
    path = edited(recorded, tmp_path / "receipt.json", *keys, value=value)
    found = compared(recorded, read_receipt(path), reproduced)
    assert found.verdict == "differs"
    assert words in found.conclusion
    assert "(edited after it was written)" in found.conclusion


def test_an_edit_is_detected_without_the_original_runs(recorded, tmp_path):
    keys = ["outcome", "evaluate linear", "metrics", "r2_score"]
    path = edited(recorded, tmp_path / "receipt.json", *keys, value=0.99, step="evaluate")
    result = reproduce(Workflow(tmp_path / "elsewhere", recorded.project), path)
    assert "1 of " in verdict(result)
    assert "evaluate linear: r2_score 0.99 →" in verdict(result)
    assert result.output.count("not checked") == 1


def test_an_edited_receipt_does_not_tag_its_run(recorded, tmp_path):
    mlflow.set_tracking_uri(recorded.uri)
    keys = ["outcome", "evaluate linear", "metrics", "r2_score"]
    path = edited(recorded, tmp_path / "receipt.json", *keys, value=0.99, step="evaluate")
    before = recorded.first("evaluate").data.tags
    tag_original(read_receipt(path), "equal")
    assert recorded.first("evaluate").data.tags == before


def test_an_edited_metric_of_the_original_run_is_detected(recorded):
    run = recorded.first("evaluate")
    try:
        recorded.client.log_metric(run.info.run_id, "r2_score", 0.99)
        line = verdict(reproduce(recorded, run.info.run_id))
    finally:
        recorded.client.log_metric(run.info.run_id, "r2_score", run.data.metrics["r2_score"])
    assert "match bit for bit; what changed: as logged: evaluate linear: r2_score" in line
    assert "→ 0.99" in line
    assert recorded.client.get_run(run.info.run_id).data.tags["workflow.reproduced"] == "differs"


@pytest.mark.parametrize("swapped", ["another model", "rubbish"])
def test_a_replaced_model_file_of_the_original_run_is_detected(recorded, reproduced, swapped):
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
    assert "match bit for bit; what changed: as logged: train linear" in found.conclusion
    assert "model.skops" in found.conclusion


def test_a_change_of_the_code_is_named_as_the_reason_for_other_results(recorded, tmp_path):
    head = git(recorded.project, "rev-parse", "HEAD")
    module = recorded.project / "steps/workflow/models/catalog.py"
    assert '"sklearn.linear_model.Ridge"' in module.read_text()
    module.write_text(module.read_text().replace('"sklearn.linear_model.Ridge"', '"sklearn.linear_model.Lasso"'))
    other = commit_all(recorded.project)
    git(recorded.project, "reset", "--quiet", "--hard", head)
    line = verdict(reproduce(recorded, edited(recorded, tmp_path / "receipt.json", "code", "commit", value=other)))
    assert "metrics and artifacts differ" in line
    assert "code: workflow/models/catalog.py" in line


def test_uncommitted_changes_are_recorded_and_reproduced(recorded):
    package = recorded.project / "steps/workflow"
    module, new = package / "evaluation/cross_validation.py", package / "brand_new.py"
    head = git(recorded.project, "rev-parse", "HEAD")
    try:
        new.write_text("FACTOR = 1.0\n")
        module.write_text(module.read_text() + "\nfrom workflow.brand_new import FACTOR  # noqa: E402, F401\n")
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
    not environment.processor_flags() >= environment.NEEDED, reason="needs a processor that is known to have AVX2"
)
def test_results_match_bit_for_bit_where_numpy_and_blas_would_choose_another_level(recorded, monkeypatch):
    monkeypatch.delitem(recorded.environment, forked.ADDRESS)  # a forked process has loaded numpy already
    monkeypatch.setitem(recorded.environment, "OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setitem(recorded.environment, "NPY_ENABLE_CPU_FEATURES", "none")
    result = reproduce(recorded, recorded.first("evaluate").info.run_id)
    assert result.code == 0, result.output
    assert "bit for bit" in result.output


@pytest.fixture(scope="module")
def unpinned(tmp_path_factory, recorded):
    """Return a workflow like `recorded` whose project does not pin the level of arithmetic, with another level now."""
    folder = copy_project(tmp_path_factory.mktemp("unpinned"))
    module = folder / "steps/environment.py"
    module.write_text(module.read_text().replace('NEEDED = {"avx2", "fma"}', 'NEEDED = {"no processor has this"}'))
    commit_all(folder)
    workflow = Workflow(tmp_path_factory.mktemp("unpinned-runs"), folder, recorded.data)
    for name in (*environment.PINS, forked.ADDRESS):  # a forked process has loaded numpy already
        workflow.environment.pop(name, None)
    assert workflow.execute([sys.executable, *script_of(workflow)]).code == 0
    workflow.environment |= {"OPENBLAS_CORETYPE": "Prescott", "NPY_ENABLE_CPU_FEATURES": "none"}
    return workflow


def test_another_platform_matches_within_a_tolerance_and_is_named_as_the_cause(unpinned):
    run = unpinned.first("evaluate")
    result = reproduce(unpinned, run.info.run_id)
    assert result.code == 0, result.output
    line = result.output.splitlines()[-1]
    assert re.match(r"equal within 1e-9: all \d+ metrics and artifacts match, ", line)
    assert "of them not bit for bit; the largest deviation is" in line
    assert "because of platform: numpy X86_V" in line
    assert unpinned.last().data.tags["workflow.verdict"] == "equal within 1e-9"
    made = read_receipt(unpinned.artifacts(unpinned.last(), "reproduced.json"))
    exact = compared(unpinned, receipt_of(unpinned, "evaluate"), made, rtol=0)
    assert exact.verdict == "differs"
    assert "because of platform: numpy X86_V" in exact.conclusion
    assert "they match with -P rtol=1e-9" in exact.conclusion


@pytest.mark.nightly
def test_a_blend_is_reproduced_with_its_members(recorded):
    assert recorded.step("train", model="blend", model_params="{dummy: {}, linear: {}}").code == 0
    blend = next(run for run in recorded.runs("train") if run.info.run_name == "train blend")
    result = reproduce(recorded, blend.info.run_id)
    assert result.code == 0, result.output
    assert result.output.splitlines()[-1].endswith("bit for bit")


def test_results_match_bit_for_bit_in_the_recorded_environment(recorded):
    result = reproduce(recorded, recorded.first("train").info.run_id, env="recorded")
    assert result.code == 0, result.output
    assert "bit for bit" in result.output


def test_all_runs_of_an_experiment_are_reproduced_and_verified_ones_only_compared_as_logged(recorded):
    experiment = recorded.client.create_experiment("wines")
    recorded.environment["MLFLOW_EXPERIMENT_ID"] = experiment
    try:
        for seed in ("1", "2"):
            assert recorded.step("preprocess", seed=seed).code == 0
    finally:
        del recorded.environment["MLFLOW_EXPERIMENT_ID"]
    first = reproduce(recorded, "wines")
    assert first.code == 0, first.output
    assert "verified before" not in first.output
    assert "equal: 2 of 2 runs of experiment wines match" in first.output
    one, _ = recorded.client.search_runs([experiment])
    recorded.client.log_metric(one.info.run_id, "rows_in", 1)
    second = reproduce(recorded, experiment)
    assert verdict(second) == "differs: 1 of 2 runs of experiment wines match; not preprocess"
    assert second.output.count("verified before") == 1
    nested = recorded.client.search_runs(["0"], f"tags.mlflow.parentRunId = '{recorded.last().info.run_id}'")
    assert [run.data.tags["workflow.verdict"] for run in nested] == ["differs"]
    assert "verified before" not in reproduce(recorded, "wines", again="true").output


def test_an_experiment_without_runs_is_refused(recorded):
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
        ("", "--run is required: -P run=<run id, model URI, receipt, or experiment>"),
        ("0" * 32, "no such run"),
        ("receipts/none.json", "neither a run id, nor a file in the project"),
        ("runs:/" + "0" * 32 + "/receipt.json", "cannot be read"),
        ("http://127.0.0.1:9/receipt.json", "cannot be read"),
    ],
)
def test_a_receipt_that_does_not_exist_is_refused(recorded, run, words):
    refused(recorded, run, words)


def test_a_run_without_a_result_is_refused(recorded):
    assert recorded.step("train", model="nonsense").code == 2
    refused(recorded, recorded.last().info.run_id, "FAILED, so it has no result to reproduce")
    foreign = recorded.client.create_run("0").info.run_id
    recorded.client.set_terminated(foreign)
    refused(recorded, foreign, "not a run of this project's workflow")
    old = recorded.client.create_run("0", tags={"workflow.step": "train"}).info.run_id
    recorded.client.set_terminated(old)
    refused(recorded, old, "a run of train without receipt.json; name one that has it")


def test_a_receipt_that_cannot_be_used_is_refused_with_the_reason(recorded, tmp_path):
    path = tmp_path / "receipt.json"
    path.write_bytes(b"\xff\xfe\x00")
    refused(recorded, path, "not JSON")
    refused(
        recorded, edited(recorded, path, "version", value=4), "a receipt of version 4, but this project reads version 5"
    )
    refused(recorded, edited(recorded, path, "version", value=6), "a receipt of version 6, but this project reads")
    refused(recorded, edited(recorded, path, "code", "commit", value="0" * 40), "commit " + "0" * 40 + " not found")
    refused(recorded, edited(recorded, path, "code", "commit", value=None), "outside a git repository")
    refused(
        recorded, edited(recorded, path, "code", "patch", value="0" * 64), "uncommitted.patch, which this receipt needs"
    )
    refused(
        recorded, edited(recorded, path, "parameters", "seed", value="zero"), "seed=zero: must be an integer from 0"
    )
    elsewhere = Workflow(tmp_path / "elsewhere", recorded.project)
    gone = {"source": "/nowhere/wines.csv", "sha256": "0" * 64, "artifact": "inputs/wines.csv"}
    refused(
        elsewhere,
        edited(recorded, path, "inputs", "data", value=gone),
        "the file is gone or has changed, and there is no copy",
    )
    refused(recorded, edited(recorded, path, "inputs", "data", value=gone), "neither the file nor the copy in runs:/")


def test_a_receipt_survives_reading_and_holds_its_own_digest(recorded):
    document = document_of(recorded, "evaluate")
    made = receipt_of(recorded, "evaluate")
    assert json.loads(made.text()) == document
    assert document["sha256"] == receipt.self_digest(document) == made.self_digest()
    assert document["code"]["commit"] == git(recorded.project, "rev-parse", "HEAD")
    assert document["code"]["patch"] is None
    assert str(PROJECT) not in json.dumps(document["code"])


def test_the_committed_receipt_is_reproduced(tmp_path):
    path = PROJECT / "receipts/wines.json"
    known = json.loads(path.read_text())["code"]["commit"]
    if subprocess.run(["git", "cat-file", "-e", known], cwd=PROJECT, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a shallow clone, which lacks the recorded commit")
    result = Workflow(tmp_path).step("reproduce", run="receipts/wines.json")
    assert "all 280 metrics and artifacts match bit for bit" in result.output
    assert result.code == 0, result.output
