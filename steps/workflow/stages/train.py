"""Train: fit one model on the training set and cross-validate it there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workflow.data import split
from workflow.data.sampling import evenly_spaced_positions
from workflow.evaluation import cross_validation, intervals, metrics, tree_count
from workflow.evaluation.contributions import background_rows
from workflow.evaluation.ranking import RankingMetric, ranking_metric
from workflow.models import blending, estimators, model_files
from workflow.models.catalog import BLEND, MODELS, OPTIONAL, get_model, loss_params
from workflow.models.encoders import word_columns
from workflow.models.estimators import Preparation
from workflow.models.intervals import IntervalModel
from workflow.models.members import member_params
from workflow.parallel.executors import no_progress_bar

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from workflow.data.contract import Contract
    from workflow.data.stored import StoredRows
    from workflow.models.estimators import Estimator
    from workflow.parallel.executors import ProgressBar
    from workflow.parameters import TrainingOptions, TrainParams, TuneParams

MIN_TRIAL_ROWS = 200  # fewer would choose by chance
MIN_IMPROVEMENT = 0.01  # of the error, for which data is prepared in another way; chance makes smaller differences


@dataclass(frozen=True)
class FittedMember:
    """A model that a blend combines: fitted, with its out-of-fold predictions."""

    estimator: "Estimator"
    oof_predictions: "DataFrame"


@dataclass(frozen=True)
class TrainInputs:
    """The training set and its contract; for a blend, its fitted members by model."""

    training_set: "StoredRows"
    contract: "Contract"
    members: Mapping[str, FittedMember] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainResult:
    """A fitted estimator.

    Attributes:
        estimator: fitted on all training rows.
        rows: the training rows.
        oof_predictions: see `cross_validation.cross_val_predict_and_refit`.
        intervals: from which its prediction intervals are computed.
        cv_scores: mean and standard deviation over the folds, by metric.
        training_scores: by metric.
        description: what was chosen, by parameter.
        estimator_params: all parameters of the regressor, by its own names; of a blend, its weights.
        trusted_types: those that the model's file holds.
        optional_columns: features that are missing in some rows.
        background: training rows that explanations start from: see `contributions.background_rows`.
    """

    estimator: "Estimator"
    rows: "DataFrame"
    oof_predictions: "DataFrame"
    intervals: IntervalModel
    cv_scores: dict[str, float]
    training_scores: dict[str, float]
    description: dict[str, str]
    estimator_params: dict[str, str]
    trusted_types: list[str]
    optional_columns: set[str]
    background: "DataFrame"


def run(
    params: "TrainParams", inputs: TrainInputs, progress: "Callable[[str], ProgressBar]" = no_progress_bar
) -> TrainResult:
    """Fit and cross-validate a model; `progress` makes a progress bar of a description.

    Raises UserError for parameters that the model does not take, and for a metric that cannot rank it.
    """
    contract, metric = inputs.contract, ranking_metric(params.metric, params.metric_params)
    rows = subsample_training_rows(params, inputs.training_set, contract)
    features, target, weight = rows[contract.features], rows[contract.target], weight_in(rows, contract)
    metric.check_target(target)
    metric.check_direction(target.to_numpy())
    if params.model == BLEND:
        estimator, oof_predictions = fit_blend(inputs.members, metric)
    else:
        estimator, oof_predictions = fit_single(params, rows, contract, metric, progress)
    predicted = estimators.predict(estimator, features)
    return TrainResult(
        estimator=estimator,
        rows=rows,
        oof_predictions=oof_predictions,
        intervals=fit_intervals(params, estimator, oof_predictions, rows, contract, progress),
        cv_scores=cross_validation.cross_validation_scores(oof_predictions, metric),
        training_scores=metrics.scores(
            metrics.TRAINING, target.to_numpy(), predicted, "training_", None if weight is None else weight.to_numpy()
        ),
        description=describe(params, estimator, oof_predictions, len(rows), contract.target),
        estimator_params=estimators.regressor_params(estimator),
        trusted_types=model_files.trusted_types_of(estimator, member_params(params.model, params.model_params)),
        optional_columns={name for name in features if features[name].hasnans},
        background=background_rows(inputs.training_set, contract.features, params.seed),
    )


def subsample_training_rows(params: "TrainingOptions", training_set: "StoredRows", contract: "Contract") -> "DataFrame":
    """Return the rows that a model is fitted on: the whole training set, or evenly spaced rows of it."""
    limit = split.max_training_rows(len(contract.features), params.max_rows)
    return training_set.take(evenly_spaced_positions(len(training_set), limit))


def fit_single(
    params: "TrainParams",
    rows: "DataFrame",
    contract: "Contract",
    metric: RankingMetric,
    progress: "Callable[[str], ProgressBar]",
) -> "tuple[Estimator, DataFrame]":
    """Return a model fitted on all `rows`, and its out-of-fold predictions."""
    model, model_params, folds = params.model, params.model_params, make_folds(params, rows, contract)
    features, target = rows[contract.features], rows[contract.target]
    if contract.weight:
        estimators.check_takes_weights(
            build_estimator(params, model, model_params, Preparation(), rows, contract), model
        )
    with estimators.estimator_errors_as_user_errors(model, model_params):
        preparation = select_preparation(params, rows, contract, folds, metric, progress)
        estimator = build_estimator(params, model, model_params, preparation, rows, contract)
        return tree_count.select_and_cross_validate(
            model, model_params, estimator, features, target, folds, metric, progress, weight_in(rows, contract)
        )


def weight_in(rows: "DataFrame", contract: "Contract") -> "Series | None":
    """Return the sample weights of rows, (rows,), if the contract names any."""
    return rows[contract.weight] if contract.weight else None


def select_preparation(
    params: "TrainParams",
    rows: "DataFrame",
    contract: "Contract",
    folds: list[tuple[Any, ...]],
    metric: RankingMetric,
    progress: "Callable[[str], ProgressBar]",
) -> Preparation:
    """Return the scale of the target that gives a model the lowest error, and the categories whose words lower it.

    Fewer than `MIN_TRIAL_ROWS` rows get the scale that suits the skewness of the target, and no words. The parameters
    of a model in the catalog do not matter, so that a tuned model is prepared as its trials were.
    """
    model, features, target = params.model, rows[contract.features], rows[contract.target]
    quick = get_model(model).quick if model in (*MODELS, *OPTIONAL) else params.model_params
    first, *others = estimators.target_transforms(params.log_target, target)
    if len(rows) < MIN_TRIAL_ROWS:
        return Preparation(first)
    words = tuple(word_columns(rows, contract))
    changes: list[dict[str, Any]] = [
        *({"target_transform": other} for other in others),
        *([{"words": words}] if words else []),
    ]
    progress_bar = progress(f"preparing data for {model}")

    def error(preparation: Preparation) -> float:
        estimator = build_estimator(params, model, quick, preparation, rows, contract)
        return cross_validation.error_on_sample(
            estimator, features, target, folds, metric, progress_bar, weight_in(rows, contract)
        )

    best = Preparation(first)
    least = error(best) if changes else 0.0
    for change in changes:
        tried = replace(best, **change)
        if (found := error(tried)) < least - MIN_IMPROVEMENT * abs(least):
            best, least = tried, found
    return best


def build_estimator(
    params: "TrainParams | TuneParams",
    model: str,
    model_params: dict[str, Any],
    preparation: Preparation,
    rows: "DataFrame",
    contract: "Contract",
) -> "Estimator":
    """Return an unfitted estimator of `model`, to be fitted on `rows` or a part of them."""
    own = loss_params(model, params.metric, params.metric_params, bool(contract.constraints)) | model_params
    return estimators.build(model, contract, params.encoder, preparation, params.seed, own, len(rows))


def make_folds(params: "TrainParams | TuneParams", rows: "DataFrame", contract: "Contract") -> list[tuple[Any, ...]]:
    """Return the cross-validation folds of the training rows."""
    count = params.cv if isinstance(params.cv, int) else split.default_n_folds(*rows[contract.features].shape)
    column = split.split_column(params.split, contract)
    return split.folds(rows, count, params.seed, params.split, column, params.gap, params.repeats)


def fit_blend(members: Mapping[str, FittedMember], metric: RankingMetric) -> "tuple[Estimator, DataFrame]":
    """Return the blend of fitted members with the least out-of-fold error, and its out-of-fold predictions."""
    oof, predicted = blending.stack_oof_predictions({model: each.oof_predictions for model, each in members.items()})
    sample_weight = cross_validation.weight_of(oof)
    weights = blending.fit_weights(predicted, oof["true"].to_numpy(), metric.error, sample_weight)
    blend = blending.blend({model: each.estimator for model, each in members.items()}, weights)
    return blend, blending.cross_validate(oof, predicted, metric.error)


def fit_intervals(
    params: "TrainParams",
    estimator: "Estimator",
    oof_predictions: "DataFrame",
    rows: "DataFrame",
    contract: "Contract",
    progress: "Callable[[str], ProgressBar]",
) -> IntervalModel:
    """Return from what the prediction intervals of a fitted estimator are computed."""
    transform = estimators.target_transform_of(estimator)
    progress_bar = progress(f"fitting intervals of {params.model}")
    return intervals.fit(oof_predictions, rows, contract, transform, params.seed, progress_bar)


def describe(
    params: "TrainParams", estimator: "Estimator", oof_predictions: "DataFrame", n_rows: int, target: str
) -> dict[str, str]:
    """Return what was chosen for a model, by parameter, as texts."""
    chosen = {
        "learns": estimators.target_expression(estimator, target),
        "folds": str(oof_predictions["fold"].nunique()),
        "training_rows": str(n_rows),
    }
    if params.model != BLEND:
        chosen["encodes"] = estimators.resolve_encoder(params.model, params.encoder)
        if words := estimators.preparation_of(estimator).words:
            chosen["words_of"] = ", ".join(words)
    return chosen
