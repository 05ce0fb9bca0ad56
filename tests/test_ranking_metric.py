"""A metric of the user's choice, through every entry point: it ranks, it is learned, logged, proven and promoted by."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from conftest import Workflow
from mlflow.entities import Run
from sklearn import metrics as sklearn_metrics

from workflow.provenance import receipt
from workflow.runs.names import Files

pytestmark = pytest.mark.slow
FAST = {"cv": "2", "shap_samples": "2"}
BOOSTED = {"models": "dummy,boosting", "model_params": "{boosting: {max_iter: 30}}"}
MODULE = '''
def near(y_true, y_pred, tolerance=0.2):
    """Return the share of rows whose prediction is off by less than a fraction of the true value."""
    return (abs(y_pred - y_true) < tolerance * y_true).mean()


def broken(y_true, y_pred):
    raise ValueError("no costs are known")
'''


@dataclass
class Case:
    """A metric, its arguments, what it should be, and the models that are ranked by it."""

    name: str
    params: dict
    of: object
    models: dict
    ascending: bool = True

    @property
    def given(self) -> dict[str, str]:
        return {"metric": self.name, "metric_params": json.dumps(self.params) if self.params else "null"}


CASES = {
    "quantile": Case(
        "mean_pinball_loss",
        {"alpha": 0.9},
        lambda true, predicted: sklearn_metrics.mean_pinball_loss(true, predicted, alpha=0.9),
        BOOSTED,
    ),
    "own": Case(
        "my_metrics.near",
        {"tolerance": 0.3, "greater_is_better": True},
        lambda true, predicted: (abs(predicted - true) < 0.3 * true).mean(),
        {"models": "dummy,linear"},
        ascending=False,
    ),
}


@pytest.fixture(scope="module")
def ranked(tmp_path_factory, small_data) -> Workflow:
    """Return a workflow in which `main` ran once by each metric; `mains` are the runs, by case."""
    workflow = Workflow(tmp_path_factory.mktemp("ranked"), data=small_data)
    modules = tmp_path_factory.mktemp("modules")
    (modules / "my_metrics.py").write_text(MODULE)
    workflow.environment["PYTHONPATH"] = str(modules)
    workflow.modules, workflow.mains = modules, {}
    for name, case in CASES.items():
        result = workflow.step("main", **FAST, **case.models, **case.given)
        assert result.code == 0, result.output
        workflow.mains[name] = workflow.last()
    return workflow


def leaderboard(workflow: Workflow, run: Run) -> pd.DataFrame:
    return pd.read_csv(workflow.artifacts(run, Files.LEADERBOARD))


def predictions(workflow: Workflow, table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return the predictions of the test set by a model on a leaderboard."""
    run = workflow.client.get_run(table.set_index("model")["evaluate_run_id"][model])
    return pd.read_parquet(workflow.artifacts(run, Files.PREDICTIONS))


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_models_are_ranked_by_the_metric_of_the_logged_predictions(ranked, name, case):
    table = leaderboard(ranked, ranked.mains[name])
    scores = table[f"cv_{case.name}"]
    assert list(scores) == sorted(scores, reverse=not case.ascending)
    assert ranked.mains[name].data.tags["workflow.winner"] == table["model"][0] != "dummy"
    for model in table["model"]:
        tested = predictions(ranked, table, model)
        row = table.set_index("model").loc[model]
        assert row[case.name] == pytest.approx(case.of(tested["true"], tested["predicted"]))
        trained = ranked.client.get_run(row["train_run_id"])
        folds = pd.read_parquet(ranked.artifacts(trained, Files.OOF_PREDICTIONS)).groupby("fold")
        found = [case.of(fold["true"], fold["predicted"]) for _, fold in folds]
        assert len(found) == 2
        assert row[f"cv_{case.name}"] == pytest.approx(np.mean(found))
        assert row[f"cv_{case.name}_std"] == pytest.approx(np.std(found))


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_the_metric_is_logged_with_intervals_and_stands_in_the_receipt(ranked, name, case):
    main = ranked.mains[name]
    table = leaderboard(ranked, main)
    for run_id in table["evaluate_run_id"]:
        scores = ranked.client.get_run(run_id).data.metrics
        assert scores[f"{case.name}_low"] <= scores[case.name] <= scores[f"{case.name}_high"]
        assert scores[f"{case.name}_low"] < scores[f"{case.name}_high"]
        assert f"baseline_{case.name}" in scores
        assert "mean_absolute_error" in scores  # the common metrics stay
    assert main.data.metrics[case.name] == table[case.name][0]
    made = receipt.read(ranked.artifacts(main, Files.RECEIPT).read_text(), "main")
    assert made.parameters["metric"] == case.name
    assert made.parameters.get("metric_params", {}) == case.params


