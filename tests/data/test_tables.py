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

from workflow.data import stored, tables
from workflow.data.columns import Column, to_text
from workflow.data.contract import Contract, check
from workflow.data.sampling import evenly_spaced_positions
from workflow.data.tables import unique_names
from workflow.errors import UserError

ROWS = [["name", "price", "size"]] + [[f"viña {n}", f"{n},5", str(2 * n)] for n in range(40)]


def written(delimiter: str = ";", newline: str = "\n", encoding: str = "utf-8") -> bytes:
    return newline.join(delimiter.join(row) for row in ROWS).encode(encoding)


CYRILLIC = "город;цена\n" + "\n".join(f"{town};{n}" for n in range(9) for town in ("Москва", "Пермь", "Омск"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("semicolons.csv", written()),
        ("tabs.tsv", written("\t")),
        ("pipes.txt", written("|")),
        ("windows.csv", written(newline="\r\n")),
        ("old mac.csv", written(newline="\r")),
        ("mark.csv", written(encoding="utf-8-sig")),
        ("utf16.csv", written(encoding="utf-16")),
        ("western.csv", written(encoding="cp1252")),
        ("gz.csv.gz", gzip.compress(written())),
        ("hidden gz.csv", gzip.compress(written(encoding="cp1252"))),
        ("bz2.csv.bz2", bz2.compress(written())),
        ("xz.csv.xz", lzma.compress(written())),
        ("zst.csv.zst", pyarrow.compress(written(), "zstd", asbytes=True)),
        ("hidden zst.csv", pyarrow.compress(written(), "zstd", asbytes=True)),
        ("no last newline.csv", written() + b"\n"),
        ("spaces.csv", written().replace(b";", b" ; ")),
    ],
)
def test_the_same_rows_however_they_are_written(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    frame, lost = read_table(tmp_path / name)
    assert [list(frame.columns), *frame.to_numpy().tolist()] == ROWS
    assert list(frame.index) == list(range(2, 42))
    assert lost.empty


def test_cyrillic(tmp_path):
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
def test_central_and_western_european_text(tmp_path, encoding, words):
    name, values = words
    (tmp_path / "it.csv").write_bytes(
        "\n".join([f"{name};n", *(f"{value};1" for value in values * 5)]).encode(encoding)
    )
    frame, _ = read_table(tmp_path / "it.csv")
    assert list(frame.columns) == [name, "n"]
    assert frame[name].tolist() == values * 5


def test_a_folder_of_partitions(tmp_path):
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


def test_a_workbook(tmp_path):
    frame = pd.DataFrame({"name": ["a", None], "price": [1.5, 2.0], 2024: [1, 2]})
    frame.to_excel(tmp_path / "it.xlsx", index=False)
    found, lost = read_table(tmp_path / "it.xlsx")
    assert list(found.columns) == ["name", "price", "2024"]
    assert found["price"].tolist() == [1.5, 2.0]
    assert list(found.index) == [2, 3]
    assert lost.empty
    with pd.ExcelWriter(tmp_path / "two.xlsx") as writer:
        for sheet in ("one", "two"):
            frame.to_excel(writer, sheet_name=sheet, index=False)
    with pytest.raises(UserError, match="a workbook with 2 sheets that hold rows, not one"):
        read_table(tmp_path / "two.xlsx")


def test_a_workbook_without_the_package_that_reads_it(tmp_path, monkeypatch):
    pd.DataFrame({"price": [1.5]}).to_excel(tmp_path / "it.xlsx", index=False)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UserError, match="takes openpyxl to read: pip install openpyxl, or save it as CSV"):
        read_table(tmp_path / "it.xlsx")


def test_a_zip_of_one_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        archive.writestr("folder/wines.csv", written())
    assert len(read_table(tmp_path / "it.zip")[0]) == 40


def test_quotes_and_newlines_in_fields(tmp_path):
    (tmp_path / "it.csv").write_text('name,note\n"x, y","line\nbreak"\n"he said ""hi""",2\n')
    assert read_table(tmp_path / "it.csv")[0].to_numpy().tolist() == [["x, y", "line\nbreak"], ['he said "hi"', "2"]]


def test_lines_that_are_no_rows_are_told(tmp_path):
    (tmp_path / "it.csv").write_text("a,b,c\n1,2,3\n1,2\n1,2,3,4\n5,6,7\n" * 1 + "8,9,10\n" * 5)
    frame, lost = read_table(tmp_path / "it.csv")
    assert list(frame.index) == [2, 5, 6, 7, 8, 9, 10]
    assert lost[["row", "value", "reason"]].to_numpy().tolist() == [
        [3, "1,2", "has too few fields"],
        [4, "1,2,3,4", "has too many fields"],
    ]


