from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from errors import UserError
from tabular.contract import Column, Contract, enforce, read_contract, read_data

TERMS = Contract(
    target="price",
    columns={
        "kind": Column("categorical"),
        "year": Column("numeric", (1900, 2100)),
        "price": Column("numeric", (0, 1000)),
    },
    missing=("N.V.",),
    drop=("country",),
)
HEADER = "kind,year,price,country\n"


def read(tmp_path: Path, text: str, encoding: str = "utf-8") -> pd.DataFrame:
    path = tmp_path / "data.csv"
    path.write_text(HEADER + text, encoding=encoding)
    return read_data(path, TERMS)


def test_types_and_missing_values(tmp_path):
    kept, report = enforce(read(tmp_path, "red,N.V.,5,es\n,2001,6,es\n"), TERMS, True)
    assert kept["year"].dtype == kept["price"].dtype == np.float64
    assert report.missing == {"kind": 1, "year": 1, "price": 0}
    assert report.ignored == []
    assert list(kept.columns) == ["kind", "year", "price"]


def test_each_breach_is_told_with_its_row_and_reason(tmp_path):
    rows = ["red,2000,5,es"] * 6 + ["red,old,5,es", "red,1000,5,es", "red,2000,,es", "red,x,5000,es"]
    _, report = enforce(read(tmp_path, "\n".join(rows)), TERMS, True)
    assert report.rejected.to_numpy().tolist() == [
        [8, "year", "old", "is not a number"],
        [9, "year", "1000.0", "is outside 1900 to 2100"],
        [10, "price", "", "is missing"],
        [11, "price", "5000.0", "is outside 0 to 1000"],
        [11, "year", "x", "is not a number"],
    ]


def test_infinity_is_rejected_where_no_range_is_given(tmp_path):
    terms = Contract(target="price", columns={"price": Column("numeric")})
    frame = pd.DataFrame({"price": ["1", "2", "inf", "-inf", "3"]})
    kept, report = enforce(frame, terms, True)
    assert kept["price"].tolist() == [1, 2, 3]
    assert report.rejected["row"].tolist() == [4, 5]


def test_duplicates_are_those_of_the_columns_used(tmp_path):
    text = "red,2000,5,es\nred,2000,5,fr\nred,2000.0,5.00,es\nred,2001,5,es\n"
    frame = read(tmp_path, text)
    assert len(enforce(frame, TERMS, True)[0]) == 2
    kept, report = enforce(frame, TERMS, False)
    assert (len(kept), report.rows_duplicate) == (4, 2)


def test_the_order_of_the_file_does_not_matter(tmp_path):
    frame = read(tmp_path, "red,2000,5,es\nwhite,2001,6,es\n,N.V.,7,es\nred,1999,8,es\n")
    expected, _ = enforce(frame, TERMS, True)
    for seed in range(5):
        shuffled = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
        pd.testing.assert_frame_equal(enforce(shuffled, TERMS, True)[0], expected)


def test_byte_order_mark(tmp_path):
    assert "kind" in read(tmp_path, "red,2000,5,es\n", "utf-8-sig").columns


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("target: price\ncolumns: {price: {kind: numeric, colour: red}}", "unexpected keyword"),
        ("target: cost\ncolumns: {price: {kind: numeric}}", "target cost must be one of the columns"),
        ("target: price\ncolumns: {price: {kind: categorical}}", "and numeric"),
        ("target: price\ngroup: winery\ncolumns: {price: {kind: numeric}}", "group winery is not among"),
        ("target: price\ncolumns: {price: {kind: numeric, range: [1]}}", "must be two numbers"),
        ("just text", "see data/wines.yaml for the form"),
        ("", "see data/wines.yaml for the form"),
        ("columns: {price: {kind: numeric}}", "see data/wines.yaml for the form"),
    ],
)
def test_bad_contract(tmp_path, text, words):
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_contract(path)
