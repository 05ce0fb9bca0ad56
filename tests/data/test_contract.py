from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frames import distinct, enforced, read_table

from workflow.data.columns import Column
from workflow.data.contract import (
    Contract,
    as_file_values,
    check,
    check_text_columns,
    contract_text,
    frame_attributes,
    is_typed_by,
    read_contract,
)
from workflow.data.files import open_table
from workflow.data.values import parse_values
from workflow.errors import UserError

WINES = Contract(
    target="price",
    columns={
        "kind": Column("categorical"),
        "year": Column("numeric", (1900, 2100)),
        "price": Column("numeric", (0, 1000)),
    },
    missing=("N.V.",),
    drop={"country": ""},
)
HEADER = "kind,year,price,country\n"


def read(tmp_path: Path, text: str, encoding: str = "utf-8") -> pd.DataFrame:
    path = tmp_path / "data.csv"
    path.write_text(HEADER + text, encoding=encoding)
    return read_table(path)[0]


def test_valid_rows_are_typed_and_their_missing_values_counted(tmp_path):
    kept, report = enforced(read(tmp_path, "red,N.V.,5,es\n,2001,6,es\n"), WINES)
    assert kept["year"].dtype == kept["price"].dtype == np.float64
    assert report.missing == {"kind": 1, "year": 1, "price": 0}
    assert report.ignored == []
    assert list(kept.columns) == ["kind", "year", "price"]


def test_each_violation_is_reported_with_its_row_and_reason(tmp_path):
    rows = ["red,2000,5,es"] * 6 + ["red,old,5,es", "red,1000,5,es", "red,2000,,es", "red,x,5000,es"]
    _, report = enforced(read(tmp_path, "\n".join(rows)), WINES)
    assert report.rejected.to_numpy().tolist() == [
        [8, "year", "old", "is not a number"],
        [9, "year", "1000", "is outside 1900 to 2100"],
        [10, "price", "", "is missing"],
        [11, "price", "5000", "is outside 0 to 1000"],
        [11, "year", "x", "is not a number"],
    ]


def test_infinity_is_rejected_where_no_range_is_given(tmp_path):
    contract = Contract(target="price", columns={"price": Column("numeric")})
    frame = pd.DataFrame({"price": ["1", "2", "inf", "-inf", "3"]}, index=range(2, 7))
    kept, report = enforced(frame, contract)
    assert kept["price"].tolist() == [1, 2, 3]
    assert report.rejected["row"].tolist() == [4, 5]


def test_rows_that_differ_only_in_dropped_columns_are_duplicates(tmp_path):
    text = "red,2000,5,es\nred,2000,5,fr\nred,2000.0,5.00,es\nred,2001,5,es\n"
    kept, _ = enforced(read(tmp_path, text), WINES)
    rows, duplicate_counts = distinct(kept)
    assert len(rows) == 2
    assert (len(kept), duplicate_counts.sum() - len(rows)) == (4, 2)


def test_distinct_rows_do_not_depend_on_the_order_of_the_file(tmp_path):
    frame = read(tmp_path, "red,2000,5,es\nwhite,2001,6,es\n,N.V.,7,es\nred,1999,8,es\n")
    expected, _ = distinct(enforced(frame, WINES)[0])
    for seed in range(5):
        shuffled = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
        pd.testing.assert_frame_equal(distinct(enforced(shuffled, WINES)[0])[0], expected)


def test_minus_zero_becomes_zero():
    contract = Contract(target="price", columns={"price": Column("numeric")})
    kept, _ = enforced(pd.DataFrame({"price": ["-0", "0", "-0.0"]}, index=range(2, 5)), contract)
    assert not np.signbit(kept["price"]).any()


def test_an_absent_column_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no column year; the data has kind, price"):
        enforced(read(tmp_path, "red,2000,5,es\n").drop(columns="year"), WINES)


