"""The workflow as a user runs it: real `mlflow run` subprocesses on a small file."""

import json
import re
import sys
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT, Workflow
from frames import stored_rows
from sklearn import metrics as sklearn_metrics

from workflow import parameters
from workflow.commands import main
from workflow.data import split
from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.data.findings import Finding
from workflow.evaluation import cross_validation
from workflow.evaluation.ranking import ranking_metric
from workflow.models import blending
from workflow.parameters import DEFAULT_METRIC
from workflow.reports.leaderboard import readable
from workflow.runs.names import Files, Tags
from workflow.stages import compare, train

pytestmark = pytest.mark.slow
MODELS = ["linear", "extra_trees", "boosting", "mean_boosting", "blend"]  # the defaults for few rows
RUN_OR_MODEL = re.compile(rb"(?:runs/|models/m-|run=)[0-9a-f]{32}")


def test_main_makes_a_child_run_per_stage_and_model(workflow):
    parent = workflow.first("main")
    names = ["preprocess", *(f"{step} {model}" for model in MODELS for step in ("train", "evaluate"))]
    children = [run for run in workflow.runs() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in children) == sorted(names)
    assert {run.info.status for run in children} == {"FINISHED"}
    assert parent.info.run_name == "main auto"


def test_main_prints_a_leaderboard_with_links_into_the_model_training_view(workflow):
    row = re.compile(rf"\s+({'|'.join(MODELS)})\b.*\d±?")
    matches = [row.match(line) for line in workflow.first_output.splitlines()]
    assert sum(match is not None for match in matches) >= 4
    links = re.findall(r"http://127.0.0.1:5000/#/\S+[?&]workflowType=machine_learning", workflow.first_output)
    assert len(links) == 11


def test_main_says_what_became_of_the_data_before_it_trains(workflow):
    said = re.search(
        r"\n([\d,]+) rows in, 0 rejected, [\d,]+ exact duplicates; [\d,]+ training rows and [\d,]+ test rows\n",
        workflow.first_output,
    )
    assert said
    counts = workflow.first("preprocess").data.metrics
    assert said[1] == f"{counts['rows_in']:,.0f}"
    assert said.start() < workflow.first_output.index("train linear")


def test_warnings_stand_under_the_leaderboard_and_notes_do_not(capsys):
    metric = ranking_metric(DEFAULT_METRIC, {})
    scores = dict.fromkeys(compare.score_names(metric.name), 0.5)
    findings = [Finding("D004", "-200 recurs"), Finding("D003", "3 rows were rejected")]
    main.print_leaderboard(readable(pd.DataFrame([{"model": "rf", **scores}]), metric, "EUR"), metric, findings)
    assert capsys.readouterr().out.rstrip().endswith("\nwarning: D004 -200 recurs")


def test_the_leaderboard_ranks_by_cross_validated_error(workflow):
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
    training_set = pd.read_parquet(workflow.artifacts(run, "train.parquet"))
    test_set = pd.read_parquet(workflow.artifacts(run, "test.parquet"))
    assert len(training_set.merge(test_set, how="inner")) == 0
    assert run.data.metrics["rows_overlap"] == 0
    assert run.data.metrics["rows_in"] == 900
    assert run.data.metrics["rows_train"] + run.data.metrics["rows_test"] + run.data.metrics["rows_duplicate"] == 900


def test_every_stage_logs_its_datasets(workflow):
    contexts = {
        step: {tag.value for use in workflow.first(step).inputs.dataset_inputs for tag in use.tags}
        for step in ("preprocess", "train", "evaluate")
    }
    assert contexts == {"preprocess": {"training", "testing"}, "train": {"training"}, "evaluate": {"testing"}}


