"""The metric that ranks models: one of ours by its name, or any function by its import path."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pydoc import ErrorDuringImport, locate
from typing import Any

import numpy as np

from workflow.data.sampling import evenly_spaced_positions
from workflow.errors import UserError
from workflow.evaluation import metrics

MAX_CONSTANT_ROWS = 20_000  # more rows do not change the best constant
IN_TARGET_UNIT = ("mean_absolute_error", "root_mean_squared_error", "median_absolute_error", "mean_pinball_loss")
LOWEST_TARGET = {  # of metrics that do not take every target: what the target must be, and whether it is
    "mean_absolute_percentage_error": ("above 0", lambda lowest: lowest > 0),
    "root_mean_squared_log_error": ("0 or more", lambda lowest: lowest >= 0),
}


@dataclass(frozen=True)
class RankingMetric:
    """A metric by which models are ranked, blended, tuned and promoted.

    Attributes:
        name: one of `catalog.BOOSTING_LOSSES`; of another function, its import path.
        function: of the true and the predicted target, along an axis.
        greater_is_better: as `sklearn.metrics.make_scorer` takes it.
        is_direction_known: whether it is one of ours, or the user said which is better.
    """

    name: str
    function: Callable[..., Any]
    greater_is_better: bool = False
    is_direction_known: bool = True

    def error(
        self, true: np.ndarray, predicted: np.ndarray, axis: int = -1, weight: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the metric if less is better, else its negative; `weight` holds sample weights."""
        return self.as_error(np.asarray(self.function(true, predicted, axis, **metrics.weighted(weight))))

    def as_error(self, value: Any) -> Any:
        """Return a value of the metric as an error, and an error as a value of the metric."""
        return -value if self.greater_is_better else value

    def best_constant(self, target: np.ndarray, weight: np.ndarray | None = None) -> float:
        """Return the constant with the least error for a target of (rows,): its mean, or one of its percentiles.

        Errors are weighted by a `weight` of (rows,). Of several constants, such as all between the two values in the
        middle, it is the one that is nearest the median.
        """
        positions = evenly_spaced_positions(len(target), MAX_CONSTANT_ROWS)
        sample, own = target[positions], None if weight is None else weight[positions]
        nearest_the_median = sorted(range(1, 100), key=lambda percent: abs(percent - 50))
        candidates = [float(metrics.mean(sample, -1, own)), *map(float, np.percentile(sample, nearest_the_median))]
        errors = np.array(
            [float(self.error(sample, np.full(len(sample), constant), weight=own)) for constant in candidates]
        )
        return candidates[int(np.isclose(errors, errors.min(), rtol=1e-9, atol=0).argmax())]

    def beats_constant(self, scores: Mapping[str, float]) -> bool:
        """Return whether a model beats the best constant on the test set, and has an R² above 0.

        R² says nothing against a quantile, or against a function that we do not know.

        Args:
            scores: `<name>` and `baseline_<name>`, `cv_r2_score` and `r2_score`, among others.
        """
        is_better = self.as_error(scores[self.name]) < self.as_error(scores[f"baseline_{self.name}"])
        says_nothing = self.name == "mean_pinball_loss" or "." in self.name
        return bool(is_better and (says_nothing or min(scores["cv_r2_score"], scores["r2_score"]) > 0))

    @property
    def has_target_unit(self) -> bool:
        """Whether it is in units of the target."""
        return self.name in IN_TARGET_UNIT

    def check_target(self, target: Any) -> None:
        """Raise UserError if it does not apply to a target of (rows,)."""
        expected, holds = LOWEST_TARGET.get(self.name, ("", lambda lowest: True))
        if not holds(target.min()):
            raise UserError(
                f"metric={self.name}: the lowest {target.name} is {target.min():g}, expected {expected}; choose another"
                " metric, or set the column's range in the contract"
            )

    def check_direction(self, target: np.ndarray) -> None:
        """Raise UserError if nobody said that greater is better, but better predictions of (rows,) have more error."""
        if self.is_direction_known:
            return
        sample = target[evenly_spaced_positions(len(target), MAX_CONSTANT_ROWS)]
        constant = np.full(len(sample), sample.mean())
        better, worse = float(self.error(sample, (sample + constant) / 2)), float(self.error(sample, constant))
        if better > worse and not np.isclose(better, worse, rtol=1e-9, atol=0):
            raise UserError(
                f"metric={self.name}: {worse:g} for the mean, but {better:g} for predictions with half its errors; if"
                " greater is better, pass -P metric_params='{greater_is_better: true}', else false"
            )

    def check_score(self, score: float, scored: str) -> None:
        """Raise UserError if a score is no finite number, by which models cannot be ranked."""
        if not np.isfinite(score):
            raise UserError(f"metric={self.name}: {score} {scored}; expected a finite number")


