"""From a score to production: models are registered, promoted, served, used on files and reproduced."""

import json
import os
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import forked
import numpy as np
import pandas as pd
import pytest
import servers
import yaml
from conftest import PROJECT, Workflow
from frames import read_table
from mlflow.entities import Run

from workflow.data import contract
from workflow.errors import UserError
from workflow.models import serving
from workflow.provenance import fingerprint
from workflow.runs import names

pytestmark = pytest.mark.slow
ROWS = 400


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """Return a workflow with a registered model `houses` of a German file with dates, texts and missing values."""
    folder = tmp_path_factory.mktemp("houses")
    random = np.random.default_rng(0)
    area, town = random.uniform(40, 2000, ROWS), random.choice(["Köln", "Jena", "N.V."], ROWS)
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 900, ROWS), "D")
    garden = random.choice(["ja", "nein"], ROWS)
    price = area * 2000 * (1 + (garden == "ja") / 4) * np.exp(random.normal(0, 0.1, ROWS))

    def german(number: float) -> str:
        return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))

    columns = {
        "area": [german(each) for each in area],
        "town": town,
        "day": day.strftime("%d.%m.%Y"),
        "garden": garden,
        "rooms": [str(each) if each else "" for each in random.integers(0, 9, ROWS)],
        "price": [f"{german(each)} €" for each in price],
    }
    pd.DataFrame(columns).to_csv(folder / "houses.csv", index=False, sep=";")
    workflow = Workflow(folder / "store", data=folder / "houses.csv")
    result = workflow.run("main", target="price", models="linear,boosting", register="houses", shap_samples="3")
    assert result.code == 0, result.output
    assert "version 1 of houses is the champion" in result.output
    workflow.first_output = result.output
    return workflow


@pytest.fixture(scope="module")
def address(houses):
    """Serve the champion with `mlflow models serve`; yield the address."""
    with servers.model_server("models:/houses@champion", houses.environment) as address:
        yield address


def invoke(address: str, rows: list[dict], **params: object) -> tuple[int, dict]:
    """Post rows as JSON records; return the status and the body of the response."""
    body = json.dumps({"dataframe_records": rows} | ({"params": params} if params else {})).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def raw_rows(houses) -> pd.DataFrame:
    return read_table(houses.data)[0].reset_index(drop=True)


def evaluation(houses) -> Run:
    """Return the evaluate run of the winner of the first main."""
    winner = houses.first("main").data.tags["workflow.winner_run_id"]
    return next(run for run in houses.runs("evaluate") if run.data.tags["workflow.upstream"] == winner)


def expected_predictions(houses) -> pd.Series:
    """Return what evaluate predicted for each test row, by its position in the file."""
    run = evaluation(houses)
    preprocessed = houses.first("preprocess")
    test_set = pd.read_parquet(houses.artifacts(preprocessed, "test.parquet"))
    test_set["expected"] = pd.read_parquet(houses.artifacts(run, "predictions.parquet"))["predicted"]
    found = contract.read_contract(houses.artifacts(preprocessed, "contract.yaml"))
    typed, rejected = contract.check(raw_rows(houses), found)
    assert rejected.empty
    expected = typed.reset_index().merge(test_set, how="inner", on=list(found.columns)).set_index("index")["expected"]
    assert len(expected) == len(test_set)
    return expected


def test_a_served_model_takes_rows_as_the_file_has_them(houses, address):
    expected = expected_predictions(houses)
    rows = raw_rows(houses).loc[expected.index].astype(object)
    status, answer = invoke(address, rows.where(rows.notna(), None).to_dict("records"))
    assert status == 200, answer
    np.testing.assert_array_equal(
        [row if np.isscalar(row) else row["price"] for row in answer["predictions"]], expected
    )


def test_a_served_model_returns_prediction_intervals_at_the_level_of_the_request(houses, address):
    expected = expected_predictions(houses)
    row = raw_rows(houses).loc[expected.index[0]].astype(object)
    rows = [row.where(row.notna(), None).to_dict()]
    logged = pd.read_parquet(houses.artifacts(evaluation(houses), "predictions.parquet"))
    own = logged[logged["predicted"] == expected.iloc[0]].iloc[0]
    status, answer = invoke(address, rows, level=0.9)
    assert status == 200, answer
    names = {"prediction": "predicted", "prediction_low": "low", "prediction_high": "high"}
    assert answer["predictions"][0] == pytest.approx({name: own[column] for name, column in names.items()}, rel=1e-12)
    _, narrow = invoke(address, rows, level=0.5)
    assert own["low"] < narrow["predictions"][0]["prediction_low"] < own["predicted"]
    for level in (1.5, -0.1, 0.9999):
        status, answer = invoke(address, rows, level=level)
        assert status == 400
        assert f"level={level:g}: " in answer["message"]


