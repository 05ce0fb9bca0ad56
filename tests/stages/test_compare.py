"""The ranking of models."""

from workflow.stages import compare


def test_the_model_with_the_smallest_cross_validated_error_comes_first():
    metrics = {
        model: dict.fromkeys(compare.SCORES, test) | {"cv_mean_absolute_error": error, "cv_r2_score": r2}
        for model, error, r2, test in (("a", 2.0, 0.9, 1.0), ("b", 1.0, 0.5, 3.0), ("c", 3.0, 0.7, 2.0))
    }
    assert list(compare.run(metrics)["model"]) == ["b", "a", "c"]
