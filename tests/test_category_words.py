"""Words of categories through the entry points: recorded, kept when tuned, explained, predicted with and proven."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import Workflow

from workflow.runs.names import Files

pytestmark = pytest.mark.slow
FIRST = {"Plain": 1.0, "Good": 2.0, "Grand": 4.0, "Old": 7.0, "Noble": 11.0}
LAST = {"Hill": 0.0, "Valley": 20.0, "River": 45.0, "Abbey": 80.0}
OPTIONS = {"target": "price", "cv": "2", "log_target": "false", "shap_samples": "5"}
CONTRACT = """
target: price
columns:
  name: {kind: categorical}
  year: {kind: numeric}
  price: {kind: numeric}
"""


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> Workflow:
    """Return a workflow in which models were compared on products of which each has its own name of shared words."""
    folder, random = tmp_path_factory.mktemp("names"), np.random.default_rng(0)
    first, last = random.choice(list(FIRST), 400), random.choice(list(LAST), 400)
    rows = pd.DataFrame(
        {
            "name": [f"{one} {other} {number}" for number, (one, other) in enumerate(zip(first, last, strict=True))],
            "year": random.integers(1990, 2020, 400),
            "price": pd.Series(first).map(FIRST) + pd.Series(last).map(LAST) + random.normal(50, 0.5, 400),
        }
    )
    rows.to_csv(folder / "products.csv", index=False)
    (folder / "products.yaml").write_text(CONTRACT)
    workflow = Workflow(tmp_path_factory.mktemp("words"), data=folder / "products.csv")
    result = workflow.step("main", models="linear,rf,dummy,blend", model_params="{rf: {n_estimators: 20}}", **OPTIONS)
    assert result.code == 0, result.output
    workflow.main = workflow.last()
    return workflow


def test_models_that_gain_by_words_record_them(named):
    words = {run.data.params["model"]: run.data.params.get("words_of") for run in named.runs("train")}
    assert words == {"linear": "name", "rf": "name", "dummy": None, "blend": None}
    assert "words_of" in named.artifacts(named.first("evaluate"), "report.html").read_text()
    table = pd.read_csv(named.artifacts(named.main, Files.LEADERBOARD)).set_index("model")
    assert table["r2_score"][["linear", "rf"]].min() > 0.85


def test_shapley_values_belong_to_the_column_of_the_words_and_add_up(named):
    for run in named.runs("evaluate"):
        values = pd.read_parquet(named.artifacts(run, Files.SHAP_VALUES))
        assert list(values.columns) == ["name", "year", "base"]
        predicted = pd.read_parquet(named.artifacts(run, Files.PREDICTIONS))["predicted"]
        np.testing.assert_allclose(values.sum(axis=1), predicted[values.index], rtol=1e-7)  # shap's C code
        if run.info.run_name != "evaluate dummy":
            assert values["name"].abs().mean() > 10 * values["year"].abs().mean()


@pytest.mark.nightly
def test_a_tuned_model_keeps_the_words(named):
    search = {"model": "linear", "space": "{linear: {alpha: [0.5, 2.0]}}", "trials": "2"}
    result = named.step("tune", **search, **OPTIONS)
    assert result.code == 0, result.output
    table = pd.read_csv(named.artifacts(named.last(), Files.LEADERBOARD))
    trained = [named.client.get_run(run_id).data.params for run_id in table["train_run_id"]]
    assert [params["words_of"] for params in trained] == ["name", "name"]
    trials = pd.read_parquet(named.artifacts(named.last(), Files.TRIALS))
    assert trials["cv_mean_absolute_error"].min() == pytest.approx(table["cv_mean_absolute_error"].min(), rel=1e-12)


@pytest.mark.parametrize("model", ["linear", "rf", "blend"])
def test_names_never_seen_are_predicted_by_their_words(named, tmp_path, model):
    run = next(run for run in named.runs("train") if run.data.params["model"] == model)
    pd.DataFrame({"name": ["Plain Hill new", "Noble Abbey new", ""], "year": 2005}).to_csv(
        tmp_path / "new.csv", index=False
    )
    result = named.step(
        "predict", model=run.info.run_id, data=str(tmp_path / "new.csv"), output=str(tmp_path / "predicted.csv")
    )
    assert result.code == 0, result.output
    low, high, missing = pd.read_csv(tmp_path / "predicted.csv")["prediction"]
    assert high - low > 40
    assert np.isfinite(missing)


def test_a_model_with_words_is_loaded_as_a_server_loads_it(named, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", named.uri)
    mlflow.set_tracking_uri(named.uri)
    run = next(run for run in named.runs("train") if run.data.params["model"] == "linear")
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/linear")
    low, high = model.predict(pd.DataFrame({"name": ["Plain Hill", "Noble Abbey"], "year": ["2005", "2005"]}))
    assert high - low > 40


@pytest.mark.nightly
def test_a_main_of_models_with_words_is_reproduced_bit_for_bit(named):
    result = named.step("reproduce", run=named.main.info.run_id)
    assert result.code == 0, result.output
    assert "match bit for bit" in result.output
    made = json.loads(named.artifacts(named.main, Files.RECEIPT).read_text())
    assert {"train linear", "evaluate blend"} <= made["outcome"].keys()
