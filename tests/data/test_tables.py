import bz2
import gzip
import lzma
import resource
import sys
import zipfile
from urllib.parse import quote

import pandas as pd
import pyarrow
import pytest
from frames import read_table
from pyarrow import parquet

from workflow.data import csv_files, files, stored
from workflow.data.columns import Column
from workflow.data.contract import Contract, check
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.tables import unique_names
from workflow.data.values import to_text
from workflow.errors import UserError

ROWS = [["name", "price", "size"]] + [[f"viña {n}", f"{n},5", str(2 * n)] for n in range(40)]


def csv_bytes(delimiter: str = ";", newline: str = "\n", encoding: str = "utf-8") -> bytes:
    return newline.join(delimiter.join(row) for row in ROWS).encode(encoding)


CYRILLIC = "город;цена\n" + "\n".join(f"{town};{n}" for n in range(9) for town in ("Москва", "Пермь", "Омск"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("semicolons.csv", csv_bytes()),
        ("tabs.tsv", csv_bytes("\t")),
        ("pipes.txt", csv_bytes("|")),
        ("windows.csv", csv_bytes(newline="\r\n")),
        ("old mac.csv", csv_bytes(newline="\r")),
        ("mark.csv", csv_bytes(encoding="utf-8-sig")),
        ("utf16.csv", csv_bytes(encoding="utf-16")),
        ("western.csv", csv_bytes(encoding="cp1252")),
        ("gz.csv.gz", gzip.compress(csv_bytes())),
        ("hidden gz.csv", gzip.compress(csv_bytes(encoding="cp1252"))),
        ("bz2.csv.bz2", bz2.compress(csv_bytes())),
        ("xz.csv.xz", lzma.compress(csv_bytes())),
        ("zst.csv.zst", pyarrow.compress(csv_bytes(), "zstd", asbytes=True)),
        ("hidden zst.csv", pyarrow.compress(csv_bytes(), "zstd", asbytes=True)),
        ("no last newline.csv", csv_bytes() + b"\n"),
        ("spaces.csv", csv_bytes().replace(b";", b" ; ")),
    ],
)
def test_any_dialect_encoding_and_compression_gives_the_same_rows(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    frame, malformed = read_table(tmp_path / name)
    assert [list(frame.columns), *frame.to_numpy().tolist()] == ROWS
    assert list(frame.index) == list(range(2, 42))
    assert malformed.empty


def test_the_encoding_of_cyrillic_text_is_detected(tmp_path):
    (tmp_path / "it.csv").write_bytes(CYRILLIC.encode("cp1251"))
    frame, _ = read_table(tmp_path / "it.csv")
    assert list(frame.columns) == ["город", "цена"]
    assert frame["город"][2] == "Москва"


CENTRAL = {
    "polski": ["Zażółć gęślą jaźń", "wino półsłodkie", "Łódź"],
    "česky": ["Příliš žluťoučký kůň", "růžové", "těžší"],
    "hrvatski": ["čaša vina", "graševina", "ružičasto"],
    "slovenčina": ["veľmi suché", "červené", "ľahšie"],
}
WESTERN = {
    "français": ["Château de l'été", "cœur naïf", "goût très élégant"],
    "español": ["viñedo", "¿dónde?", "3º piso", "vino a 5£"],
    "deutsch": ["Weißwein", "süß", "Grüner Veltliner"],
    "português": ["vinhão", "coração", "pêra"],
}


@pytest.mark.parametrize(
    ("encoding", "words"),
    [*(("cp1250", words) for words in CENTRAL.items()), *(("cp1252", words) for words in WESTERN.items())],
    ids=[*CENTRAL, *WESTERN],
)
def test_central_and_western_european_encodings_are_told_apart(tmp_path, encoding, words):
    name, values = words
    (tmp_path / "it.csv").write_bytes(
        "\n".join([f"{name};n", *(f"{value};1" for value in values * 5)]).encode(encoding)
    )
    frame, _ = read_table(tmp_path / "it.csv")
    assert list(frame.columns) == [name, "n"]
    assert frame[name].tolist() == values * 5


SIGNS = {
    "cp1252": [
        "€ 12",
        "13.5€",
        "£9",
        "¥900",
        "21 °C",
        "12 m²",
        "1½",
        "5 µm",
        "5–7",
        "don’t",
        "3º",
        "5 à 10",
        "café € 12",
    ],
    "iso8859_15": ["€ 12", "13.5€", "cœur € 5"],
    "mac_roman": ["€ 12", "21 °C", "5 – 7", "Château de l’été", "España", "süß Grüner", "São Paulo"],
    "cp1250": ["€ 12 zł", "12 zł", "5 Kč", "Łódź € 5"],
    "cp1251": ["Москва 5 €", "100 руб.", "100 р.", "№ 5", "5 м"],
}


@pytest.mark.parametrize(("encoding", "text"), [(each, text) for each in SIGNS for text in SIGNS[each]])
def test_a_sign_beside_digits_shows_the_encoding(tmp_path, encoding, text):
    (tmp_path / "it.csv").write_bytes(("id;x\n" + "".join(f"{n};{text}\n" for n in range(9))).encode(encoding))
    with files.open_table(tmp_path / "it.csv") as table:
        assert table.sample(1)["x"].tolist() == [text]
        assert table.notes == (f"not UTF-8; read as {encoding}, the likeliest encoding of its letters and signs",)


def test_partitions_of_a_folder_become_columns(tmp_path):
    for year, winery in ((2023, "A B"), (2024, None)):
        folder = tmp_path / f"year={year}" / f"winery={quote(winery) if winery else '__HIVE_DEFAULT_PARTITION__'}"
        folder.mkdir(parents=True)
        pd.DataFrame({"price": [1.0, 2.0]}).to_parquet(folder / "part-0.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary" / "part.parquet").touch()
    frame, _ = read_table(tmp_path)
    assert frame["price"].tolist() == [1.0, 2.0, 1.0, 2.0]
    assert frame["year"].tolist() == ["2023", "2023", "2024", "2024"]
    assert frame["winery"].fillna("none").tolist() == ["A B", "A B", "none", "none"]


def test_the_only_filled_sheet_of_a_workbook_is_read(tmp_path):
    frame = pd.DataFrame({"name": ["a", None], "price": [1.5, 2.0], 2024: [1, 2]})
    frame.to_excel(tmp_path / "it.xlsx", index=False)
    found, malformed = read_table(tmp_path / "it.xlsx")
    assert list(found.columns) == ["name", "price", "2024"]
    assert found["price"].tolist() == [1.5, 2.0]
    assert list(found.index) == [2, 3]
    assert malformed.empty
    with pd.ExcelWriter(tmp_path / "two.xlsx") as writer:
        for sheet in ("one", "two"):
            frame.to_excel(writer, sheet_name=sheet, index=False)
    with pytest.raises(UserError, match="a workbook with 2 sheets that have rows; expected one"):
        read_table(tmp_path / "two.xlsx")


def test_a_workbook_without_openpyxl_is_an_error(tmp_path, monkeypatch):
    pd.DataFrame({"price": [1.5]}).to_excel(tmp_path / "it.xlsx", index=False)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UserError, match="which requires openpyxl: pip install openpyxl, or save it as CSV"):
        read_table(tmp_path / "it.xlsx")


