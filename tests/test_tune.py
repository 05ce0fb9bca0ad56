"""A search for better parameters: what it logs, how it is resumed, promoted and reproduced."""

import json
import os
import time
from pathlib import Path

import forked
import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import Workflow

from workflow.evaluation.paired import Difference
from workflow.evaluation.ranking import ranking_metric
from workflow.formatting import number
from workflow.stages import tune

pytestmark = pytest.mark.slow
SEARCH = {"models": "linear,knn", "trials": "6", "cv": "2", "shap_samples": "3"}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, small_data) -> Workflow:
    """Return a workflow in which `tune` ran once, on one core and so without worker processes."""
    workflow = Workflow(tmp_path_factory.mktemp("tuned"), data=small_data)
    result = workflow.run("tune", **SEARCH)
    assert result.code == 0, result.output
    workflow.first_output = result.output
    return workflow


def trials_of(workflow: Workflow, run=None) -> pd.DataFrame:
    return pd.read_parquet(workflow.artifacts(run or workflow.last(), "trials.parquet"))


def test_a_search_logs_its_trials_and_compares_tuned_with_untuned_models(tuned):
    run = tuned.runs("tune")[0]
    trials = trials_of(tuned, run)
    assert trials.groupby("model").size().to_dict() == {"linear": 6, "knn": 6}
    assert run.data.metrics["trials"] == 12
    assert run.data.metrics["trials_pruned"] == trials["pruned"].sum()
    table = pd.read_csv(tuned.artifacts(run, "leaderboard.csv"))
    assert sorted(table["model"]) == ["knn", "knn tuned", "linear", "linear tuned"]
    assert table["cv_mean_absolute_error"].is_monotonic_increasing
    for model in ("linear", "knn"):
        best = trials[(trials["model"] == model) & ~trials["pruned"]].sort_values("cv_mean_absolute_error").iloc[0]
        row = table[table["model"] == f"{model} tuned"].iloc[0]
        trained = tuned.client.get_run(row["train_run_id"])
        assert json.loads(trained.data.tags["workflow.parameters"])["model_params"] == json.loads(best["parameters"])
        assert row["cv_mean_absolute_error"] == pytest.approx(best["cv_mean_absolute_error"], rel=1e-12)
        assert row["cv_mean_absolute_error"] <= table[table["model"] == model]["cv_mean_absolute_error"].iloc[0]
        errors = table.set_index("model")["cv_mean_absolute_error"]
        before, after = number(errors[model]), number(errors[f"{model} tuned"])
        if before != after:
            assert f"cross-validated error from {before} to {after} EUR" in tuned.first_output
        else:
            assert f"nothing better than its defaults: a cross-validated error of {before} EUR" in tuned.first_output
        test_errors = table.set_index("model")["mean_absolute_error"]
        larger = test_errors[f"{model} tuned"] - test_errors[model]
        assert run.data.metrics[f"{model}_difference"] == pytest.approx(larger, rel=1e-9, abs=1e-9)
        assert run.data.metrics[f"{model}_difference_low"] <= run.data.metrics[f"{model}_difference_high"]
    report = tuned.artifacts(run, "tuning.html").read_text()
    assert report.count("data:image/png") == 6
    assert "12 trials" not in report
    assert "6 trials of knn" in report
    assert "6 trials of knn" in tuned.first_output


def test_the_difference_is_negative_where_the_tuned_model_has_the_smaller_error():
    true = pd.Series([1.0, 2.0, 3.0])
    untuned, tuned = (pd.DataFrame({"true": true, "predicted": predicted}) for predicted in (true + 2, true - 1))
    metric = ranking_metric("mean_absolute_error", {})
    assert tune.difference_on_test_set(metric, untuned, tuned, 0) == Difference(-1, -1, -1)


def test_a_trial_is_a_run_with_its_parameters_and_scores(tuned):
    first = tuned.runs("tune")[-1]
    trials = [run for run in tuned.runs("trial") if run.data.tags["mlflow.parentRunId"] == first.info.run_id]
    assert len(trials) == len({run.data.tags["workflow.tried"] + run.info.run_name for run in trials}) == 12
    for run in trials:
        assert run.info.status == "FINISHED"
        assert set(run.data.params) in ({"alpha"}, {"n_neighbors", "weights", "p"})
        folds = tuned.client.get_metric_history(run.info.run_id, "fold_mean_absolute_error")
        assert [metric.step for metric in folds] == list(range(len(folds)))
        pruned = "workflow.pruned" in run.data.tags
        assert pruned == (len(folds) < 2) == ("cv_mean_absolute_error" not in run.data.metrics)


def test_a_repeated_or_longer_search_reuses_its_trials(tuned):
    before = {run.info.run_id for run in tuned.runs("trial")}
    expected = trials_of(tuned, tuned.runs("tune")[-1])
    assert tuned.step("tune", **SEARCH).code == 0
    assert {run.info.run_id for run in tuned.runs("trial")} == before
    pd.testing.assert_frame_equal(trials_of(tuned), expected)
    result = tuned.step("tune", **SEARCH | {"trials": "8"})
    assert "8 trials, 6 of them reused" in result.output
    assert len(tuned.runs("trial")) <= 12 + 4
    more = trials_of(tuned)
    pd.testing.assert_frame_equal(more[more["trial"] < 6].reset_index(drop=True), expected)


