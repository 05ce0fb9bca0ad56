import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT
from frames import enforced, read_table, stored_rows
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor

from workflow.data.columns import Column
from workflow.data.contract import Contract, read_contract
from workflow.data.inference import SAMPLE, infer, infer_column, sample_size
from workflow.errors import UserError
from workflow.evaluation.leakage import duplicate_leakage_scores, leaky_columns


def column(texts: list, repeat: int = 20, name: str = "it"):
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
def test_kinds(texts, expected):
    found, _, note = column(texts)
    assert found == expected, note


@pytest.mark.parametrize(
    ("texts", "repeat", "name", "reason"),
    [
        ([None], 20, "it", "is empty"),
        (["-", "NA"], 20, "it", "is empty"),
        (["Spain"], 20, "it", "has one value"),
        ([str(n) for n in range(100)], 1, "it", "numbers the rows"),
        ([str(n) for n in range(100, 0, -1)], 1, "it", "numbers the rows"),
        ([str(7 * n) for n in range(100)], 1, "house_id", "is an identifier"),
        ([str(7 * n) for n in range(100)], 1, "PassengerId", "is an identifier"),
        ([f"REF-{n}" for n in range(100)], 1, "it", "is an identifier"),
    ],
)
def test_what_is_set_aside(texts, repeat, name, reason):
    found, _, note = column(texts, repeat, name)
    assert found is None
    assert reason in note


def test_years_do_not_number_the_rows():
    found, _, _ = column([str(year) for year in range(1871, 1971)], 1, "year")
    assert found == Column("numeric")


def test_row_numbers_show_in_a_sample_too():
    frame = pd.DataFrame({"number": range(SAMPLE * 3), "size": np.arange(SAMPLE * 3) % 70, "price": 1.5})
    frame["price"] += np.arange(SAMPLE * 3) % 90
    assert infer(frame, "price").contract.drop == {"number": "numbers the rows"}


def test_fewer_rows_are_looked_at_of_very_many_columns():
    assert [sample_size(columns) for columns in (1, 250, 500, 1_000, 10_000)] == [20_000, 20_000, 10_000, 5_000, 5_000]


def test_missing_values_have_many_spellings():
    found, spelt, _ = column(["2001", "2002", "2003", "N.V.", "-"])
    assert (found, spelt) == (Column("numeric"), {"N.V.", "-"})
    found, spelt, note = column(["2001", "2002", "2003", "sin cosecha"])
    assert (found, spelt) == (Column("numeric"), {"sin cosecha"})
    assert "sin cosecha" in note


def test_the_bundled_file_is_understood_as_its_contract_says():
    frame, _ = read_table(PROJECT / "data/wines.csv")
    given = read_contract(PROJECT / "data/wines.yaml")
    found = infer(frame, "price").contract
    assert {name: terms.kind for name, terms in found.columns.items()} == {n: t.kind for n, t in given.columns.items()}
    assert "N.V." in found.missing
    assert list(found.drop) == ["country"]
    pd.testing.assert_frame_equal(enforced(frame, found)[0], enforced(frame, given)[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "cost"}, "no column cost; the file has"),
        ({"target": "kind"}, "target=kind: not a column of numbers"),
        ({"target": "price", "time": "kind"}, "time=kind: neither a date nor a number"),
        ({"target": "price", "group": "nothing"}, "no column nothing"),
    ],
)
def test_what_cannot_be_inferred(arguments, words):
    frame = pd.DataFrame({"kind": ["red", "white"] * 20, "price": [str(n % 7) for n in range(40)]})
    with pytest.raises(UserError, match=words):
        infer(frame, **arguments)


def test_nothing_to_predict_from():
    frame = pd.DataFrame({"country": ["ES"] * 40, "price": [str(n % 7) for n in range(40)]})
    with pytest.raises(UserError, match="no column is left to predict price from: country has one value"):
        infer(frame, "price")