def test_parquet_keeps_its_types(tmp_path):
    frame = pd.DataFrame({"when": pd.to_datetime(["2024-01-01", None]), "ok": [True, False], "price": [1.5, 2.5]})
    frame.to_parquet(tmp_path / "it.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "it.parquet")[0], frame.astype({"ok": "boolean"}))


def test_a_folder_in_the_order_of_names(tmp_path):
    (tmp_path / "b.csv").write_text("name,price\nb,2\n")
    (tmp_path / "a.csv").write_text("name,price\na,1\n")
    (tmp_path / ".hidden").write_text("")
    assert read_table(tmp_path)[0]["name"].tolist() == ["a", "b"]
    (tmp_path / "c.csv").write_text("name,cost\nc,3\n")
    with pytest.raises(UserError, match=r"c.csv: its columns are not those of a\.csv"):
        read_table(tmp_path)


def test_names_that_come_again():
    assert unique_names(["a", "b", "a", "a"]) == ["a", "b", "a_2", "a_3"]


def whole_parquet(folder) -> bytes:
    pd.DataFrame({"price": range(9)}).to_parquet(folder / "whole.parquet")
    return (folder / "whole.parquet").read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"a,b\n", "a header, a, b, and no rows"),
        (b"a,b\nx\n", "a header, a, b, and line 2 has too few fields"),
        (b"a,b\n1,2,3\n4,5,6,7\n", "too many fields"),
        (b"1,2,3\n4,5,6\n", "no names of columns, but 1, 2, 3 in its first line"),
        (b"a,b\n" + b"x,1\n" * 30 + b"one \r\r two,1\nx,2\n", "line 32 has a carriage return in it; remove it"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page, not a table"),
        (b"  <html>\n<body>,,</body></html>", "a web page, not a table"),
        (gzip.compress(written() * 50)[:200], "cannot be unpacked"),
        (bz2.compress(written())[:60], "cannot be unpacked"),
        (lzma.compress(written())[:60], "cannot be unpacked"),
        (b"PK\x03\x04rubbish", "cannot be unpacked"),
        (b"PAR1rubbish", "not a whole Parquet file"),
        ("truncated parquet", "not a whole Parquet file"),
        ("a zip of two", "a zip of 2 files, not of one"),
        ("a workbook", "not a whole Excel workbook"),
        (",".join(f"c{n}" for n in range(10**6)).encode(), "its first line has 1,000,000 fields"),
        (b"\xff\xfea\x00b", "not text in utf-16"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_is_no_table(tmp_path, content, words):
    path = tmp_path / "it.csv"
    if content == "truncated parquet":
        content = whole_parquet(tmp_path)[:-20]
    elif content in ("a zip of two", "a workbook"):
        names = ["[Content_Types].xml", "sheet.xml"] if content == "a workbook" else ["a.csv", "b.csv"]
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "a,b\n1,2\n")
        content = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as as_user_error:
        read_table(path)
    assert "\n" not in str(as_user_error.value)


def test_a_disk_that_takes_no_more_is_no_fault_of_the_file(tmp_path):
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
def test_chunks_are_the_table(tmp_path, monkeypatch, lines, size):
    monkeypatch.setattr(stored, "CHUNK", size)
    (tmp_path / "data.csv").write_text("\n".join(lines))
    with tables.open_table(tmp_path / "data.csv") as table:
        for _ in range(2):  # they can be read again
            chunks = list(table.chunks())
            assert max(map(len, chunks)) == min(size, table.rows)
            rows = [(place, *line.split(";")) for place, line in enumerate(lines, 1) if ";" in line][1:]
            whole = pd.concat(chunks)
            pd.testing.assert_frame_equal(table.sample(2), whole.iloc[evenly_spaced_positions(len(whole), 2)])
            found = whole.fillna("").itertuples(name=None)
            assert list(found) == [(place, a.strip(), b) for place, a, b in rows]
        assert table.lost["row"].tolist() == [place for place, line in enumerate(lines, 1) if ";" not in line]


def test_small_batches_are_gathered():
    batches = [pyarrow.record_batch({"a": [str(place)] * size}) for place, size in enumerate([1, 1, 1, 5, 2, 1])]
    found = [batch["a"].to_pylist() for batch in tables.coalesce_batches(batches, 3)]
    assert found == [["0", "1", "2"], ["3"] * 5, ["4", "4", "5"]]
    assert list(tables.coalesce_batches([], 3)) == []


def test_no_two_lines_of_a_folder_have_one_number(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("a,b,c\n1,2,3\n1,2\n" + "4,5,6\n" * 4)
    rows, lost = read_table(tmp_path)
    assert rows.index.tolist() == [2, 4, 5, 6, 7, 8, 10, 11, 12, 13]
    assert lost["row"].tolist() == [3, 9]


def test_chunks_of_other_files(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "CHUNK", 2)
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})
    for year in ("2023", "2024"):
        (tmp_path / f"year={year}").mkdir()
        frame.to_parquet(tmp_path / f"year={year}/part.parquet")
    with tables.open_table(tmp_path) as table:
        chunks, lost = list(table.chunks()), table.lost
        some = table.sample(3)
    assert [len(rows) for rows in chunks] == [2, 1, 2, 1]
    found = pd.concat(chunks)
    assert (found.index.tolist(), list(found), lost.empty) == ([*range(6)], ["a", "b", "year"], True)
    assert found["a"].tolist() == [1, 2, 3] * 2
    assert found["year"].tolist() == ["2023"] * 3 + ["2024"] * 3
    pd.testing.assert_frame_equal(some, found.iloc[[0, 2, 5]])


def test_a_column_has_one_type_whatever_is_missing_in_a_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "CHUNK", 2)
    table = pyarrow.table({"new": [True, None, False, True], "rooms": [2**53 + 1, None, 3, 4]})
    parquet.write_table(table, tmp_path / "it.parquet")
    with tables.open_table(tmp_path / "it.parquet") as table:
        first, second = table.chunks()
    assert first.dtypes.equals(second.dtypes)
    assert to_text(pd.concat([first, second])["rooms"]).dropna().tolist() == ["9007199254740993", "3", "4"]
    terms = Contract("rooms", {"new": Column("boolean"), "rooms": Column("categorical")})
    kept, rejected = check(pd.concat([first, second]).assign(rooms="1"), terms)
    assert rejected.empty
    assert kept["new"].fillna(-1).tolist() == [1, -1, 0, 1]
