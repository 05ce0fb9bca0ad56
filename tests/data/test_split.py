from collections import Counter

import numpy as np
import pandas as pd
import pytest
from frames import distinct, split_frame
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workflow.data.contract import Contract
from workflow.data.split import (
    check_options,
    default_n_folds,
    folds,
    held_out_fold,
    max_training_rows,
    question,
    row_hashes,
    split,
    split_column,
)
from workflow.errors import UserError

FOLDS = 5
frames = st.lists(
    st.tuples(st.sampled_from("abcdefghijklmnop"), st.integers(0, 400)), min_size=60, max_size=120, unique=True
).map(lambda rows: pd.DataFrame(sorted(rows), columns=["group", "value"]))
sizes = st.sampled_from([0.2, 0.3, 0.5])


def seen(train: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """Return for each row of `test` whether an equal row is in `train`."""
    return row_hashes(test).isin(row_hashes(train))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "B", "é", "", None]), st.sampled_from([-2.5, 0, 3, None]))), st.randoms()
)
def test_distinct_rows_are_sorted_and_counted(rows, random):
    names = ["Kind", "kind"]  # the same name to DuckDB
    frame = pd.DataFrame(rows, columns=names).astype({"Kind": "str", "kind": "float64"})
    found, duplicate_counts = distinct(frame)
    expected = frame.drop_duplicates().sort_values(names, ignore_index=True)
    pd.testing.assert_frame_equal(found, expected)
    assert duplicate_counts.sum() == len(frame)
    counts = Counter(map(str, frame.itertuples(index=False)))  # as text, missing values are equal
    assert duplicate_counts.tolist() == [counts[str(row)] for row in found.itertuples(index=False)]
    random.shuffle(rows)
    shuffled = pd.DataFrame(rows, columns=names).astype(frame.dtypes)
    pd.testing.assert_frame_equal(distinct(shuffled)[0], found)


@settings(max_examples=50, deadline=None)
@given(frames, sizes, st.integers(0, 2**32 - 1))
def test_training_and_test_set_share_no_row_and_lose_none(frame, test_size, seed):
    train, test = split_frame(frame, test_size, seed)
    assert not seen(train, test).any()
    assert sorted([*train.itertuples(index=False), *test.itertuples(index=False)]) == sorted(
        frame.itertuples(index=False)
    )
    assert len(test) == np.ceil(len(frame) * test_size)


@settings(max_examples=50, deadline=None)
@given(frames, st.integers(0, 2**32 - 1))
def test_groups_stay_together(frame, seed):
    assume(frame["group"].value_counts().max() < 15)  # else a set may have too few rows
    train, test = split_frame(frame, 0.5, seed, "group", "group")
    assert not set(train["group"]) & set(test["group"])


@settings(max_examples=50, deadline=None)
@given(frames, st.integers(0, 2**32 - 1))
def test_duplicates_of_a_row_share_a_fold(frame, seed):
    doubled = pd.concat([frame, frame.head(30)], ignore_index=True)
    found = folds(doubled, FOLDS, seed)
    assert len(found) == FOLDS
    for train, test in found:
        assert not seen(doubled.iloc[train], doubled.iloc[test]).any()
    assert sorted(np.concatenate([test for _, test in found])) == list(range(len(doubled)))


def test_equal_rows_have_equal_hashes():
    train = pd.DataFrame({"a": ["x", None], "b": [1.0, np.nan]})
    test = pd.DataFrame({"a": ["x", "x", None], "b": [1.0, 2.0, np.nan]})
    assert seen(train, test).tolist() == [True, False, True]


def test_fewer_training_rows_are_used_of_more_columns():
    assert max_training_rows(5) == 10_000_000
    assert max_training_rows(5000) == 10_000


def test_too_few_groups_for_the_folds_is_an_error():
    with pytest.raises(UserError, match="too few distinct group"):
        folds(pd.DataFrame({"group": ["a", "b"] * 30, "value": range(60)}), FOLDS, 0, "group", "group")


@settings(max_examples=50, deadline=None)
@given(frames, sizes)
def test_test_rows_are_later_than_all_training_rows(frame, test_size):
    assume(frame["value"].nunique() > 40)
    assume(frame["value"].value_counts().max() < 4)  # else two folds may end at the same time
    frame.loc[3, "value"] = np.nan
    train, test = split_frame(frame, test_size, 0, "time", "value")
    assert train["value"].max() < test["value"].min()
    assert len(train) + len(test) == len(frame)
    assert train["value"].isna().sum() == 1
    for earlier, later in folds(train, FOLDS, 0, "time", "value"):
        assert train["value"][earlier].max() < train["value"][later].min()


