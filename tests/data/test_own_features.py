"""Columns derived by a function of the user: what it may return, and that it looks at nothing but the row."""

import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT

from workflow.data import own_features
from workflow.data.columns import Column
from workflow.data.contract import Contract, contract_text, read_contract
from workflow.data.own_features import OwnFeatures
from workflow.errors import UserError

CONTRACT = Contract(
    "price",
    {name: Column("numeric") for name in ("length", "width", "price", "people", "fold")}
    | {"town": Column("categorical")},
    drop={"id": "row numbers"},
    fold="fold",
    weight="people",
)
ROWS = 400
NAME = "features=f.py:add"


def typed_rows() -> pd.DataFrame:
    random = np.random.default_rng(1)
    frame = pd.DataFrame({name: random.uniform(1, 9, ROWS) for name in ("length", "width", "price", "people", "fold")})
    frame["town"] = pd.Series(random.choice(["Köln", "Jena"], ROWS), dtype="str")
    frame.loc[7, "width"] = np.nan
    return frame.set_axis(range(2, ROWS + 2))  # lines of a file


def own(body: str, head: str = "") -> OwnFeatures:
    """Return a function of `rows` with a body of one line, after the lines of `head`."""
    source = f"import numpy as np\nimport pandas as pd\n{head}\ndef add(rows):\n    {body}\n"
    return OwnFeatures(source, "add", NAME)


def derived(body: str) -> tuple[pd.DataFrame, Contract]:
    """Return all rows as a function extends them, and the contract with its columns."""
    function = own(body)
    contract = function.describe(typed_rows(), CONTRACT)
    return function.extend(typed_rows(), contract), contract


def message(function: OwnFeatures, rows: pd.DataFrame | None = None) -> str:
    """Return the error about a function that describes and extends rows; it is one line, and names the function."""
    with pytest.raises(UserError) as error:
        function.extend(rows, function.describe(rows, CONTRACT)) if rows is not None else function.describe(
            typed_rows(), CONTRACT
        )
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{NAME}: ")
    return str(error.value).removeprefix(f"{NAME}: ")


def test_a_function_adds_columns_after_those_of_the_file():
    frame, contract = derived("return rows.assign(area=rows['length'] * rows['width'])")
    assert list(frame) == [*typed_rows(), "area"] == list(contract.columns)
    pd.testing.assert_frame_equal(frame[[*typed_rows()]], typed_rows())
    pd.testing.assert_series_equal(frame["area"], frame["length"] * frame["width"], check_names=False)
    assert contract.columns["area"] == Column("numeric", derived="add")
    assert contract.derived == ["area"]
    assert contract.features == ["length", "width", "town", "area"]
    assert contract.raw_features == ["length", "width", "town"]
    assert contract.content == ["length", "width", "price", "town"]
    assert contract.raw == CONTRACT


def test_only_the_new_columns_need_to_be_returned_and_the_rows_given_may_be_changed_in_place():
    _, contract = derived("return pd.DataFrame({'area': rows['length'] * rows['width']})")
    assert contract.derived == ["area"]
    assert derived("rows['b'] = rows['length'] > 4; return rows")[1].derived == ["b"]


