from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow.data.files import open_table
from workflow.data.row_differences import MAX_EXAMPLES, RowDifferences, compare_rows

WINES = pd.DataFrame(
    {
        "wine": [f"wine {place}" for place in range(40)],
        "year": [str(2000 + place % 7) for place in range(40)],
        "price": [f"{place}.5" for place in range(40)],
    }
)


def compared(one: pd.DataFrame, other: pd.DataFrame, folder: Path) -> RowDifferences:
    for name, rows in (("one", one), ("other", other)):
        rows.to_csv(folder / f"{name}.csv", index=False)
    with open_table(folder / "one.csv") as left, open_table(folder / "other.csv") as right:
        return compare_rows(left, right)


def test_equal_rows_in_another_order_do_not_differ(tmp_path):
    found = compared(WINES, WINES[::-1], tmp_path)
    assert (found.removed, found.added, found.changed) == (0, 0, 0)
    assert str(found) == "the same rows in another order, or written in another way"


def test_rows_that_only_one_table_has_are_counted_and_shown_with_their_lines(tmp_path):
    found = compared(
        WINES, pd.concat([WINES.drop(range(3, 13)), WINES.tail(1).assign(wine="new", price="7")]), tmp_path
    )
    assert str(found) == "10 rows removed, 1 row added"
    assert list(found.examples["row"]) == [5, 6, 7, 8, 9, 32]
    assert list(found.examples["kind"]) == ["removed"] * MAX_EXAMPLES + ["added"]
    assert found.examples["a"][0] == "wine=wine 3, year=2003, price=3.5"
    assert found.examples["b"][5] == "wine=new, year=2004, price=7"


def test_of_repeated_rows_each_needs_a_partner(tmp_path):
    found = compared(pd.concat([WINES] * 3), pd.concat([WINES] * 2), tmp_path)
    assert str(found) == "40 rows removed"


def test_a_changed_cell_is_found_wherever_its_row_stands(tmp_path):
    other = WINES.copy()
    other.loc[30, "price"] = "99"
    found = compared(WINES, other.drop(4), tmp_path)
    assert str(found) == "1 row removed, 1 row changed (price in 1)"
    assert list(found.examples.iloc[1]) == [31, "changed", "price", "30.5", "99"]


def test_several_changed_cells_are_found_in_the_same_line(tmp_path):
    wide = WINES.assign(region="Rioja", body="3")
    other = wide.copy()
    other.loc[7, ["price", "year"]] = ["99", "1999"]
    found = compared(wide, other, tmp_path)
    assert str(found) == "1 row changed (year in 1, price in 1)"
    other.loc[8] = ["other wine", "1999", "99", "Priorat", "4"]
    assert str(compared(wide, other, tmp_path)) == "1 row removed, 1 row added, 1 row changed (year in 1, price in 1)"


def test_a_column_that_changed_everywhere_leaves_its_rows_paired(tmp_path):
    found = compared(WINES, WINES.assign(price=WINES["price"] + "9"), tmp_path)
    assert found.changed_cells == {"wine": 0, "year": 0, "price": 40}
    assert found.changed == 40


def test_columns_that_only_one_table_has_are_named_and_not_compared(tmp_path):
    found = compared(WINES, WINES.drop(columns="year").assign(colour="red", body="2"), tmp_path)
    assert str(found) == "column year removed, columns colour, body added"


def test_missing_cells_are_equal_to_each_other_and_to_nothing_else(tmp_path):
    other = WINES.copy()
    other.loc[2, "price"] = None
    found = compared(WINES, other, tmp_path)
    assert list(found.examples.iloc[0]) == [4, "changed", "price", "2.5", ""]
    assert compared(other, other, tmp_path).changed == 0


def test_too_many_changed_rows_are_not_paired_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("workflow.data.row_differences.MAX_PAIRED_CELLS", 60)
    found = compared(WINES, WINES.assign(price="1"), tmp_path)
    assert not found.is_paired
    assert str(found) == "40 rows removed, 40 rows added (too many to look for changed cells)"


def test_tables_without_a_common_column_share_no_row(tmp_path):
    found = compared(WINES, pd.DataFrame({"other": ["1", "2"]}), tmp_path)
    assert (found.removed, found.added, found.changed) == (40, 2, 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_counts_add_up_on_random_tables(seed, tmp_path):
    random = np.random.default_rng(seed)
    one, other = (
        pd.DataFrame(random.integers(0, 4, (random.integers(20, 60), 3)).astype(str), columns=list("abc"))
        for _ in range(2)
    )
    found = compared(one, other, tmp_path)
    equal = sum((one.value_counts().to_frame("n").join(other.value_counts().rename("m"), how="inner")).min(axis=1))
    assert equal + found.removed + found.changed == len(one)
    assert equal + found.added + found.changed == len(other)