def test_too_few_distinct_times_is_an_error():
    frame = pd.DataFrame({"year": [2001.0, 2002.0] * 30, "value": range(60)})
    with pytest.raises(UserError, match="too few distinct values of year"):
        folds(frame, FOLDS, 0, "time", "year")
    with pytest.raises(UserError, match="too few rows: 60 in the training set and 0 in the test set"):
        split_frame(frame.assign(year=2001.0), 0.2, 0, "time", "year")


def rows(count: int) -> pd.DataFrame:
    return pd.DataFrame({"group": [f"g{number % 20}" for number in range(count)], "value": np.arange(float(count))})


@pytest.mark.parametrize("by", [("random", None), ("group", "group")])
def test_splits_and_folds_are_determined_by_the_seed(by):
    first, second, third = (split_frame(rows(100), 0.2, seed, *by) for seed in (1, 1, 2))
    for one, same_seed, other_seed in zip(first, second, third, strict=True):
        pd.testing.assert_frame_equal(one, same_seed)
        assert not one.equals(other_seed)
    first, second, third = ([test.tolist() for _, test in folds(rows(100), FOLDS, seed, *by)] for seed in (1, 1, 2))
    assert first == second != third


def test_a_group_split_takes_a_fraction_of_the_groups():
    train, test = split_frame(rows(100), 0.2, 0, "group", "group")
    assert (test["group"].nunique(), train["group"].nunique()) == (4, 16)
    assert len(test) == 20


def test_a_time_split_tests_the_latest_rows():
    train, test = split_frame(rows(100), 0.2, 0, "time", "value")
    assert train["value"].tolist() == list(range(80))
    assert test["value"].tolist() == list(range(80, 100))
    uneven = pd.DataFrame({"value": [1.0] * 50 + [2.0] * 25 + [9.0] * 25})
    assert split_frame(uneven, 0.4, 0, "time", "value")[1]["value"].tolist() == [9] * 25


def test_a_time_series_fold_tests_the_rows_that_follow():
    found = [(train.tolist(), test.tolist()) for train, test in folds(rows(61), FOLDS, 0, "time", "value")]
    assert found == [(list(range(cut + 1)), list(range(cut + 1, cut + 11))) for cut in (10, 20, 30, 40, 50)]
    tied = pd.DataFrame({"value": np.repeat(np.arange(7.0), 10)})
    for train, test in folds(tied, FOLDS, 0, "time", "value"):
        assert len(train) % 10 == len(test) % 10 == 0


@pytest.mark.parametrize("count", [19, 20])
def test_each_set_has_at_least_ten_rows(count):
    if count == 20:
        assert [len(one) for one in split_frame(rows(20), 0.5, 0)] == [10, 10]
        return
    with pytest.raises(UserError) as error:
        split_frame(rows(19), 0.5, 0)
    assert str(error.value) == (
        "too few rows: 9 in the training set and 10 in the test set, at least 10 needed in each; add data or change"
        " test_size"
    )


def test_large_data_has_two_folds_by_default():
    sizes = [(500_000, 10), (500_001, 10), (16_000, 1000), (10_000, 1000)]
    assert [default_n_folds(*size) for size in sizes] == [5, 2, 2, 5]


def test_a_row_is_split_as_often_as_it_occurs():
    positions = np.concatenate(split(np.array([1, 30, 0, 2]), 0.5, 0))
    assert np.bincount(positions).tolist() == [1, 30, 0, 2]


def test_a_split_of_one_row_is_an_error():
    with pytest.raises(UserError, match=r"^1 rows cannot be split with test_size=0.5: .+ n_samples=1"):
        split_frame(rows(1), 0.5, 0)


def test_folds_need_as_many_distinct_rows():
    assert len(folds(pd.concat([rows(FOLDS)] * 3), FOLDS, 0)) == FOLDS
    with pytest.raises(UserError, match=r"^too few distinct rows for 5-fold cross-validation: 4; lower cv$"):
        folds(pd.concat([rows(FOLDS - 1)] * 3), FOLDS, 0)


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ("random", "the model predicts rows that resemble the training rows"),
        ("group", "the model predicts rows of a winery value never seen in training"),
        ("time", "the model predicts rows later in winery than all training rows"),
        ("fold", "the model predicts the rows that winery sets apart"),
    ],
)
def test_the_question_of_a_score_depends_on_the_strategy(strategy, words):
    assert question(strategy, "winery") == words
    assert question(strategy, "winery", test_data="audit.csv") == "the model predicts the rows of audit.csv"