@pytest.mark.parametrize(
    ("expression", "kind", "first"),
    [
        ("rows['length'] > 0", "numeric", 1.0),
        ("rows['length'] * -0.0", "numeric", 0.0),
        ("pd.Series([3] * len(rows), dtype='Int64').mask(rows['width'].isna())", "numeric", 3.0),
        ("pd.Series([3 if x == x else None for x in rows['width']], dtype=object)", "numeric", 3.0),
        ("pd.Series([True if x == x else None for x in rows['width']], dtype=object)", "numeric", 1.0),
        ("pd.Timestamp('1970-01-03 12:00')", "numeric", 2.5),
        ("pd.Series([pd.Timestamp('1970-01-02', tz='Asia/Tokyo')] * len(rows))", "numeric", 0.625),
        ("'x'", "categorical", "x"),
        ("pd.Series(['x' if x == x else None for x in rows['width']], dtype=object)", "categorical", "x"),
        ("pd.Categorical(['x'] * len(rows))", "categorical", "x"),
        ("pd.cut(rows['length'], [0, 100])", "categorical", "(0, 100]"),
    ],
)
def test_the_dtype_of_a_new_column_decides_its_kind(expression, kind, first):
    frame, contract = derived(f"return rows.assign(new={expression})")
    assert contract.columns["new"].kind == kind
    assert frame["new"].iloc[0] == first
    assert str(frame["new"].dtype) == ("float64" if kind == "numeric" else "str")
    assert kind == "categorical" or not np.signbit(frame["new"].iloc[0])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return rows.assign(a=rows['price'])", "KeyError: 'price' (line 5); it gets the features only: length, width"),
        ("return rows.assign(a=rows['fold'])", "KeyError: 'fold'"),
        ("return rows.assign(a=rows['people'])", "KeyError: 'people'"),
        ("return rows.assign(a=1 / 0)", "ZeroDivisionError: division by zero (line 5)"),
        ("raise SystemExit('two\\nlines')", "SystemExit: two lines (line 5)"),
        ("return rows['length']", "returns a Series, expected a DataFrame"),
        ("return rows.head(3).assign(a=1)", "returns 3 rows for 400"),
        ("return rows.assign(a=1).sort_values('length')", "returns the rows with another index"),
        ("return rows.assign(length=0, a=1)", "changes column length; give the result a name of its own"),
        ("return rows", "returns no new column"),
        ("return rows.set_axis(['a', 'a', 'b'], axis=1)", "returns column a twice"),
        ("return pd.DataFrame({0: rows['length']})", "returns a column 0, whose name is no text"),
        ("return rows.assign(price=1)", "column price: the file has one of that name; choose another"),
        ("return rows.assign(id=1)", "column id: the file has one of that name; choose another"),
        ("return rows.assign(a=np.nan)", "column a: all values are missing"),
        ("return rows.assign(a=None)", "column a: all values are missing"),
        ("return rows.assign(a=[[1]] * len(rows))", "column a holds values of type list; expected numbers, dates or"),
        (
            "return rows.assign(a=[1, 'x'] * (len(rows) // 2) + ['x'] * (len(rows) % 2))",
            "column a holds values of type",
        ),
        ("return rows.assign(a=1j)", "column a holds values of type complex128"),
        ("return rows.assign(a=pd.Timedelta('1h'))", "column a holds values of type timedelta64"),
    ],
)
def test_what_is_wrong_with_a_function_is_told_in_one_line(body, words):
    assert message(own(body)).startswith(words)


@pytest.mark.parametrize(
    "expression",
    [
        "rows['length'] - rows['length'].mean()",
        "rows['length'].rank()",
        "rows['length'].clip(upper=rows['length'].quantile(0.99))",
        "rows['length'].shift().fillna(0)",
        "rows['width'].fillna(rows['width'].median())",
        "rows['width'].fillna(5 if rows['width'].notna().any() else 6)",
        "rows['town'].map(rows['town'].value_counts())",
        "pd.qcut(rows['length'], 4, labels=False, duplicates='drop')",
        "np.random.default_rng().uniform(size=len(rows))",
        "range(len(rows))",
        "rows['town'].mode()[0] + rows['town']",
    ],
)
def test_a_function_that_looks_at_other_rows_is_refused(expression):
    assert "column a is not derived row by row: " in message(own(f"return rows.assign(a={expression})"))


def test_columns_that_depend_on_other_rows_are_refused():
    found = message(own("return pd.get_dummies(rows, columns=['town'], dtype=float)"))
    assert found.startswith("does not always return column town_")
    kind = "return rows.assign(a=rows['town'] if len(rows) > 1 else 1)"
    assert message(own(kind)) == "column a is not always categorical"


