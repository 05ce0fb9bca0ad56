"""Estimators: a regressor with everything around it, from the raw features of a row to its target."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.models.catalog import MODELS, OPTIONAL, get_model, regressor

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame, Series
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import VotingRegressor

    Estimator: TypeAlias = TransformedTargetRegressor | VotingRegressor
NOMINAL_LEVEL = 0.9  # of prediction intervals: fraction of true values inside, unless another one is chosen
ENCODERS = ("auto", "target", "onehot", "ordinal")
LOG_TARGET = ("auto", "true", "false")
MOVING_LOSSES = ("absolute_error", "quantile")  # of boosting
CONSTRAINT_PARAMS = {model.constraints_param for model in (*MODELS.values(), *OPTIONAL.values())} - {""}
TARGET_TRANSFORMS = {"identity": "{}", "log": "log({})", "log1p": "log(1 + {})"}  # by name: how it is displayed
EXTREME_SKEWNESS = 3  # from which nothing else is tried: it would seldom win, and trials take time
HIGH_SKEWNESS = 1  # from which a distribution is highly skewed: Bulmer 1979, Principles of Statistics


@dataclass(frozen=True)
class Preparation:
    """How target and features are prepared for a model, where that is found by trial.

    Attributes:
        target_transform: one of `TARGET_TRANSFORMS`.
        words: categorical features whose words are encoded too.
    """

    target_transform: str = "identity"
    words: tuple[str, ...] = ()


def build(
    model: str,
    contract: Contract,
    encoder: str,
    preparation: Preparation,
    seed: int,
    model_params: dict[str, Any],
    rows: int = 0,
) -> "TransformedTargetRegressor":
    """Build an unfitted estimator whose `regressor` is a pipeline of two steps, `encode` and `regress`.

    Args:
        model: name or import path.
        contract: of the rows; its features are encoded.
        encoder: one of `ENCODERS`.
        preparation: of target and features.
        seed: of encoder and regressor.
        model_params: parameters of the regressor; ours, or the package's, for the others.
        rows: number of training rows, by which the cost of the regressor is limited; 0 for no limit.

    Raises UserError for a parameter that the model does not have, and for an import path without a regressor.
    """
    from sklearn.pipeline import Pipeline

    from workflow.models.encoders import column_encoders

    own, resolved, constraints = get_model(model), resolve_encoder(model, encoder), contract.constraints
    if constraints and not own.constraints_param:
        raise UserError(f"model={model}: keeps no monotonic constraint of {', '.join(constraints)}; choose boosting")
    if constraints and model_params.get("loss") in MOVING_LOSSES:
        raise UserError(
            f"model={model}: with loss={model_params['loss']} scikit-learn moves leaves after they are grown, which"
            f" breaks the monotonic constraint of {', '.join(constraints)}; choose loss=squared_error or another metric"
        )
    if constraints:
        model_params = {own.constraints_param: constraints} | model_params
    encode = column_encoders(contract, resolved, seed, own.dense, own.bounded, own.on_grid, preparation.words)
    steps = [("encode", encode), ("regress", regressor(model, seed, model_params, rows, len(contract.features)))]
    return with_target_transform(Pipeline(steps), preparation.target_transform)


def with_target_transform(regressor: Any, target_transform: str) -> "TransformedTargetRegressor":
    """Wrap a regressor so that it is fitted on a transformed target and predicts in units of the target."""
    from sklearn.compose import TransformedTargetRegressor

    from workflow.models.rounding import rounded_log_transformer

    return TransformedTargetRegressor(
        regressor, transformer=None if target_transform == "identity" else rounded_log_transformer(target_transform)
    )


def resolve_encoder(model: str, encoder: str) -> str:
    """Return the encoder of categories for a model: its best one for `auto`, else the given one."""
    return get_model(model).encoder if encoder == "auto" else encoder


def target_transforms(log_target: str, target: "Series") -> list[str]:
    """Return which of `TARGET_TRANSFORMS` may be chosen for a target; the first one is best if they are equally good.

    `auto` takes the logarithm first if the target is highly skewed, alone if extremely, and never if it has negative
    values. It is log(1 + target) if the target has zeros.

    Args:
        log_target: one of `LOG_TARGET`.
        target: (rows,).

    Raises UserError if the logarithm is demanded of a target with negative values.
    """
    lowest = target.min()
    if log_target == "true" and lowest < 0:
        raise UserError(
            f"log_target=true: the lowest {target.name} is {lowest:g}, expected 0 or more; pass -P log_target=auto, or"
            " set the column's range in the contract"
        )
    if log_target == "false" or lowest < 0:
        return ["identity"]
    logarithm = "log" if lowest > 0 else "log1p"
    skewness = target.skew()
    if log_target == "true" or skewness > EXTREME_SKEWNESS:
        return [logarithm]
    return [logarithm, "identity"] if skewness > HIGH_SKEWNESS else ["identity", logarithm]


def preparation_of(estimator: "TransformedTargetRegressor") -> Preparation:
    """Return how target and features are prepared for an estimator of `build`."""
    from workflow.models.encoders import encoded_words

    return Preparation(target_transform_of(estimator), tuple(encoded_words(estimator.regressor[0])))


def target_transform_of(estimator: "Estimator") -> str:
    """Return which of `TARGET_TRANSFORMS` an estimator is fitted on; of a blend, the one with the largest weight."""
    from workflow.models.blending import blend_members

    weights: dict[str, float] = {}
    for weight, member in blend_members(estimator).values():
        name = member.transformer[0].func.__name__ if member.transformer else "identity"
        weights[name] = weights.get(name, 0) + weight
    return max(weights, key=weights.__getitem__)


def target_expression(estimator: "Estimator", target: str) -> str:
    """Return what an estimator is fitted on, to display: `y`, `log(y)` or `log(1 + y)` for a target `y`."""
    return TARGET_TRANSFORMS[target_transform_of(estimator)].format(target)


def regressor_params(estimator: "Estimator") -> dict[str, str]:
    """Return all parameters of the regressor as strings; of a blend, its weights."""
    from workflow.models.blending import blend_members

    if not hasattr(estimator, "regressor"):
        weights = {name: weight for name, (weight, _) in blend_members(estimator).items()}
        return {"weights": ", ".join(f"{name} {weight:.3f}" for name, weight in weights.items())}
    return {name: str(value) for name, value in estimator.regressor[-1].get_params().items()}


def fit(
    estimator: "TransformedTargetRegressor", features: "DataFrame", target: "Series", weight: "Series | None" = None
) -> "TransformedTargetRegressor":
    """Fit an estimator in place, in one BLAS thread, because the number of threads changes the last bits.

    Args:
        estimator: as `build` returns it.
        features: (rows, features).
        target: (rows,).
        weight: sample weights, (rows,).

    Returns:
        `estimator`.
    """
    from workflow.parallel.executors import single_blas_thread

    weights = {} if weight is None else {"regress__sample_weight": weight.to_numpy()}
    resolve_constraints(estimator, features, target)
    with single_blas_thread():
        return estimator.fit(with_categories(features), target, **weights)


def resolve_constraints(estimator: "TransformedTargetRegressor", features: "DataFrame", target: "Series") -> None:
    """Turn monotonic constraints by feature, as `build` sets them, into those of all encoded columns, in place.

    Only an encoder that is fitted on the rows knows how many columns there are. Numbers come first, in their order.
    """
    from sklearn.base import clone

    from workflow.models.encoders import NUMBERS

    encode, regress = estimator.regressor[0], estimator.regressor[-1]
    for name, constraints in regress.get_params(deep=False).items():
        if name in CONSTRAINT_PARAMS and isinstance(constraints, dict):
            rows = with_categories(features)
            encoded = clone(encode).fit(rows, target).transform(rows.head(1))
            numbers = next(columns for part, _, columns in encode.transformers if part == NUMBERS)
            signs = [constraints.get(number, 0) for number in numbers]
            regress.set_params(**{name: signs + [0] * (encoded.shape[1] - len(signs))})


def with_constraints(estimator: "TransformedTargetRegressor", contract: Contract) -> "TransformedTargetRegressor":
    """Give an unfitted estimator its monotonic constraints by feature again, which `fit` resolves."""
    if not contract.constraints:
        return estimator
    names = CONSTRAINT_PARAMS & estimator.regressor[-1].get_params(deep=False).keys()
    return estimator.set_params(**{f"regressor__regress__{name}": contract.constraints for name in names})


def weight_at(weight: "Series | None", positions: Any) -> "Series | None":
    """Return the sample weights of the rows at `positions`, if there are any."""
    return None if weight is None else weight.iloc[positions]


def check_takes_weights(estimator: "TransformedTargetRegressor", model: str) -> None:
    """Raise UserError if the regressor of an estimator takes no sample weights."""
    from sklearn.utils.validation import has_fit_parameter

    if not has_fit_parameter(estimator.regressor[-1], "sample_weight"):
        raise UserError(f"model={model}: cannot be fitted with sample weights; choose another, or leave the weight out")


def grow(
    estimator: "TransformedTargetRegressor",
    features: "DataFrame",
    target: "Series",
    params: dict[str, Any],
    weight: "Series | None" = None,
) -> "TransformedTargetRegressor":
    """Grow a fitted estimator in place to more trees, as if it had been fitted with them.

    Args:
        estimator: fitted on the same rows with fewer trees, by a regressor that has a warm start.
        features: (rows, features).
        target: (rows,).
        params: parameter of the regressor with the number of trees.
        weight: sample weights, (rows,).

    Returns:
        `estimator`.
    """
    from sklearn.base import clone

    from workflow.parallel.executors import single_blas_thread

    transformer, regress = estimator.transformer_, estimator.regressor_[-1]
    with single_blas_thread():
        learned = transformer.transform(target.to_numpy().reshape(-1, 1)).ravel()
        encoded = clone(estimator.regressor[0]).fit_transform(with_categories(features), learned)
        weights = None if weight is None else weight.to_numpy()
        regress.set_params(warm_start=True, **params).fit(encoded, learned, sample_weight=weights)
    return estimator


def with_categories(features: "DataFrame") -> "DataFrame":
    """Return features whose texts are categories: texts that repeat are shared, where scikit-learn would copy them."""
    return features.astype({name: "category" for name in features if features[name].dtype == "str"})


@contextmanager
def estimator_errors_as_user_errors(model: str, model_params: dict[str, Any]) -> Iterator[None]:
    """Within the context, turn an error of an estimator into a UserError if the user chose its class or parameters."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        if not model_params and model in MODELS:
            raise
        raise UserError(
            f"model_params={json.dumps(model_params)}: {model} refuses: {' '.join(str(error).split())}"
        ) from error


def predict(estimator: "Estimator", features: "DataFrame") -> "ndarray":
    """Predict the target of each row in one BLAS thread, and in chunks to save memory: (rows,)."""
    import numpy as np

    from workflow.data.stored import CHUNK_ROWS
    from workflow.parallel.executors import single_blas_thread

    with single_blas_thread():
        chunks = [features.iloc[start : start + CHUNK_ROWS] for start in range(0, len(features), CHUNK_ROWS)]
        return np.concatenate([estimator.predict(chunk) for chunk in chunks])
