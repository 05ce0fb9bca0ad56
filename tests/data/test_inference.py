import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT
from frames import enforced, read_table, stored_rows
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor

from workflow.data.candidates import DroppedColumn, InferredColumn
from workflow.data.columns import Column
from workflow.data.contract import Contract, read_contract
from workflow.data.inference import PROFILE_SAMPLE_ROWS, infer, infer_column, sample_size
from workflow.errors import UserError
from workflow.evaluation.leakage import duplicate_findings, duplicate_leakage_scores, leaky_columns

NUMERIC = Column("numeric")


def infer_texts(texts: list, repeat: int = 20, name: str = "it") -> InferredColumn | DroppedColumn:
    return infer_column(pd.Series(texts * repeat, name=name))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "2.5", "3"], Column("numeric")),
        (["1.234,5", "12,25", "7"], Column("numeric", decimal=",", thousands=".")),
        (["1,234.5", "12,345", "7"], Column("numeric", thousands=",")),
        (["3,5", "12,25", "7"], Column("numeric", decimal=",")),
        (["1'234", "99", "7"], Column("numeric", thousands="'")),
        (["1 234", "99,5", "7"], Column("numeric", decimal=",", thousands=" ")),
        (["€ 5", "€ 6.5", "€ 7"], Column("numeric", remove=("€",))),
        (["5 EUR", "6 EUR", "7 eur"], Column("numeric", remove=("EUR", "eur"))),
        (["5 %", "6.5 %", "7 %"], Column("numeric", remove=("%",))),
        (["2024-01-31", "2023-05-01"], Column("date", format="%Y-%m-%d")),
        (["31/01/2024", "01/05/2023"], Column("date", format="%d/%m/%Y")),
        (["01/31/2024", "05/01/2023"], Column("date", format="%m/%d/%Y")),
        (["31.01.2024", "01.05.2023"], Column("date", format="%d.%m.%Y")),
        (["2001-01-01", "2001-02-01", "2001-12-01"], Column("date", format="%Y-%m-%d")),
        (["1/1/2001", "2/1/2001", "12/1/2001"], Column("date", format="%m/%d/%Y")),
        (["1/1/2001", "1/2/2001", "1/12/2001"], Column("date", format="%d/%m/%Y")),
        (["20240131", "20230501", "20220601"], Column("date", format="%Y%m%d")),
        (["2024-01-31 10:00:00", "2023-05-01 11:30:00"], Column("date", format="%Y-%m-%d %H:%M:%S")),
        (["yes", "no"], Column("boolean")),
        (["True", "False"], Column("boolean")),
        (["red", "white", "rosé"], Column("categorical")),
        (["2004", "2011", "1999"], Column("numeric")),
        (["1-2", "3-4", "5-6"], Column("categorical")),
    ],
)
def test_kind_and_style_of_a_column_are_inferred_from_its_texts(texts, expected):
    assert infer_texts(texts).column == expected


@pytest.mark.parametrize(
    ("texts", "repeat", "name", "reason"),
    [
        ([None], 20, "it", "is empty"),
        (["-", "NA"], 20, "it", "is empty"),
        (["Spain"], 20, "it", "is constant"),
        ([str(n) for n in range(100)], 1, "it", "numbers the rows"),
        ([str(n) for n in range(100, 0, -1)], 1, "it", "numbers the rows"),
        ([str(7 * n) for n in range(100)], 1, "house_id", "is an identifier"),
        ([str(7 * n) for n in range(100)], 1, "PassengerId", "is an identifier"),
        ([f"REF-{n}" for n in range(100)], 1, "it", "is an identifier"),
    ],
)
def test_constant_columns_and_identifiers_are_dropped(texts, repeat, name, reason):
    dropped = infer_texts(texts, repeat, name)
    assert isinstance(dropped, DroppedColumn)
    assert reason in dropped.reason


def test_years_are_not_row_numbers():
    assert infer_texts([str(year) for year in range(1871, 1971)], 1, "year") == InferredColumn(NUMERIC)


def test_row_numbers_are_recognized_in_a_sample():
    numbers = np.arange(PROFILE_SAMPLE_ROWS * 3)
    frame = pd.DataFrame({"number": numbers, "size": numbers % 70, "price": numbers % 90 + 1.5})
    assert infer(frame, "price").contract.drop == {"number": "numbers the rows"}