def test_the_question_of_a_score_names_the_gap():
    words = "the model predicts rows more than 7 later in day than all training rows"
    assert question("time", "day", gap=7) == words


def test_a_strategy_needs_its_column():
    contract = Contract("price", {}, group="winery")
    assert [split_column(strategy, contract) for strategy in ("random", "group")] == [None, "winery"]
    with pytest.raises(UserError, match=r"^--time is required with split=time: -P time=<column>, or `time: "):
        split_column("time", contract)


def test_folds_that_a_contract_names_are_never_ignored():
    contract = Contract("price", {}, fold="part")
    assert split_column("fold", contract) == "part"
    with pytest.raises(UserError, match=r"^fold=part: needs split=fold, not split=random; pass -P split=fold$"):
        split_column("random", contract)


def with_folds(labels: list) -> pd.DataFrame:
    return rows(len(labels)).assign(part=labels)


@pytest.mark.parametrize(
    ("labels", "held_out"),
    [(["a", "test", "b"], "test"), (["train", "test"], "test"), ([1.0, 10.0, 2.0], 10.0), (["a", "b", None], "b")],
)
def test_one_fold_is_the_test_set_and_the_others_are_the_folds(labels, held_out):
    frame = with_folds(labels * 20)
    train, test = split_frame(frame, 0.2, 0, "fold", "part")
    assert set(test["part"]) == {held_out}
    assert len(train) + len(test) == len(frame)
    found = folds(train, FOLDS, 0, "fold", "part")
    others = sorted({label for label in labels if label not in (None, held_out)})
    if len(others) == 1:  # says nothing about folds, so they are at random
        assert len(found) == FOLDS
    else:
        assert [set(train["part"].iloc[tested]) for _, tested in found] == [{label} for label in others]
        assert all(len(learned) + len(tested) == len(train) for learned, tested in found)


@pytest.mark.parametrize(
    ("labels", "words"),
    [(["a"] * 60, "has 1 distinct values, expected at least 2"), (list(map(str, range(60))), "expected at most 50")],
)
def test_a_column_of_one_fold_or_of_many_is_refused(labels, words):
    with pytest.raises(UserError, match=f"^fold=part: .*{words}"):
        split_frame(with_folds(labels), 0.2, 0, "fold", "part")


def test_a_gap_separates_training_rows_from_later_test_rows():
    frame = rows(100).assign(day=np.arange(100.0))
    train, test = split_frame(frame, 0.2, 0, "time", "day", gap=7)
    assert (train["day"].max(), test["day"].min(), len(test)) == (72, 80, 20)
    for learned, tested in folds(train, FOLDS, 0, "time", "day", gap=7):
        assert train["day"].iloc[tested].min() - train["day"].iloc[learned].max() > 7
    with pytest.raises(UserError, match=r"for 5 time-series folds: 73; lower cv or gap$"):
        folds(train, FOLDS, 0, "time", "day", gap=30)
    with pytest.raises(UserError, match=r"^gap=7: needs split=time, not split=random$"):
        check_options("random", 7)


def test_each_repetition_has_other_folds_of_all_rows():
    frame = rows(50)
    found = folds(frame, FOLDS, 3, repeats=2)
    tested = [positions.tolist() for _, positions in found]
    assert tested[:FOLDS] == [positions.tolist() for _, positions in folds(frame, FOLDS, 3)]
    assert sorted(np.concatenate(tested[FOLDS:])) == list(range(50))
    assert tested[FOLDS:] != tested[:FOLDS]
    with pytest.raises(UserError, match=r"^repeats=2: split=time always has the same folds; leave it out$"):
        check_options("time", 0, 2)


@pytest.mark.parametrize("count", [2, 7])
def test_as_many_random_folds_are_made_as_are_asked_for(count):
    assert len(folds(rows(60), count, 0, "random", None)) == count


@pytest.mark.parametrize(("count", "expected"), [(1, "expected at least 2"), (51, "expected at most 50")])
def test_a_column_of_folds_has_a_number_of_values_that_can_be_used(count, expected):
    with pytest.raises(UserError, match=f"has {count} distinct values, {expected}"):
        held_out_fold(pd.Series(range(count), name="fold"))
    assert held_out_fold(pd.Series([1, 2])) == 2