def test_the_only_file_of_a_zip_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        archive.writestr("folder/wines.csv", csv_bytes())
    assert len(read_table(tmp_path / "it.zip")[0]) == 40


def test_quoted_fields_may_have_delimiters_quotes_and_newlines(tmp_path):
    (tmp_path / "it.csv").write_text('name,note\n"x, y","line\nbreak"\n"he said ""hi""",2\n')
    assert read_table(tmp_path / "it.csv")[0].to_numpy().tolist() == [["x, y", "line\nbreak"], ['he said "hi"', "2"]]


def test_malformed_lines_are_listed_with_their_reason(tmp_path):
    (tmp_path / "it.csv").write_text("a,b,c\n1,2,3\n1,2\n1,2,3,4\n5,6,7\n" * 1 + "8,9,10\n" * 5)
    frame, malformed = read_table(tmp_path / "it.csv")
    assert list(frame.index) == [2, 5, 6, 7, 8, 9, 10]
    assert malformed[["row", "value", "reason"]].to_numpy().tolist() == [
        [3, "1,2", "has too few fields"],
        [4, "1,2,3,4", "has too many fields"],
    ]


def test_parquet_keeps_its_types(tmp_path):
    frame = pd.DataFrame({"when": pd.to_datetime(["2024-01-01", None]), "ok": [True, False], "price": [1.5, 2.5]})
    frame.to_parquet(tmp_path / "it.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "it.parquet")[0], frame.astype({"ok": "boolean"}))


def test_files_of_a_folder_are_read_in_the_order_of_their_names(tmp_path):
    (tmp_path / "b.csv").write_text("name,price\nb,2\n")
    (tmp_path / "a.csv").write_text("name,price\na,1\n")
    (tmp_path / ".hidden").write_text("")
    assert read_table(tmp_path)[0]["name"].tolist() == ["a", "b"]
    (tmp_path / "c.csv").write_text("name,cost\nc,3\n")
    with pytest.raises(UserError, match=r"c.csv: its columns differ from those of a\.csv"):
        read_table(tmp_path)


def test_repeated_names_get_a_number():
    assert unique_names(["a", "b", "a", "a"]) == ["a", "b", "a_2", "a_3"]


def parquet_bytes(folder) -> bytes:
    pd.DataFrame({"price": range(9)}).to_parquet(folder / "it.parquet")
    return (folder / "it.parquet").read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"a,b\n", "no rows after the header a, b$"),
        (b"a,b\nx\n", "no rows after the header a, b: line 2 has too few fields"),
        (b"a,b\n1,2,3\n4,5,6,7\n", "too many fields"),
        (b"1,2,3\n4,5,6\n", "no header: its first line is 1, 2, 3; add a line of column names"),
        (b"a,b\n" + b"x,1\n" * 30 + b"one \r\r two,1\nx,2\n", "line 32 has a carriage return in it; remove it"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page, not a table"),
        (b"  <html>\n<body>,,</body></html>", "a web page, not a table"),
        (gzip.compress(csv_bytes() * 50)[:200], "cannot be unpacked"),
        (bz2.compress(csv_bytes())[:60], "cannot be unpacked"),
        (lzma.compress(csv_bytes())[:60], "cannot be unpacked"),
        (b"PK\x03\x04rubbish", "cannot be unpacked"),
        (b"PAR1rubbish", "not a valid Parquet file"),
        ("truncated parquet", "not a valid Parquet file"),
        ("a zip of two", "a zip of 2 files; expected one"),
        ("a workbook", "not a valid Excel workbook"),
        (",".join(f"c{n}" for n in range(10**6)).encode(), "its first line has 1,000,000 fields"),
        (b"\xff\xfea\x00b", "not valid utf-16, the detected encoding; save it as UTF-8"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_file_without_a_table_is_an_error(tmp_path, content, words):
    path = tmp_path / "it.csv"
    if content == "truncated parquet":
        content = parquet_bytes(tmp_path)[:-20]
    elif content in ("a zip of two", "a workbook"):
        names = ["[Content_Types].xml", "sheet.xml"] if content == "a workbook" else ["a.csv", "b.csv"]
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "a,b\n1,2\n")
        content = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        read_table(path)
    assert "\n" not in str(error.value)


def test_a_full_disk_is_not_reported_as_an_error_of_the_file(tmp_path):
    path, before = tmp_path / "it.csv.gz", resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10**6))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            read_table(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("lines", [("a;b", "1;x", "bad", "2;", " 3 ;y", "worse", "4;z"), ("a;b", "1;x")])
@pytest.mark.parametrize("size", [1, 2, 100])
def test_chunks_and_samples_have_the_rows_of_the_table(tmp_path, monkeypatch, lines, size):
    monkeypatch.setattr(stored, "CHUNK_ROWS", size)
    (tmp_path / "data.csv").write_text("\n".join(lines))
    with files.open_table(tmp_path / "data.csv") as table:
        for _ in range(2):  # chunks can be read again
            chunks = list(table.chunks())
            assert max(map(len, chunks)) == min(size, table.rows)
            rows = [(number, *line.split(";")) for number, line in enumerate(lines, 1) if ";" in line][1:]
            whole = pd.concat(chunks)
            pd.testing.assert_frame_equal(table.sample(2), whole.iloc[evenly_spaced_positions(len(whole), 2)])
            found = whole.fillna("").itertuples(name=None)
            assert list(found) == [(number, a.strip(), b) for number, a, b in rows]
        assert table.malformed["row"].tolist() == [number for number, line in enumerate(lines, 1) if ";" not in line]


def test_small_batches_are_merged():
    batches = [pyarrow.record_batch({"a": [str(number)] * size}) for number, size in enumerate([1, 1, 1, 5, 2, 1])]
    found = [batch["a"].to_pylist() for batch in csv_files.coalesce_batches(batches, 3)]
    assert found == [["0", "1", "2"], ["3"] * 5, ["4", "4", "5"]]
    assert list(csv_files.coalesce_batches([], 3)) == []


def test_lines_are_numbered_through_the_files_of_a_folder(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("a,b,c\n1,2,3\n1,2\n" + "4,5,6\n" * 4)
    rows, malformed = read_table(tmp_path)
    assert rows.index.tolist() == [2, 4, 5, 6, 7, 8, 10, 11, 12, 13]
    assert malformed["row"].tolist() == [3, 9]


def test_parquet_files_of_a_folder_are_read_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "CHUNK_ROWS", 2)
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})
    for year in ("2023", "2024"):
        (tmp_path / f"year={year}").mkdir()
        frame.to_parquet(tmp_path / f"year={year}/part.parquet")
    with files.open_table(tmp_path) as table:
        chunks, malformed = list(table.chunks()), table.malformed
        some = table.sample(3)
    assert [len(rows) for rows in chunks] == [2, 1, 2, 1]
    found = pd.concat(chunks)
    assert (found.index.tolist(), list(found), malformed.empty) == ([*range(6)], ["a", "b", "year"], True)
    assert found["a"].tolist() == [1, 2, 3] * 2
    assert found["year"].tolist() == ["2023"] * 3 + ["2024"] * 3
    pd.testing.assert_frame_equal(some, found.iloc[[0, 2, 5]])


