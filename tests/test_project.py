"""The workflow as a user runs it: real `mlflow run` subprocesses on a small file."""

import json
import re
import sys
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PROJECT, Workflow
from frames import stored_rows
from sklearn import metrics as sklearn_metrics

from workflow.commands import contract, evaluate, main, predict, preprocess, promote, reproduce, rollback, train, tune
from workflow.data import split
from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation import cross_validation
from workflow.models import blending
from workflow.parallel.cluster import CLUSTER

pytestmark = pytest.mark.slow
MODELS = ["linear", "extra_trees", "boosting", "blend"]  # of few rows
RUN_OR_MODEL = re.compile(rb"(?:runs/|models/m-)[0-9a-f]{32}")


def test_main_leaves_a_run_per_step_under_one_parent(workflow):
    parent = workflow.first("main")
    names = ["preprocess", *(f"{step} {model}" for model in MODELS for step in ("train", "evaluate"))]
    children = [run for run in workflow.runs() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in children) == sorted(names)
    assert {run.info.status for run in children} == {"FINISHED"}
    assert parent.info.run_name == "main auto"


def test_main_prints_a_leaderboard_with_links_into_the_model_training_view(workflow):
    row = re.compile(rf"\s+({'|'.join(MODELS)})\b.*\d±?")
    places = [row.match(line) for line in workflow.first_output.splitlines()]
    assert sum(place is not None for place in places) >= 4
    links = re.findall(r"http://127.0.0.1:5000/#/\S+[?&]workflowType=machine_learning", workflow.first_output)
    assert len(links) == 9


def test_leaderboard_ranks_by_the_cross_validated_score(workflow):
    parent = workflow.first("main")
    table = pd.read_csv(workflow.artifacts(parent, "leaderboard.csv"))
    assert list(table["cv_mean_absolute_error"]) == sorted(table["cv_mean_absolute_error"])
    assert parent.data.tags["workflow.winner"] == table["model"][0]
    winner = workflow.client.get_run(table["train_run_id"][0])
    assert winner.data.tags["workflow.winner_of"] == parent.info.run_id
    assert winner.data.metrics["cv_mean_absolute_error"] == table["cv_mean_absolute_error"][0]


def test_every_run_logs_its_resolved_parameters(workflow):
    run = workflow.first("evaluate")
    expected = {"test_size": "0.2", "seed": "0", "encoder": "auto", "log_target": "auto", "shap_samples": "50"}
    assert expected.items() <= run.data.params.items()
    trained = {run.data.params["model"]: run.data.params for run in workflow.runs("train")}
    expected = {"learns": "log(price)", "cv": "auto", "folds": "5", "alpha": "1.0", "encodes": "onehot"}
    assert expected.items() <= trained["linear"].items()
    assert trained["extra_trees"]["n_estimators"] == "100"
    assert re.fullmatch(r"(\w+ \d\.\d{3}(, )?)+", trained["blend"]["weights"])


def test_scores_are_those_of_scikit_learn_on_the_logged_predictions(workflow):
    run = workflow.first("evaluate")
    predictions = pd.read_parquet(workflow.artifacts(run, "predictions.parquet"))
    for name in ("r2_score", "mean_absolute_error", "root_mean_squared_error", "median_absolute_error"):
        expected = getattr(sklearn_metrics, name)(predictions["true"], predictions["predicted"])
        assert run.data.metrics[name] == pytest.approx(expected)
        assert run.data.metrics[f"{name}_low"] <= run.data.metrics[name] <= run.data.metrics[f"{name}_high"]
        assert f"baseline_{name}" in run.data.metrics


def test_no_test_row_was_seen_in_training(workflow):
    run = workflow.first("preprocess")
    train_part = pd.read_parquet(workflow.artifacts(run, "train.parquet"))
    test_part = pd.read_parquet(workflow.artifacts(run, "test.parquet"))
    assert len(train_part.merge(test_part, how="inner")) == 0
    assert run.data.metrics["rows_overlap"] == 0
    assert run.data.metrics["rows_in"] == 900
    assert run.data.metrics["rows_train"] + run.data.metrics["rows_test"] + run.data.metrics["rows_duplicate"] == 900


def test_each_step_logs_its_datasets(workflow):
    contexts = {
        step: {tag.value for use in workflow.first(step).inputs.dataset_inputs for tag in use.tags}
        for step in ("preprocess", "train", "evaluate")
    }
    assert contexts == {"preprocess": {"training", "testing"}, "train": {"training"}, "evaluate": {"testing"}}


