"""`-P features=path.py:function`: one function for training, prediction and serving, in the receipt and the model."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import servers
import yaml
from conftest import Workflow, copy_project, git
from mlflow import pyfunc
from mlflow.entities import Run
from test_service import invoke

from workflow.errors import UserError

pytestmark = pytest.mark.slow
ROWS = 400
AREA = """import pandas as pd

def add(rows: pd.DataFrame) -> pd.DataFrame:
    rows["area"] = rows["length"] * rows["width"].fillna(5)
    rows["initial"] = rows["town"].str[:1]
    return rows
"""


def write_data(path: Path, seed: int = 0) -> Path:
    """Write rectangles whose price is that of their area, some without a width."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"length": random.uniform(1, 9, ROWS), "width": random.uniform(1, 9, ROWS)}).round(2)
    frame["town"] = random.choice(["Bonn", "Jena", "Kiel"], ROWS)
    frame["price"] = (10 * frame["length"] * frame["width"] + random.normal(0, 5, ROWS)).round(2)
    frame.loc[::20, "width"] = np.nan
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def areas(tmp_path_factory) -> Workflow:
    """Return a workflow in which `main` ran with own features, and registered its winner."""
    folder = tmp_path_factory.mktemp("areas")
    workflow = Workflow(folder / "store", data=write_data(folder / "areas.csv"))
    (folder / "mine.py").write_text(AREA)
    workflow.features = f"{folder / 'mine.py'}:add"
    result = workflow.run(
        "main", target="price", features=workflow.features, models="linear,dummy", register="areas", shap_samples="3"
    )
    assert result.code == 0, result.output
    workflow.first_output = result.output
    return workflow


def linear(workflow: Workflow) -> Run:
    """Return the train run of the linear model of `main`."""
    return [run for run in workflow.runs("train") if run.data.params["model"] == "linear"][-1]


def new_function(folder: Path, body: str, head: str = "") -> str:
    """Write a function with a body of one line; return what `features` takes."""
    (folder / "f.py").write_text(f"import pandas as pd\n{head}\n\ndef add(rows):\n    {body}\n")
    return f"{folder / 'f.py'}:add"


def test_own_features_lower_the_error(areas):
    own = linear(areas).data.metrics["cv_mean_absolute_error"]
    assert areas.step("train", target="price", model="linear").code == 0
    plain = areas.runs("train")[0].data.metrics["cv_mean_absolute_error"]
    assert own < plain / 2


def test_pages_say_which_columns_are_derived(areas):
    page = areas.artifacts(areas.first("preprocess"), "data_report.html").read_text()
    assert "numeric, derived" in page
    assert "categorical, derived" in page
    report = areas.artifacts(areas.first("evaluate"), "report.html").read_text()
    assert "Derived by the function of features: area, initial." in report


def test_predicted_served_and_evaluated_are_the_same(areas, tmp_path):
    main, preprocessed = areas.first("main"), areas.first("preprocess")
    winner = main.data.tags["workflow.winner_run_id"]
    run = next(run for run in areas.runs("evaluate") if run.data.tags["workflow.upstream"] == winner)
    expected = pd.read_parquet(areas.artifacts(run, "predictions.parquet"))["predicted"]
    test_set = pd.read_parquet(areas.artifacts(preprocessed, "test.parquet"))
    raw = test_set[["length", "width", "town"]]
    raw.to_csv(tmp_path / "raw.csv", index=False)
    given = {"model": "models:/areas@champion", "output": tmp_path / "out.parquet", "overwrite": "true"}
    for data in (tmp_path / "raw.csv", f"runs:/{preprocessed.info.run_id}/test.parquet"):
        result = areas.step("predict", data=data, **given)
        assert result.code == 0, result.output
        np.testing.assert_array_equal(pd.read_parquet(tmp_path / "out.parquet")["prediction"], expected)
    assert {"area", "initial"} <= set(pd.read_csv(areas.artifacts(areas.last(), "drift.csv"))["column"])
    rows = raw.astype(object).where(raw.notna(), None).to_dict("records")
    with servers.model_server("models:/areas@champion", areas.environment) as address:
        status, answer = invoke(address, rows)
    assert status == 200, answer
    served = [row if np.isscalar(row) else row["price"] for row in answer["predictions"]]
    np.testing.assert_array_equal(served, expected)


@pytest.mark.nightly
def test_on_a_cluster_the_same_is_predicted(areas, tmp_path):
    outputs = []
    for cluster in ("", "local"):
        output = tmp_path / f"out{cluster}.csv"
        model = linear(areas).info.run_id
        result = areas.step("predict", model=model, data=areas.data, output=output, cluster=cluster)
        assert result.code == 0, result.output
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]


