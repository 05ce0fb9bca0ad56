"""Weights, folds and a test set of its own, from the file to the served model and its reproduction."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Workflow

from workflow.evaluation import metrics

pytestmark = pytest.mark.slow
MODELS = {"models": "linear,boosting,blend", "model_params": "{boosting: {max_iter: 20}}", "shap_samples": "3"}


@pytest.fixture(scope="module")
def surveys(tmp_path_factory) -> Workflow:
    """Return a store with a main run on a file with weights and folds, and a test set of its own."""
    folder: Path = tmp_path_factory.mktemp("surveys")
    random, rows = np.random.default_rng(0), 360
    age, town = random.integers(18, 90, rows), random.choice(["Jaca", "Soria", "Teruel"], rows)
    income = (500 + 20 * age + 300 * (town == "Jaca") + random.normal(0, 100, rows)).round(2)
    table = pd.DataFrame({"age": age, "town": town, "people": random.integers(1, 9, rows), "income": income})
    table.insert(0, "part", random.choice(["a", "b", "c"], rows))
    table.iloc[:280].to_csv(folder / "surveys.csv", index=False)
    table.iloc[280:].to_csv(folder / "audit.csv", index=False)
    workflow = Workflow(folder / "store", data=folder / "surveys.csv")
    result = workflow.step("main", **roles(folder), **MODELS)
    assert result.code == 0, result.output
    workflow.first_output = result.output
    return workflow


def roles(folder: Path) -> dict[str, str]:
    return {"target": "income", "weight": "people", "split": "fold", "fold": "part", "test_data": folder / "audit.csv"}


def test_a_test_set_of_its_own_is_scored_with_its_weights(surveys):
    audit = pd.read_csv(surveys.data.parent / "audit.csv")
    run = surveys.first("evaluate")
    predictions = pd.read_parquet(surveys.artifacts(run, "predictions.parquet"))
    assert sorted(predictions["true"]) == sorted(audit["income"])
    assert sorted(predictions["weight"]) == sorted(audit["people"])
    true, predicted, weight = predictions[["true", "predicted", "weight"]].to_numpy().T
    for name in ("mean_absolute_error", "r2_score"):
        expected = float(getattr(metrics, name)(true, predicted, weight=weight))
        assert run.data.metrics[name] == pytest.approx(expected, rel=1e-12)
        assert run.data.metrics[name] != pytest.approx(float(getattr(metrics, name)(true, predicted)), rel=1e-6)
    summary = json.loads(surveys.artifacts(run, "report.json").read_text())["summary"]
    assert summary.endswith("This says how well the model predicts the rows of audit.csv.")


def test_folds_are_those_of_the_column_and_no_features(surveys):
    train = pd.read_parquet(surveys.artifacts(surveys.first("preprocess"), "train.parquet"))
    oof = pd.read_parquet(surveys.artifacts(surveys.first("train"), "cross_validation.parquet"))
    part = train["part"].iloc[oof["row"]].to_numpy()
    assert pd.DataFrame({"fold": oof["fold"], "part": part}).drop_duplicates().shape == (3, 2)
    assert oof["weight"].tolist() == train["people"].iloc[oof["row"]].tolist()
    shap_values = pd.read_parquet(surveys.artifacts(surveys.first("evaluate"), "shap_values.parquet"))
    assert set(shap_values) == {"age", "town", "base"}


def test_predict_needs_neither_weights_nor_folds_and_scores_with_them(surveys, tmp_path):
    audit = pd.read_csv(surveys.data.parent / "audit.csv")
    model, expected = surveys.first("main").info.run_id, surveys.first("main").data.metrics["mean_absolute_error"]
    for columns, error in ((list(audit), expected), (["age", "town"], None)):
        audit[columns].to_csv(tmp_path / "new.csv", index=False)
        given = {"model": model, "data": tmp_path / "new.csv", "output": tmp_path / "out.csv", "overwrite": "true"}
        result = surveys.step("predict", **given)
        assert result.code == 0, result.output
        found = surveys.last().data.metrics.get("mean_absolute_error")
        assert found == (error if error is None else pytest.approx(error, rel=1e-12))


def test_the_run_is_reproduced_from_its_receipt(surveys):
    result = surveys.step("reproduce", run=surveys.first("main").info.run_id)
    assert result.code == 0, result.output
    assert "match bit for bit" in result.output
    receipt = json.loads(surveys.artifacts(surveys.first("main"), "receipt.json").read_text())
    assert set(receipt["inputs"]) == {"data", "test_data"}


def test_another_test_set_is_scored_without_training_again(surveys):
    trained = len(surveys.runs("train"))
    shorter = surveys.data.parent / "shorter.csv"
    pd.read_csv(surveys.data.parent / "audit.csv").head(60).to_csv(shorter, index=False)
    given = roles(surveys.data.parent) | {"test_data": shorter}
    result = surveys.step("main", **given, **MODELS)
    assert result.code == 0, result.output
    assert len(surveys.runs("train")) == trained


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"people": -1}, "weight people: -1 in line 2, expected a number of at least 0; correct the file, or leave"),
        ({"people": None}, "weight people: missing in line 2, expected a number of at least 0"),
        ({"people": 0}, "weight=people: the column is constant; choose another"),
        ({"part": "a"}, "fold=part: the column is constant; choose another"),
    ],
)
def test_roles_that_cannot_be_filled_are_refused_in_one_line(surveys, tmp_path, changed, words):
    table = pd.read_csv(surveys.data)
    for name, value in changed.items():
        rows = slice(None) if value in (0, "a") else slice(0, 1)
        table[name] = table[name].astype(object)
        table.iloc[rows, table.columns.get_loc(name)] = value
    table.to_csv(tmp_path / "wrong.csv", index=False)
    given = roles(surveys.data.parent) | {"data": tmp_path / "wrong.csv"}
    result = surveys.step("preprocess", **given)
    assert result.code == 2, result.output
    assert result.error.startswith(words)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"split": "random"}, "fold=part: needs split=fold, not split=random"),
        ({"model": "knn"}, "model=knn: cannot be fitted with sample weights"),
        ({"repeats": "2"}, "repeats=2: split=fold always has the same folds"),
        ({"gap": "3"}, "gap=3: needs split=time"),
        ({"weight": "town"}, "weight=town: not a numeric column"),
        ({"weight": "people", "fold": "people"}, "target, fold and weight must be different columns"),
        ({"test_data": "nowhere.csv"}, "test_data=nowhere.csv: "),
    ],
)
def test_parameters_that_do_not_fit_together_are_refused_in_one_line(surveys, given, words):
    result = surveys.step("train", **roles(surveys.data.parent) | {"model": "linear"} | given)
    assert result.code == 2, result.output
    assert words in result.error


def test_weights_that_are_all_zero_in_one_set_are_refused(surveys, tmp_path):
    pd.read_csv(surveys.data.parent / "audit.csv").assign(people=0).to_csv(tmp_path / "audit.csv", index=False)
    given = roles(surveys.data.parent) | {"test_data": tmp_path / "audit.csv"}
    result = surveys.step("preprocess", **given)
    assert result.error.startswith("weight people: is 0 in all rows of the test set; correct the file")


def test_segments_are_evaluated_without_training_again(surveys):
    trained = len(surveys.runs("train"))
    given = roles(surveys.data.parent) | MODELS
    result = surveys.step("main", **given, segments="town,age")
    assert result.code == 0, result.output
    assert len(surveys.runs("train")) == trained
    run = next(each for each in surveys.runs("evaluate") if each.data.tags["workflow.upstream"])
    table = pd.read_csv(surveys.artifacts(run, "segments_by_column.csv"))
    assert set(table["column"]) == {"town", "age"}
    titles = [each["title"] for each in json.loads(surveys.artifacts(run, "report.json").read_text())["sections"]]
    assert {"Errors by segment", "Where the model errs more than elsewhere"} <= set(titles)
    rules = surveys.data.parent / "rules.yaml"
    for bound, passed in ((1000, True), (1, False)):
        rules.write_text(f"segments: {{mean_absolute_error: {{max: {bound}}}}}\n")
        main = surveys.runs("main")[0].info.run_id
        result = surveys.step("promote", run=main, name="surveys", rules=rules, dry_run="true")
        assert result.code == 0, result.output
        assert ("would be the champion" in result.output) == passed
    wrong = surveys.step("evaluate", **roles(surveys.data.parent), model="linear", segments="twon")
    assert wrong.error == "segments=twon: no such feature; did you mean town?"


def test_main_compares_only_models_that_keep_a_constraint(surveys):
    given = roles(surveys.data.parent) | {"shap_samples": "3"}
    result = surveys.step("main", **given, monotonic="{age: increasing}")
    assert result.code == 0, result.output
    assert "left out, because they keep no monotonic constraint of age" in result.output
    assert "linear, extra_trees, boosting, blend" in result.output
    table = pd.read_csv(surveys.artifacts(surveys.runs("main")[0], "leaderboard.csv"))
    assert table["model"].tolist() == ["mean_boosting"]
    audit = pd.concat([pd.DataFrame({"age": np.arange(18, 90), "town": town}) for town in ("Jaca", "Soria")])
    audit.to_csv(surveys.data.parent / "ages.csv", index=False)
    output = surveys.data.parent / "ages_out.csv"
    main = surveys.runs("main")[0].info.run_id
    assert surveys.step("predict", model=main, data=surveys.data.parent / "ages.csv", output=output).code == 0
    assert pd.read_csv(output).groupby("town")["prediction"].diff().min() >= 0
    refused = surveys.step("train", **roles(surveys.data.parent), model="linear", monotonic="{age: increasing}")
    assert refused.error.startswith("model=linear: keeps no monotonic constraint of age; choose boosting")


@pytest.mark.nightly
def test_a_learning_curve_is_drawn_where_it_is_asked_for(surveys):
    given = roles(surveys.data.parent) | {"shap_samples": "3", "curve": "true"}
    assert surveys.step("evaluate", **given, model="linear").code == 0
    run = surveys.last()
    curve = pd.read_csv(surveys.artifacts(run, "learning_curve.csv"))
    assert curve["score"].iloc[-1] == pytest.approx(run.data.metrics["mean_absolute_error"], rel=1e-12)
    page = surveys.artifacts(run, "report.html").read_text()
    assert "twice the rows would lower it by" in page
    assert surveys.step("evaluate", **given, model="blend", model_params="{linear: {}, boosting: {}}").code == 0
    assert "What more rows may bring" not in surveys.artifacts(surveys.last(), "report.html").read_text()