def test_the_sample_is_smaller_for_very_many_columns():
    assert [sample_size(columns) for columns in (1, 250, 500, 1_000, 10_000)] == [20_000, 20_000, 10_000, 5_000, 5_000]


def test_missing_values_have_many_spellings():
    known = infer_texts(["2001", "2002", "2003", "N.V.", "-"])
    assert known == InferredColumn(NUMERIC, frozenset({"N.V.", "-"}))
    new = infer_texts(["2001", "2002", "2003", "sin cosecha"])
    assert new == InferredColumn(NUMERIC, frozenset({"sin cosecha"}), "also missing: sin cosecha")


def test_the_inferred_contract_of_the_bundled_file_agrees_with_the_written_one():
    frame, _ = read_table(PROJECT / "data/wines.csv")
    given = read_contract(PROJECT / "data/wines.yaml")
    found = infer(frame, "price").contract
    kinds = [{name: column.kind for name, column in one.columns.items()} for one in (found, given)]
    assert kinds[0] == kinds[1]
    assert "N.V." in found.missing
    assert list(found.drop) == ["country"]
    pd.testing.assert_frame_equal(enforced(frame, found)[0], enforced(frame, given)[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "cost"}, "target=cost: no such column; expected one of"),
        (
            {"target": "kind"},
            r"target=kind: not a numeric column, but 2 classes \(red, white\).*; write them as 0 and 1",
        ),
        ({"target": "town"}, r"target=town: not a numeric column, but 4 classes \(Jerez, Rueda, Toro, …\)"),
        ({"target": "note"}, r"target=note: not a numeric column \(its values are note 0, note 1, note 2, …\)"),
        ({"target": "price", "time": "kind"}, "time=kind: neither a date nor a numeric column"),
        ({"target": "price", "group": "nothing"}, "group=nothing: no such column"),
    ],
)
def test_unsuitable_columns_are_errors(arguments, words):
    towns = ["Jerez", "Rueda", "Toro", "Alella"] * 10
    frame = pd.DataFrame(
        {
            "kind": ["red", "white"] * 20,
            "town": towns,
            "note": [f"note {n}" for n in range(40)],
            "price": [str(n % 7) for n in range(40)],
        }
    )
    with pytest.raises(UserError, match=words):
        infer(frame, **arguments)


def test_a_file_without_a_feature_is_an_error():
    frame = pd.DataFrame({"country": ["ES"] * 40, "price": [str(n % 7) for n in range(40)]})
    with pytest.raises(UserError, match="no feature is left to predict price from: country is constant"):
        infer(frame, "price")


def test_an_identifier_to_split_by_is_kept():
    frame = pd.DataFrame({"ref": [f"R{n}" for n in range(40)], "size": [str(n % 9) for n in range(40)]})
    frame["price"] = [str(n % 7) for n in range(40)]
    assert infer(frame, "price", group="ref").contract.columns["ref"] == Column("categorical")


def test_columns_that_leak_the_target_are_found(tmp_path):
    random = np.random.default_rng(0)
    price = random.lognormal(3, 1, 200)
    frame = pd.DataFrame(
        {"tax": price * 0.2 + 3, "rank": np.log(price), "size": price + random.normal(0, 9, 200), "price": price}
    )
    contract = infer(frame, "price").contract
    assert {found.columns[0] for found in leaky_columns(stored_rows(frame, tmp_path), contract)} == {"tax", "rank"}


def test_duplicates_in_both_sets_inflate_a_score(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(size=400), "price": random.normal(size=400)})
    contract = infer(frame, "price").contract
    rows = stored_rows(frame, tmp_path)
    scores = duplicate_leakage_scores(rows, np.full(400, 6), contract, 0)
    assert scores["r2_score_without_copies"] < 0.1 < 0.5 < scores["r2_score_with_copies"]
    assert scores["mean_absolute_error_with_copies"] < scores["mean_absolute_error_without_copies"] / 4
    assert duplicate_leakage_scores(rows, np.full(400, 1), contract, 0) == {}


