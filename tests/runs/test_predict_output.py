"""The output of predict as a file."""

import json

import numpy as np
import pandas as pd
import pytest

from workflow.commands import predict
from workflow.commands.predict import write
from workflow.errors import UserError
from workflow.parameters import PredictCommand

ROWS = pd.DataFrame(
    {"tags": [np.array(["a", "b"]), None], "where": [{"x": 1}, None], "json": [b'[1,"\xc3\xa9"]', None], "p": [1.5, 2]}
)


def test_nested_values_become_json_in_csv(tmp_path):
    write(tmp_path / "it.csv", iter([ROWS, ROWS]))
    found = pd.read_csv(tmp_path / "it.csv")
    assert [json.loads(value) for value in found.loc[2, ["tags", "where", "json"]]] == [["a", "b"], {"x": 1}, [1, "é"]]
    assert found.loc[1, ["tags", "where", "json"]].isna().all()
    assert found["p"].tolist() == [1.5, 2, 1.5, 2]


def test_nested_values_stay_in_parquet(tmp_path):
    write(tmp_path / "it.parquet", iter([ROWS]))
    assert pd.read_parquet(tmp_path / "it.parquet")["where"].tolist() == [{"x": 1}, None]


def test_formulas_are_written_as_they_stand_or_as_texts(tmp_path):
    texts = ["=1+2", "+SUM(A1)", "@cmd", "\tx", "\rx", "-2+3+cmd|' /C calc'!A0", "-", "--1", "a=1", "", None]
    numbers = ["-5", "+5", "-1.234,50", "-1e-9", "-.5", "+49", "5", "-5.", "-5%", "-$3", "-2 €"]
    rows = pd.DataFrame({"=name": texts, "number": numbers, "typed": -1.5}).astype({"=name": "str", "number": "str"})
    write(tmp_path / "plain.csv", iter([rows]))
    write(tmp_path / "escaped.csv", iter([rows, rows]), escape_formulas=True)
    plain, escaped = (
        pd.read_csv(tmp_path / name, dtype=str, keep_default_na=False) for name in ("plain.csv", "escaped.csv")
    )
    assert plain["=name"].iloc[0] == "=1+2"
    expected = [f"'{text}" for text in texts[:8]] + ["a=1", "", ""]
    assert escaped["'=name"].tolist() == expected * 2
    assert escaped["number"].tolist() == numbers * 2
    assert escaped["typed"].tolist() == ["-1.5"] * 22


def test_formulas_are_escaped_in_csv_only():
    given = PredictCommand(model="m", data="d", output="out.parquet", escape_formulas=True)
    with pytest.raises(UserError, match=r"^escape_formulas=true: only a \.csv file needs it"):
        predict.run(given)