def test_a_served_model_takes_texts_and_typed_json_values(address):
    texts = {"area": "1.234,50", "town": "Köln", "day": "24.12.2021", "garden": "ja", "rooms": "4"}
    _, answer = invoke(address, [texts])
    typed = {"rooms": 4, "garden": True, "area": 1234.5, "day": "24.12.2021", "town": " Köln ", "more": [1]}
    for same in (typed, texts | {"garden": "JA"}, texts | {"area": "1234,5"}):
        assert invoke(address, [same]) == (200, answer)
    status, several = invoke(address, [texts, typed, texts | {"rooms": ""}, texts | {"rooms": None, "town": "Ulm"}])
    assert status == 200
    assert several["predictions"][:2] == answer["predictions"] * 2
    without = {name: value for name, value in texts.items() if name != "rooms"}
    assert invoke(address, [without])[1]["predictions"] == [several["predictions"][2]]


def test_a_served_model_explains_on_request(houses, address):
    texts = {"area": "1.234,50", "town": "Köln", "day": "24.12.2021", "garden": "ja", "rooms": "4"}
    _, plain = invoke(address, [texts])
    assert invoke(address, [texts], explain=False) == (200, plain)
    status, explained = invoke(address, [texts, texts | {"rooms": None}], explain=True)
    assert status == 200, explained
    first, _ = explained["predictions"]
    names = [*texts, "base"]
    assert list(first) == ["prediction", *(f"contribution_{name}" for name in names)]
    (predicted,) = plain["predictions"]
    assert first["prediction"] == (predicted if np.isscalar(predicted) else predicted["price"])
    assert sum(first[f"contribution_{name}"] for name in names) == pytest.approx(first["prediction"], rel=1e-6)
    trained = houses.client.get_run(houses.first("main").data.tags["workflow.winner_run_id"])
    background = pd.read_parquet(model_folder(houses, trained) / serving.BACKGROUND_FILE)
    training_set = pd.read_parquet(houses.artifacts(houses.first("preprocess"), "train.parquet"))
    assert len(background.merge(training_set, how="inner")) >= len(background) == 100


def test_a_served_model_names_the_receipt_of_its_training(houses, address):
    row = {"area": "1.234,50", "town": "Köln", "day": "24.12.2021", "garden": "ja", "rooms": "4"}
    status, answer = invoke(address, [row, row], receipt=True)
    assert status == 200, answer
    trained = houses.client.get_run(houses.first("main").data.tags["workflow.winner_run_id"])
    recorded = json.loads(houses.artifacts(trained, "receipt.json").read_text())
    assert [line["receipt"] for line in answer["predictions"]] == [recorded["sha256"]] * 2
    assert "model/receipt.sha256" in recorded["provenance"]["files"]
    assert f"model/{serving.RECEIPT_FILE}" == names.Files.RECEIPT_DIGEST


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"area": "1,234.50"}, "row 0, column area: '1,234.50' is not a number"),
        ({"day": "2021-12-24"}, "row 0, column day: '2021-12-24' is not a date"),
        ({"day": 18993}, "row 0, column day: '18993"),
        ({"garden": "perhaps"}, "row 0, column garden: 'perhaps' is neither true nor false"),
        ({"rooms": "many"}, "row 0, column rooms: 'many' is not a number"),
    ],
)
def test_an_unreadable_value_returns_400_with_the_reason(address, wrong, words):
    row = {"area": "1.234,50", "town": "Köln", "day": "24.12.2021", "garden": "ja", "rooms": "4"}
    status, answer = invoke(address, [row | wrong])
    assert status == 400
    assert words in answer["message"]


def test_a_column_that_was_never_missing_is_required(address):
    status, answer = invoke(address, [{"town": "Köln", "garden": "ja", "rooms": "4"}])
    assert status == 400
    assert "Model is missing inputs ['area', 'day']" in answer["message"]