def test_duplicates_are_warned_of_only_where_they_would_improve_a_score():
    def messages(**scores: float) -> list[str]:
        named = {f"mean_absolute_error_{name}_copies": score for name, score in scores.items()}
        return [
            found.message for found in duplicate_findings({"rows_duplicate": 1234, "rows_overlap": 0}, named, "EUR")
        ]

    (message,) = messages(**{"with": 4.0, "without": 32.0})
    assert message.startswith("1,234 rows are exact duplicates")
    assert message.endswith("have a mean absolute error of 4 EUR, but has 32 on rows that it has not seen")
    assert messages(**{"with": 4.0, "without": 4.05}) == []
    assert messages() == []


def test_a_copy_of_the_target_as_text_is_a_leak(tmp_path):
    price = np.random.default_rng(0).lognormal(3, 1, 60)
    frame = pd.DataFrame({"text": price.astype(str), "other": ["a"] * 60, "tax": price * 2, "price": price})
    columns = {"text": Column("categorical"), "other": Column("categorical")}
    contract = Contract("price", columns | {"tax": Column("numeric"), "price": Column("numeric")})
    assert [found.message for found in leaky_columns(stored_rows(frame, tmp_path), contract)] == [
        "column text is a copy of the target",
        "column tax moves one to one with the target (correlation 1.0000)",
    ]
    for other in (None, "7"):
        changed = frame.assign(text=frame["text"].where(frame.index > 0, other))
        assert [found.columns for found in leaky_columns(stored_rows(changed, tmp_path), contract)] == [("tax",)]


@pytest.mark.parametrize(
    ("rows", "values", "expected"),
    [(10, 10, False), (11, 11, True), (40, 2, False), (40, 3, True)],
)
def test_a_leak_takes_more_than_ten_rows_and_two_distinct_values(tmp_path, rows, values, expected):
    price = np.arange(rows) % values * 1.0
    frame = pd.DataFrame({"tax": 3 * price, "price": price})
    contract = Contract("price", {"tax": Column("numeric"), "price": Column("numeric")})
    assert bool(leaky_columns(stored_rows(frame, tmp_path), contract)) is expected