def test_a_logged_model_predicts_exactly_what_evaluate_logged(workflow, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", workflow.uri)
    mlflow.set_tracking_uri(workflow.uri)
    for run in workflow.runs("evaluate"):
        trained = workflow.client.get_run(run.data.tags["workflow.upstream"])
        test_set = pd.read_parquet(
            workflow.artifacts(workflow.client.get_run(trained.data.tags["workflow.upstream"]), "test.parquet")
        )
        model = mlflow.pyfunc.load_model(f"runs:/{trained.info.run_id}/{trained.data.params['model']}")
        predicted = model.predict(test_set.drop(columns="price"))
        logged = pd.read_parquet(workflow.artifacts(run, "predictions.parquet"))["predicted"]
        np.testing.assert_array_equal(predicted, logged)
        values = pd.read_parquet(workflow.artifacts(run, "shap_values.parquet"))
        sample = test_set.drop(columns="price").iloc[values.index[:3]]
        explained = model.predict(sample, params={"explain": True})
        assert list(explained) == ["prediction", *(f"contribution_{name}" for name in values)]
        np.testing.assert_array_equal(explained["prediction"], logged[sample.index])
        np.testing.assert_array_equal(explained.iloc[:, 1:], values.head(3), err_msg=run.info.run_name)
        assert model.metadata.signature is not None
        assert model.metadata.flavors["sklearn"]["serialization_format"] == "skops"


def test_shap_values_add_up_to_the_prediction(workflow):
    for run in workflow.runs("evaluate"):
        values = pd.read_parquet(workflow.artifacts(run, "shap_values.parquet"))
        predicted = pd.read_parquet(workflow.artifacts(run, "predictions.parquet"))["predicted"]
        assert list(values.columns[:2]) == ["winery", "wine"]
        # Where trees learn the target itself, shap's C code explains them, in single precision.
        np.testing.assert_allclose(values.sum(axis=1), predicted[values.index], rtol=1e-7, err_msg=run.info.run_name)


def test_predict_explains_a_row_as_evaluate_does(workflow, tmp_path):
    data = f"runs:/{workflow.first('preprocess').info.run_id}/test.parquet"
    for model in ("linear", "blend"):
        run = [run for run in workflow.runs("evaluate") if run.data.params["model"] == model][-1]
        logged = pd.read_parquet(workflow.artifacts(run, "shap_values.parquet"))
        given = {"model": run.data.tags["workflow.upstream"], "data": data, "explain": "true"}
        result = workflow.step("predict", **given, output=tmp_path / f"{run.info.run_id}.parquet")
        assert result.code == 0, result.output
        written = pd.read_parquet(tmp_path / f"{run.info.run_id}.parquet")
        found = written[[f"contribution_{name}" for name in logged]]
        np.testing.assert_array_equal(found.iloc[logged.index], logged, err_msg=run.info.run_name)
        np.testing.assert_allclose(found.sum(axis=1), written["prediction"], rtol=1e-7)


def test_a_second_main_reuses_every_run_and_reports_it(workflow):
    children = len(workflow.runs("train"))
    result = workflow.step("main")
    assert result.code == 0, result.output
    assert len(re.findall(r"reused +run [0-9a-f]{32}", result.output)) == 11
    assert len(workflow.runs("train")) == children
    parent = workflow.last()
    assert pd.read_csv(workflow.artifacts(parent, "leaderboard.csv")).shape[0] == 5
    assert workflow.artifacts(parent, "leaderboard.png").stat().st_size > 5000


def test_a_blend_is_scored_on_folds_that_its_weights_were_not_fitted_on(workflow):
    parent = workflow.first("main").info.run_id
    children = [run for run in workflow.runs("train") if run.data.tags.get("mlflow.parentRunId") == parent]
    trained = {run.data.params["model"]: run for run in children}
    tables = {
        model: pd.read_parquet(workflow.artifacts(trained[model], Files.OOF_PREDICTIONS))
        for model in sorted(MODELS[:-1])
    }
    metric = ranking_metric(DEFAULT_METRIC, {})
    expected = cross_validation.cross_validation_scores(
        blending.cross_validate(*blending.stack_oof_predictions(tables), metric.error), metric
    )
    assert expected == pytest.approx({name: trained["blend"].data.metrics[name] for name in expected}, rel=1e-12)


def test_a_blend_reuses_the_runs_of_its_members_and_makes_the_missing_ones(workflow):
    before = {step: len(workflow.runs(step)) for step in ("train", "evaluate")}
    result = workflow.step("evaluate", model="blend", model_params="{linear: {}, knn: {n_neighbors: 7}}")
    assert result.code == 0, result.output
    for step, runs in before.items():
        assert f"{step} linear".ljust(22) + " reused" in result.output
        assert re.search(rf"{step} knn +\d+\.\d s", result.output)
        assert len(workflow.runs(step)) == runs + 2
    blend = next(
        run
        for run in workflow.runs("train")
        if run.info.run_name == "train blend" and "n_neighbors" in run.data.params["model_params"]
    )
    assert "linear " in blend.data.params["weights"]
    assert workflow.step("train", model="knn", model_params="{n_neighbors: 9}").code == 0  # a newer run of it
    assert workflow.step("evaluate", train_run_id=blend.info.run_id, shap_samples="3").code == 0
    explained = next(run for run in workflow.runs("evaluate") if run.info.run_name == "evaluate knn")
    assert explained.data.tags["workflow.upstream"] == json.loads(blend.data.tags[Tags.BLEND_MEMBERS])["knn"]


def test_train_reuses_the_preprocess_run_of_main(workflow):
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


def test_leaked_test_rows_are_reported_and_not_scored(workflow):
    result = workflow.step("evaluate", duplicates="keep", model="knn", shap_samples="3")
    assert result.code == 0, result.output
    run = workflow.last()
    assert run.data.tags["workflow.findings"] == "M001"
    assert "warning: M001" in result.output
    (found,) = json.loads(workflow.artifacts(run, "report.json").read_text())["findings"]
    assert "were seen in training" in found["message"]
    assert run.data.metrics["leaked_mean_absolute_error"] < run.data.metrics["mean_absolute_error"]
    predictions = pd.read_parquet(workflow.artifacts(run, "predictions.parquet"))
    upstream = workflow.client.get_run(run.data.tags["workflow.upstream"]).data.tags["workflow.upstream"]
    counts = workflow.client.get_run(upstream).data.metrics
    assert len(predictions) == counts["rows_test"] - counts["rows_overlap"]
    assert "Warning." in workflow.artifacts(run, "report.html").read_text()


def test_options_reach_their_stages_and_groups_stay_in_one_set(workflow):
    given = {"split": "group", "encoder": "onehot", "log_target": "false", "max_rows": "100", "shap_samples": "3"}
    result = workflow.step("evaluate", model="linear", **given)
    assert result.code == 0, result.output
    trained = workflow.client.get_run(workflow.last().data.tags["workflow.upstream"])
    preprocessed = workflow.client.get_run(trained.data.tags["workflow.upstream"])
    assert trained.data.params["training_rows"] == "100" != str(int(preprocessed.data.metrics["rows_train"]))
    predictions = pd.read_parquet(workflow.artifacts(trained, "cross_validation.parquet"))
    assert sorted(predictions["row"]) == list(range(100))
    report = workflow.artifacts(workflow.last(), "report.html").read_text()
    assert re.search(r"training_rows</td>\s*<td[^>]*>100<", report)
    wineries = [
        set(pd.read_parquet(workflow.artifacts(preprocessed, f"{name}.parquet"))["winery"])
        for name in ("train", "test")
    ]
    assert not wineries[0] & wineries[1]


@pytest.mark.parametrize(
    ("given", "count"), [({}, 20), ({"max_rows": "auto"}, 20), ({"max_rows": 7}, 7), ({"max_rows": 101}, 100)]
)
def test_a_model_is_fitted_on_at_most_max_rows_evenly_spaced(tmp_path, monkeypatch, given, count):
    chosen = split.max_training_rows
    monkeypatch.setattr(
        split, "max_training_rows", lambda columns, limit: 40 // columns if limit == "auto" else chosen(columns, limit)
    )
    frame = pd.DataFrame({"y": np.arange(100.0), "x": 1.0, "z": 2.0})
    contract = Contract("y", {name: Column("numeric") for name in frame})
    params = parameters.TrainParams(**given)
    rows = train.subsample_training_rows(params, stored_rows(frame, tmp_path), contract)
    assert len(rows) == count
    assert rows["y"].iloc[[0, -1]].tolist() == [0, 99]


@pytest.mark.parametrize(
    ("rows", "max_rows", "forest"),
    [(2_001, "auto", "rf"), (2_001, 2_000, "extra_trees"), (2_000, 9_999, "extra_trees")],
)
def test_the_default_models_depend_on_the_number_of_training_rows(rows, max_rows, forest):
    contract = Contract("y", {"y": Column("numeric"), "x": Column("numeric")})
    data = SimpleNamespace(metrics={"rows_train": float(rows)}, contract=contract)
    params = parameters.CompareParams(max_rows=max_rows)
    assert main.models_of(params, data) == ["linear", forest, "boosting", "mean_boosting", "blend"]


def test_a_time_split_tests_on_later_rows_than_it_trains_on(workflow):
    result = workflow.step("evaluate", split="time", time="year", model="linear", shap_samples="3")
    assert result.code == 0, result.output
    run = workflow.last()
    assert "rows later in year than all training rows" in workflow.artifacts(run, "report.html").read_text()
    trained = workflow.client.get_run(run.data.tags["workflow.upstream"])
    preprocessed = workflow.client.get_run(trained.data.tags["workflow.upstream"])
    years = [pd.read_parquet(workflow.artifacts(preprocessed, f"{name}.parquet"))["year"] for name in ("train", "test")]
    assert years[0].max() < years[1].min()


def results(workflow: Workflow) -> dict[str, object]:
    """Return the artifacts (without the run ids in their links) and metrics of all children of the first `main`."""
    found, parent = {}, workflow.first("main").info.run_id
    for step in ("preprocess", "train", "evaluate"):
        for run in workflow.runs(step):
            if run.data.tags.get("mlflow.parentRunId") == parent:
                folder = workflow.artifacts(run) if step != "train" else workflow.folder / "nothing"
                found[run.info.run_name] = run.data.metrics
                found |= {
                    f"{run.info.run_name}/{path.name}": RUN_OR_MODEL.sub(b"", path.read_bytes())
                    for path in folder.glob("*.*")
                    if path.name != "receipt.json"  # compared below, without its provenance
                }
                receipt = json.loads(workflow.artifacts(run, "receipt.json").read_text())
                del receipt["sha256"], receipt["provenance"]
                for name in ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):  # differ on purpose
                    receipt["environment"]["threads"].pop(name, None)
                found[f"{run.info.run_name}/receipt"] = json.dumps(receipt)
    return found


def test_results_do_not_depend_on_threads_processes_hash_seed_locale_time_zone_or_order_of_models(
    workflow, tmp_path, small_data
):
    other = Workflow(tmp_path)
    other.environment |= {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    other.environment["LOKY_MAX_CPU_COUNT"] = "1"  # in `workflow`, models are trained in processes
    words = ["--data", str(small_data), "--models", "boosting,linear"]  # the other way round than in `workflow`
    result = other.execute([sys.executable, str(PROJECT / "steps/main.py"), *words])
    assert result.code == 0, result.output
    found, expected = results(other), results(workflow)
    assert len(found) > 30
    assert found == {name: expected[name] for name in found}


def test_the_generator_makes_the_bundled_file_byte_for_byte(tmp_path):
    script = tmp_path / "make_wines.py"
    script.write_bytes((PROJECT / "data/make_wines.py").read_bytes())
    assert Workflow(tmp_path / "store").execute([sys.executable, str(script)]).code == 0
    assert (tmp_path / "wines.csv").read_bytes() == (PROJECT / "data/wines.csv").read_bytes()