def test_an_identifier_that_groups_is_kept():
    frame = pd.DataFrame({"ref": [f"R{n}" for n in range(40)], "size": [str(n % 9) for n in range(40)]})
    frame["price"] = [str(n % 7) for n in range(40)]
    assert infer(frame, "price", group="ref").contract.columns["ref"] == Column("categorical")


def test_columns_that_give_the_target_away(tmp_path):
    random = np.random.default_rng(0)
    price = random.lognormal(3, 1, 200)
    frame = pd.DataFrame(
        {"tax": price * 0.2 + 3, "rank": np.log(price), "size": price + random.normal(0, 9, 200), "price": price}
    )
    terms = infer(frame, "price").contract
    assert set(leaky_columns(stored_rows(frame, tmp_path), terms)) == {"tax", "rank"}


def test_copies_flatter_a_score(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(size=400), "price": random.normal(size=400)})
    terms = infer(frame, "price").contract
    rows = stored_rows(frame, tmp_path)
    scores = duplicate_leakage_scores(rows, np.full(400, 6), terms, 0)
    assert scores["r2_score_without_copies"] < 0.1 < 0.5 < scores["r2_score_with_copies"]
    assert scores["mean_absolute_error_with_copies"] < scores["mean_absolute_error_without_copies"] / 4
    assert duplicate_leakage_scores(rows, np.full(400, 1), terms, 0) == {}


def test_a_copy_of_the_target_as_text_gives_it_away(tmp_path):
    price = np.random.default_rng(0).lognormal(3, 1, 60)
    frame = pd.DataFrame({"text": price.astype(str), "other": ["a"] * 60, "tax": price * 2, "price": price})
    columns = {"text": Column("categorical"), "other": Column("categorical")}
    terms = Contract("price", columns | {"tax": Column("numeric"), "price": Column("numeric")})
    assert leaky_columns(stored_rows(frame, tmp_path), terms) == {
        "text": "is a copy of the target",
        "tax": "moves one to one with the target (correlation 1.0000)",
    }
    for other in (None, "7"):
        changed = frame.assign(text=frame["text"].where(frame.index > 0, other))
        assert set(leaky_columns(stored_rows(changed, tmp_path), terms)) == {"tax"}


@pytest.mark.parametrize(
    ("rows", "values", "expected"),
    [(10, 10, False), (11, 11, True), (40, 2, False), (40, 3, True)],
)
def test_how_much_it_takes_to_say_that_a_column_gives_the_target_away(tmp_path, rows, values, expected):
    price = np.arange(rows) % values * 1.0
    frame = pd.DataFrame({"tax": 3 * price, "price": price})
    terms = Contract("price", {"tax": Column("numeric"), "price": Column("numeric")})
    assert bool(leaky_columns(stored_rows(frame, tmp_path), terms)) is expected