def test_scores_with_and_without_duplicates_match_a_plain_script(tmp_path):
    random = np.random.default_rng(0)
    distinct = pd.DataFrame({"kind": random.choice(list("abcd"), 300), "size": random.normal(5, 2, 300), "same": 1.0})
    distinct = distinct.assign(price=distinct["size"] + 3 * (distinct["kind"] == "a") + random.normal(0, 1, 300))
    kinds = {"kind": Column("categorical")} | {name: Column("numeric") for name in ("size", "same", "price")}
    duplicate_counts = random.integers(1, 12, 300)
    contract = Contract("price", kinds)
    found = duplicate_leakage_scores(stored_rows(distinct, tmp_path), duplicate_counts, contract, 3)

    codes = distinct.assign(kind=distinct["kind"].map({"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0}))[["kind", "size"]]
    codes = (codes - codes.mean()) / codes.std()
    train, test = train_test_split(np.repeat(np.arange(300), duplicate_counts), test_size=0.2, random_state=3)
    price, predicted = distinct["price"].to_numpy(), {"with": [], "without": []}
    for row in test:
        for variant, rows in (("with", train), ("without", train[train % 5 != row % 5])):
            model = KNeighborsRegressor(weights="distance").fit(codes.iloc[rows], price[rows])
            predicted[variant].append(model.predict(codes.iloc[[row]])[0])
    for variant, values in predicted.items():
        assert found[f"r2_score_{variant}_copies"] == pytest.approx(r2_score(price[test], values), abs=1e-3)
        error = np.abs(price[test] - values).mean()
        assert found[f"mean_absolute_error_{variant}_copies"] == pytest.approx(error, abs=1e-3)


def test_a_few_rows_with_many_duplicates_are_scored(tmp_path):
    distinct = pd.DataFrame({"size": np.arange(20.0), "price": np.arange(20.0) * 2})
    contract = infer(distinct, "price").contract
    found = duplicate_leakage_scores(stored_rows(distinct, tmp_path), np.full(20, 100), contract, 0)
    assert found["mean_absolute_error_with_copies"] == 0 < found["mean_absolute_error_without_copies"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series([True, False] * 5), InferredColumn(Column("boolean"))),
        (pd.Series(pd.date_range("2024-01-01", periods=5)), InferredColumn(Column("date"))),
        (pd.Series([1.5, 2.5, 4.0]), InferredColumn(NUMERIC)),
        (pd.Series([1.5, 1.5]), DroppedColumn("is constant")),
        (pd.Series([np.nan, np.nan]), DroppedColumn("is empty")),
        (pd.Series([0.0, 1.0] * 3), InferredColumn(NUMERIC)),
        (pd.Series(range(51)), DroppedColumn("numbers the rows")),
        (pd.Series(range(50)), InferredColumn(NUMERIC)),
        (pd.Series(np.arange(100) * 7, name="house_id"), DroppedColumn("is an identifier")),
        (pd.Series([*np.arange(90) * 7, *[0] * 10], name="house_id"), InferredColumn(NUMERIC)),
        (pd.Series(["NA", None, "-"]), DroppedColumn("is empty", frozenset({"NA", "-"}))),
        (pd.Series(["Spain", "NA"]), DroppedColumn("is constant", frozenset({"NA"}))),
        (pd.Series(["red", "white"] * 9), InferredColumn(Column("categorical"))),
        (
            pd.Series([f"c{number}" for number in range(51)] * 2),
            InferredColumn(Column("categorical"), note="51 categories"),
        ),
        (pd.Series([f"c{number}" for number in range(50)] * 2), InferredColumn(Column("categorical"))),
        (
            pd.Series([f"REF-{number}" for number in range(100)]),
            DroppedColumn("is an identifier: nearly all values are distinct"),
        ),
        (
            pd.Series([f"house {number}" for number in range(100)]),
            DroppedColumn("is an identifier: nearly all values are distinct"),
        ),
        (
            pd.Series([f"the house {number}" for number in range(100)]),
            InferredColumn(Column("text"), note="free text, encoded by its words"),
        ),
        (
            pd.Series([f"REF-{number}" for number in range(90)] + ["REF-0"] * 10),
            InferredColumn(Column("categorical"), note="90 categories"),
        ),
        (
            pd.Series(
                [f"it is in street number {number}" for number in range(46)] + ["it is in no street at all"] * 54
            ),
            InferredColumn(Column("text"), note="free text, encoded by its words"),
        ),
        (
            pd.Series(
                [f"it is in street number {number}" for number in range(44)] + ["it is in no street at all"] * 56
            ),
            InferredColumn(Column("categorical")),
        ),
        (
            pd.Series(["1", "2", "3", "none yet", "sold out"] * 10),
            InferredColumn(NUMERIC, frozenset({"none yet", "sold out"}), "also missing: none yet, sold out"),
        ),
    ],
)
def test_columns_are_inferred_or_dropped_with_a_reason(values, expected):
    assert infer_column(values) == expected


def column_or_none(values: pd.Series, role: str = "") -> Column | None:
    inferred = infer_column(values, role)
    return inferred.column if isinstance(inferred, InferredColumn) else None


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (["x"], Column("numeric")),  # one fault in twenty values
        (["x", "y"], None),  # too many faults, so an identifier
        (["a", "b", "c"] * 2, Column("numeric")),  # at most three words that recur are spellings of missing
        (["a", "b", "c", "d"] * 2, Column("categorical")),
        (["a", "b", "c"], None),  # three words that do not recur
        (["7x7"] * 6, Column("categorical")),  # not words
    ],
)
def test_a_numeric_column_may_have_few_faults(faults, expected):
    texts = [str(number * 1.5) for number in range(20 - len(faults))] + faults
    assert column_or_none(pd.Series(texts)) == expected


def test_a_short_numeric_column_may_have_no_fault():
    assert column_or_none(pd.Series([f"{number}.5" for number in range(18)] + ["x"])) is None


