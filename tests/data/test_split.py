from collections import Counter

import numpy as np
import pandas as pd
import pytest
from frames import distinct, parts
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workflow.data.split import default_n_folds, folds, max_training_rows, question, row_hashes, split
from workflow.errors import UserError

FOLDS = 5
frames = st.lists(
    st.tuples(st.sampled_from("abcdefghijklmnop"), st.integers(0, 400)), min_size=60, max_size=120, unique=True
).map(lambda rows: pd.DataFrame(sorted(rows), columns=["group", "value"]))
sizes = st.sampled_from([0.2, 0.3, 0.5])


def seen(train: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """For each row of `test`, whether the very same row is in `train`."""
    return row_hashes(test).isin(row_hashes(train))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "B", "é", "", None]), st.sampled_from([-2.5, 0, 3, None]))), st.randoms()
)
def test_distinct_rows_in_an_order_of_their_own(rows, random):
    names = ["Kind", "kind"]  # which DuckDB takes for one
    frame = pd.DataFrame(rows, columns=names).astype({"Kind": "str", "kind": "float64"})
    found, copies = distinct(frame)
    expected = frame.drop_duplicates().sort_values(names, ignore_index=True)
    pd.testing.assert_frame_equal(found, expected)
    assert copies.sum() == len(frame)
    counts = Counter(map(str, frame.itertuples(index=False)))  # a missing value equals none but in writing
    assert copies.tolist() == [counts[str(row)] for row in found.itertuples(index=False)]
    random.shuffle(rows)
    shuffled = pd.DataFrame(rows, columns=names).astype(frame.dtypes)
    pd.testing.assert_frame_equal(distinct(shuffled)[0], found)


@settings(max_examples=50, deadline=None)
@given(frames, sizes, st.integers(0, 2**32 - 1))
def test_parts_share_no_row_and_lose_none(frame, test_size, seed):
    train, test = parts(frame, test_size, seed)
    assert not seen(train, test).any()
    assert sorted([*train.itertuples(index=False), *test.itertuples(index=False)]) == sorted(
        frame.itertuples(index=False)
    )
    assert len(test) == np.ceil(len(frame) * test_size)


@settings(max_examples=50, deadline=None)
@given(frames, st.integers(0, 2**32 - 1))
def test_groups_stay_together(frame, seed):
    assume(frame["group"].value_counts().max() < 15)  # else a part may hold too few rows
    train, test = parts(frame, 0.5, seed, "group", "group")
    assert not set(train["group"]) & set(test["group"])


@settings(max_examples=50, deadline=None)
@given(frames, st.integers(0, 2**32 - 1))
def test_copies_of_a_row_share_a_fold(frame, seed):
    doubled = pd.concat([frame, frame.head(30)], ignore_index=True)
    found = folds(doubled, FOLDS, seed)
    assert len(found) == FOLDS
    for train, test in found:
        assert not seen(doubled.iloc[train], doubled.iloc[test]).any()
    assert sorted(np.concatenate([test for _, test in found])) == list(range(len(doubled)))


def test_the_very_same_rows_have_a_number_in_common():
    train = pd.DataFrame({"a": ["x", None], "b": [1.0, np.nan]})
    test = pd.DataFrame({"a": ["x", "x", None], "b": [1.0, 2.0, np.nan]})
    assert seen(train, test).tolist() == [True, False, True]


def test_fewer_rows_of_more_columns_are_enough():
    assert max_training_rows(5) == 10_000_000
    assert max_training_rows(5000) == 10_000


def test_too_few_groups_for_the_folds():
    with pytest.raises(UserError, match="too few distinct group"):
        folds(pd.DataFrame({"group": ["a", "b"] * 30, "value": range(60)}), FOLDS, 0, "group", "group")


@settings(max_examples=50, deadline=None)
@given(frames, sizes)
def test_the_test_part_is_later_than_all_training(frame, test_size):
    assume(frame["value"].nunique() > 40)
    assume(frame["value"].value_counts().max() < 4)  # else two folds may end at one time
    frame.loc[3, "value"] = np.nan
    train, test = parts(frame, test_size, 0, "time", "value")
    assert train["value"].max() < test["value"].min()
    assert len(train) + len(test) == len(frame)
    assert train["value"].isna().sum() == 1
    for earlier, later in folds(train, FOLDS, 0, "time", "value"):
        assert train["value"][earlier].max() < train["value"][later].min()


