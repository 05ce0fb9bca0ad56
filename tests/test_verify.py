"""A result carries the signatures of those who have made it again, and whatever was edited or forged is refused."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import Result, Workflow, edit_json, own_workflow
from keys import write_key

pytestmark = pytest.mark.slow
KEYS = {"anna": "ed25519", "bob": "ecdsa", "carl": "ed25519"}
SMALL = {"model": "linear", "shap_samples": "2"}


@pytest.fixture(scope="module")
def proven(tmp_path_factory, small_data):
    """Return a committed copy of the project whose evaluate run anna has reproduced and signed, and bob too."""
    workflow = own_workflow(tmp_path_factory, small_data)
    store = workflow.folder
    result = workflow.step("evaluate", **SMALL)
    assert result.code == 0, result.output
    workflow.first_run = workflow.last().info.run_id
    keys = {name: write_key(store, name, kind) for name, kind in KEYS.items()}
    (store / "trust.yaml").write_text("anna: {key: anna.pub}\nbob: {key: bob.pub}\n")
    (store / "bob.yaml").write_text("bob: {key: bob.pub}\n")
    (store / "nobody.yaml").write_text("{}\n")
    result = workflow.run("reproduce", run=workflow.first_run, sign=str(keys["anna"]))
    assert result.code == 0, result.output
    workflow.keys, workflow.signed_run = keys, workflow.last()
    return workflow


def verify(workflow: Workflow, run: str | Path = "", trust: str = "trust.yaml", **parameters: str) -> Result:
    given = {"run": str(run or workflow.first_run), "trust": str(workflow.folder / trust)}
    return workflow.step("verify", **given | parameters)


def not_proven(result: Result) -> str:
    """Return the line that says why a result is not proven."""
    assert result.code == 1, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("not proven: ")]
    return line


@pytest.fixture
def envelope(proven, tmp_path) -> Path:
    """Return a copy of the signed verdict outside the store."""
    return Path(shutil.copy(proven.artifacts(proven.signed_run, "verdict.dsse.json"), tmp_path / "anna.dsse.json"))


@pytest.fixture
def receipt_file(proven, tmp_path) -> Path:
    """Return a copy of the receipt outside the store."""
    copy = proven.artifacts(proven.client.get_run(proven.first_run), "receipt.json")
    return Path(shutil.copy(copy, tmp_path / "wines.json"))


def test_a_result_is_proven_by_a_trusted_signature(proven):
    result = proven.run("verify", run=proven.first_run, trust=str(proven.folder / "trust.yaml"))
    assert result.code == 0, result.output
    assert "proven: anna has reproduced and signed it, and nothing of it was edited" in result.output
    page = json.loads(proven.artifacts(proven.last(), "verify.json").read_text())
    (line,) = page["sections"][0]["table"]
    assert (line["signed by"], line["verdict"], line["counts"]) == ("anna", "equal", "yes")


def test_the_verdict_is_a_statement_that_others_can_read(proven):
    statement = json.loads(proven.artifacts(proven.signed_run, "verdict.json").read_text())
    assert statement["predicate"]["compared"] == 65
    assert statement["predicate"]["verdict"] == "equal"


def test_two_people_are_two_signatures_on_one_receipt(proven, tmp_path):
    elsewhere = Workflow(tmp_path / "elsewhere", proven.project)
    copy = proven.artifacts(proven.client.get_run(proven.first_run), "receipt.json")
    receipt = Path(shutil.copy(copy, tmp_path / "wines.json"))
    assert "1 of 2 trusted signatures (anna)" in not_proven(verify(proven, signatures="2"))
    result = elsewhere.step("reproduce", run=str(receipt), sign=str(proven.keys["bob"]))
    assert result.code == 0, result.output
    shutil.copy(elsewhere.artifacts(elsewhere.last(), "verdict.dsse.json"), tmp_path / "wines.bob.dsse.json")
    result = verify(proven, receipt, signatures="2")  # found in the store, and beside the file
    assert result.code == 0, result.output
    assert "proven: anna, bob have reproduced and signed it" in result.output


def test_a_signature_counts_only_if_somebody_trusted_made_it(proven):
    assert "0 of 1 trusted signatures; nobody trusted has signed it, only the key" in not_proven(
        verify(proven, trust="bob.yaml")
    )
    result = verify(proven, trust="nobody.yaml", signatures="0")
    assert result.code == 0, result.output
    assert "not edited: nothing of it was edited, and nobody has signed it" in result.output
    assert "proven" not in result.output


def test_a_verdict_on_another_receipt_does_not_count(proven, envelope):
    assert proven.step("evaluate", **SMALL | {"shap_samples": "3"}).code == 0
    other = proven.last().info.run_id
    line = not_proven(verify(proven, other, verdicts=str(envelope)))
    assert f"{envelope}: it is about another receipt" in line


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda path: edit_json(path, "payload", value="e30="), "not the signature of anna"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "not a signed verdict"),
        (lambda path: edit_json(path, "payloadType", value="text/plain"), "its payload is text/plain"),
    ],
)
def test_an_edited_verdict_is_refused(proven, envelope, edit, words):
    edit(envelope)
    assert words in not_proven(verify(proven, verdicts=str(envelope)))


def test_an_edited_receipt_is_refused(proven, receipt_file):
    edit_json(receipt_file, "outcome", "evaluate linear", "metrics", "r2_score", value=0.99)
    line = not_proven(verify(proven, receipt_file))
    assert "not as recorded: receipt: digest" in line
    assert "edited after it was written" in line


def test_an_edited_model_is_refused(proven):
    run = proven.first("train")
    model = proven.client.get_logged_model(run.outputs.model_outputs[0].model_id)
    path = Path(model.artifact_location) / "model.skops"
    original = path.read_bytes()
    try:
        path.write_bytes(original + b" ")
        assert "not as recorded: as logged: train linear: files" in not_proven(verify(proven))
    finally:
        path.write_bytes(original)


def test_edited_data_is_refused(proven):
    original = proven.data.read_bytes()
    try:
        proven.data.write_bytes(original + original.splitlines(keepends=True)[1])
        assert "not as recorded: data: " in not_proven(verify(proven))
    finally:
        proven.data.write_bytes(original)


def test_a_trusted_verdict_that_differs_contradicts_the_others(proven, receipt_file, tmp_path):
    """Somebody has edited a score while carl reproduces; he signs that it differs, and is trusted."""
    keys = {name: (proven.folder / f"{name}.pub").read_text() for name in ("anna", "carl")}
    (tmp_path / "trust.yaml").write_text(json.dumps({name: {"key": key} for name, key in keys.items()}))
    run = proven.first("evaluate")
    metric = run.data.metrics["r2_score"]
    proven.client.log_metric(run.info.run_id, "r2_score", 0.99)
    try:
        result = proven.step("reproduce", run=proven.first_run, sign=str(proven.keys["carl"]))
        assert result.code == 1, result.output
    finally:
        proven.client.log_metric(run.info.run_id, "r2_score", metric)
        signed = proven.last()
    result = proven.step("verify", run=proven.first_run, trust=str(tmp_path / "trust.yaml"))
    assert f"carl signed that it differs (run {signed.info.run_id})" in not_proven(result)
    assert proven.step("reproduce", run=proven.first_run, sign=str(proven.keys["carl"])).code == 0
    result = proven.step("verify", run=proven.first_run, trust=str(tmp_path / "trust.yaml"))
    assert "proven: anna, carl have reproduced and signed it" in result.output  # his last verdict counts


@pytest.mark.parametrize(
    ("step", "parameters", "words"),
    [
        ("verify", {"run": "0" * 32}, "no such run"),
        ("verify", {"trust": "missing.yaml"}, "no such file"),
        ("verify", {"verdicts": "missing.json"}, "verdicts=missing.json: no such file"),
        ("reproduce", {"sign": "missing.pem"}, "sign=missing.pem: no such file"),
        ("reproduce", {"sign": "anna.pub"}, "a public key, which cannot sign"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(proven, step, parameters, words):
    given = {"run": proven.first_run} | parameters
    if step == "verify":
        given = {"trust": str(proven.folder / "trust.yaml")} | given
    if given.get("sign") == "anna.pub":
        given["sign"] = str(proven.folder / "anna.pub")
    result = proven.step(step, **given)
    assert result.code == 2, result.output
    assert words in result.error
    assert "reproducing" not in result.output


def test_a_champion_must_be_signed_if_the_rules_say_so_and_the_history_names_the_signers(proven, tmp_path):
    rules = tmp_path / "rules.yaml"
    trust = proven.folder / "trust.yaml"
    run = proven.first("train").info.run_id
    rules.write_text(f"proof: {{signatures: 1, by: [bob], trust: {trust}}}\n")
    result = proven.step("promote", run=run, name="flats", rules=str(rules))
    assert result.code == 0, result.output
    assert "version 1 of flats was not promoted: reproduction signed by 1 of bob: nobody" in result.output
    rules.write_text(f"proof: {{signatures: 1, trust: {trust}}}\n")
    result = proven.step("promote", run=run, name="flats", rules=str(rules))
    assert "version 2 of flats is the champion" in result.output
    version = proven.client.get_model_version_by_alias("flats", "champion")
    assert version.tags["workflow.signers"] == "anna"
    assert "anna reproduced it and signed that" in version.description

    assert proven.step("train", model="dummy").code == 0
    dummy = proven.last().info.run_id
    rules.write_text("thresholds: {}\n")
    assert proven.step("promote", run=dummy, name="flats", rules=str(rules)).code == 0
    assert proven.step("rollback", name="flats").code == 0
    result = proven.run("history", name="flats")
    assert result.code == 0, result.output
    table = json.loads(proven.artifacts(proven.last(), "history.json").read_text())["sections"][0]["table"]
    assert [line["version"] for line in table] == ["2", "3", "2"]
    assert [line["until"] == "now" for line in table] == [True, False, False]
    assert table[0]["signed by"] == "anna"
    assert table[1]["signed by"] == "–"
    assert "is the champion again, after version 3" in table[0]["why"]
    proven.client.set_registered_model_alias("flats", "champion", "1")
    assert proven.step("history", name="flats").code == 0
    table = json.loads(proven.artifacts(proven.last(), "history.json").read_text())["sections"][0]["table"]
    assert [line["version"] for line in table] == ["1", "2", "3", "2"]
    assert table[0]["why"] == "the alias was moved by hand"
    assert [table[0]["from"], table[0]["until"], table[1]["until"]] == ["–", "now", "–"]  # nothing recorded when
    assert table[1]["from"] == table[2]["until"]


@pytest.fixture(scope="module")
def crate(proven) -> Path:
    """Return a crate of the proven result."""
    path = proven.folder / "wines.zip"
    result = proven.step("export", model=proven.first_run, output=str(path))
    assert result.code == 0, result.output
    assert "receipt, data, contract; signed verdicts: " in result.output
    return path


def test_a_crate_is_reproduced_and_verified_where_nothing_else_is(proven, crate, tmp_path):
    elsewhere = Workflow(tmp_path / "elsewhere", proven.project)
    original = proven.data.read_bytes()
    try:
        proven.data.unlink()
        result = elsewhere.step("verify", run=str(crate), trust=str(proven.folder / "trust.yaml"))
        assert result.code == 0, result.output
        assert "proven: anna has reproduced and signed it" in result.output
        result = elsewhere.step("reproduce", run=str(crate))
        assert result.code == 0, result.output
        assert "match bit for bit" in result.output
    finally:
        proven.data.write_bytes(original)


@pytest.mark.parametrize(
    ("name", "words"),
    [("inputs/data/wines.csv", "wines.csv: the file is gone or has changed"), ("receipt.json", "receipt: digest")],
)
def test_an_edited_crate_is_refused(proven, crate, tmp_path, name, words):
    with zipfile.ZipFile(crate) as archive, zipfile.ZipFile(tmp_path / "edited.zip", "w") as edited_crate:
        for entry in archive.namelist():
            content = archive.read(entry)
            if entry == name:
                content = content.replace(b'"seed": 0', b'"seed": 1').replace(b"2016", b"2017", 1)
            edited_crate.writestr(entry, content)
    elsewhere = Workflow(tmp_path / "elsewhere", proven.project)
    result = elsewhere.step("verify", run=str(tmp_path / "edited.zip"), trust=str(proven.folder / "trust.yaml"))
    assert result.code in (1, 2), result.output
    assert words in result.output


def test_the_history_of_nothing_is_one_line(proven):
    result = proven.step("history", name="nothing")
    assert result.code == 2, result.output
    assert "no registered model nothing" in result.error
