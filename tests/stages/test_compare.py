"""The ranking of models."""

import pytest

from workflow.evaluation.ranking import ranking_metric
from workflow.stages import compare


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("mean_absolute_error", ["b", "a", "c"]), ("root_mean_squared_error", ["c", "b", "a"]), ("r2_score", list("acb"))],
)
def test_the_model_with_the_best_cross_validated_metric_comes_first(metric, expected):
    cross_validated = {
        "cv_mean_absolute_error": {"a": 2.0, "b": 1.0, "c": 3.0},
        "cv_root_mean_squared_error": {"a": 4.0, "b": 3.0, "c": 2.0},
        "cv_r2_score": {"a": 0.9, "b": 0.5, "c": 0.7},
    }
    scores = {
        model: dict.fromkeys(compare.score_names(metric), test)
        | {name: own[model] for name, own in cross_validated.items()}
        for model, test in (("a", 1.0), ("b", 3.0), ("c", 2.0))
    }
    assert list(compare.run(ranking_metric(metric, {}), scores)["model"]) == expected