def test_boosting_learns_the_quantile_that_the_metric_asks_for(ranked):
    table = leaderboard(ranked, ranked.mains["quantile"])
    tested = predictions(ranked, table, "boosting")
    assert 0.82 < (tested["true"] <= tested["predicted"]).mean() < 0.97
    trained = ranked.client.get_run(table.set_index("model")["train_run_id"]["boosting"])
    assert (trained.data.params["loss"], trained.data.params["quantile"]) == ("quantile", "0.9")


def test_a_result_is_reproduced_bit_for_bit(ranked):
    result = ranked.step("reproduce", run=ranked.mains["own"].info.run_id)
    assert result.code == 0, result.output
    assert "match bit for bit" in result.output


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("quantile", "mean_pinball_loss below that of the constant baseline"),
        ("own", "my_metrics.near above that of the constant baseline"),
    ],
)
def test_a_winner_is_promoted_by_the_metric(ranked, name, rule):
    result = ranked.step("promote", run=ranked.mains[name].info.run_id, name=name)
    assert result.code == 0, result.output
    assert f"version 1 of {name} is the champion" in result.output
    table = pd.read_csv(ranked.artifacts(ranked.last(), Files.DECISION))
    assert table["rule"][1] == rule
    worse = leaderboard(ranked, ranked.mains[name]).set_index("model")["train_run_id"]["dummy"]
    result = ranked.step("promote", run=worse, name=name)
    assert "version 2 of" in result.output
    assert "was not promoted" in result.output
    table = pd.read_csv(ranked.artifacts(ranked.last(), Files.DECISION))
    assert table["rule"].iloc[-1].startswith(f"{CASES[name].name} not {'below' if name == 'own' else 'above'} that of")
    assert table["passed"].iloc[-1] == "no"


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_a_search_lowers_the_error_of_the_metric(ranked, name, case):
    space = "{boosting: {max_iter: [5, 40]}}"
    options = {"trials": "3", "cv": "2", "shap_samples": "2", "max_rows": "200"}
    result = ranked.step("tune", model="boosting", space=space, **options, **case.given)
    assert result.code == 0, result.output
    run = ranked.last()
    trials = pd.read_parquet(ranked.artifacts(run, Files.TRIALS))
    table = leaderboard(ranked, run)
    scores = table[f"cv_{case.name}"]
    assert list(scores) == sorted(scores, reverse=not case.ascending)
    finished = trials[~trials["pruned"]].sort_values(f"cv_{case.name}", ascending=case.ascending)
    tuned = ranked.client.get_run(table.set_index("model")["train_run_id"]["boosting tuned"])
    assert json.loads(tuned.data.tags["workflow.parameters"])["model_params"] == json.loads(
        finished["parameters"].iloc[0]
    )
    assert tuned.data.metrics[f"cv_{case.name}"] == pytest.approx(finished[f"cv_{case.name}"].iloc[0])
    if name == "quantile":
        for run_id in table["train_run_id"]:
            assert ranked.client.get_run(run_id).data.params["quantile"] == "0.9"