def test_a_logged_model_holds_unchanged_files_of_the_project_only(houses):
    model = houses.client.get_logged_model(houses.first("train").outputs.model_outputs[0].model_id)
    folder = Path(model.artifact_location)
    receipt = json.loads(houses.artifacts(houses.first("train"), "receipt.json").read_text())
    files = [path for path in (folder / "code").rglob("*") if path.is_file()]
    code = [path for path in files if path.suffix != ".pyc"]  # written when a test loads the model
    assert folder / "code/workflow/models/serving.py" in code
    for path in code:
        assert fingerprint.file_digest(path) == receipt["code"]["files"][path.relative_to(folder / "code").as_posix()]


def test_predict_matches_evaluate_on_the_test_set(houses, tmp_path):
    run = evaluation(houses)
    data = f"runs:/{houses.first('preprocess').info.run_id}/test.parquet"
    result = houses.step("predict", model=houses.first("main").info.run_id, data=data, output=tmp_path / "out.parquet")
    assert result.code == 0, result.output
    logged = pd.read_parquet(houses.artifacts(run, "predictions.parquet"))
    written = pd.read_parquet(tmp_path / "out.parquet")
    for name, column in {"predicted": "prediction", "low": "prediction_low", "high": "prediction_high"}.items():
        np.testing.assert_array_equal(written[column], logged[name])
    scored = houses.last().data.metrics
    for name in ("r2_score", "mean_absolute_error", "interval_coverage"):
        assert scored[name] == pytest.approx(run.data.metrics[name], rel=1e-12)


def test_predict_writes_intervals_of_several_levels(houses, tmp_path):
    data = f"runs:/{houses.first('preprocess').info.run_id}/test.parquet"
    given = {"model": "models:/houses@champion", "data": data, "output": tmp_path / "out.parquet"}
    assert houses.step("predict", **given, level="0.9,0.5").code == 0
    written, scored = pd.read_parquet(tmp_path / "out.parquet"), houses.last().data.metrics
    assert (written["prediction_low"] <= written["prediction_low_50"]).all()
    assert (written["prediction_high_50"] <= written["prediction_high"]).all()
    inside = written["price"].between(written["prediction_low_50"], written["prediction_high_50"])
    assert scored["interval_coverage_50"] == pytest.approx(inside.mean(), rel=1e-12)
    assert scored["interval_coverage"] == evaluation(houses).data.metrics["interval_coverage"]
    wrong = houses.step("predict", **given, level="1.5", overwrite="true")
    assert wrong.error == "level=1.5: must be a number between 0 and 1"


@contextmanager
def one_bit_changed(houses, run: Run, path: Path) -> Iterator[None]:
    """Change one bit of a file of a run, and restore it."""
    original = path.read_bytes()
    content = bytearray(original)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(original)
        houses.client.delete_tag(run.info.run_id, "workflow.altered")


def model_folder(houses, run: Run) -> Path:
    return Path(houses.client.get_logged_model(run.outputs.model_outputs[0].model_id).artifact_location)


@pytest.mark.parametrize("name", ["model.skops", "intervals.skops", "contract.yaml", "train.parquet"])
def test_predict_refuses_what_is_not_as_recorded_in_one_line(houses, tmp_path, name):
    trained = houses.client.get_run(houses.first("main").data.tags["workflow.winner_run_id"])
    run = houses.first("preprocess") if name in ("contract.yaml", "train.parquet") else trained
    folder = model_folder(houses, run) if name.endswith(".skops") else Path(run.info.artifact_uri)
    with one_bit_changed(houses, run, folder / name):
        output = tmp_path / "out.csv"
        result = houses.step("predict", model="models:/houses@champion", data=houses.data, output=output)
        assert houses.client.get_run(run.info.run_id).data.tags["workflow.altered"].endswith(name)
    assert result.code == 2, result.output
    assert f"{name}: SHA-256 " in result.error
    assert not output.exists()
    assert (houses.last().info.status, houses.last().data.tags["workflow.error"]) == ("FAILED", result.error)