def test_a_tenth_of_many_numbers_and_a_hundredth_of_few_may_be_faults():
    numbers = [f"{number}.5" for number in range(300)]
    coerced = Column("numeric", errors="coerce")
    assert column_or_none(pd.Series([*numbers[:270], *(f"{number}-{number + 1}" for number in range(30))])) == coerced
    assert column_or_none(pd.Series([*numbers[:269], *(f"{number}-{number + 1}" for number in range(31))])) is None
    few = numbers[:50] * 6
    assert column_or_none(pd.Series([*few[:297], "1-2", "2-3", "3-4"])) == NUMERIC
    assert column_or_none(pd.Series([*few[:296], "1-2", "2-3", "3-4", "4-5"])) == Column("categorical")


def test_a_target_may_have_more_faults_than_a_feature():
    texts = pd.Series(
        [f"{number}.5" for number in range(60)] + [f"{number}x{number}" for number in range(40)], name="price"
    )
    assert column_or_none(texts, "target") == NUMERIC
    assert column_or_none(texts) is None


def test_a_required_column_is_kept_even_if_it_identifies_the_rows():
    assert column_or_none(pd.Series(range(100)), "target") == NUMERIC
    assert column_or_none(pd.Series([str(number) for number in range(100)]), "time") == NUMERIC
    assert column_or_none(pd.Series([f"R{number}" for number in range(100)]), "group") == Column("categorical")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["5 EUR", "6 euro", "7 Euro"], Column("numeric", remove=("Euro", "euro", "EUR"))),
        (["1 234.5", "99", "7"], Column("numeric", thousands=" ")),
        (["1", "0"], Column("boolean")),
        (["yes", "no", "maybe"], Column("categorical")),
    ],
)
def test_rarer_styles_and_near_misses(texts, expected):
    assert infer_texts(texts).column == expected


def test_a_whole_contract_is_inferred():
    frame = pd.DataFrame(
        {
            "place": [f"p{number % 60}" for number in range(120)],
            "street": [f"s{number % 70}" for number in range(120)],
            "sold": [f"2024-01-{number % 28 + 1:02}" for number in range(120)],
            "size": [str(number % 9 + 0.5) for number in range(119)] + ["NA"],
            "tags": [["a", "b"]] * 120,
            "country": ["ES"] * 120,
            "price": [str(number % 7 + 0.5) for number in range(120)],
        }
    )
    found = infer(frame, "price", group="place", time="sold")
    assert found.contract == Contract(
        "price",
        {
            "place": Column("categorical"),
            "street": Column("categorical"),
            "sold": Column("date", format="%Y-%m-%d"),
            "size": Column("numeric"),
            "price": Column("numeric"),
        },
        missing=("NA",),
        drop={"tags": "holds lists or other nested values", "country": "is constant"},
        group="place",
        time="sold",
    )
    assert found.notes == {"place": "60 categories", "street": "70 categories"}


@pytest.mark.parametrize(
    ("names", "arguments", "words"),
    [
        (["price"], {"target": "cost"}, "target=cost: no such column; expected one of price"),
        (
            ["kind", "price"],
            {"target": "kind"},
            "target=kind: not a numeric column, but 4 classes (red, white, rosé, …), and classification is not"
            " supported; choose another",
        ),
        (["same", "price"], {"target": "same"}, "target=same: the column is constant; choose another"),
        (
            ["price"],
            {"target": "price"},
            "no feature is left to predict price from: there is no other column; list the features in a contract"
            " (-P contract=<file>)",
        ),
        (
            ["same", "void", "price"],
            {"target": "price"},
            "no feature is left to predict price from: same is constant; void is empty; list the features in a"
            " contract (-P contract=<file>)",
        ),
    ],
)
def test_errors_of_inference_say_what_is_wrong(names, arguments, words):
    frame = pd.DataFrame(
        {
            "kind": ["red", "white", "rosé", "cava"] * 10,
            "same": ["ES"] * 40,
            "void": [None] * 40,
            "price": [str(number % 7 + 0.5) for number in range(40)],
        }
    )
    with pytest.raises(UserError) as error:
        infer(frame[names], **arguments)
    assert str(error.value) == words


def test_the_error_of_an_absent_target_lists_the_first_columns():
    frame = pd.DataFrame({f"c{number}": ["1", "2"] for number in range(22)})
    with pytest.raises(UserError) as error:
        infer(frame, "cost")
    assert (
        str(error.value)
        == f"target=cost: no such column; expected one of {', '.join(f'c{number}' for number in range(20))}, …"
    )
