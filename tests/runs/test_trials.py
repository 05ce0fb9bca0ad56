from workflow.runs import trials
from workflow.runs.tracking import TAG_LENGTH

SCORES = {
    "r2_score": -0.12345678901234567,
    "mean_absolute_error": 1234567.1234567891,
    "root_mean_squared_error": 1e-300,
}


def test_the_scores_of_folds_fit_into_a_tag_and_come_back():
    folds = [SCORES | {"r2_score": 1 / (place + 3)} for place in range(trials.MOST_FOLDS)]
    text = trials.packed(folds)
    assert len(text) <= TAG_LENGTH
    assert trials.unpacked(text) == folds


def test_the_order_of_parameters_does_not_tell_trials_apart():
    assert trials.key({"a": 1, "b": 2.5}) == trials.key({"b": 2.5, "a": 1})