@pytest.mark.parametrize(
    ("style", "texts", "numbers"),
    [
        ({}, ["1.5", " -2", "1e3", "−7", "x", "1,5", ""], [1.5, -2, 1000, -7, None, None, None]),
        ({"decimal": ","}, ["1,5", "12", "1.5"], [1.5, 12, None]),
        (
            {"decimal": ",", "thousands": "."},
            ["1.234,50", "12,5", "-1.000", "1.5", "1.2345"],
            [1234.5, 12.5, -1000, None, None],
        ),
        ({"thousands": ","}, ["1,234,567.8", "1,000", "12,5", "5"], [1234567.8, 1000, None, 5]),
        ({"thousands": " ", "decimal": ","}, ["1 234,5", "1\u00a0000", "12 5"], [1234.5, 1000, None]),
        ({"remove": ("EUR", "€")}, ["€ 5", "6.5 EUR", "$ 5"], [5, 6.5, None]),
    ],
)
def test_numbers_are_parsed_in_the_style_of_their_column(style, texts, numbers):
    expected = pd.Series(numbers, dtype="float64")
    pd.testing.assert_series_equal(parse_values(pd.Series(texts), Column("numeric", **style)), expected)


def test_dates_become_days_and_booleans_become_numbers():
    dates = parse_values(pd.Series(["02/01/1970", "01/13/1970", None]), Column("date", format="%d/%m/%Y"))
    assert dates.tolist()[0] == 1
    assert dates[1:].isna().all()
    zoned = parse_values(pd.Series(["1970-01-02T12:00:00+12:00"]), Column("date", format="%Y-%m-%dT%H:%M:%S%z"))
    assert zoned.tolist() == [1.0]
    assert parse_values(pd.Series(["Yes", "no", "maybe"]), Column("boolean")).fillna(-1).tolist() == [1, 0, -1]
    assert parse_values(pd.Series([True, False]), Column("boolean")).tolist() == [1, 0]


def test_a_written_contract_is_read_back_unchanged(tmp_path):
    path = tmp_path / "contract.yaml"
    columns = {
        "área m²": Column("numeric", (0, 9), ",", ".", ("€",)),
        "yes": Column("boolean"),
        "sold: when": Column("date", format="%d/%m/%Y"),
        "#1": Column("categorical"),
        "price": Column("numeric"),
    }
    contract = Contract(
        "price", columns, ("N.V.", "null"), {"id": "numbers the rows", "no": ""}, "#1", "sold: when", "EUR"
    )
    path.write_text(contract_text(contract, {"#1": "7 categories"}))
    assert read_contract(path) == contract


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "target: price\ncolumns: {price: {kind: numeric, colour: red}}",
            "column price has unknown entries colour; expected kind, range, decimal, thousands, remove, multiply",
        ),
        ("target: cost\ncolumns: {price: {kind: numeric}}", "target cost must be a numeric column of the contract"),
        ("target: price\ncolumns: {price: {kind: categorical}}", "target price must be a numeric column"),
        (
            "target: price\ntime: kind\ncolumns: {price: {kind: numeric}, kind: {kind: categorical}}",
            "time kind must be a date or numeric column",
        ),
        (
            "target: price\ngroup: winery\ncolumns: {price: {kind: numeric}}",
            "group winery must be a column of the contract",
        ),
        ("target: price\ncolumns: {price: {kind: numeric, range: [1]}}", "must be two numbers"),
        ("target: price\ncolumns: {price: {kind: numeric}}", "price is all there is; add the features"),
        ("just text", "the file must be a mapping of target, columns, .+; see data/wines.yaml for an example"),
        ("", "the file must be a mapping of target, columns, .+; see data/wines.yaml for an example"),
        ("target: price\ncolumns: [price]", "columns must map each column to its kind; see data/wines.yaml"),
        ("target: price\ncolumns: {price: numeric}", "column price must be a mapping of kind, range, "),
        ("target: price\ncolumns: {price: {}}", "column price has no kind; see data/wines.yaml"),
        ("columns: {price: {kind: numeric}}", "the file has no target; see data/wines.yaml for an example"),
    ],
)
def test_an_invalid_contract_is_an_error(tmp_path, text, words):
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_contract(path)