def test_scores_with_and_without_copies_are_those_of_a_plain_script(tmp_path):
    random = np.random.default_rng(0)
    distinct = pd.DataFrame({"kind": random.choice(list("abcd"), 300), "size": random.normal(5, 2, 300), "same": 1.0})
    distinct = distinct.assign(price=distinct["size"] + 3 * (distinct["kind"] == "a") + random.normal(0, 1, 300))
    kinds = {"kind": Column("categorical")} | {name: Column("numeric") for name in ("size", "same", "price")}
    copies = random.integers(1, 12, 300)
    terms = Contract("price", kinds)
    found = duplicate_leakage_scores(stored_rows(distinct, tmp_path), copies, terms, 3)

    codes = distinct.assign(kind=distinct["kind"].map({"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0}))[["kind", "size"]]
    codes = (codes - codes.mean()) / codes.std()
    train, test = train_test_split(np.repeat(np.arange(300), copies), test_size=0.2, random_state=3)
    price, predicted = distinct["price"].to_numpy(), {"with": [], "without": []}
    for row in test:
        for seen, learned in (("with", train), ("without", train[train % 5 != row % 5])):
            model = KNeighborsRegressor(weights="distance").fit(codes.iloc[learned], price[learned])
            predicted[seen].append(model.predict(codes.iloc[[row]])[0])
    for seen, values in predicted.items():
        assert found[f"r2_score_{seen}_copies"] == pytest.approx(r2_score(price[test], values), abs=1e-3)
        error = np.abs(price[test] - values).mean()
        assert found[f"mean_absolute_error_{seen}_copies"] == pytest.approx(error, abs=1e-3)


def test_a_few_rows_with_many_copies_each(tmp_path):
    distinct = pd.DataFrame({"size": np.arange(20.0), "price": np.arange(20.0) * 2})
    terms = infer(distinct, "price").contract
    found = duplicate_leakage_scores(stored_rows(distinct, tmp_path), np.full(20, 100), terms, 0)
    assert found["mean_absolute_error_with_copies"] == 0 < found["mean_absolute_error_without_copies"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series([True, False] * 5), (Column("boolean"), set(), "")),
        (pd.Series(pd.date_range("2024-01-01", periods=5)), (Column("date"), set(), "")),
        (pd.Series([1.5, 2.5, 4.0]), (Column("numeric"), set(), "")),
        (pd.Series([1.5, 1.5]), (None, set(), "has one value in the whole file")),
        (pd.Series([np.nan, np.nan]), (None, set(), "is empty")),
        (pd.Series([0.0, 1.0] * 3), (Column("numeric"), set(), "")),
        (pd.Series(range(51)), (None, set(), "numbers the rows")),
        (pd.Series(range(50)), (Column("numeric"), set(), "")),
        (pd.Series(np.arange(100) * 7, name="house_id"), (None, set(), "is an identifier")),
        (pd.Series([*np.arange(90) * 7, *[0] * 10], name="house_id"), (Column("numeric"), set(), "")),
        (pd.Series(["NA", None, "-"]), (None, {"NA", "-"}, "is empty")),
        (pd.Series(["Spain", "NA"]), (None, {"NA"}, "has one value in the whole file")),
        (pd.Series(["red", "white"] * 9), (Column("categorical"), set(), "")),
        (pd.Series([f"c{number}" for number in range(51)] * 2), (Column("categorical"), set(), "51 categories")),
        (pd.Series([f"c{number}" for number in range(50)] * 2), (Column("categorical"), set(), "")),
        (
            pd.Series([f"REF-{number}" for number in range(100)]),
            (None, set(), "is an identifier: nearly every row has another value"),
        ),
        (
            pd.Series([f"house {number}" for number in range(100)]),
            (None, set(), "is an identifier: nearly every row has another value"),
        ),
        (
            pd.Series([f"the house {number}" for number in range(100)]),
            (Column("text"), set(), "prose, read by its words"),
        ),
        (
            pd.Series([f"REF-{number}" for number in range(90)] + ["REF-0"] * 10),
            (Column("categorical"), set(), "90 categories"),
        ),
        (
            pd.Series(
                [f"it is in street number {number}" for number in range(46)] + ["it is in no street at all"] * 54
            ),
            (Column("text"), set(), "prose, read by its words"),
        ),
        (
            pd.Series(
                [f"it is in street number {number}" for number in range(44)] + ["it is in no street at all"] * 56
            ),
            (Column("categorical"), set(), ""),
        ),
        (
            pd.Series(["1", "2", "3", "none yet", "sold out"] * 10),
            (Column("numeric"), {"none yet", "sold out"}, "also spells missing as none yet, sold out"),
        ),
    ],
)
def test_what_a_column_is(values, expected):
    assert infer_column(values) == expected


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        (["x"], Column("numeric")),  # one fault in twenty is one
        (["x", "y"], None),  # so it is an identifier
        (["a", "b", "c"] * 2, Column("numeric")),  # three words that recur
        (["a", "b", "c", "d"] * 2, Column("categorical")),
        (["a", "b", "c"], None),  # that do not
        (["7x"] * 6, Column("categorical")),  # no words
    ],
)
def test_how_much_in_a_column_of_numbers_may_be_none(odd, expected):
    texts = [str(number * 1.5) for number in range(20 - len(odd))] + odd
    assert infer_column(pd.Series(texts))[0] == expected


