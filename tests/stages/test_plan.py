"""What a time limit allows."""

import pandas as pd
import pytest
from frames import stored_rows

from workflow.commands.main import planned_text
from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.parameters import CompareParams, TrainParams
from workflow.stages import plan
from workflow.stages.plan import Plan
from workflow.stages.train import TrainInputs


def test_a_blend_alone_cannot_be_planned(tmp_path):
    contract = Contract("y", {"x": Column("numeric"), "y": Column("numeric")})
    inputs = TrainInputs(stored_rows(pd.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0]}), tmp_path), contract)
    params = CompareParams(models=["blend"])
    with pytest.raises(UserError, match="name its members too"):
        plan.run(params, {"blend": TrainParams(model="blend")}, inputs, 60)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (15, "planned for 15 s: linear on 1,000 of 2,000 training rows, about 5 s"),
        (-1, "planned for 0 s: linear on 1,000 of 2,000 training rows, about 5 s, which is above the limit"),
    ],
)
def test_a_plan_above_the_limit_says_so(seconds, expected):
    assert planned_text(Plan(["linear"], 1000, 5), 2000, seconds) == expected
