"""The models: one scikit-learn estimator each, from the raw columns of a row to its price."""

import difflib
import json
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pydoc import locate
from typing import TYPE_CHECKING, Any, TypeAlias

from errors import UserError
from tabular.reading.contract import Contract

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame, Series
    from sklearn.base import BaseEstimator
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import VotingRegressor

    Estimator: TypeAlias = TransformedTargetRegressor | VotingRegressor

ENCODERS = ("target", "onehot", "ordinal")
LOG_TARGET = ("auto", "true", "false")


@dataclass(frozen=True)
class Model:
    """A regressor: its import path, shap's explainer for it, our defaults, and the types its file may hold.

    One that could run away with a number far from all that it has learned from gets its numbers `bounded`; one that
    compares distances gets them `on_grid`: see `column_encoders`.
    """

    path: str
    explainer: str | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    bounded: bool = False
    on_grid: bool = False


# Forests predict in one thread: several add up the trees in the order in which they finish, and the last bits differ.
MODELS = {
    # Ridge, because plain least squares on one-hot columns of rare categories gives absurd prices. Its solver of sparse
    # columns would stop while the digits that it has left to find still hang on the rounding of those before.
    "linear": Model("sklearn.linear_model.Ridge", "linear", {"tol": 1e-12}, ("functools.partial",), bounded=True),
    "knn": Model(
        "sklearn.neighbors.KNeighborsRegressor",
        trusted=(
            "functools.partial",
            "scipy.sparse._csr.csr_matrix",
            "sklearn.metrics._dist_metrics.EuclideanDistance64",
            "sklearn.metrics._dist_metrics.ManhattanDistance64",
            "sklearn.metrics._dist_metrics.MinkowskiDistance64",
            "sklearn.neighbors._ball_tree.BallTree",
            "sklearn.neighbors._kd_tree.KDTree",
        ),
        bounded=True,
        on_grid=True,
    ),
    "rf": Model("sklearn.ensemble.RandomForestRegressor", "tree", {"n_jobs": 1}, ("sklearn.tree._tree.Tree",)),
    "extra_trees": Model(
        "sklearn.ensemble.ExtraTreesRegressor",
        "tree",
        {"n_jobs": 1, "min_samples_split": 4},
        ("sklearn.tree._tree.Tree",),
    ),
    # Many small steps, each of which sees a third of the columns and few leaves: benchmarks/models.py.
    "boosting": Model(
        "sklearn.ensemble.HistGradientBoostingRegressor",
        "tree",
        {
            "learning_rate": 0.1,
            "max_iter": 300,
            "max_leaf_nodes": 12,
            "min_samples_leaf": 10,
            "max_features": 0.3,
            "l2_regularization": 3.0,
            "n_iter_no_change": 30,
        },
        ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",),
    ),
    "dummy": Model("sklearn.dummy.DummyRegressor"),
}
BLEND = "blend"
BLENDED = ("linear", "rf", "boosting")  # what a blend combines if it is not told
TRUSTED = (
    "numpy.dtype",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "sklearn.model_selection._split.KFold",
    "sklearn.utils._bunch.Bunch",
)  # in the file of every model: parts of its encoders, and of a blend