def test_a_contract_is_written_with_a_line_per_column():
    columns = {
        "área m²": Column("numeric", (0, 9), ",", ".", ("€",)),
        "winery": Column("categorical"),
        "sold": Column("numeric", (0, 1000), ",", ".", ("EUR", "USD", "GBP", "CHF", "euros", "dollars", "pounds")),
        "price": Column("numeric"),
    }
    contract = Contract(
        "price", columns, ("N.V.", "–"), {"id": "numbers the rows", "año": ""}, unit="EUR", group="winery"
    )
    assert contract_text(contract, {"winery": "70 categories"}) == (
        "target: price\nunit: EUR\ngroup: winery\ncolumns:\n"
        "  área m²: {kind: numeric, range: [0, 9], decimal: ',', thousands: ., remove: [€]}\n"
        "  winery: {kind: categorical}  # 70 categories\n"
        "  sold: {kind: numeric, range: [0, 1000], decimal: ',', thousands: .,"
        " remove: [EUR, USD, GBP, CHF, euros, dollars, pounds]}\n"
        "  price: {kind: numeric}\n"
        "missing:\n- N.V.\n- –\ndrop:\n  id: numbers the rows\n  año: ''\n"
    )
    assert contract_text(Contract("price", {"price": Column("numeric")}), {}) == (
        "target: price\ncolumns:\n  price: {kind: numeric}\n"
    )


MALFORMED = pd.DataFrame(
    {"row": [4, 4], "column": ["year", ""], "value": ["red", "red"], "reason": ["has too few fields"] * 2}
)


def test_malformed_lines_are_counted_and_rejected(tmp_path):
    frame = read(tmp_path, "red,2000,5,es\nred,old,5,es\n" + "red,2000,5,es\n" * 4)
    kept, report = enforced(frame, WINES, MALFORMED)
    assert report.rows_in == 7
    assert report.rejected.to_numpy().tolist() == [
        [3, "year", "old", "is not a number"],
        [4, "", "red", "has too few fields"],
        [4, "year", "red", "has too few fields"],
    ]
    assert report.rejected.index.tolist() == [0, 1, 2]
    assert list(report.rejected) == ["row", "column", "value", "reason"]
    assert len(kept) == 5
    assert enforced(frame, WINES)[1].rows_in == 6


@pytest.mark.parametrize("broken", [3, 4])
def test_a_file_is_refused_if_more_than_half_of_its_rows_are_rejected(tmp_path, broken):
    lines = ["x,old,5,es"] + ["x,1,5,es"] * (broken - 1) + ["x,2000,5,es"] * (6 - broken)
    frame = read(tmp_path, "\n".join(lines))
    if broken == 3:
        assert len(enforced(frame, WINES)[0]) == 3
        return
    with pytest.raises(UserError) as error:
        enforced(frame, WINES)
    assert str(error.value) == (
        "4 of 6 rows break the contract: column year is outside 1900 to 2100 (first: '1' in line 3);"
        " correct the file or the contract"
    )


def test_a_file_is_refused_if_more_than_half_of_its_lines_are_malformed(tmp_path):
    frame = read(tmp_path, "red,2000,5,es\n")
    malformed = pd.DataFrame({"row": [3, 4], "column": "", "value": "red", "reason": "has too few fields"})
    with pytest.raises(UserError) as error:
        enforced(frame, WINES, malformed)
    assert str(error.value) == (
        "2 of 3 rows break the contract: a line has too few fields (first: 'red' in line 3);"
        " correct the file or the contract"
    )


def test_the_error_of_an_absent_column_lists_the_columns_of_the_data():
    with pytest.raises(UserError) as error:
        enforced(pd.DataFrame({f"c{number}": ["1"] for number in range(14)}), WINES)
    assert str(error.value) == (
        "no column kind, year, price; the data has c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11;"
        " pass the contract of this file: -P contract=<file>"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("columns: [", "while parsing a flow node expected the node content, but found '<stream end>'"),
        (
            "target: price\ncolumns: {tax: {kind: money}}",
            "column tax has kind money; expected one of numeric, categorical, ",
        ),
        ("target: cost\ncolumns: {price: {kind: numeric}}", "target cost must be"),
    ],
)
def test_the_error_of_an_invalid_contract_names_its_file(tmp_path, text, words):
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_contract(path)
    assert str(error.value).startswith(f"contract {path}: {words}")