@pytest.mark.nightly
def test_a_killed_search_continues_from_its_trials_and_finds_the_same(tuned, tmp_path, small_data):
    workflow = Workflow(tmp_path / "killed", data=small_data)
    workflow.environment["LOKY_MAX_CPU_COUNT"] = "2"  # or no processes would run the trials
    own = {name: value for name, value in SEARCH.items() if name != "models"} | {"model": "knn"}
    words = [word for name, value in own.items() for word in (f"--{name}", value)]
    script, words = workflow.project / "steps/tune.py", ["--data", str(small_data), *words]
    process = forked.start(script, words, workflow.environment, workflow.folder, Path(os.devnull))
    for _ in range(1200):
        if finished := [run for run in workflow.runs("trial") if run.info.status == "FINISHED"]:
            break
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("popen_loky" in " ".join(child.cmdline()) for child in children)  # they run the trials
    process.kill()
    process.join()
    made = {run.info.run_id for run in finished}
    assert 1 <= len(made) < 6
    assert workflow.step("tune", **own).code == 0
    finished = [run for run in workflow.runs("trial") if run.info.status == "FINISHED"]
    assert made <= {run.info.run_id for run in finished}
    assert len(finished) == 6
    assert not [run for run in workflow.runs() if run.info.status == "RUNNING"]
    expected = trials_of(tuned, tuned.runs("tune")[-1])
    expected = expected[expected["model"] == "knn"].reset_index(drop=True)
    pd.testing.assert_frame_equal(trials_of(workflow), expected)


@pytest.mark.nightly
def test_a_whole_search_is_reproduced_bit_for_bit(tuned, monkeypatch):
    run_id = tuned.runs("tune")[-1].info.run_id
    monkeypatch.setitem(tuned.environment, "LOKY_MAX_CPU_COUNT", "2")
    result = tuned.step("reproduce", run=run_id, search="true")
    assert result.code == 0, result.output
    assert "bit for bit" in result.output
    assert tuned.last().info.run_name == "reproduce tune linear,knn"


def test_promote_takes_the_winner_of_a_search(tuned):
    result = tuned.step("promote", run=tuned.runs("tune")[-1].info.run_id, name="tuned")
    assert "version 1 of tuned is the champion" in result.output
    winner = tuned.runs("tune")[-1].data.tags["workflow.winner_run_id"]
    assert tuned.client.get_model_version_by_alias("tuned", "champion").run_id == winner


def test_a_timeout_stops_a_search_after_at_least_one_trial(tuned, small_data):
    space = "{linear: {alpha: {low: 3.0, high: 4.0}}}"
    result = tuned.step("tune", model="linear", space=space, timeout="1", trials="1000000", cv="2", shap_samples="2")
    assert result.code == 0, result.output
    assert 1 <= len(trials_of(tuned)) < 1000


@pytest.mark.nightly
def test_the_first_trial_has_the_parameters_of_the_untuned_model_also_those_chosen_on_a_sample(tuned, tmp_path):
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.uniform(1, 9, (2600, 4)), columns=list("abcd"))
    rows.assign(price=100 * rows["a"] / rows["b"] + random.normal(0, 20, 2600)).to_csv(
        tmp_path / "ratios.csv", index=False
    )
    options = {"data": str(tmp_path / "ratios.csv"), "target": "price", "trials": "1", "cv": "2", "shap_samples": "3"}
    result = tuned.step("tune", space="{boosting: {max_iter: {low: 5, high: 600}}}", **options)
    assert result.code == 0, result.output
    untuned = next(run for run in tuned.runs("train") if run.data.params["model_params"] == "{}")
    assert untuned.data.params["model"] == "boosting"
    assert int(untuned.data.params["max_iter"]) < 600
    found = {name: float(untuned.data.params[name]) for name in ("max_iter", "max_features", "max_leaf_nodes")}
    assert found["max_features"] == 1  # 0.3 is the default where nothing is chosen
    assert [json.loads(each) for each in trials_of(tuned)["parameters"]] == [found]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"trials": "0"}, "trials=0: must be an integer from 1"),
        ({"cv": "71"}, "cv=71: tune takes at most 70 folds"),
        ({"timeout": "-1"}, "timeout=-1: must be an integer from 0"),
        ({"model": "blend"}, "combines models, and has no parameters of its own"),
        ({"model": "dummy"}, "model=dummy: has no default search space; -P space="),
        ({"model": "sklearn.svm.SVR"}, "model=sklearn.svm.SVR: has no default search space; -P space="),
        ({"space": "{rf: {max_depth: [3]}}"}, "space={rf: …}: not among the models; expected one of boosting"),
        ({"space": "{boosting: 3}"}, "boosting must be mapped to a mapping, as in {rf: {max_depth: [5, 10]}}"),
        ({"space": "{boosting: {max_itre: [3]}}"}, "has no parameter max_itre; did you mean max_iter?"),
        ({"space": "{boosting: {max_iter: {low: 9, high: 3}}}"}, "nothing lies between 9 and 3"),
        ({"model": "linear", "space": "{linear: {alpha: [-3]}}"}, "linear refuses: "),
        ({"models": "linear,blind"}, "models=linear,blind: invalid choice; did you mean blend?"),
    ],
)
def test_a_mistake_ends_in_one_line_and_a_failed_run(tuned, parameters, words):
    result = tuned.step("tune", **parameters)
    assert result.code == 2, result.output
    assert words in result.error
    assert tuned.last().info.status == "FAILED"
    assert tuned.last().data.tags["workflow.error"] == result.error
