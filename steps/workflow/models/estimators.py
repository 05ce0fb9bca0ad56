"""Estimators: each a model and what it needs around it, from the raw columns of a row to its price."""

import json
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.models.catalog import MODELS, get_model, regressor

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame, Series
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import VotingRegressor

    Estimator: TypeAlias = TransformedTargetRegressor | VotingRegressor
ENCODERS = ("auto", "target", "onehot", "ordinal")
LOG_TARGET = ("auto", "true", "false")
TARGET_TRANSFORMS = {
    "identity": "{}",
    "log": "log({})",
    "log1p": "log(1 + {})",
}  # functions of numpy, and what people read


def build(
    model: str,
    contract: Contract,
    encoder: str,
    scale: str,
    seed: int,
    model_params: dict[str, Any],
    rows: int = 0,
) -> "TransformedTargetRegressor":
    """An unfitted estimator from the features of `contract` to its target.

    `regressor` is a pipeline of two steps, `encode` and `regress`. It learns the target on a `scale` of `TARGET_TRANSFORMS`, and
    its cost is limited if it is to learn from many `rows`. Raises UserError for a parameter that the model does not
    have, and for an import path that leads to no regressor.
    """
    from sklearn.pipeline import Pipeline

    from workflow.models.encoders import column_encoders

    kind = get_model(model)
    encode = column_encoders(contract, resolve_encoder(model, encoder), seed, kind.dense, kind.bounded, kind.on_grid)
    steps = [("encode", encode), ("regress", regressor(model, seed, model_params, rows, len(contract.features)))]
    return with_target_transform(Pipeline(steps), scale)


def baseline(estimator: "Estimator", target: "Series") -> "TransformedTargetRegressor":
    """What answers the same whatever it is asked: the mean of the target, on the scale on which `estimator` learns."""
    from sklearn.dummy import DummyRegressor

    return fit(with_target_transform(DummyRegressor(), target_transform_of(estimator)), target.to_frame(), target)


def with_target_transform(regressor: Any, scale: str) -> "TransformedTargetRegressor":
    """What learns the target on a scale with a regressor, and answers in units of the target."""
    from sklearn.compose import TransformedTargetRegressor

    from workflow.models.rounding import rounded_log_transformer

    return TransformedTargetRegressor(
        regressor, transformer=None if scale == "identity" else rounded_log_transformer(scale)
    )


def resolve_encoder(model: str, encoder: str) -> str:
    """The encoder of categories that a model gets: for `auto`, the one that it does best with."""
    return get_model(model).encoder if encoder == "auto" else encoder


def choose_target_transform(log_target: str, target: "Series") -> str:
    """On which of `TARGET_TRANSFORMS` to learn a target: as `log_target` says, and for `auto`, a logarithm if it is far skewed.

    That is, by more than 1, from where on Bulmer, Principles of Statistics (1979), calls a distribution highly skewed.
    A target that is sometimes 0 has the logarithm of 1 more. Raises UserError for the logarithm of what is below 0.
    """
    lowest = target.min()
    if log_target == "true" and lowest < 0:
        raise UserError(
            f"log_target=true needs a {target.name} of 0 or more, but the lowest is {lowest:g};"
            " pass -P log_target=auto, or set the column's range in the contract"
        )
    if log_target == "false" or (log_target == "auto" and (lowest < 0 or target.skew() <= 1)):
        return "identity"
    return "log" if lowest > 0 else "log1p"


def target_transform_of(estimator: "Estimator") -> str:
    """On which of `TARGET_TRANSFORMS` an estimator learns its target, as all parts of a blend do; older runs have a function."""
    from workflow.models.blending import blend_members

    _, part = next(iter(blend_members(estimator).values()))
    function = part.transformer[0].func if part.transformer else part.func
    return function.__name__ if function else "identity"


def target_expression(estimator: "Estimator", target: str) -> str:
    """What an estimator learns, for people: `price`, `log(price)` or `log(1 + price)`."""
    return TARGET_TRANSFORMS[target_transform_of(estimator)].format(target)


def parameters_of(estimator: "Estimator", taken: Container[str]) -> dict[str, str]:
    """All parameters of the regressor, by their own names; those in `taken` mean something else, and get a prefix.

    Of a blend, its weights.
    """
    from workflow.models.blending import blend_members

    parts = blend_members(estimator)
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
    """
    from workflow.parallel.executors import single_blas_thread

    words = {name: "category" for name in features if features[name].dtype == "str"}
    with single_blas_thread():  # of words that repeat, scikit-learn would make an object for each row
        return estimator.fit(features.astype(words), target)


@contextmanager
def estimator_errors_as_user_errors(model: str, model_params: dict[str, Any]) -> Iterator[None]:
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
    """Predicted target of each row, in one BLAS thread, and in pieces, which take little memory: (rows,)."""
    import numpy as np

    from workflow.data.stored import CHUNK_ROWS
    from workflow.parallel.executors import single_blas_thread

    with single_blas_thread():
        pieces = [features.iloc[first : first + CHUNK_ROWS] for first in range(0, len(features), CHUNK_ROWS)]
        return np.concatenate([estimator.predict(piece) for piece in pieces])
