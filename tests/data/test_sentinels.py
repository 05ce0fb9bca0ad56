from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frames import stored_rows

from workflow.data.columns import Column
from workflow.data.contract import Contract, check, enforce
from workflow.data.rejections import coercion_findings, rejection_findings
from workflow.data.sentinels import sentinel_findings


def columns_found(frame: pd.DataFrame, folder: Path) -> dict[str, tuple[str, ...]]:
    contract = Contract("y", {name: Column("numeric") for name in frame})
    found = sentinel_findings(stored_rows(frame, folder), contract)
    return {finding.message.split()[0]: finding.columns for finding in found}


def noise(rows: int = 300) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(50, 20, (rows, 3)), columns=["x", "z", "y"])


def test_a_number_far_outside_several_columns_may_be_a_missing_value(tmp_path):
    frame = noise()
    frame.iloc[:5] = 1234.5
    assert columns_found(frame, tmp_path) == {"1234.5": ("x", "z", "y")}


def test_a_usual_sentinel_in_one_column_is_enough(tmp_path):
    frame = noise()
    frame.loc[:4, "x"], frame.loc[:4, "y"], frame.loc[:4, "z"] = 9999, 1234.5, 1e20
    assert columns_found(frame, tmp_path) == {"9999": ("x",), "1e+20": ("z",)}


@pytest.mark.parametrize("value", [130.0, 0.0])
def test_numbers_within_the_spread_or_that_do_not_recur_are_none(tmp_path, value):
    frame = noise()
    frame.iloc[:5] = value
    frame.loc[7, "x"] = 9999
    assert columns_found(frame, tmp_path) == {}


def test_a_missing_spelling_that_is_a_number_means_the_number():
    columns = {"x": Column("numeric"), "code": Column("categorical"), "y": Column("numeric", decimal=",")}
    contract = Contract("y", columns, missing=("-200", "7", "N.V."))
    frame = pd.DataFrame(
        {"x": ["-200.0", "-2e2", "-199", "N.V."], "code": ["007", "7", "-200", "a"], "y": ["1,5", "2", "3", "-200,0"]},
        dtype="str",
    )
    typed, violations = check(frame, contract)
    assert typed["x"].isna().tolist() == [True, True, False]
    assert typed["code"].isna().tolist() == [False, True, True]
    assert violations[["row", "column", "reason"]].to_numpy().tolist() == [[3, "y", "is missing"]]
    typed, _ = check(frame.assign(x=[-200.0, 1, 2, 3], y="5"), contract)
    assert typed["x"].isna().tolist() == [True, False, False, False]


def test_rows_rejected_by_their_target_are_a_warning():
    rejected = pd.DataFrame(
        [(3, "y", "2.5K", "is not a number"), (9, "x", "", "is missing")], columns=["row", "column", "value", "reason"]
    )
    by_target, other = rejection_findings(rejected, 100, "y")
    assert (by_target.code, by_target.is_warning, other.code, other.is_warning) == ("D001", True, "D003", False)
    assert by_target.message == (
        "1 of 100 rows (1.0 %) were rejected: column y is not a number (first: '2.5K' in line 3), so the score is of"
        " the other rows"
    )
    assert rejection_findings(rejected[1:], 10, "y")[0].code == "D002"
    said = rejected.assign(reason="is missing", value=["sold out", ""])
    assert [finding.code for finding in rejection_findings(said, 100, "y")] == ["D001", "D003"]
    assert rejection_findings(said.assign(value="NA"), 100, "y")[0].code == "D003"


def test_unreadable_values_of_a_column_that_coerces_are_counted(tmp_path):
    contract = Contract("y", {"x": Column("numeric", errors="coerce"), "y": Column("numeric")}, missing=("NA",))
    frame = pd.DataFrame({"x": ["1", "1-2", "NA", None, "3-4"], "y": ["1", "2", "3", "4", "?"]}, dtype="str")
    kept = []
    report = enforce([frame], contract, pd.DataFrame({"row": [], "column": []}), kept.append)
    assert kept[0]["x"].isna().tolist() == [False, True, True, True]
    (finding,) = coercion_findings(report.coerced, report.rows_in)
    assert finding.message == "column x: 1 of 5 values (20.0 %) cannot be read and are taken as missing (first: '1-2')"