def test_logged_model_predicts_what_evaluate_predicted(workflow, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", workflow.uri)
    mlflow.set_tracking_uri(workflow.uri)
    for run in workflow.runs("evaluate"):
        trained = workflow.client.get_run(run.data.tags["workflow.upstream"])
        test_part = pd.read_parquet(
            workflow.artifacts(workflow.client.get_run(trained.data.tags["workflow.upstream"]), "test.parquet")
        )
        model = mlflow.pyfunc.load_model(f"runs:/{trained.info.run_id}/{trained.data.params['model']}")
        predicted = model.predict(test_part.drop(columns="price"))
        logged = pd.read_parquet(workflow.artifacts(run, "predictions.parquet"))["predicted"]
        np.testing.assert_array_equal(predicted, logged)
        assert model.metadata.signature is not None
        assert model.metadata.flavors["sklearn"]["serialization_format"] == "skops"


def test_shap_values_add_up_to_the_prediction(workflow):
    for run in workflow.runs("evaluate"):
        values = pd.read_parquet(workflow.artifacts(run, "shap_values.parquet"))
        predicted = pd.read_parquet(workflow.artifacts(run, "predictions.parquet"))["predicted"]
        assert list(values.columns[:2]) == ["winery", "wine"]
        np.testing.assert_allclose(values.sum(axis=1), predicted[values.index], rtol=1e-9)


def test_second_main_fits_nothing_and_says_so(workflow):
    children = len(workflow.runs("train"))
    result = workflow.step("main")
    assert result.code == 0, result.output
    assert len(re.findall(r"reused +run [0-9a-f]{32}", result.output)) == 9
    assert len(workflow.runs("train")) == children
    parent = workflow.last()
    assert pd.read_csv(workflow.artifacts(parent, "leaderboard.csv")).shape[0] == 4
    assert workflow.artifacts(parent, "leaderboard.png").stat().st_size > 5000


def test_the_score_of_a_blend_is_of_folds_that_did_not_weigh_it(workflow):
    parent = workflow.first("main").info.run_id
    children = [run for run in workflow.runs("train") if run.data.tags.get("mlflow.parentRunId") == parent]
    trained = {run.data.params["model"]: run for run in children}
    tables = {
        model: pd.read_parquet(workflow.artifacts(trained[model], train.CROSS_VALIDATION))
        for model in sorted(MODELS[:-1])
    }
    expected = cross_validation.cross_validation_scores(
        blending.cross_validate(*blending.stack_oof_predictions(tables))
    )
    assert expected == pytest.approx({name: trained["blend"].data.metrics[name] for name in expected}, rel=1e-12)


def test_a_blend_finds_the_models_that_it_combines_and_makes_those_that_are_not_there(workflow):
    before = {step: len(workflow.runs(step)) for step in ("train", "evaluate")}
    result = workflow.step("evaluate", model="blend", model_params="{extra_trees: {}, boosting: {max_iter: 20}}")
    assert result.code == 0, result.output
    for step, runs in before.items():
        assert f"{step} extra_trees".ljust(22) + " reused" in result.output
        assert re.search(rf"{step} boosting +\d+\.\d s", result.output)
        assert len(workflow.runs(step)) == runs + 2
    blend = next(
        run
        for run in workflow.runs("train")
        if run.info.run_name == "train blend" and "max_iter" in run.data.params["model_params"]
    )
    assert "extra_trees " in blend.data.params["weights"]
    assert workflow.step("train", model="boosting", model_params="{max_iter: 10}").code == 0  # another one
    assert workflow.step("evaluate", train_run_id=blend.info.run_id, shap_samples="3").code == 0
    explained = next(run for run in workflow.runs("evaluate") if run.info.run_name == "evaluate boosting")
    assert explained.data.tags["workflow.upstream"] == json.loads(blend.data.tags[train.BLENDS])["boosting"]
    workflow.client.delete_tag(blend.info.run_id, train.BLENDS)
    result = workflow.step("evaluate", train_run_id=blend.info.run_id, shap_samples="2")
    assert result.code == 2
    assert "a blend of an older version; train it again" in result.error


def test_train_alone_finds_the_preprocess_run(workflow):
    result = workflow.step("train", model="dummy")
    assert result.code == 0, result.output
    assert "preprocess             reused" in result.output
    run = workflow.last()
    assert run.info.run_name == "train dummy"
    assert run.data.tags["workflow.upstream"] == workflow.first("preprocess").info.run_id
    assert run.data.params["data"] == str(workflow.data)


def test_a_named_run_is_used_and_may_not_be_contradicted(workflow):
    named = [run for run in workflow.runs("train") if run.info.run_name == "train linear"]
    trained = next(run for run in named if run.info.status == "FINISHED")
    result = workflow.step("evaluate", train_run_id=trained.info.run_id, shap_samples="3", data=str(workflow.data))
    assert result.code == 0, result.output
    run = workflow.last()
    assert run.data.tags["workflow.upstream"] == trained.info.run_id
    assert run.data.params["model"] == "linear"
    result = workflow.step("evaluate", train_run_id=trained.info.run_id, model="rf", data=str(workflow.data))
    assert "model=rf contradicts train_run_id" in result.error


def test_a_leaked_score_is_shown_but_never_published(workflow):
    result = workflow.step("evaluate", duplicates="keep", model="knn", shap_samples="3")
    assert result.code == 0, result.output
    run = workflow.last()
    assert "were seen in training" in run.data.tags["workflow.leak"]
    assert "careful:" in result.output
    assert run.data.metrics["leaked_mean_absolute_error"] < run.data.metrics["mean_absolute_error"]
    predictions = pd.read_parquet(workflow.artifacts(run, "predictions.parquet"))
    upstream = workflow.client.get_run(run.data.tags["workflow.upstream"]).data.tags["workflow.upstream"]
    counts = workflow.client.get_run(upstream).data.metrics
    assert len(predictions) == counts["rows_test"] - counts["rows_overlap"]
    assert "Careful." in workflow.artifacts(run, "report.html").read_text()


def test_copies_are_told_of_where_they_would_have_helped():
    counts = {"rows_duplicate": 1234}
    errors = {"mean_absolute_error_with_copies": 4.0, "mean_absolute_error_without_copies": 32.0}
    (told,) = preprocess.warnings_of_copies(counts, errors, "EUR")
    assert told.startswith("1,234 rows are exact copies")
    assert told.endswith("off by 4 EUR on average, and is off by 32 where it has not seen the row before")
    assert preprocess.warnings_of_copies(counts, errors | {"mean_absolute_error_without_copies": 4.05}, "") == []
    assert preprocess.warnings_of_copies(counts, {}, "") == []


def test_other_parameters_and_groups(workflow):
    given = {"split": "group", "encoder": "onehot", "log_target": "false", "max_rows": "100", "shap_samples": "3"}
    result = workflow.step("evaluate", model="linear", **given)
    assert result.code == 0, result.output
    trained = workflow.client.get_run(workflow.last().data.tags["workflow.upstream"])
    preprocessed = workflow.client.get_run(trained.data.tags["workflow.upstream"])
    assert trained.data.params["learned_rows"] == "100" != str(int(preprocessed.data.metrics["rows_train"]))
    tested = pd.read_parquet(workflow.artifacts(trained, "cross_validation.parquet"))
    assert sorted(tested["row"]) == list(range(100))
    report = workflow.artifacts(workflow.last(), "report.html").read_text()
    assert re.search(r"learned_rows</td>\s*<td>100<", report)
    wineries = [
        set(pd.read_parquet(workflow.artifacts(preprocessed, f"{part}.parquet"))["winery"])
        for part in ("train", "test")
    ]
    assert not wineries[0] & wineries[1]


@pytest.mark.parametrize(
    ("given", "count"), [({}, 20), ({"max_rows": "auto"}, 20), ({"max_rows": 7}, 7), ({"max_rows": 101}, 100)]
)
def test_no_more_rows_are_learned_from_than_are_enough(tmp_path, monkeypatch, given, count):
    monkeypatch.setattr(split, "enough_rows", lambda columns: 40 // columns)
    frame = pd.DataFrame({"y": np.arange(100.0), "x": 1.0, "z": 2.0})
    terms = Contract("y", {name: Column("numeric") for name in frame})
    rows = train.learned_rows(given, stored_rows(frame, tmp_path), terms)
    assert len(rows) == count
    assert rows["y"].iloc[[0, -1]].tolist() == [0, 99]


@pytest.mark.parametrize(
    ("rows", "max_rows", "forest"),
    [(2_001, "auto", "rf"), (2_001, 2_000, "extra_trees"), (2_000, 9_999, "extra_trees")],
)
def test_what_main_compares_hangs_on_the_rows_that_are_learned_from(rows, max_rows, forest):
    preprocessed = SimpleNamespace(data=SimpleNamespace(metrics={"rows_train": float(rows)}))
    terms = Contract("y", {"y": Column("numeric"), "x": Column("numeric")})
    assert main.models_for(preprocessed, {"max_rows": max_rows}, terms) == ["linear", forest, "boosting", "blend"]


def test_the_future(workflow):
    result = workflow.step("evaluate", split="time", time="year", model="linear", shap_samples="3")
    assert result.code == 0, result.output
    run = workflow.last()
    assert "rows later in year than all training rows" in workflow.artifacts(run, "report.html").read_text()
    trained = workflow.client.get_run(run.data.tags["workflow.upstream"])
    preprocessed = workflow.client.get_run(trained.data.tags["workflow.upstream"])
    years = [pd.read_parquet(workflow.artifacts(preprocessed, f"{part}.parquet"))["year"] for part in ("train", "test")]
    assert years[0].max() < years[1].min()


def results(workflow: Workflow) -> dict[str, object]:
    """The artifacts, but for the ids that they link to, and the metrics of every step that the first `main` made."""
    found, parent = {}, workflow.first("main").info.run_id
    for step in ("preprocess", "train", "evaluate"):
        for run in workflow.runs(step):
            if run.data.tags.get("mlflow.parentRunId") == parent:
                folder = workflow.artifacts(run) if step != "train" else workflow.folder / "nothing"
                found[run.info.run_name] = run.data.metrics
                found |= {
                    f"{run.info.run_name}/{path.name}": RUN_OR_MODEL.sub(b"", path.read_bytes())
                    for path in folder.glob("*.*")
                    if path.name != "receipt.json"  # which says when and where it was written, too
                }
                receipt = json.loads(workflow.artifacts(run, "receipt.json").read_text())
                del receipt["sha256"], receipt["occasion"]
                receipt["environment"]["threads"].pop("OMP_NUM_THREADS", None)  # which it rightly tells
                found[f"{run.info.run_name}/receipt"] = json.dumps(receipt)
    return found


def test_the_same_bytes_whatever_the_threads_hash_seed_locale_time_zone_and_order(workflow, tmp_path, small_data):
    other = Workflow(tmp_path)
    other.environment |= {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    words = ["--data", str(small_data), "--models", ",".join(reversed(MODELS))]
    result = other.execute([sys.executable, str(PROJECT / "steps/main.py"), *words])
    assert result.code == 0, result.output
    expected = results(workflow)
    assert len(expected) > 30
    assert results(other) == expected


def test_mlproject_declares_what_the_scripts_take():
    declared = yaml.safe_load((PROJECT / "MLproject").read_text())["entry_points"]
    modules = {
        "preprocess": preprocess,
        "contract": contract,
        "train": train,
        "evaluate": evaluate,
        "main": main,
        "tune": tune,
        "promote": promote,
        "rollback": rollback,
        "predict": predict,
        "reproduce": reproduce,
    }
    more = dict.fromkeys(("train", "evaluate", "main", "tune", "predict"), (CLUSTER,))
    assert list(declared) == list(modules)
    for name, module in modules.items():
        parameters = declared[name]["parameters"]
        own = {p.name: p.default for p in module.PARAMETERS} | {p.name: p.default for p in more.get(name, ())}
        named = {key: str(terms["default"]) for key, terms in parameters.items() if not key.endswith("_run_id")}
        assert named == own
        for key in parameters:
            assert f"--{key} {{{key}}}" in " ".join(declared[name]["command"].split())


def test_both_environments_point_to_the_one_lock():
    lock = "-r requirements.txt"
    assert yaml.safe_load((PROJECT / "python_env.yaml").read_text())["dependencies"] == [lock]
    assert yaml.safe_load((PROJECT / "conda.yaml").read_text())["dependencies"][-1] == {"pip": [lock]}
    pins = re.findall(r"^([\w-]+)==", (PROJECT / "requirements.txt").read_text(), re.M)
    wanted = re.findall(r"^([\w-]+)", (PROJECT / "requirements.in").read_text(), re.M)
    assert set(wanted) <= set(pins)
    development = (PROJECT / "requirements-dev.txt").read_text()
    lines = re.findall(r"^[\w-]+==.*$", (PROJECT / "requirements.txt").read_text(), re.M)
    assert all(line in development for line in lines)


def test_the_bundled_file_comes_out_of_its_generator(tmp_path):
    script = tmp_path / "make_wines.py"
    script.write_bytes((PROJECT / "data/make_wines.py").read_bytes())
    assert Workflow(tmp_path / "store").execute([sys.executable, str(script)]).code == 0
    assert (tmp_path / "wines.csv").read_bytes() == (PROJECT / "data/wines.csv").read_bytes()