def test_a_served_model_is_refused_if_a_file_beside_it_was_replaced(houses, tmp_path):
    trained = houses.client.get_run(houses.first("main").data.tags["workflow.winner_run_id"])
    folder = shutil.copytree(model_folder(houses, trained), tmp_path / "model")
    serving._load_pyfunc(str(folder))
    contract_file = folder / serving.CONTRACT_FILE
    contract_file.write_text(contract_file.read_text() + "\n")
    with pytest.raises(UserError, match=r"contract.yaml: not the file that was saved with the model"):
        serving._load_pyfunc(str(folder))


def test_promote_refuses_a_model_whose_code_was_changed(houses):
    trained = houses.client.get_run(houses.first("main").data.tags["workflow.winner_run_id"])
    with one_bit_changed(houses, trained, model_folder(houses, trained) / "code/workflow/models/serving.py"):
        result = houses.step("promote", run=houses.first("main").info.run_id, name="altered")
    assert result.code == 2, result.output
    assert "artifact model/code/workflow/models/serving.py: SHA-256 " in result.error
    assert "altered" not in {model.name for model in houses.client.search_registered_models()}


def test_predict_writes_every_readable_row_and_reports_the_others(houses, tmp_path):
    lines = houses.data.read_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(";")[0], "huge")
    lines.insert(6, "no;row")
    (tmp_path / "new.csv").write_text("\n".join(lines))
    words = {"model": "models:/houses@champion", "data": tmp_path / "new.csv", "output": tmp_path / "out.csv"}
    result = houses.step("predict", **words)
    assert result.code == 0, result.output
    assert "399 rows predicted" in result.output
    assert "2 rejected, the first because area is not a number" in result.output
    assert "training rows are not scored" in result.output
    written = pd.read_csv(tmp_path / "out.csv")
    assert list(written.columns[-4:]) == ["price", "prediction", "prediction_low", "prediction_high"]
    assert (written["prediction_low"] < written["prediction"]).all()
    rejected = pd.read_csv(houses.artifacts(houses.last(), "rejected.csv"))
    assert rejected["row"].unique().tolist() == [4, 7]
    assert houses.last().data.metrics["rows_rejected"] == 2
    page = houses.artifacts(houses.last(), "drift.html").read_text()
    assert "<h1>Drift of the predicted rows</h1>" in page
    again = houses.step("predict", **words)
    assert again.code == 2
    assert "exists already" in again.output
    assert houses.step("predict", **words, overwrite="true").code == 0
    twice = houses.step("predict", **words | {"data": tmp_path / "out.csv"}, overwrite="true")
    assert "column prediction, prediction_low, prediction_high of the data is called like a column of" in twice.error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "out.csv"]


def test_predict_does_not_score_training_rows(houses, tmp_path):
    result = houses.step("predict", model="models:/houses@champion", output=tmp_path / "out.csv")
    assert result.code == 0, result.output
    scored, expected = houses.last().data.metrics, evaluation(houses).data.metrics
    for name in ("r2_score", "mean_absolute_error", "interval_coverage"):
        assert scored[name] == pytest.approx(expected[name], rel=1e-12)


def test_champion_and_challenger_are_not_compared_on_training_rows_of_the_champion(houses):
    assert houses.step("train", target="price", model="linear", seed="1").code == 0
    challenger = houses.last()
    assert houses.step("promote", run=challenger.info.run_id, name="houses", dry_run="true").code == 0
    compared = houses.last().data.metrics["rows_compared"]
    preprocessed = houses.client.get_run(challenger.data.tags["workflow.upstream"])
    test_set = pd.read_parquet(houses.artifacts(preprocessed, "test.parquet"))
    training_set = pd.read_parquet(houses.artifacts(houses.first("preprocess"), "train.parquet"))
    assert 0 < compared == len(test_set) - len(test_set.merge(training_set, how="inner")) < len(test_set)


def test_reproducing_main_registers_nothing(houses):
    receipt = json.loads(houses.artifacts(houses.first("main"), "receipt.json").read_text())
    assert "models" in receipt["parameters"]
    assert "register" not in receipt["parameters"]


