"""Plan: choose the models, and the number of rows to fit them on, that a time limit allows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflow.data import split
from workflow.data.sampling import evenly_spaced_positions
from workflow.errors import UserError
from workflow.models import estimators
from workflow.models.catalog import BLEND, get_model, regressor
from workflow.models.estimators import Preparation
from workflow.parallel.executors import available_cores
from workflow.stages.train import build_estimator, weight_in

if TYPE_CHECKING:
    from pandas import DataFrame

    from workflow.data.contract import Contract
    from workflow.parameters import CompareParams, TrainParams
    from workflow.stages.train import TrainInputs

SAMPLE_ROWS = (500, 4_000)  # that are fitted to take the time
OVERHEAD_SECONDS = 4.0  # of a model: files, explanations and pictures
SAFETY = 1.5  # factor of all estimates, which are coarse
MIN_ROWS = 1_000  # a limit is rather missed than met with fewer


@dataclass(frozen=True)
class Plan:
    """What is made within a time limit: models, and the maximum number of rows to fit them on; and an estimate."""

    models: Sequence[str]
    max_rows: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """About how many seconds a model takes: for itself, and for each training row."""

    fixed: float
    per_row: float

    def seconds(self, rows: int) -> float:
        """Return the seconds for a number of training rows."""
        return self.fixed + rows * self.per_row


def run(params: "CompareParams", wanted: Mapping[str, "TrainParams"], inputs: "TrainInputs", limit: float) -> Plan:
    """Plan for `limit` seconds, by the time that each model takes on samples.

    The first model in `wanted` is always made, and the others as long as they fit in. If not even the first two do,
    they get fewer rows. Another machine, or this one at another time, may plan otherwise: what was planned stands in
    the receipt of the run, not the limit.

    Args:
        params: what the models share.
        wanted: parameters of the models, the most useful ones first.
        inputs: the training set.
        limit: for all that remains to be done.

    Raises UserError if there is no model but the blend.
    """
    most = split.max_training_rows(len(inputs.contract.features), params.max_rows)
    rows = min(len(inputs.training_set), most)
    costs = {model: cost(each, inputs, rows) for model, each in wanted.items() if model != BLEND}
    if not costs:
        raise UserError(f"time_limit: models={BLEND} leaves nothing to plan; name the models that it combines too")
    limit -= OVERHEAD_SECONDS if BLEND in wanted else 0
    first_two = list(costs.values())[:2]
    affordable = (limit - sum(each.fixed for each in first_two)) / sum(each.per_row for each in first_two)
    max_rows = rows if affordable >= rows else round_down(max(MIN_ROWS, int(affordable)))
    chosen: list[str] = []
    total = 0.0
    for model, each in costs.items():
        if not chosen or total + each.seconds(max_rows) <= limit:
            chosen.append(model)
            total += each.seconds(max_rows)
    return Plan([*chosen, *([BLEND] if BLEND in wanted and len(chosen) > 1 else [])], min(max_rows, rows), total)


def cost(params: "TrainParams", inputs: "TrainInputs", rows: int) -> Cost:
    """Return about how long it takes to cross-validate, refit and explain a model, by quick fits of two samples."""
    contract, n_available = inputs.contract, len(inputs.training_set)
    columns = len(contract.features)
    folds = params.cv if isinstance(params.cv, int) else split.default_n_folds(rows, columns)
    fits = SAFETY * more_trees(params, rows, columns) * (folds + 1) / available_cores()
    few, many = (
        inputs.training_set.take(evenly_spaced_positions(n_available, min(size, n_available // 2 * step)))
        for size, step in zip(SAMPLE_ROWS, (1, 2), strict=True)
    )
    less, more = (fit_seconds(params, sample, contract) for sample in (few, many))
    per_row = max((more - less) / (len(many) - len(few)), 1e-9)
    return Cost(OVERHEAD_SECONDS + fits * max(less - per_row * len(few), 0), fits * per_row)


def fit_seconds(params: "TrainParams", rows: "DataFrame", contract: "Contract") -> float:
    """Return how long a quick version of a model takes to be fitted on some rows."""
    quick = get_model(params.model).quick | params.model_params
    estimator = build_estimator(params, params.model, quick, Preparation(), rows, contract)
    features, target = rows[contract.features], rows[contract.target]
    with estimators.estimator_errors_as_user_errors(params.model, params.model_params):
        started = time.monotonic()
        estimators.fit(estimator, features, target, weight_in(rows, contract))
        return time.monotonic() - started


def more_trees(params: "TrainParams", rows: int, columns: int) -> float:
    """Return how many times as many trees a model has as its quick version; 1 for a model without trees."""
    quick = get_model(params.model).quick
    counted = {"max_iter", "n_estimators"} & quick.keys() - params.model_params.keys()
    whole = regressor(params.model, params.seed, params.model_params, rows, columns).get_params()
    return max([1.0, *(whole[name] / quick[name] for name in counted)])


def round_down(rows: int) -> int:
    """Return the next smaller of 1, 2, 5, 10, 20, … rows, so that about the same time makes the same plan."""
    power = 10 ** (len(str(rows)) - 1)
    return max(step for step in (power, 2 * power, 5 * power) if step <= rows)
