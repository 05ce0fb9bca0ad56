import numpy as np
import pandas as pd
import pytest

from workflow.data.candidates import DroppedColumn, InferredColumn
from workflow.data.columns import Column
from workflow.data.inference import FileStyle, infer, infer_column
from workflow.data.values import parse_values

AMOUNTS = [round(float(value), 2) for value in np.random.default_rng(0).lognormal(7, 1, 300)]


def texts(values: list[str]) -> pd.Series:
    return pd.Series(values, name="it", dtype="str")


def written(form: str, values: list[float] = AMOUNTS) -> pd.Series:
    return texts([form.format(value) for value in values])


def inferred(values: pd.Series, role: str = "", decimal: str = "") -> InferredColumn:
    found = infer_column(values, role, FileStyle(lambda: decimal, lambda: None))
    assert isinstance(found, InferredColumn), found
    return found


def codes_of(found: InferredColumn) -> list[str]:
    return [finding.code for finding in found.findings]


@pytest.mark.parametrize(
    ("cells", "column", "expected"),
    [
        (["(5)", "5-", "−5", "–5", "- 5", "+5", "-5"], Column("numeric"), [-5, -5, -5, -5, -5, 5, -5]),
        (["()", "(x)", "-", "5-6", "--5"], Column("numeric"), [np.nan] * 5),
        (["($1,705.38)", "$2", "-$5", "$-5", "$(5)", "5 $-"], Column("numeric", thousands=",", remove=("$",)),
         [-1705.38, 2, -5, -5, -5, -5]),
        (["12 m", "12M", "12 mm", "m12"], Column("numeric", remove=("m",)), [12, 12, np.nan, 12]),
        (["1.1k", "71.2 k", "1.2M", "950", "4.35k"], Column("numeric", multiply={"k": 1000, "M": 1e6}),
         [1100, 71200, 1.2e6, 950, 4350]),
        (["3 km", "2 miles"], Column("numeric", multiply={"km": 1, "miles": 1.609344}), [3, 3.218688]),
        (["0,875", "12,34", "1,254.5", "1,23,456"], Column("numeric", thousands=","), [np.nan, np.nan, 1254.5, 123456]),
        (["1’254.5", "1'254"], Column("numeric", thousands="'"), [1254.5, 1254]),
    ],
)  # fmt: skip
def test_numbers_are_parsed_as_people_write_them(cells, column, expected):
    np.testing.assert_array_equal(parse_values(texts(cells), column), expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (written("${:,.2f}").where(lambda cells: cells.index % 3 > 0, written("(${:,.2f})")), {"remove": ("$",)}),
        (written("{:,.0f} km"), {"remove": ("km",)}),
        (written("{:,.0f} sq ft"), {"remove": ("sq ft",)}),
        (written("{:,.2f} µg/m³"), {"remove": ("µg/m³",)}),
        (written("Rs. {:,.0f}"), {"remove": ("Rs.",)}),
        (written("kg {:,.0f}"), {"remove": ("kg",)}),
        (written("{:,.0f}+"), {"remove": ("+",)}),
        (written("{:,.1f} k€"), {"multiply": {"k€": 1000}}),
    ],
)
def test_one_unit_is_removed_and_suffixes_multiply(values, expected):
    assert inferred(values).column == Column("numeric", thousands=",", **expected)


def test_a_suffix_for_a_thousand_is_read_in_a_target_too():
    values = texts([f"{value:.0f}" if value < 1000 else f"{value / 1000:.1f}K" for value in AMOUNTS])
    found = inferred(values, "target")
    assert found.column == Column("numeric", multiply={"K": 1000})
    assert parse_values(values, found.column).notna().all()


def test_m_is_a_million_only_beside_another_suffix():
    assert inferred(written("{:.1f} m")).column == Column("numeric", remove=("m",))
    mixed = texts([f"{value:.1f}" + "km"[number % 2] for number, value in enumerate(AMOUNTS)])
    assert inferred(mixed).column == Column("numeric", multiply={"k": 1000, "m": 1e6})


def test_units_of_one_kind_are_converted_and_others_are_not_mixed():
    lengths = texts([f"{value:.0f} {('km', 'miles')[number % 2]}" for number, value in enumerate(AMOUNTS)])
    found = inferred(lengths)
    first, second = found.column.multiply
    assert found.column.multiply[first] == 1
    assert found.column.multiply[second] == pytest.approx(1.609344 if second == "miles" else 1 / 1.609344)
    assert codes_of(found) == ["D006"]
    degrees = texts([f"{number % 40}°{'CF'[number % 2]}" for number in range(300)])
    assert inferred(degrees).column.kind == "categorical"
    rare = texts([f"{value:.1f} {'km/kg' if number % 30 == 0 else 'kmpl'}" for number, value in enumerate(AMOUNTS)])
    assert inferred(rare).column == Column("numeric", remove=("kmpl",), errors="coerce")


def test_a_unit_beside_a_part_of_the_numbers_is_noted():
    cells = texts([f"{value:.1f}{'%' if number % 2 else ''}" for number, value in enumerate(AMOUNTS)])
    found = inferred(cells)
    assert found.column == Column("numeric", remove=("%",))
    assert found.findings[0].message == "column it has % beside 50 % of its numbers; the others are read alike"


