import functools
import re
import time

import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from workflow.errors import UserError
from workflow.evaluation import search
from workflow.models import catalog
from workflow.parallel import executors
from workflow.reports import tuning_report

SPACE = {"depth": {"low": 1, "high": 9}, "rate": {"low": 0.01, "high": 1.0, "log": True}, "kind": ["a", "b"]}
AHEAD = 8


def tried(seed: int = 0, trials: int = 20, timeout: float = 0, folds: int = 3, start=None, wait=lambda own: None):
    """The study of a search whose error is least at depth 6 and rate 0.1, and how many folds each trial has seen."""
    seen = []

    def error(own, fold):
        return {"error": abs(own["depth"] - 6) + abs(own["rate"] - 0.1) + (own["kind"] == "b") + fold}

    def test_trial(asked):
        own, limits = asked
        wait(own)
        return search.test_folds(functools.partial(error, own), folds, limits, "error")

    def test(asked):
        for done in executors.iterate_in_threads(test_trial, asked, ahead=AHEAD):
            seen.append(len(done))
            yield [scores["error"] for scores in done]

    found = search.distributions("m", SPACE)
    *_, study = search.search(found, start or {}, trials, timeout, seed, folds, test)
    return study, seen


def shown(study):
    return [trial.params for trial in study.trials]


def test_one_seed_makes_the_same_trials():
    assert shown(tried()[0]) == shown(tried()[0])
    assert shown(tried()[0]) != shown(tried(seed=1)[0])


def test_how_long_trials_take_changes_none():
    assert shown(tried(wait=lambda own: time.sleep(own["rate"] / 20))[0]) == shown(tried()[0])


def test_more_trials_begin_with_the_same():
    assert shown(tried(trials=30)[0])[:20] == shown(tried()[0])


def test_a_search_finds_what_is_best():
    study, _ = tried(trials=60)
    assert study.best_params["depth"] == 6
    assert study.best_params["kind"] == "a"


def test_it_begins_where_it_is_told_to():
    study, _ = tried(start={"depth": 2, "rate": 0.3, "kind": "b", "other": 3})
    assert study.trials[0].params == {"depth": 2, "rate": 0.3, "kind": "b"}
    study, _ = tried(start={"depth": 20, "rate": None, "kind": "c"})
    assert 1 <= study.trials[0].params["depth"] <= 9


def test_what_is_worse_than_most_is_given_up_early():
    study, seen = tried(trials=40)
    given_up = [trial.state == TrialState.PRUNED for trial in study.trials]
    assert not any(given_up[:AHEAD])
    assert any(given_up)
    assert [folds < 3 for folds in seen] == given_up
    assert not given_up[study.best_trial.number]


def test_time_ends_a_search_after_those_that_have_begun():
    assert len(tried(timeout=1e-9)[0].trials) == 1
    late = tried(timeout=0.2, wait=lambda own: time.sleep(0.25))
    assert AHEAD <= len(late[0].trials) <= AHEAD + 1


def test_numbers_that_are_tried_have_no_more_digits_than_matter():
    assert search.rounded({"rate": 0.0123456, "depth": 12345, "kind": "a"}) == {
        "rate": 0.0123,
        "depth": 12345,
        "kind": "a",
    }


def test_what_a_space_says():
    assert search.distributions("m", SPACE) == {
        "depth": IntDistribution(1, 9),
        "rate": FloatDistribution(0.01, 1.0, log=True),
        "kind": CategoricalDistribution(["a", "b"]),
    }


@pytest.mark.parametrize(
    ("terms", "words"),
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
def test_a_space_that_is_none(terms, words):
    with pytest.raises(UserError, match=r"^space=\{m: \{depth: ") as error:
        search.distributions("m", {"depth": terms})
    assert words in str(error.value)


@pytest.mark.parametrize("model", [*catalog.MODELS, *catalog.OPTIONAL])
def test_the_spaces_of_the_models(model):
    space = catalog.get_model(model).space
    search.distributions(model, space)
    if model in catalog.MODELS:
        assert space or model == "dummy"
        names = catalog.regressor(model, 0, {}).get_params()
        assert space.keys() <= names.keys()


def test_pictures_of_a_search():
    assert list(tuning_report.figures(tried()[0], "error")) == ["history", "importances", "coordinates"]
    assert list(tuning_report.figures(tried(trials=1)[0], "error")) == ["history"]


def test_the_page_has_the_parameters_of_the_first_and_of_the_best_trial(tmp_path):
    study, best = tried(start={"depth": 2, "rate": 0.123456, "kind": "b"})[0], {"depth": 6, "rate": 0.0987, "kind": "a"}
    page = tuning_report.tuning_report({"m": study}, {"m": best}, pd.DataFrame(), "", "EUR", tmp_path, "", {})
    assert re.findall("<th>(.*?)</th>", page) == ["parameter", "first trial", "best"]
    assert re.findall("<td>(.*?)</td>", page) == ["depth", "2", "6", "rate", "0.123", "0.0987", "kind", "b", "a"]


@pytest.mark.parametrize(
    ("larger", "verdict"),
    [
        ((-2.0, -3.0, -1.0), "differs by -2 EUR (95 % interval -3 to -1): it has paid."),
        ((-2.0, -5.0, 1.0), "differs by -2 EUR (95 % interval -5 to +1): it may be chance."),
        ((2.0, 1.0, 3.0), "differs by +2 EUR (95 % interval +1 to +3): it has done harm."),
    ],
)
def test_whether_tuning_has_paid(larger, verdict):
    said = tuning_report.conclusion("rf", tried()[0], (34.2, 30.4), larger, "EUR")
    assert "20 trials of rf" in said
    assert "cross-validated error from 34.2 to 30.4 EUR" in said
    assert said.endswith(verdict)


@pytest.mark.parametrize("tuned", [30.4, 30.401, 30.399])
def test_a_search_that_found_nothing_says_so(tuned):
    said = tuning_report.conclusion("rf", tried()[0], (30.4, tuned), (0.0, 0.0, 0.0), "EUR")
    assert said.endswith("found nothing better than its defaults: a cross-validated error of 30.4 EUR.")