def test_a_column_has_the_same_type_in_every_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "CHUNK_ROWS", 2)
    table = pyarrow.table({"new": [True, None, False, True], "rooms": [2**53 + 1, None, 3, 4]})
    parquet.write_table(table, tmp_path / "it.parquet")
    with files.open_table(tmp_path / "it.parquet") as table:
        first, second = table.chunks()
    assert first.dtypes.equals(second.dtypes)
    assert to_text(pd.concat([first, second])["rooms"]).dropna().tolist() == ["9007199254740993", "3", "4"]
    contract = Contract("rooms", {"new": Column("boolean"), "rooms": Column("categorical")})
    kept, rejected = check(pd.concat([first, second]).assign(rooms="1"), contract)
    assert rejected.empty
    assert kept["new"].fillna(-1).tolist() == [1, -1, 0, 1]


def test_title_rows_of_a_sheet_are_skipped_and_noted(tmp_path):
    frame = pd.DataFrame({"name": ["a", "b"], "price": [1.5, 2.0], "size": [1, None]})
    with pd.ExcelWriter(tmp_path / "it.xlsx") as writer:
        frame.to_excel(writer, index=False, startrow=2)
        writer.book["Sheet1"]["A1"] = "Report of May"
    with files.open_table(tmp_path / "it.xlsx") as table:
        pd.testing.assert_frame_equal(pd.concat(table.chunks()), frame.set_axis([4, 5]))
        assert table.notes == ("2 rows above the header skipped",)


def test_a_header_that_few_lines_fit_is_an_error_with_the_remedy(tmp_path):
    (tmp_path / "it.csv").write_text("a,b,c\n" + "1,2,3\n" * 5 + "1,2,3,4\n" * 9)
    with pytest.raises(
        UserError, match=r"9 of 14 lines do not fit the header a, b, c: line 7 has too many fields; del"
    ):
        read_table(tmp_path / "it.csv")