def test_several_currencies_are_warned_of_and_several_ways_of_writing_one_are_not():
    several = texts([f"{'$€¥'[number % 3]}{value:,.0f}" for number, value in enumerate(AMOUNTS)])
    found = inferred(several, "target")
    assert codes_of(found) == ["D005"]
    assert "$ 100, € 100, ¥ 100 of 300 values" in found.findings[0].message
    same = texts([f"{value:.0f} {('EUR', '€')[number % 2]}" for number, value in enumerate(AMOUNTS)])
    assert codes_of(inferred(same)) == []


@pytest.mark.parametrize(
    "cells",
    [
        [f"Room {number % 30 + 100}" for number in range(300)],
        [f"{number % 30 + 1}{'ABC'[number % 3]}" for number in range(300)],
        [f"Q{number % 4 + 1}" for number in range(300)],
        [f"{number % 40:05}" for number in range(300)],
        [f"{number % 50:03}" for number in range(300)],
    ],
)
def test_names_and_codes_with_digits_are_categories(cells):
    assert inferred(texts(cells)).column.kind == "categorical"


def test_a_few_ranges_and_notes_among_numbers_become_missing_values():
    for odd in ("10-12", "about 12, see note"):
        cells = texts([odd if number % 33 == 0 else f"{value}" for number, value in enumerate(AMOUNTS)])
        assert inferred(cells).column == Column("numeric", errors="coerce")


def test_a_point_before_three_digits_means_what_the_rest_of_the_file_says():
    cells = texts([f"{int(value):,}".replace(",", ".") for value in AMOUNTS if value > 1000])
    assert inferred(cells).column == Column("numeric")
    assert codes_of(inferred(cells)) == ["D008"]
    assert inferred(cells, decimal=",").column == Column("numeric", decimal=",", thousands=".")
    assert codes_of(inferred(cells, decimal=",")) == []
    beside_small = texts([f"{int(value):,}".replace(",", ".") for value in AMOUNTS])
    assert inferred(beside_small).column == Column("numeric", decimal=",", thousands=".")
    decimals = written("{:.3f}", [value / 1000 for value in AMOUNTS])
    assert inferred(decimals, decimal=",").column == Column("numeric")
    with_comma = texts([f"{value / 1000 + 1:.3f}".replace(".", ",") for value in AMOUNTS])
    assert inferred(with_comma, decimal=",").column == Column("numeric", decimal=",")


def test_other_columns_decide_on_the_decimal_separator():
    rents = [f"{int(value):,}".replace(",", ".") for value in AMOUNTS if value > 1000]
    frame = pd.DataFrame({"size": [f"{number % 90},5" for number in range(len(rents))], "rent": rents}, dtype="str")
    assert infer(frame, "rent").contract.columns["rent"] == Column("numeric", decimal=",", thousands=".")


def test_a_target_of_two_numbers_is_a_warning():
    frame = pd.DataFrame({"x": [f"{value}" for value in AMOUNTS], "y": ["0", "1"] * 150}, dtype="str")
    found = infer(frame, "y")
    assert found.contract.columns["y"] == Column("numeric")
    assert [finding.code for finding in found.findings] == ["D012"]


def test_only_names_and_codes_are_identifiers():
    torque = infer_column(texts([f"{value:.0f}Nm@ {number}rpm" for number, value in enumerate(AMOUNTS)]))
    assert isinstance(torque, DroppedColumn)
    assert torque.reason.startswith("has nearly as many values as rows, in no form that is read (first: ")


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ([f"{v / 1000:.3f} kg" if v >= 1000 else f"{v:.0f} g" for v in AMOUNTS], {"multiply": ("kg", "g")}),
        ([f"{v / 1000:.3f}k" if v >= 1000 else f"{v:.0f}" for v in AMOUNTS], {"multiply": ("k",)}),
        ([f"{v:.2f}MM" if v < 1000 else f"{v:.0f}M" for v in AMOUNTS], {"multiply": ("MM", "M")}),
        ([f"Rs.{v:.0f}{'/-' if number % 2 else ''}" for number, v in enumerate(AMOUNTS)], {"remove": ("Rs.",)}),
    ],
)
def test_numbers_of_different_units_prove_nothing_about_separators_and_signs(cells, column):
    found = inferred(texts(cells), decimal=".").column
    assert (found.thousands, set(found.multiply), found.remove) == (
        "",
        set(column.get("multiply", ())),
        column.get("remove", ()),
    )
    assert parse_values(texts(cells), found).min() > 0
    if "M" in found.multiply:
        assert found.multiply == {"MM": 1e6, "M": 1e3}


@pytest.mark.parametrize(
    "cells",
    [
        [("1B", "2B", "3B", "SS", "C")[number % 5] for number in range(300)],
        [f"P{number % 30}" for number in range(300)],
        [f"{8_944_500_000_000_000_000 + 7 * (number % 60)}" for number in range(300)],
        [f"{value:.2f} {('CR', 'DR')[number % 2]}" for number, value in enumerate(AMOUNTS[:100] * 3)],
    ],
)
def test_codes_stay_categories(cells):
    assert inferred(texts(cells)).column == Column("categorical")


def test_numbers_that_are_read_as_categories_are_said():
    cells = [f"{number % 90}" if number % 5 else f"{number % 90}-{number % 90 + 9}" for number in range(300)]
    found = inferred(texts(cells))
    assert (found.column.kind, codes_of(found)) == ("categorical", ["D013"])