def model_folder(workflow: Workflow) -> Path:
    model = workflow.client.get_logged_model(linear(workflow).outputs.model_outputs[0].model_id)
    return Path(model.artifact_location)


def test_a_model_holds_the_file_and_takes_only_the_columns_of_the_data(areas, tmp_path):
    folder = shutil.copytree(model_folder(areas), tmp_path / "model")
    assert (folder / "features.py").read_text() == AREA
    names = pyfunc.load_model(str(folder)).metadata.get_input_schema().input_names()
    assert names == ["length", "width", "town"]
    (folder / "features.py").write_text(AREA.replace("fillna(5)", "fillna(6)"))
    with pytest.raises(UserError, match=r"features\.py: not the file that was saved with the model"):
        pyfunc.load_model(str(folder))
    (folder / "features.py").unlink()
    with pytest.raises(UserError, match=r"features\.py: not the file that was saved with the model"):
        pyfunc.load_model(str(folder))


def test_an_altered_file_of_a_run_is_not_run(areas, tmp_path):
    run = areas.first("preprocess")
    path = Path(run.info.artifact_uri.removeprefix("file://")) / "features.py"
    try:
        path.write_text(AREA + "\nraise ValueError('it ran')\n")
        words = {"model": linear(areas).info.run_id, "data": areas.data, "output": tmp_path / "out.csv"}
        result = areas.step("predict", **words)
    finally:
        path.write_text(AREA)
        areas.client.delete_tag(run.info.run_id, "workflow.altered")
    assert result.code == 2
    assert "artifact features.py: SHA-256" in result.error


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return rows.assign(a=rows['price'])", "KeyError: 'price' (line 5); it gets the features only: length, width"),
        ("return rows.assign(a=1 / 0)", "ZeroDivisionError: division by zero (line 5)"),
        ("return rows.assign(a=rows['length'] - rows['length'].mean())", "column a is not derived row by row: "),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("return rows.assign(a=1 / (rows['length'] - 1.07))", "column a is infinite in row "),
    ],
)
def test_a_wrong_function_fails_in_one_line_that_names_it(areas, tmp_path, body, words):
    lengths = pd.read_csv(areas.data)["length"]
    features = new_function(tmp_path, body.replace("1.07", str(lengths[0])))
    result = areas.step("preprocess", target="price", features=features)
    assert result.code == 2, result.output
    assert result.error.startswith(f"features=f.py:add: {words}")


def test_a_name_that_leads_nowhere_is_told_in_one_line(areas, tmp_path):
    features = new_function(tmp_path, "return rows.assign(a=1)")
    for given, words in (
        (features.replace(":add", ":other"), "features=f.py:other: the file has no function other"),
        (features.removesuffix(":add"), f"features={tmp_path / 'f.py'}: expected <file>.py:<function>"),
        (f"{tmp_path / 'g.py'}:add", f"features={tmp_path / 'g.py'}: no such file"),
        (f"{tmp_path}:add", f"features={tmp_path.name}:add: cannot be imported: IsADirectoryError"),
    ):
        result = areas.step("preprocess", target="price", features=given)
        assert result.code == 2, result.output
        assert result.error.startswith(words)


def test_other_columns_than_in_training_are_refused(areas, tmp_path):
    body = "return rows.assign(a=1, **({'b': 1} if (rows['town'] == 'Ulm').any() else {}))"
    features = new_function(tmp_path, body)
    assert areas.step("train", target="price", model="dummy", features=features).code == 0
    run = areas.runs("train")[0]
    pd.DataFrame({"length": [1], "width": [1], "town": ["Ulm"]}).to_csv(tmp_path / "new.csv", index=False)
    words = {"model": run.info.run_id, "data": tmp_path / "new.csv", "output": tmp_path / "out.csv"}
    result = areas.step("predict", **words)
    assert result.code == 2, result.output
    expected = "features=features.py:add: does not always return column b; return the same for any row"
    assert result.error == expected
    assert not (tmp_path / "out.csv").exists()
    loaded = pyfunc.load_model(areas.client.get_logged_model(run.outputs.model_outputs[0].model_id).artifact_location)
    with pytest.raises(Exception, match=expected) as error:
        loaded.predict(pd.read_csv(tmp_path / "new.csv"))
    assert error.value.error_code == "INVALID_PARAMETER_VALUE"  # a server answers with 400


