import functools
import re
import time
from operator import itemgetter

import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from workflow.errors import UserError
from workflow.evaluation import search
from workflow.evaluation.paired import Difference
from workflow.evaluation.ranking import ranking_metric
from workflow.models import catalog
from workflow.models.catalog import Range
from workflow.parallel import executors
from workflow.reports import tuning_report

MAE = ranking_metric("mean_absolute_error", {})
SPACE = {"depth": {"low": 1, "high": 9}, "rate": {"low": 0.01, "high": 1.0, "log": True}, "kind": ["a", "b"]}
PREFETCH_ITEMS = 8


def run_search(
    seed: int = 0, trials: int = 20, timeout: float = 0, folds: int = 3, start=None, wait=lambda params: None
):
    """Search where the error is least at depth 6 and rate 0.1; return the study and each trial's number of folds."""
    n_folds = []

    def score_fold(params, fold):
        return {"error": abs(params["depth"] - 6) + abs(params["rate"] - 0.1) + (params["kind"] == "b") + fold}

    def run_trial(request):
        wait(request.params)
        score = functools.partial(score_fold, request.params)
        return search.score_folds(score, folds, request.pruning_thresholds, itemgetter("error"))

    def run_trials(requests):
        for done in executors.iterate_in_threads(run_trial, requests, prefetch_items=PREFETCH_ITEMS):
            n_folds.append(len(done))
            yield [scores["error"] for scores in done]

    space = search.distributions("m", SPACE)
    *_, study = search.search(space, start or {}, trials, timeout, seed, folds, run_trials)
    return study, n_folds


def params_of(study):
    return [trial.params for trial in study.trials]


def test_the_same_seed_gives_the_same_trials():
    assert params_of(run_search()[0]) == params_of(run_search()[0])
    assert params_of(run_search()[0]) != params_of(run_search(seed=1)[0])


def test_the_duration_of_trials_does_not_change_them():
    assert params_of(run_search(wait=lambda params: time.sleep(params["rate"] / 20))[0]) == params_of(run_search()[0])


def test_a_longer_search_starts_with_the_same_trials():
    assert params_of(run_search(trials=30)[0])[:20] == params_of(run_search()[0])


def test_a_search_finds_the_best_params():
    study, _ = run_search(trials=60)
    assert study.best_params["depth"] == 6
    assert study.best_params["kind"] == "a"


def test_the_first_trial_has_the_start_params_that_lie_in_the_space():
    study, _ = run_search(start={"depth": 2, "rate": 0.3, "kind": "b", "other": 3})
    assert study.trials[0].params == {"depth": 2, "rate": 0.3, "kind": "b"}
    study, _ = run_search(start={"depth": 20, "rate": None, "kind": "c"})
    assert 1 <= study.trials[0].params["depth"] <= 9


def test_trials_worse_than_the_median_are_pruned():
    study, n_folds = run_search(trials=40)
    pruned = [trial.state == TrialState.PRUNED for trial in study.trials]
    assert not any(pruned[:PREFETCH_ITEMS])
    assert any(pruned)
    assert [folds < 3 for folds in n_folds] == pruned
    assert not pruned[study.best_trial.number]


def test_after_the_timeout_only_running_trials_end():
    assert len(run_search(timeout=1e-9)[0].trials) == 1
    late = run_search(timeout=0.2, wait=lambda params: time.sleep(0.25))
    assert PREFETCH_ITEMS <= len(late[0].trials) <= PREFETCH_ITEMS + 1


def test_params_are_rounded_to_significant_digits():
    assert search.rounded({"rate": 0.0123456, "depth": 12345, "kind": "a"}) == {
        "rate": 0.0123,
        "depth": 12345,
        "kind": "a",
    }


@pytest.mark.parametrize(
    "space", [SPACE, {"depth": Range(1, 9), "rate": Range(0.01, 1.0, log=True), "kind": ["a", "b"]}]
)
def test_a_space_has_ranges_of_integers_or_numbers_and_choices(space):
    assert search.distributions("m", space) == {
        "depth": IntDistribution(1, 9),
        "rate": FloatDistribution(0.01, 1.0, log=True),
        "kind": CategoricalDistribution(["a", "b"]),
    }


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"low": 2, "high": 1}, "nothing lies between 2 and 1"),
        ({"low": 1, "high": 1}, "nothing lies between 1 and 1"),
        ({"low": 0, "high": 1.0, "log": True}, "`low > 0` must hold"),
        ({"low": "a", "high": 1}, "not supported between"),
        ({"low": 1}, "must be a range, like"),
        ({"low": 1, "high": 2, "lgo": True}, "must be a range, like"),
        ([], "or a list of choices"),
        (3, "or a list of choices"),
    ],
)
def test_an_invalid_space_is_a_user_error(entry, message):
    with pytest.raises(UserError, match=r"^space=\{m: \{depth: ") as error:
        search.distributions("m", {"depth": entry})
    assert message in str(error.value)


@pytest.mark.parametrize("model", [*catalog.MODELS, *catalog.OPTIONAL])
def test_default_spaces_are_valid_and_name_params_of_their_model(model):
    space = catalog.get_model(model).search_space
    search.distributions(model, space)
    if model in catalog.MODELS:
        assert space or model == "dummy"
        names = catalog.regressor(model, 0, {}).get_params()
        assert space.keys() <= names.keys()


def test_figures_that_compare_trials_need_two_of_them():
    assert list(tuning_report.figures(run_search()[0], "error")) == ["history", "importances", "coordinates"]
    assert list(tuning_report.figures(run_search(trials=1)[0], "error")) == ["history"]


def test_the_page_has_the_parameters_of_the_first_and_of_the_best_trial(tmp_path):
    study, best = (
        run_search(start={"depth": 2, "rate": 0.123456, "kind": "b"})[0],
        {"depth": 6, "rate": 0.0987, "kind": "a"},
    )
    page = tuning_report.tuning_report(
        MAE, {"m": study}, {"m": best}, pd.DataFrame(), "", "EUR", tmp_path, "", {}
    ).html()
    assert re.findall("<th [^>]*>(.*?)</th>", page) == ["parameter", "first trial", "best"]
    assert re.findall("<td[^>]*>(.*?)</td>", page) == ["depth", "2", "6", "rate", "0.123", "0.0987", "kind", "b", "a"]


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (Difference(-2.0, -3.0, -1.0), "-2 EUR (95 % confidence interval -3 to -1): significantly better."),
        (Difference(-2.0, -5.0, 1.0), "-2 EUR (95 % confidence interval -5 to +1): no significant difference."),
        (Difference(2.0, 1.0, 3.0), "+2 EUR (95 % confidence interval +1 to +3): significantly worse."),
    ],
)
def test_the_conclusion_says_whether_the_test_error_differs_significantly(difference, verdict):
    conclusion = tuning_report.conclusion(MAE, "rf", run_search()[0], 34.2, 30.4, difference, "EUR")
    assert "20 trials of rf" in conclusion
    assert "cross-validated error from 34.2 to 30.4 EUR" in conclusion
    assert conclusion.endswith(f"differs by {verdict}")


@pytest.mark.parametrize("tuned", [30.4, 30.401, 30.399])
def test_a_search_without_an_improvement_says_so(tuned):
    conclusion = tuning_report.conclusion(MAE, "rf", run_search()[0], 30.4, tuned, Difference(0.0, 0.0, 0.0), "EUR")
    assert conclusion.endswith("found nothing better than its defaults: a cross-validated error of 30.4 EUR.")