def test_columns_to_drop_may_be_listed_without_reasons(tmp_path):
    path = tmp_path / "contract.yaml"
    path.write_text("target: price\ncolumns: {price: {kind: numeric}, size: {kind: numeric}}\ndrop: [id, name]\n")
    assert read_contract(path).drop == {"id": "", "name": ""}


def test_rows_of_a_request_are_typed_like_those_of_a_file():
    contract = Contract(
        "price", {"a": Column("numeric", decimal=","), "b": Column("boolean"), "c": Column("categorical")}
    )
    sent = pd.DataFrame({"a": ["1,5", 2.5, None, 3], "b": [True, "no", None, "Yes"], "c": [" x ", "", 7.0, 8]})
    typed, faults = check(as_file_values(sent, contract), contract)
    assert faults.empty
    np.testing.assert_array_equal(typed["a"], [1.5, 2.5, np.nan, 3])
    np.testing.assert_array_equal(typed["b"], [1, 0, np.nan, 1])
    assert typed["c"].fillna("-").tolist() == ["x", "-", "7", "8"]
    absent, _ = check(as_file_values(sent[["c"]], contract), contract)
    assert absent["a"].isna().all()


def test_numeric_categories_are_written_as_in_a_file():
    contract = Contract("price", {"year": Column("categorical"), "price": Column("numeric")})
    typed, _ = check(pd.DataFrame({"year": [2015.0, np.nan], "price": [1.0, 2.0]}), contract)
    assert typed["year"].tolist()[0] == "2015"
    assert typed["year"].isna().tolist() == [False, True]
    halves, _ = check(pd.DataFrame({"year": [2015.5, 2015], "price": [1.0, 2.0]}), contract)
    assert halves["year"].tolist() == ["2015.5", "2015"]


def test_numbers_are_dates_only_with_a_format_that_parses_them():
    contract = Contract("price", {"day": Column("date"), "other": Column("date", format="%d.%m.%Y")})
    typed, faults = check(pd.DataFrame({"day": [18993], "other": [24122021]}), contract)
    assert faults["column"].tolist() == ["day", "other"]
    assert typed.empty


def test_rows_typed_by_the_same_contract_are_not_checked_again(tmp_path):
    contract = Contract("price", {"day": Column("date"), "price": Column("numeric")})
    frame = pd.DataFrame({"more": ["x"], "price": [1.0], "day": [18993.0]})
    frame.attrs = frame_attributes(contract)
    frame.to_parquet(tmp_path / "typed.parquet")
    with open_table(tmp_path / "typed.parquet") as table:
        chunks = list(table.chunks())
    for read in (pd.read_parquet(tmp_path / "typed.parquet"), *chunks):
        typed, faults = check(read, contract, is_typed_by(read, contract))
        assert faults.empty
        assert typed.to_dict("list") == {"day": [18993.0], "price": [1.0]}
        assert not is_typed_by(read, Contract("price", {"price": Column("numeric", (0, 0.5)), "day": Column("date")}))


def test_rows_typed_by_a_contract_are_checked_when_it_is_enforced_anew():
    frame = pd.DataFrame({"kind": ["a", "b", "c"], "year": [1999.0, 2000.0, 2001.0], "price": [1.0, 2.0, 3000.0]})
    frame.attrs = frame_attributes(WINES)
    kept, report = enforced(frame, WINES)
    assert len(kept) == 2
    assert report.rejected["reason"].tolist() == ["is outside 0 to 1000"]


def test_a_text_column_without_text_in_the_training_set_is_an_error():
    contract = Contract("price", {"notes": Column("text"), "price": Column("numeric")})
    rows = pd.DataFrame({"notes": pd.Series(["a good red", None], dtype="str"), "price": [1.0, 2.0]})
    check_text_columns(rows, np.array([0]), contract)
    with pytest.raises(UserError, match="column notes: all texts of the training set are missing; move it to `drop`"):
        check_text_columns(rows, np.array([1]), contract)