def test_an_infinite_value_is_told_with_its_line():
    rows = typed_rows()
    rows.loc[9, "width"] = 0
    assert message(own("return rows.assign(a=rows['length'] / rows['width'])"), rows) == "column a is infinite in row 9"


@pytest.mark.parametrize(
    "expression", ["rows['length'] * (1 + 1e-10 * many)", "np.where(rows['length'] > 5, rows['length'], 1e-13 * many)"]
)
def test_rounding_of_vectorised_functions_does_not_count(expression):
    assert derived(f"many = len(rows) > 1; return rows.assign(a={expression})")[1].derived == ["a"]


def test_later_rows_have_the_columns_and_kinds_of_the_first():
    function = own("return rows.assign(a='x' if rows['length'][0] < 10 else 1, **({} if len(rows) != 3 else {'b': 1}))")
    contract = function.describe(typed_rows(), CONTRACT)
    with pytest.raises(UserError, match=r"does not always return column b; "):
        function.extend(typed_rows().head(3), contract)
    with pytest.raises(UserError, match=r"column a is not always categorical"):
        function.extend(typed_rows().assign(length=11.0), contract)
    assert str(function.extend(typed_rows().head(0), contract)["a"].dtype) == "str"


def test_missing_values_alone_are_of_the_kind_of_the_first_rows():
    function = own("return rows.assign(a=[None if x != x else 'x' for x in rows['width']])")
    contract = function.describe(typed_rows(), CONTRACT)
    only = function.extend(typed_rows().loc[[9]], contract)
    assert only.index.tolist() == [9]
    assert str(only["a"].dtype) == "str"
    assert only["a"].isna().all()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def add(rows:\n", "cannot be imported: SyntaxError: "),
        (b"\xff\xfe", "cannot be imported: UnicodeDecodeError: "),
        ("import no_such_package\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise ValueError('no')\n", "cannot be imported: ValueError: no (line 1)"),
        ("add = 3\n", "the file has no function add"),
        ("def other(rows): return rows\n", "the file has no function add"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_in_one_line(tmp_path, source, words):
    (tmp_path / "f.py").write_bytes(source if isinstance(source, bytes) else source.encode())
    with pytest.raises(UserError) as error:
        own_features.read(tmp_path / "f.py", "add").describe(typed_rows(), CONTRACT)
    assert str(error.value).startswith(f"{NAME}: {words}")
    assert "\n" not in str(error.value)


def test_a_function_can_be_sent_to_another_process_and_may_define_dataclasses():
    head = "from dataclasses import dataclass\n@dataclass\nclass Box:\n    side: 'float'"
    function = own("return rows.assign(a=[Box(x).side for x in rows['length']])", head)
    contract = function.describe(typed_rows(), CONTRACT)
    sent = pickle.loads(pickle.dumps(function))
    pd.testing.assert_frame_equal(sent.extend(typed_rows(), contract), function.extend(typed_rows(), contract))


def test_the_example_of_the_documentation_is_accepted():
    page = (PROJECT / "docs/own-file.md").read_text()
    source = re.search(r"## Your own features.*?```python\n(.*?)```", page, re.S)[1]
    houses = pd.DataFrame({"rooms": [4.0, 6, 5], "floors": [0.0, 2, np.nan], "address": ["1 Elm Road", "x", None]})
    contract = Contract(
        "y", {name: Column("numeric") for name in ("rooms", "floors", "y")} | {"address": Column("text")}
    )
    houses["address"] = houses["address"].astype("str")
    function = OwnFeatures(source, "add", NAME)
    found = function.extend(houses, function.describe(houses.assign(y=0.0), contract))
    assert found["rooms per floor"].tolist()[:2] == [4, 3]
    assert found["street type"].tolist()[0] == "Road"


def test_a_contract_keeps_which_columns_are_derived(tmp_path: Path):
    _, contract = derived("return rows.assign(a=1)")
    (tmp_path / "c.yaml").write_text(contract_text(contract, {}))
    assert read_contract(tmp_path / "c.yaml") == contract
