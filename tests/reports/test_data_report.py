"""The page about a data file."""

import numpy as np
import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.data.profile import PROFILED_COLUMNS, DataFacts, profile_columns
from workflow.reports.data_report import MAX_CELL_CHARACTERS, data_report, value_text
from workflow.reports.report import Page

MAX_BYTES = 2_000_000


def page_of(rows: pd.DataFrame, contract: Contract, examples: pd.DataFrame) -> Page:
    names = ("rows_in", "rows_rejected", "rows_duplicate", "rows_train", "rows_test")
    counts = dict(zip(names, (len(rows), 0, 0, len(rows), 0), strict=True))
    facts = DataFacts(counts, {}, {}, [], {}, *profile_columns(rows, contract))
    rejected = pd.DataFrame(columns=["row", "column", "value", "reason"])
    return data_report(contract, facts, [], rejected, examples, "it works", {})


def table_of(page: Page, title: str) -> pd.DataFrame:
    return next(section.table for section in page.sections if section.title == title)


@pytest.fixture(scope="module")
def page() -> Page:
    random = np.random.default_rng(0)
    price = random.normal(50, 10, 1000)
    rows = pd.DataFrame({"price": price, "size": price * 2, "town": random.choice(["a", "a", "b"], 1000)})
    rows = rows.assign(sold=random.integers(18_000, 18_100, 1000).astype(float))
    kinds = {"price": "numeric", "size": "numeric", "town": "categorical", "sold": "date"}
    contract = Contract("price", {name: Column(kind) for name, kind in kinds.items()})
    examples = pd.DataFrame({"price": ["50 EUR", None], "town": ["a", "x" * 1000]})
    return page_of(rows, contract, examples)


def test_each_column_has_its_association_with_the_target(page):
    found = table_of(page, "Columns").set_index("column")["with target"]
    assert found["size"] == "1.00"
    assert float(found["town"]) < 0.2
    assert found["price"] == ""
    strongest = table_of(page, "Associations").iloc[0]
    assert tuple(strongest) == ("price", "size", "1.00")


def test_columns_of_numbers_have_quantiles_and_categories_their_frequencies(page):
    quantiles = table_of(page, "Quantiles").set_index("column")
    assert list(quantiles) == ["mean", "standard deviation", "5 %", "25 %", "median", "75 %", "95 %"]
    assert list(quantiles.index) == ["price", "size", "sold"]
    assert quantiles.loc["sold", "median"].startswith("2019-")
    frequent = table_of(page, "Most frequent values").set_index("column")
    assert frequent.loc["town", "1."].startswith("a (6")
    assert frequent.loc["town", "3."] == ""


def test_the_first_rows_are_as_the_file_has_them_but_for_their_length(page):
    rows = table_of(page, "The first rows")
    assert rows["price"].isna().tolist() == [False, True]
    assert len(rows["town"][1]) == MAX_CELL_CHARACTERS
    assert "x…" in page.html()


def test_the_same_rows_give_the_same_page_of_at_most_two_megabytes():
    random = np.random.default_rng(0)
    names = [f"a column with a rather long name, number {place}" for place in range(3000)]
    rows = pd.DataFrame(random.normal(size=(50, len(names))), columns=names)
    contract = Contract(names[-1], dict.fromkeys(names, Column("numeric")))
    examples = pd.DataFrame(np.full((5, len(names)), "x" * 1000), columns=names)
    page = page_of(rows, contract, examples)
    assert len(page.html().encode()) < MAX_BYTES
    assert page.html() == page_of(rows, contract, examples).html()
    columns = table_of(page, "Columns")["column"]
    assert (len(columns), columns.iloc[-1]) == (PROFILED_COLUMNS + 1, names[-1])


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.0, "date", "1970-01-01"),
        (1.5, "time_of_day", "1:30:00"),
        (90.0, "duration", "0:01:30"),
        (1234567.0, "numeric", "1,234,567"),
        ("0", "categorical", "0"),
    ],
)
def test_a_value_is_written_as_its_kind_is(value, kind, text):
    assert value_text(value, kind) == text
