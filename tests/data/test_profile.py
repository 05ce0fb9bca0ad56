import json

import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.data.profile import HISTOGRAM_BARS, ColumnProfile, DataFacts, profile, profile_columns


def test_a_numeric_column_has_a_range_and_a_histogram():
    found = profile(pd.Series([*range(32), None], name="area", dtype=float), Column("numeric"))
    assert (found.name, found.kind, found.distinct, found.low, found.high) == ("area", "numeric", 32, 0.0, 31.0)
    assert found.missing == pytest.approx(1 / 33)
    assert found.counts == [2] * HISTOGRAM_BARS
    assert found.labels[0] == 0.0


def test_a_categorical_column_has_its_most_frequent_categories():
    found = profile(pd.Series(["b", "a", "b", None], name="town", dtype="str"), Column("categorical"))
    assert (found.low, found.high, found.most_frequent) == (None, None, "b")
    assert (found.labels, found.counts) == (["b", "a"], [2, 1])


def test_prose_is_profiled_by_its_number_of_words():
    found = profile(pd.Series(["one", "one two three"], name="note", dtype="str"), Column("text"))
    assert (found.distinct, found.low, found.high, sum(found.counts)) == (2, 1.0, 3.0, 2)


def test_an_empty_column_has_no_histogram():
    found = profile(pd.Series([None, None], name="empty", dtype=float), Column("numeric"))
    assert (found.missing, found.distinct, found.low, found.counts) == (1.0, 0, None, [])


def test_facts_survive_json():
    rows = {"price": pd.Series([1.0, 2.0], name="price"), "town": pd.Series(["a", "b"], name="town", dtype="str")}
    contract = Contract("price", {"price": Column("numeric"), "town": Column("categorical")})
    columns = profile_columns(rows, contract)
    facts = DataFacts({"rows_in": 2}, {"r2_score_with_copies": 0.5}, {"town": 0}, ["x"], {"town": "leaks"}, columns)
    assert DataFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
    assert all(isinstance(column, ColumnProfile) for column in facts.columns)


def test_large_numbers_that_differ_in_their_last_digits_have_a_histogram():
    values = pd.Series([1e17, 1e17 + 16] * 30, name="id")
    assert sum(profile(values, Column("numeric")).counts) == 60
