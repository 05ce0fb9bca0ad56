"""Estimators: each a model and what it needs around it, from the raw columns of a row to its price."""

import json
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from errors import UserError
from tabular.learning.models import MODELS, model_of, regressor
from tabular.reading.contract import Contract

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame, Series
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import VotingRegressor

    Estimator: TypeAlias = TransformedTargetRegressor | VotingRegressor
ENCODERS = ("target", "onehot", "ordinal")
LOG_TARGET = ("auto", "true", "false")


def build(
    model: str,
    contract: Contract,
    encoder: str,
    log_target: bool,
    seed: int,
    model_params: dict[str, Any],
    rows: int = 0,
) -> "TransformedTargetRegressor":
    """An unfitted estimator from the features of `contract` to its target.

    `regressor` is a pipeline of two steps, `encode` and `regress`; it learns log(target) if `log_target`, and its cost
    is limited if it is to learn from many `rows`. Raises UserError for a parameter that the model does not have, and
    for an import path that leads to no regressor.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline

    from tabular.learning.encoders import column_encoders
    from tabular.learning.rounding import logarithm

    encode = column_encoders(contract, encoder, seed, model_of(model).bounded, model_of(model).on_grid)
    steps = [("encode", encode), ("regress", regressor(model, seed, model_params, rows))]
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
    """A context in which an error of scikit-learn is a UserError if the user chose parameters, or another regressor."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        if not model_params and model in MODELS:
            raise
        raise UserError(
            f"model_params={json.dumps(model_params)}: {model} refuses: {' '.join(str(error).split())}"
        ) from error


def predict(estimator: "Estimator", features: "DataFrame") -> "ndarray":
    """Predicted target of each row, in one BLAS thread: (rows,)."""
    from tabular.learning.threads import one_thread

    with one_thread():
        return estimator.predict(features)
