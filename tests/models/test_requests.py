import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.models import estimators
from workflow.models.serving import ServedModel

KINDS = {"rating": "numeric", "winery": "categorical", "organic": "boolean", "day": "date", "price": "numeric"}
CONTRACT = Contract("price", {name: Column(kind) for name, kind in KINDS.items()})
ROW = {"rating": 4.5, "winery": "A", "organic": True, "day": "2024-01-31"}


def seen_by_the_model(monkeypatch, *rows: dict) -> pd.DataFrame:
    """Return the typed rows that the model of a server gets."""
    found: list[pd.DataFrame] = []
    monkeypatch.setattr(estimators, "predict", lambda _, typed: found.append(typed))
    ServedModel(None, None, CONTRACT, None).predict(pd.DataFrame(list(rows)))
    return found[0]


@pytest.mark.parametrize("others", [[], [ROW], [ROW | {"rating": "4", "winery": None, "day": None}]])
@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("rating", True, "True is not a number but a JSON boolean"),
        ("rating", False, "False is not a number but a JSON boolean"),
        ("day", True, "True is not a date but a JSON boolean"),
        ("rating", [4.5], r"\[4.5\] is a JSON array, not a single value"),
        ("winery", ["A"], r"\['A'\] is a JSON array, not a single value"),
        ("winery", {"name": "A"}, r"{'name': 'A'} is a JSON object, not a single value"),
        ("organic", [], r"\[\] is a JSON array, not a single value"),
        ("day", {}, "{} is a JSON object, not a single value"),
    ],
)
def test_a_json_type_that_no_cell_has_is_refused(monkeypatch, others, column, value, reason):
    with pytest.raises(MlflowException, match=f"^row {len(others)}, column {column}: {reason}$") as refused:
        seen_by_the_model(monkeypatch, *others, ROW | {column: value})
    assert refused.value.get_http_status_code() == 400


def test_json_types_that_a_cell_may_have_are_read(monkeypatch):
    same = [ROW, ROW | {"rating": "4.5", "organic": "true"}, ROW | {"organic": np.True_}]
    typed = seen_by_the_model(monkeypatch, *same, ROW | {"winery": True})
    assert typed["rating"].tolist() == [4.5] * 4
    assert typed["organic"].tolist() == [1.0] * 4
    assert typed["winery"].tolist() == ["A", "A", "A", "true"]
    assert seen_by_the_model(monkeypatch, ROW | {"winery": True})["winery"].tolist() == ["true"]
