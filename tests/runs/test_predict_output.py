"""The output of predict as a file."""

import json

import numpy as np
import pandas as pd

from workflow.commands.predict import write

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