def build(
    model: str, contract: Contract, encoder: str, log_target: bool, seed: int, model_params: dict[str, Any]
) -> "TransformedTargetRegressor":
    """An unfitted estimator from the features of `contract` to its target.

    `regressor` is a pipeline of two steps, `encode` and `regress`; it learns log(target) if `log_target`.
    Raises UserError for a parameter that the model does not have.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline

    from tabular.learning.encoders import column_encoders
    from tabular.learning.rounding import logarithm

    encode = column_encoders(contract, encoder, seed, MODELS[model].bounded, MODELS[model].on_grid)
    steps = [("encode", encode), ("regress", regressor(model, seed, model_params))]
    return TransformedTargetRegressor(Pipeline(steps), transformer=logarithm() if log_target else None)


def should_learn_log(log_target: str, target: "Series") -> bool:
    """Whether to learn log(target): as `log_target` says, and for `auto`, if all are above 0 and skewed by more than 1.

    From there on Bulmer, Principles of Statistics (1979), calls a distribution highly skewed.
    """
    if log_target == "auto":
        return bool((target > 0).all() and target.skew() > 1)
    return log_target == "true"


def learns_log(estimator: "Estimator") -> bool:
    """Whether an estimator learns the logarithm of its target: by `logarithm`, or by a function, as older runs did.

    The models of a blend all do, or none.
    """
    from tabular.learning.blending import parts_of

    _, part = next(iter(parts_of(estimator).values()))
    return (part.transformer or part.func) is not None


def learned_target(estimator: "Estimator", target: str) -> str:
    """What an estimator learns, for people: `log(price)` or `price`."""
    return f"log({target})" if learns_log(estimator) else target


def regressor(model: str, seed: int, model_params: dict[str, Any]) -> "BaseEstimator":
    """The regressor called `model` with our defaults, a seed if it takes one, and `model_params` above both."""
    kind: Any = locate(MODELS[model].path)
    names = kind().get_params()
    for name in model_params:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            remedy = f"did you mean {close[0]}?" if close else f"it has {', '.join(names)}"
            raise UserError(f"model_params: {kind.__name__} ({model}) has no parameter {name}; {remedy}")
    seeded = {"random_state": seed} if "random_state" in names else {}
    return kind(**seeded | MODELS[model].defaults | model_params)


def parameters_of(estimator: "Estimator", taken: Container[str]) -> dict[str, str]:
    """All parameters of the regressor, by their own names; those in `taken` mean something else, and get a prefix.

    Of a blend, its weights.
    """
    from tabular.learning.blending import parts_of

    parts = parts_of(estimator)
    if not hasattr(estimator, "regressor"):
        return {"weights": ", ".join(f"{name} {share:.3f}" for name, (share, _) in parts.items())}
    parameters = estimator.regressor[-1].get_params()
    return {name if name not in taken else f"regress__{name}": str(value) for name, value in parameters.items()}


def fit(
    estimator: "TransformedTargetRegressor", features: "DataFrame", target: "Series"
) -> "TransformedTargetRegressor":
    """`estimator`, fitted in place in one BLAS thread, whose number would change the last bits.

    Args:
        estimator: as `build` gives it.
        features: (rows, features).
        target: (rows,).

    Raises UserError for log(target) of 0 or less.
    """
    from tabular.learning.threads import one_thread

    if learns_log(estimator) and (target <= 0).any():
        raise UserError(
            f"log_target=true needs {target.name} above 0, but the lowest is {target.min():g};"
            " pass -P log_target=auto, or set the column's range in the contract"
        )
    with one_thread():
        return estimator.fit(features, target)


@contextmanager
def refusals(model: str, model_params: dict[str, Any]) -> Iterator[None]:
    """A context in which an error of scikit-learn is a UserError if the user chose parameters of the model."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        if not model_params:
            raise
        raise UserError(
            f"model_params={json.dumps(model_params)}: {model} refuses: {' '.join(str(error).split())}"
        ) from error


def predict(estimator: "Estimator", features: "DataFrame") -> "ndarray":
    """Predicted target of each row, in one BLAS thread: (rows,)."""
    from tabular.learning.threads import one_thread

    with one_thread():
        return estimator.predict(features)


def load(path: Path, models: Iterable[str]) -> "Estimator":
    """The estimator in a skops file. Types beyond those that `models` are made of are refused, and no code runs.

    The list is ours, not the file's: MLflow would trust the types that the logged model itself names.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=trusted_types(models))
    except UntrustedTypesFoundException as error:
        named = ", ".join(models)
        raise UserError(f"the model file of {named} holds types it should not: {error}; train again") from error


def trusted_types(models: Iterable[str]) -> list[str]:
    """The types that the file of `models`, one or blended, may hold beyond those that skops trusts by itself."""
    return list(dict.fromkeys([*TRUSTED, *(name for model in models for name in MODELS[model].trusted)]))