def test_too_few_times():
    frame = pd.DataFrame({"year": [2001.0, 2002.0] * 30, "value": range(60)})
    with pytest.raises(UserError, match="too few distinct values of year"):
        folds(frame, FOLDS, 0, "time", "year")
    with pytest.raises(UserError, match="too few rows: 60 to train and 0 to test"):
        parts(frame.assign(year=2001.0), 0.2, 0, "time", "year")


def rows(count: int) -> pd.DataFrame:
    return pd.DataFrame({"group": [f"g{place % 20}" for place in range(count)], "value": np.arange(float(count))})


@pytest.mark.parametrize("way", [("random", None), ("group", "group")])
def test_a_seed_decides(way):
    for part, again, other in zip(
        parts(rows(100), 0.2, 1, *way), parts(rows(100), 0.2, 1, *way), parts(rows(100), 0.2, 2, *way), strict=True
    ):
        pd.testing.assert_frame_equal(part, again)
        assert not part.equals(other)
    first, second, third = ([test.tolist() for _, test in folds(rows(100), FOLDS, seed, *way)] for seed in (1, 1, 2))
    assert first == second != third


def test_a_group_is_tested_whole():
    train, test = parts(rows(100), 0.2, 0, "group", "group")
    assert (test["group"].nunique(), train["group"].nunique()) == (4, 16)
    assert len(test) == 20


def test_the_latest_share_is_tested():
    train, test = parts(rows(100), 0.2, 0, "time", "value")
    assert train["value"].tolist() == list(range(80))
    assert test["value"].tolist() == list(range(80, 100))
    uneven = pd.DataFrame({"value": [1.0] * 50 + [2.0] * 25 + [9.0] * 25})
    assert parts(uneven, 0.4, 0, "time", "value")[1]["value"].tolist() == [9] * 25


def test_each_fold_in_time_tests_what_follows():
    found = [(train.tolist(), test.tolist()) for train, test in folds(rows(61), FOLDS, 0, "time", "value")]
    assert found == [(list(range(cut + 1)), list(range(cut + 1, cut + 11))) for cut in (10, 20, 30, 40, 50)]
    tied = pd.DataFrame({"value": np.repeat(np.arange(7.0), 10)})
    for train, test in folds(tied, FOLDS, 0, "time", "value"):
        assert len(train) % 10 == len(test) % 10 == 0


@pytest.mark.parametrize("count", [19, 20])
def test_a_part_has_ten_rows(count):
    if count == 20:
        assert [len(part) for part in parts(rows(20), 0.5, 0)] == [10, 10]
        return
    with pytest.raises(UserError) as as_user_error:
        parts(rows(19), 0.5, 0)
    assert str(as_user_error.value) == (
        "too few rows: 9 to train and 10 to test, at least 10 each; bring more data or another test_size"
    )


def test_very_many_rows_have_two_folds():
    sizes = [(500_000, 10), (500_001, 10), (16_000, 1000), (10_000, 1000)]
    assert [default_n_folds(*size) for size in sizes] == [5, 2, 2, 5]


def test_a_row_counts_as_often_as_it_occurs():
    places = np.concatenate(split(np.array([1, 30, 0, 2]), 0.5, 0))
    assert np.bincount(places).tolist() == [1, 30, 0, 2]


def test_a_part_that_cannot_be():
    with pytest.raises(UserError, match=r"^1 rows cannot be split with test_size=0.5: .+ n_samples=1"):
        parts(rows(1), 0.5, 0)


def test_as_many_distinct_rows_as_folds():
    assert len(folds(pd.concat([rows(FOLDS)] * 3), FOLDS, 0)) == FOLDS
    with pytest.raises(UserError, match=r"^too few distinct rows for 5-fold cross-validation: 4; lower cv$"):
        folds(pd.concat([rows(FOLDS - 1)] * 3), FOLDS, 0)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("random", "rows like those it has learned from are predicted"),
        ("group", "rows are predicted whose winery it has never seen"),
        ("time", "rows are predicted whose winery is later than all it has learned from"),
    ],
)
def test_the_question_that_a_split_answers(way, words):
    assert question(way, "winery") == words
