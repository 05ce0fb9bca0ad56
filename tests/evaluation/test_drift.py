import numpy as np
import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation.drift import drift, drifted
from workflow.reports.drift_report import drift_report

NUMBERS = {name: Column("numeric") for name in ("area", "none", "price")}
CONTRACT = Contract("price", {"town": Column("categorical")} | NUMBERS)


def test_drift_is_total_variation_of_categories_and_kolmogorov_smirnov_of_numbers():
    old = pd.DataFrame({"town": ["A"] * 5 + ["B"] * 5, "area": np.arange(10.0), "none": np.nan}).astype({"town": "str"})
    new = pd.DataFrame({"town": ["A"] * 5 + ["C", "C", "B", None, None], "area": np.arange(10.0) + 3, "none": 1.0})
    found = drift(old, new, CONTRACT).set_index("column")
    assert found.loc["town", "drift"] == pytest.approx(0.375)  # 5/8 A, 1/8 B, 2/8 C against 1/2, 1/2
    assert found.loc["town", "unseen"] == pytest.approx(0.25)
    assert found.loc["town", "missing now"] == pytest.approx(0.2)
    assert found.loc["area", "drift"] == pytest.approx(0.3)
    assert np.isnan(found.loc["none", "drift"])
    assert list(found.index) == ["town", "area", "none"]
    assert (drift(old, old, CONTRACT)["drift"].dropna() == 0).all()


def test_the_drift_report_shows_escaped_names_bars_and_links():
    moved = pd.DataFrame(
        {
            "column": ["<b>", "empty"],
            "drift": [0.375, np.nan],
            "missing before": [0.0, 1.0],
            "missing now": [0.2, 1.0],
            "unseen": [np.nan, np.nan],
        }
    )
    page = drift_report(moved, "9 rows predicted", {"run": "http://x/"}).html()
    for words in (
        "&lt;b&gt;",
        '<div class="bar large" style="width:91px',
        "37.5 %",
        "20.0 %",
        "no values",
        "9 rows predicted",
        'href="http://x/"',
    ):
        assert words in page


def test_a_feature_has_drifted_if_its_values_or_its_missing_values_have():
    moved = pd.DataFrame(
        {
            "column": ["far", "near", "emptied", "filled", "empty"],
            "drift": [0.2, 0.19, np.nan, 0.0, np.nan],
            "missing before": [0.0, 0.0, 0.5, 0.2, 1.0],
            "missing now": [0.0, 0.19, 1.0, 0.0, 1.0],
        }
    )
    assert drifted(moved) == ["far", "emptied", "filled"]
