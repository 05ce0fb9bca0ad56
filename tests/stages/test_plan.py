"""A plan: the models, and the rows, that a time limit allows."""

import numpy as np
import pandas as pd
import pytest
from frames import stored_rows

from workflow.commands.main import planned_text
from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.parameters import CompareParams, TrainParams
from workflow.stages import plan, train
from workflow.stages.plan import Cost, Plan

ROWS = 10_000
CHEAP, DEAR = Cost(4, 0.001), Cost(4, 0.01)  # 14 s and 104 s for all rows


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A training set of `ROWS` rows of one feature."""
    frame = pd.DataFrame({"y": np.arange(float(ROWS)), "x": np.arange(float(ROWS))})
    contract = Contract("y", {name: Column("numeric") for name in frame})
    return train.TrainInputs(stored_rows(frame, tmp_path_factory.mktemp("rows")), contract)


def planned(monkeypatch, inputs, costs: dict[str, Cost], limit: float, **options) -> Plan:
    """Plan for models of known costs; one without is the blend."""
    monkeypatch.setattr(plan, "cost", lambda params, inputs, rows: costs[params.model])
    models = [*costs, *options.pop("blend", ["blend"])]
    wanted = {model: TrainParams(model=model, **options) for model in models}
    return plan.run(CompareParams(models=models, **options), wanted, inputs, limit)


@pytest.mark.parametrize(
    ("costs", "limit", "models", "max_rows"),
    [
        ({"linear": CHEAP, "rf": CHEAP, "knn": CHEAP}, 46, ["linear", "rf", "knn", "blend"], ROWS),
        ({"linear": CHEAP, "rf": CHEAP, "knn": CHEAP}, 45, ["linear", "rf", "blend"], ROWS),
        ({"linear": CHEAP, "knn": CHEAP, "rf": DEAR, "dummy": CHEAP}, 46, ["linear", "knn", "dummy", "blend"], ROWS),
        ({"linear": CHEAP, "rf": DEAR}, 121, ["linear", "rf", "blend"], 5_000),  # one second less than for all rows
        ({"linear": CHEAP, "rf": DEAR}, 40, ["linear", "rf", "blend"], 2_000),
        ({"linear": CHEAP, "rf": DEAR, "knn": CHEAP}, 22, ["linear", "knn", "blend"], 1_000),
        ({"rf": DEAR, "linear": CHEAP}, 0, ["rf"], 1_000),
        ({"rf": DEAR, "linear": CHEAP}, -100, ["rf"], 1_000),  # the time is over before the plan
        ({"rf": DEAR}, 1_000, ["rf"], ROWS),
    ],
)
def test_models_are_made_as_long_as_they_fit_in_and_the_first_always_is(
    monkeypatch, inputs, costs, limit, models, max_rows
):
    found = planned(monkeypatch, inputs, costs, limit)
    assert (found.models, found.max_rows) == (models, max_rows)
    assert found.seconds == pytest.approx(sum(costs[model].seconds(max_rows) for model in models if model in costs))


def test_a_blend_that_is_not_wanted_takes_no_time_and_is_not_made(monkeypatch, inputs):
    costs = {"linear": CHEAP, "rf": CHEAP}
    assert planned(monkeypatch, inputs, costs, 28, blend=[]).models == ["linear", "rf"]
    assert planned(monkeypatch, inputs, costs, 28).max_rows < ROWS


def test_no_more_rows_are_planned_than_the_user_allows(monkeypatch, inputs):
    costs = {"linear": CHEAP, "rf": CHEAP}
    assert planned(monkeypatch, inputs, costs, 1_000, max_rows=700).max_rows == 700
    assert planned(monkeypatch, inputs, costs, 0, max_rows=700).max_rows == 700


def test_a_blend_alone_is_refused_in_one_line(monkeypatch, inputs):
    with pytest.raises(UserError) as error:
        planned(monkeypatch, inputs, {}, 100)
    assert str(error.value) == "time_limit: models=blend leaves nothing to plan; name the models that it combines too"


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({"model": "linear"}, 6),  # five folds and the refit
        ({"model": "linear", "cv": 2}, 3),
        ({"model": "rf"}, 24),  # of four times as many trees as are fitted to take the time
        ({"model": "rf", "model_params": {"n_estimators": 30}}, 6),
        ({"model": "boosting"}, 24),
    ],
)
def test_a_cost_is_that_of_all_fits_and_grows_with_the_rows(monkeypatch, inputs, given, fits):
    tried = []

    def fit_seconds(params, rows, contract):
        tried.append(len(rows))
        return 0.5 + len(rows) / 1_000

    monkeypatch.setattr(plan, "fit_seconds", fit_seconds)
    monkeypatch.setattr(plan, "available_cores", lambda: 2)
    found = plan.cost(TrainParams(**given), inputs, ROWS)
    assert tried == [500, 4_000]
    each = fits * plan.SAFETY / 2
    assert found.fixed == pytest.approx(plan.OVERHEAD_SECONDS + each * 0.5)
    assert found.seconds(ROWS) == pytest.approx(plan.OVERHEAD_SECONDS + each * (0.5 + ROWS / 1_000))


def test_a_model_that_takes_the_same_time_for_any_rows_costs_little_for_each(monkeypatch, inputs):
    monkeypatch.setattr(plan, "fit_seconds", lambda params, rows, contract: 1.0 if len(rows) < 1_000 else 0.9)
    found = plan.cost(TrainParams(model="linear"), inputs, ROWS)
    assert 0 < found.per_row < 1e-6


def test_a_quick_fit_takes_some_time_and_changes_nothing(inputs):
    rows = inputs.training_set.take(np.arange(100))
    assert 0 < plan.fit_seconds(TrainParams(model="rf"), rows, inputs.contract) < 10


@pytest.mark.parametrize(
    ("rows", "expected"), [(1, 1), (999, 500), (1_000, 1_000), (1_999, 1_000), (4_999, 2_000), (70_000, 50_000)]
)
def test_rows_are_rounded_down_to_one_of_few_numbers(rows, expected):
    assert plan.round_down(rows) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (15, "planned for 15 s: linear on 1,000 of 2,000 training rows, about 5 s"),
        (-1, "planned for 0 s: linear on 1,000 of 2,000 training rows, about 5 s, which is above the limit"),
    ],
)
def test_a_plan_above_the_limit_says_so(seconds, expected):
    assert planned_text(Plan(["linear"], 1000, 5), 2000, seconds) == expected