def test_of_few_values_none_may_be_odd():
    assert infer_column(pd.Series([f"{number}.5" for number in range(18)] + ["x"]))[0] is None


def test_one_in_a_hundred_may_be_odd():
    numbers = [f"{number}.5" for number in range(300)]
    assert infer_column(pd.Series([*numbers[:297], "1a", "2b", "3c"]))[0] == Column("numeric")
    assert infer_column(pd.Series([*numbers[:296], "1a", "2b", "3c", "4d"]))[0] is None


def test_a_target_may_have_more_faults_than_a_feature():
    texts = pd.Series([f"{number}.5" for number in range(60)] + [f"{number}x" for number in range(40)], name="price")
    assert infer_column(texts, keep=True)[0] == Column("numeric")
    assert infer_column(texts)[0] is None


def test_what_is_kept_though_it_numbers_the_rows():
    assert infer_column(pd.Series(range(100)), keep=True)[0] == Column("numeric")
    assert infer_column(pd.Series([str(number) for number in range(100)]), keep=True)[0] == Column("numeric")
    assert infer_column(pd.Series([f"R{number}" for number in range(100)]), keep=True)[0] == Column("categorical")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["5 EUR", "6 euro", "7 Euro"], Column("numeric", remove=("Euro", "euro", "EUR"))),
        (["1 234.5", "99", "7"], Column("numeric", thousands=" ")),
        (["1", "0"], Column("boolean")),
        (["yes", "no", "maybe"], Column("categorical")),
    ],
)
def test_more_kinds(texts, expected):
    assert column(texts)[0] == expected


def test_all_that_is_found_in_a_file():
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
    found = infer(frame, "price", "place", "sold")
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
        drop={"tags": "holds lists or other nested values", "country": "has one value in the whole file"},
        group="place",
        time="sold",
    )
    assert found.notes == {"place": "60 categories", "street": "70 categories"}


@pytest.mark.parametrize(
    ("names", "arguments", "words"),
    [
        (["price"], {"target": "cost"}, "no column cost; the file has price"),
        (["kind", "price"], {"target": "kind"}, "target=kind: not a column of numbers (it reads red, white, rosé)"),
        (["same", "price"], {"target": "same"}, "column same, which is needed, has one value in the whole file"),
        (
            ["price"],
            {"target": "price"},
            "no column is left to predict price from: there is no other; name the columns to use in a contract"
            " (-P contract=…)",
        ),
        (
            ["same", "void", "price"],
            {"target": "price"},
            "no column is left to predict price from: same has one value in the whole file; void is empty; name the"
            " columns to use in a contract (-P contract=…)",
        ),
    ],
)
def test_why_nothing_can_be_inferred(names, arguments, words):
    frame = pd.DataFrame(
        {
            "kind": ["red", "white", "rosé", "cava"] * 10,
            "same": ["ES"] * 40,
            "void": [None] * 40,
            "price": [str(number % 7 + 0.5) for number in range(40)],
        }
    )
    with pytest.raises(UserError) as as_user_error:
        infer(frame[names], **arguments)
    assert str(as_user_error.value) == words


def test_only_the_first_columns_are_named():
    frame = pd.DataFrame({f"c{number}": ["1", "2"] for number in range(22)})
    with pytest.raises(UserError) as as_user_error:
        infer(frame, "cost")
    assert str(as_user_error.value) == f"no column cost; the file has {', '.join(f'c{number}' for number in range(20))}"