def test_a_failed_prediction_leaves_no_output(houses, tmp_path):
    rows = pd.DataFrame({"area": ["x"] * 9, "town": "Jena", "day": "24.12.2021", "garden": "ja", "rooms": "1"})
    rows.to_csv(tmp_path / "bad.csv", index=False)
    result = houses.step(
        "predict", model="models:/houses@champion", data=tmp_path / "bad.csv", output=tmp_path / "out.csv"
    )
    assert result.code == 2
    assert "most of the 9 rows break the contract of the model: column area is not a number" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_the_champion_is_reproduced_by_its_registry_uri(houses):
    result = houses.step("reproduce", run="models:/houses@champion")
    assert result.code == 0, result.output
    assert "equal: all " in result.output


def champion(workflow: Workflow, name: str) -> int:
    """Return the version of the champion; some stores return it as a text."""
    return int(workflow.client.get_registered_model(name).aliases["champion"])


def test_a_worse_model_is_registered_but_not_promoted(houses):
    assert houses.step("train", target="price", model="dummy").code == 0
    result = houses.step("promote", run=houses.last().info.run_id, name="houses")
    assert result.code == 0, result.output
    assert "version 2 of houses was not promoted: r2_score ≥ 0: -" in result.output
    assert champion(houses, "houses") == 1
    version = houses.client.get_model_version("houses", "2")
    assert version.tags["workflow.decision"].startswith("version 2 of houses was not promoted: ")
    assert "on data with SHA-256" in version.description
    assert "# dummy: price predicted" in version.description
    assert "## Limits" in version.description
    assert len(version.description) <= 5000
    run = houses.last()
    assert run.data.tags["workflow.decision"] == version.tags["workflow.decision"]
    assert run.data.metrics["difference_low"] > 0
    assert houses.artifacts(run, "differences.png").stat().st_size > 5000


def test_simultaneous_promotions_leave_one_champion_and_can_be_rolled_back(houses):
    trained = []
    for seed in ("1", "2"):
        assert houses.step("train", target="price", model="rf", model_params=f"{{random_state: {seed}}}").code == 0
        trained.append(houses.last().info.run_id)
    results = []
    threads = [
        threading.Thread(target=lambda run=run: results.append(houses.step("promote", run=run, name="twins")))
        for run in trained
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.code for result in results] == [0, 0], results
    first, second = (houses.client.get_model_version("twins", version) for version in "12")
    assert first.tags["workflow.decision"] == "version 1 of twins is the champion"
    champions = {  # by the decision on the second version
        "version 2 of twins is the champion, after version 1": 2,
        "version 2 of twins was not promoted": 1,
    }
    expected = champions[second.tags["workflow.decision"].partition(":")[0]]
    assert champion(houses, "twins") == expected
    again = houses.step("promote", run=(first if expected == 1 else second).run_id, name="twins")
    assert f"version {expected} of twins, the champion, is this very model" in again.output
    assert len(houses.client.search_model_versions("name = 'twins'")) == 2
    if expected == 2:
        assert houses.step("rollback", name="twins").code == 0
        assert champion(houses, "twins") == 1


def killed_when(houses, done, kind: signal.Signals, *words: str) -> None:
    """Start a script and send it a signal as soon as `done` returns true."""
    script, *arguments = words
    process = forked.start(Path(script), arguments, houses.environment, houses.folder, Path(os.devnull))
    while not done():
        assert process.is_alive()
        time.sleep(0.02)
    os.kill(process.pid, kind)
    process.join()
    assert process.exitcode != 0


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_promotion_can_be_repeated(houses, kind):
    name, best = f"mortal-{kind.name}", houses.first("main").info.run_id
    words = [str(PROJECT / "steps/promote.py"), "--run", best, "--name", name]
    killed_when(houses, lambda: houses.client.search_model_versions(f"name = '{name}'"), kind, *words)
    result = houses.step("promote", run=best, name=name)
    assert result.code == 0, result.output
    (version,) = houses.client.search_model_versions(f"name = '{name}'")
    assert version.tags["workflow.decision"] == f"version 1 of {name} is the champion"
    assert champion(houses, name) == 1
    assert not [run for run in houses.runs("promote") if run.info.status == "RUNNING"]


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_prediction_can_be_repeated(houses, tmp_path, kind):
    data, output = tmp_path / "many.csv", tmp_path / "out.csv"
    pd.concat([pd.read_csv(houses.data, sep=";", dtype=str)] * 300).to_csv(data, index=False, sep=";")
    given = {"model": "models:/houses@champion", "data": data, "output": output}
    words = [str(PROJECT / "steps/predict.py"), *(str(w) for name, w in given.items() for w in (f"--{name}", w))]
    killed_when(houses, lambda: list(tmp_path.glob(".out.csv-*/out.csv")), kind, *words)
    assert not output.exists()
    result = houses.step("predict", **given)
    assert result.code == 0, result.output
    assert len(pd.read_csv(output)) == 300 * ROWS
    assert sorted(os.listdir(tmp_path)) == ["many.csv", "out.csv"]


