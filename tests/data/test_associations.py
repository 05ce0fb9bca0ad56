import numpy as np
import pandas as pd
import pytest

from workflow.data.associations import GROUPS, Association, cramers_v, groups, strongest_associations

RANDOM = np.random.default_rng(0)
ROWS = 2000


def test_categories_that_determine_each_other_have_1_and_independent_ones_0():
    codes = RANDOM.integers(0, 4, ROWS)
    found = cramers_v(np.stack([codes, 3 - codes, RANDOM.integers(0, 4, ROWS)], axis=1))
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] < 0.05


def test_the_association_is_that_of_scipy():
    one = RANDOM.integers(0, 3, ROWS)
    other = np.where(RANDOM.random(ROWS) < 0.5, one, RANDOM.integers(0, 5, ROWS))
    from scipy.stats import chi2_contingency

    chi2 = chi2_contingency(pd.crosstab(one, other), correction=False).statistic
    phi = chi2 / ROWS - 2 * 4 / (ROWS - 1)
    expected = np.sqrt(phi / (3 - 2**2 / (ROWS - 1) - 1))
    assert cramers_v(np.stack([one, other], axis=1))[0, 1] == pytest.approx(expected)


def test_rows_where_one_value_is_missing_do_not_count():
    codes = RANDOM.integers(0, 4, (ROWS, 2))
    more = np.concatenate([codes, [[-1, 0]] * 500, [[2, -1]] * 500])
    assert cramers_v(more)[0, 1] == pytest.approx(cramers_v(codes)[0, 1])


@pytest.mark.parametrize("codes", [np.zeros((5, 2), int), np.full((5, 2), -1), np.array([[0, 1]])])
def test_columns_with_one_group_have_no_association(codes):
    assert cramers_v(codes)[0, 1] == 0


def test_numbers_are_cut_into_groups_of_the_same_size():
    values = pd.Series([*RANDOM.normal(size=800), None])
    found = groups(values, "numeric")
    assert (found[-1], set(np.bincount(found[:-1]))) == (-1, {800 // GROUPS})
    assert (np.diff(found[:-1][np.argsort(values[:-1])]) >= 0).all()


def test_few_distinct_numbers_are_a_group_each():
    assert list(groups(pd.Series([5.0, 1.0, None, 5.0]), "numeric")) == [1, 0, -1, 1]


def test_rare_categories_are_one_group():
    values = pd.Series([*(f"rare {place}" for place in range(20)), *["b"] * 3, *["a"] * 2, None], dtype="str")
    found = groups(values, "categorical")
    assert (found[20], found[23], found[25]) == (0, 1, -1)
    assert np.bincount(found[:20])[-1] == 20 - (GROUPS - 3)


def test_all_associations_with_the_target_and_the_strongest_others_are_kept():
    one = pd.Series(RANDOM.normal(size=ROWS))
    columns = {f"n{place}": pd.Series(RANDOM.normal(size=ROWS)) for place in range(30)} | {"a": one, "b": -one}
    found = strongest_associations(columns, dict.fromkeys(columns, "numeric"), "n0")
    assert found[0] == Association("a", "b", 1.0)
    assert sum("n0" in (pair.one, pair.other) for pair in found) == 31
    assert len(found) == 31 + 20
    assert [pair.strength for pair in found] == sorted((pair.strength for pair in found), reverse=True)
