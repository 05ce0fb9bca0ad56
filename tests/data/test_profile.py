import json

import numpy as np
import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.data.profile import HISTOGRAM_BARS, ColumnProfile, DataFacts, profile, profile_columns


def test_a_numeric_column_has_a_range_and_a_histogram():
    found = profile(pd.Series([*range(32), None], name="area", dtype=float), Column("numeric"), np.arange(33))
    assert (found.name, found.kind, found.distinct, found.low, found.high) == ("area", "numeric", 32, 0.0, 31.0)
    assert found.missing == pytest.approx(1 / 33)
    assert found.counts == [2] * HISTOGRAM_BARS
    assert found.labels[0] == 0.0
    assert (found.mean, found.std) == (15.5, pytest.approx(9.233, abs=1e-3))
    assert found.quantiles == pytest.approx([1.55, 7.75, 15.5, 23.25, 29.45])


def test_frequent_numbers_and_quantiles_are_those_of_the_sample():
    values = pd.Series([0.0, 0.0, 7.0, 7.0, 7.0, 3.0, None, 1000.0], name="area")
    found = profile(values, Column("numeric"), np.arange(7))
    assert (found.frequent, found.fractions) == ([7.0, 0.0, 3.0], [3 / 6, 2 / 6, 1 / 6])
    assert (found.quantiles[-1], found.high) == (7.0, 1000.0)


def test_a_sample_without_values_has_no_quantiles():
    found = profile(pd.Series([None, 5.0], name="area"), Column("numeric"), np.arange(1))
    assert (found.quantiles, found.frequent, found.low) == ([], [], 5.0)


def test_a_categorical_column_has_its_most_frequent_categories():
    found = profile(pd.Series(["b", "a", "b", None], name="town", dtype="str"), Column("categorical"), np.arange(4))
    assert (found.low, found.high, found.mean, found.distinct) == (None, None, None, 2)
    assert (found.frequent, found.fractions) == (["b", "a"], [2 / 3, 1 / 3])
    assert (found.labels, found.counts) == (["b", "a"], [2, 1])


def test_prose_is_profiled_by_its_number_of_words():
    found = profile(pd.Series(["one", "one two three"], name="note", dtype="str"), Column("text"), np.arange(2))
    assert (found.distinct, found.low, found.high, sum(found.counts)) == (2, 1.0, 3.0, 2)
    assert (found.quantiles[2], found.frequent) == (2.0, [])


def test_an_empty_column_has_no_histogram():
    found = profile(pd.Series([None, None], name="empty", dtype=float), Column("numeric"), np.arange(2))
    assert (found.missing, found.distinct, found.low, found.counts) == (1.0, 0, None, [])


def test_facts_survive_json():
    rows = pd.DataFrame({"price": [1.0, 2.0], "town": pd.Series(["a", "b"], dtype="str")})
    contract = Contract("price", {"price": Column("numeric"), "town": Column("categorical")})
    columns, associations = profile_columns(rows, contract)
    scores = {"r2_score_with_copies": 0.5}
    facts = DataFacts({"rows_in": 2}, scores, {"town": 0}, ["x"], {"town": "leaks"}, columns, associations)
    assert DataFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
    assert all(isinstance(column, ColumnProfile) for column in facts.columns)


def test_large_numbers_that_differ_in_their_last_digits_have_a_histogram():
    values = pd.Series([1e17, 1e17 + 16] * 30, name="id")
    assert sum(profile(values, Column("numeric"), np.arange(60)).counts) == 60


def test_beyond_a_hundred_columns_the_target_still_has_associations():
    names = [f"n{place}" for place in range(150)]
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 150)), columns=names)
    _, found = profile_columns(rows, Contract("n149", dict.fromkeys(names, Column("numeric"))))
    assert sum("n149" in (pair.one, pair.other) for pair in found) == 100