def test_a_dry_run_registers_nothing(houses):
    result = houses.step("promote", run=houses.first("main").info.run_id, name="elsewhere", dry_run="true")
    assert result.code == 0, result.output
    assert "the model, as a version of elsewhere, would be the champion" in result.output
    assert not houses.client.search_registered_models("name = 'elsewhere'")


@pytest.mark.parametrize(
    ("entry_point", "parameters", "words"),
    [
        ("predict", {"model": "", "data": "x", "output": "y.csv"}, "--model is required: -P model=models:/<name>@"),
        ("predict", {"model": "models:/house@champion", "output": "y.csv"}, "no registered model house; did you mean"),
        ("predict", {"model": "models:/houses@champ", "output": "y.csv"}, "no alias champ; did you mean champion?"),
        ("predict", {"model": "models:/houses/77", "output": "y.csv"}, "houses has no such version; expected one of 1"),
        (
            "predict",
            {"model": "models:/houses", "output": "y.csv"},
            "expected models:/<name>@<alias> or models:/<name>/<version>",
        ),
        ("predict", {"model": "0" * 32, "output": "y.csv"}, "no such run"),
        ("predict", {"model": "{preprocess}", "output": "y.csv"}, "a FINISHED run of preprocess, not of train or main"),
        ("predict", {"model": "{main}", "output": "y.xlsx"}, "must end in .csv or .parquet"),
        ("predict", {"model": "{main}", "output": "/nowhere/y.csv"}, "No such file or directory; name a file in a"),
        ("predict", {"model": "{main}", "output": "/proc/y.csv"}, "name a file in a folder of yours"),
        (
            "predict",
            {"model": "{main}", "data": "data/wines.csv", "output": "{tmp}/y.csv"},
            "no column area, town, day",
        ),
        ("predict", {"model": "{main}", "data": "/dev/null", "output": "{tmp}/y.csv"}, "a device, a pipe or a"),
        ("promote", {"run": "", "name": "houses"}, "--run is required: -P run=<id of a main, tune or train run>"),
        ("promote", {"run": "{main}", "name": ""}, "--name is required: -P name=<registered model>"),
        ("promote", {"run": "{preprocess}", "name": "houses"}, "not of train or main"),
        ("promote", {"run": "{main}", "name": "a/b"}, "name=a/b: cannot be registered: "),
        (
            "promote",
            {"run": "{main}", "name": "other", "rules": "{tmp}/rules.yaml"},
            "no metric r2_scor; did you mean r2_score",
        ),
        (
            "promote",
            {"run": "{main}", "name": "other", "rules": "data/wines.yaml"},
            "unknown rule target; expected one of thresholds, coverage, segments, baseline, champion",
        ),
        ("promote", {"run": "{main}", "name": "other", "rules": "rules.yaml"}, "rules=rules.yaml: no such file"),
        ("rollback", {"name": "houses"}, "version 1 is the first champion; nothing to roll back to"),
        ("rollback", {"name": "mouses"}, "no registered model mouses; did you mean houses?"),
        ("reproduce", {"run": "models:/houses@challenger"}, "houses has no alias challenger"),
    ],
)
def test_a_mistake_ends_in_one_line_and_changes_nothing(houses, tmp_path, entry_point, parameters, words):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"thresholds": {"r2_scor": {"min": 0}}}))
    values = {"tmp": str(tmp_path), **{name: houses.first(name).info.run_id for name in ("main", "preprocess")}}
    given = {name: value.format(**values) for name, value in parameters.items()}
    before = {model.name for model in houses.client.search_registered_models()}
    result = houses.step(entry_point, **given)
    assert result.code == 2, result.output
    assert words in result.error
    assert "Traceback" not in result.output
    assert houses.last().info.status == "FAILED"
    assert words in houses.last().data.tags["workflow.error"]
    assert {model.name for model in houses.client.search_registered_models()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["rules.yaml"]