def ranking_metric(name: str, params: Mapping[str, Any]) -> RankingMetric:
    """Return the metric with a name or an import path.

    Args:
        name: one of `catalog.BOOSTING_LOSSES`, or the import path of a function `(y_true, y_pred) -> float`.
        params: keyword arguments of the metric, and `greater_is_better` of a function.

    Raises UserError for a path that leads to no function, and for arguments that it does not take.
    """
    options, is_own = dict(params), "." in name
    greater_is_better = options.pop("greater_is_better", None) if is_own else name == "r2_score"
    if not isinstance(greater_is_better, bool | None):
        raise UserError(f"metric_params={{greater_is_better: {greater_is_better}}}: must be true or false")
    function = own_function(name) if is_own else getattr(metrics, name)
    given_by_us = ("sample_weight",) if is_own else ("axis", "weight")
    taken = [key for key in [*inspect.signature(function).parameters][2:] if key not in given_by_us]
    if unknown := [key for key in options if key not in taken]:
        expected = f"; it takes {', '.join(taken)}" if taken else ""
        raise UserError(f"metric_params={{{unknown[0]}: …}}: {name} has no such argument{expected}")
    if "alpha" in options and name == "mean_pinball_loss" and not is_quantile(options["alpha"]):
        raise UserError(f"metric_params={{alpha: {options['alpha']}}}: must be a number between 0 and 1")
    function = partial(function, **options) if options else function
    along = along_axis(name, function) if is_own else function
    return RankingMetric(name, along, bool(greater_is_better), greater_is_better is not None)


def is_quantile(value: Any) -> bool:
    """Return whether a value is a number between 0 and 1, both excluded."""
    return isinstance(value, float) and 0 < value < 1


def own_function(path: str) -> Callable[..., Any]:
    """Import a function by its path. Raises UserError for a path that leads to no function."""
    try:
        found = locate(path)
    except ErrorDuringImport as error:
        raise UserError(f"metric={path}: cannot be imported: {error.value}") from error
    if not callable(found) or not inspect.isfunction(inspect.unwrap(found)):  # which has a source and a signature
        raise UserError(f"metric={path}: no such function; expected an import path, such as my_metrics.cost")
    return found


def along_axis(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a metric along the last axis from a function of two arrays of (rows,), and perhaps `sample_weight`.

    The metric raises UserError, which names the function, if that fails or returns no number.
    """
    takes_weights = "sample_weight" in inspect.signature(function).parameters

    def value(true: np.ndarray, predicted: np.ndarray, **weights: np.ndarray) -> float:
        try:
            return float(function(true, predicted, **weights))
        except (Exception, SystemExit) as error:  # which would end a thread that others wait for
            raise UserError(f"metric={name}: {type(error).__name__}: {error}") from error

    def metric(true: np.ndarray, predicted: np.ndarray, axis: int = -1, weight: np.ndarray | None = None) -> np.ndarray:
        if weight is not None and not takes_weights:
            raise UserError(f"metric={name}: takes no sample_weight, but the rows have weights; add the argument")
        given = [true, predicted] if weight is None else [true, predicted, weight]
        arrays = np.broadcast_arrays(*given)
        rows = zip(*(each.reshape(-1, each.shape[-1]) for each in arrays), strict=True)
        names = [] if weight is None else ["sample_weight"]
        found = [value(t, p, **dict(zip(names, weights, strict=True))) for t, p, *weights in rows]
        return np.reshape(found, arrays[0].shape[:-1])

    return metric