def test_an_edited_metric_is_measured_again_in_every_stage(ranked, tmp_path):
    """Also by `evaluate` and `tune`, although the model, which does not depend on it, stays the same."""
    module = tmp_path / "edited_metrics.py"
    given = {"metric": "edited_metrics.near", "metric_params": "{greater_is_better: true}", "cv": "2"}
    search = {"model": "linear", "space": "{linear: {alpha: [1.0, 5.0]}}", "trials": "2", "shap_samples": "2", **given}
    before = ranked.environment
    ranked.environment = before | {"PYTHONPATH": str(tmp_path)}
    found = []
    try:
        for tolerance in ("0.2", "0.4"):
            module.write_text(MODULE.replace("0.2", tolerance))
            result = ranked.step("main", models="linear", shap_samples="2", **given)
            assert result.code == 0, result.output
            main = ranked.last()
            assert ranked.step("tune", **search).code == 0
            trials = pd.read_parquet(ranked.artifacts(ranked.last(), Files.TRIALS))
            found.append((main, leaderboard(ranked, main).iloc[0], trials))
        assert ranked.step("main", models="linear", shap_samples="2", **given).output.count(" reused ") == 3
    finally:
        ranked.environment = before
    (_, first, first_trials), (_, second, second_trials) = found
    assert second["train_run_id"] != first["train_run_id"]
    assert second["cv_edited_metrics.near"] > first["cv_edited_metrics.near"]
    tested = pd.read_parquet(ranked.artifacts(ranked.client.get_run(second["evaluate_run_id"]), Files.PREDICTIONS))
    expected = (abs(tested["predicted"] - tested["true"]) < 0.4 * tested["true"]).mean()
    assert second["edited_metrics.near"] == pytest.approx(expected)
    assert (second_trials["cv_edited_metrics.near"] > first_trials["cv_edited_metrics.near"]).all()


@pytest.mark.parametrize("entry_point", ["train", "main", "tune"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"metric": "nowhere.cost"}, "metric=nowhere.cost: no such function; expected an import path"),
        ({"metric": "my_metrics.missing"}, "metric=my_metrics.missing: no such function; expected an import path"),
        ({"metric": "my_metrics.broken"}, "metric=my_metrics.broken: ValueError: no costs are known"),
        ({"metric": "mean_squared"}, "metric=mean_squared: invalid choice; "),
        (
            {"metric": "mean_pinball_loss", "metric_params": "{alpha: 90}"},
            "metric_params={alpha: 90}: must be a number between 0 and 1",
        ),
    ],
)
def test_what_is_no_metric_ends_in_one_line_and_a_failed_run(ranked, entry_point, given, words):
    model = {"models": "linear"} if entry_point == "main" else {"model": "linear"}
    result = ranked.step(entry_point, **model, **given)
    assert result.code == 2, result.output
    assert result.error.startswith(words)
    assert "Traceback" not in result.output
    run = ranked.last()
    assert (run.info.status, run.data.tags["workflow.error"]) == ("FAILED", result.error)
    assert not [run for run in ranked.runs() if run.info.status == "RUNNING"]


def test_a_metric_that_is_gone_is_named_by_a_reproduction(ranked, monkeypatch):
    monkeypatch.delitem(ranked.environment, "PYTHONPATH")
    result = ranked.step("reproduce", run=ranked.mains["own"].info.run_id)
    assert result.code == 2, result.output
    assert "metric=my_metrics.near: no such function" in result.error


def test_a_model_ranked_by_a_metric_that_is_gone_still_predicts(ranked, monkeypatch):
    monkeypatch.delitem(ranked.environment, "PYTHONPATH")
    output = ranked.folder / "predicted.csv"
    result = ranked.step("predict", model=ranked.mains["own"].info.run_id, data=str(ranked.data), output=str(output))
    assert result.code == 0, result.output
    assert len(pd.read_csv(output)) == 900
