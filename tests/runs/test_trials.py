import mlflow
import pytest
from conftest import Workflow

from workflow.runs import tracking, trials
from workflow.runs.names import Tags
from workflow.runs.tracking import TAG_LENGTH
from workflow.runs.trials import Trial

SCORES = {
    "r2_score": -0.12345678901234567,
    "mean_absolute_error": 1234567.1234567891,
    "root_mean_squared_error": 1e-300,
}


@pytest.fixture
def search(tmp_path):
    """Yield the run of a search in a tracking store of its own."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(Workflow(tmp_path / "store").uri)
    with tracking.opened(run_name="tune") as run:
        yield run
    mlflow.set_tracking_uri(before)


def test_fold_scores_fit_into_a_tag_and_keep_every_digit():
    folds = [SCORES | {"r2_score": 1 / (fold + 3)} for fold in range(trials.MAX_FOLDS)]
    text = trials.pack(folds)
    assert len(text) <= TAG_LENGTH
    assert trials.unpack(text) == folds


def test_the_order_of_parameters_does_not_distinguish_trials():
    assert trials.key({"a": 1, "b": 2.5}) == trials.key({"b": 2.5, "a": 1})


def test_recorded_trials_of_a_search_are_found_with_their_fold_scores(search):
    complete = Trial("trial rf", {"max_depth": 3, "max_features": 0.5}, [SCORES, SCORES], SCORES, 1_000.5)
    pruned = Trial("trial rf", {"max_depth": 9, "max_features": 0.1}, [SCORES], {}, 1_001.0)
    for trial in (complete, pruned):
        trials.record("this search", trial)
    trials.record("another search", Trial("trial rf", {"max_depth": 1}, [SCORES], SCORES, 1_002.0))
    assert trials.find_recorded("this search") == {
        trials.key(complete.params): complete.folds,
        trials.key(pruned.params): pruned.folds,
    }
    assert trials.find_recorded("a third search") == {}


def test_a_recorded_trial_is_a_finished_run_within_the_search(search):
    trials.record("this search", Trial("trial rf", {"max_depth": 3}, [SCORES, SCORES], SCORES, 1_000.5))
    trials.record("this search", Trial("trial rf", {"max_depth": 9}, [SCORES], {}, 1_001.0))
    pruned, complete = mlflow.search_runs(
        ["0"], f"tags.`{Tags.SEARCH}` = 'this search'", order_by=["start_time DESC"], output_format="list"
    )
    assert {run.data.tags["mlflow.parentRunId"] for run in (pruned, complete)} == {search.info.run_id}
    assert (complete.info.status, complete.info.run_name, complete.info.start_time) == (
        "FINISHED",
        "trial rf",
        1_000_500,
    )
    assert complete.data.params == {"max_depth": "3"}
    assert complete.data.metrics == SCORES | {f"fold_{name}": value for name, value in SCORES.items()}
    assert pruned.data.metrics == {f"fold_{name}": value for name, value in SCORES.items()}
    assert (complete.data.tags.get(Tags.PRUNED), pruned.data.tags[Tags.PRUNED]) == (None, "true")


@pytest.mark.parametrize(
    ("tag", "value"), [(Tags.FOLD_SCORES, trials.pack([SCORES])), (Tags.TRIED, '{"max_depth": 4}')]
)
def test_a_trial_whose_tags_were_edited_is_not_reused(search, tag, value):
    trials.record("this search", Trial("trial rf", {"max_depth": 3}, [SCORES, SCORES], SCORES, 1_000.5))
    run = mlflow.search_runs(["0"], f"tags.`{Tags.SEARCH}` = 'this search'", output_format="list")[0]
    mlflow.MlflowClient().set_tag(run.info.run_id, tag, value)
    assert trials.find_recorded("this search") == {}