@pytest.mark.nightly
def test_an_edit_of_the_file_trains_again_even_of_a_comment(areas, tmp_path):
    (tmp_path / "f.py").write_text(AREA)
    words = {"target": "price", "model": "dummy", "features": f"{tmp_path / 'f.py'}:add"}

    def reused(**changes: str) -> list[str]:
        result = areas.step("evaluate", **words | changes, shap_samples="2")
        assert result.code == 0, result.output
        return [line.split()[0] for line in result.output.splitlines() if " reused " in line]

    reused()
    shutil.copy(tmp_path / "f.py", tmp_path / "g.py")
    assert reused(features=f"{tmp_path / 'g.py'}:add") == ["preprocess", "train"]  # only the content counts
    run_id = areas.runs("preprocess")[0].info.run_id
    assert reused(features=f"runs:/{run_id}/features.py:add") == ["preprocess", "train"]
    (tmp_path / "f.py").write_text(AREA + "# a comment\n")
    assert reused() == []
    (tmp_path / "f.py").write_text(AREA + "\n\ndef more(rows):\n    return add(rows).assign(more=1)\n")
    assert reused() == []
    assert reused(features=f"{tmp_path / 'f.py'}:more") == []


def test_the_contract_of_a_run_needs_its_function(areas, tmp_path):
    path = areas.artifacts(areas.first("preprocess"), "contract.yaml")
    result = areas.step("preprocess", contract=path)
    assert result.code == 2, result.output
    assert result.error.endswith("column area is derived by add; pass -P features=<file>.py:add")
    assert areas.step("preprocess", contract=path, features=areas.features).code == 0
    again = areas.artifacts(areas.runs("preprocess")[0], "contract.yaml")
    assert yaml.safe_load(again.read_text()) == yaml.safe_load(path.read_text())


def test_a_test_set_of_its_own_gets_the_same_columns(areas, tmp_path):
    test_data = write_data(tmp_path / "test.csv", seed=1)
    result = areas.step("preprocess", target="price", features=areas.features, test_data=test_data)
    assert result.code == 0, result.output
    test_set = pd.read_parquet(areas.artifacts(areas.runs("preprocess")[0], "test.parquet"))
    assert list(test_set)[-2:] == ["area", "initial"]
    np.testing.assert_array_equal(test_set["area"], test_set["length"] * test_set["width"].fillna(5))


@pytest.mark.nightly
def test_a_champion_is_compared_with_its_own_features(areas, tmp_path):
    other = AREA.replace('rows["length"] * rows["width"].fillna(5)', 'rows["length"] * 0')
    (tmp_path / "f.py").write_text(other)
    words = {"target": "price", "model": "linear", "features": f"{tmp_path / 'f.py'}:add", "shap_samples": "2"}
    assert areas.step("evaluate", **words).code == 0
    result = areas.step("promote", run=areas.runs("train")[0].info.run_id, name="areas", dry_run="true")
    assert result.code == 0, result.output
    decision = pd.read_csv(areas.artifacts(areas.last(), "decision.csv"))
    difference = decision[decision["rule"].str.contains("the champion")].iloc[0]
    assert difference["passed"] == "no"
    assert float(difference["found"].split()[0]) > 10  # of the challenger's error above the champion's


@pytest.mark.nightly
def test_tune_searches_with_own_features(areas):
    words = {"target": "price", "features": areas.features, "model": "knn", "trials": "2", "shap_samples": "2"}
    result = areas.step("tune", **words, cv="2")
    assert result.code == 0, result.output
    assert '"area"' in json.dumps(
        pd.read_parquet(areas.artifacts(areas.runs("evaluate")[0], "shap_values.parquet")).columns.tolist()
    )


@pytest.mark.nightly
def test_a_run_with_own_features_is_reproduced_when_the_file_is_gone(tmp_path):
    project = copy_project(tmp_path / "project")
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "a state")
    workflow = Workflow(tmp_path / "store", project, write_data(tmp_path / "areas.csv"))
    (tmp_path / "mine.py").write_text(AREA)
    words = {"target": "price", "model": "linear", "features": f"{tmp_path / 'mine.py'}:add"}
    assert workflow.step("train", **words).code == 0
    receipt = json.loads(workflow.artifacts(workflow.first("train"), "receipt.json").read_text())
    assert receipt["inputs"]["features"] | {"content": AREA, "function": "add"} == receipt["inputs"]["features"]
    assert "features.py" in receipt["outcome"]["preprocess"]["artifacts"]
    for _ in range(2):
        result = workflow.step("reproduce", run=workflow.first("train").info.run_id)
        assert result.code == 0, result.output
        assert "match bit for bit" in result.output
        (tmp_path / "mine.py").unlink(missing_ok=True)
