"""Formats are known by content, and the same rows give the same table in each that is read."""

import contextlib
import gzip
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow
import pytest
from frames import read_table

from workflow.data import inference
from workflow.data.contract import check
from workflow.data.files import open_table
from workflow.errors import UserError

NUMBERS = np.arange(60)
FRAME = pd.DataFrame(
    {
        "size": NUMBERS % 7 + 20,
        "rooms": pd.array([None if number % 5 == 0 else number % 4 for number in NUMBERS], "Int64"),
        "kind": [["flat", "house", None][number % 3] for number in NUMBERS],
        "new": NUMBERS % 2 == 0,
        "sold": [f"2020-{number % 12 + 1:02}-{number % 28 + 1:02}" for number in NUMBERS],
        "price": NUMBERS * 1.1 + 0.3,
    }
)
RECORDS = [json.loads(line) for line in FRAME.to_json(orient="records", lines=True).splitlines()]


def bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def stata(frame: pd.DataFrame = FRAME, **options) -> bytes:
    kept = frame.assign(rooms=frame["rooms"].astype("float64"), kind=frame["kind"].fillna(""))
    return bytes_of(lambda file: kept.to_stata(file, write_index=False, **options))


def arrow_stream(table: pyarrow.Table) -> bytes:
    def write(file: io.BytesIO) -> None:
        with pyarrow.ipc.new_stream(file, table.schema) as batches:
            batches.write_table(table)

    return bytes_of(write)


def zipped(**entries: bytes | str) -> bytes:
    def write(file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name.replace("_", "/"), content)

    return bytes_of(write)


LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)
FEATHER = bytes_of(FRAME.to_feather)
SAME = {
    "lines": LINES.encode(),
    "array": json.dumps(RECORDS).encode(),
    "indented": json.dumps(RECORDS, indent=1).encode(),
    "utf-16": LINES.encode("utf-16"),
    "blank lines": LINES.replace("\n", "\r\n\r\n").encode(),
    "zip of lines": zipped(rows=LINES),
    "json by column": FRAME.to_json().encode(),
    "json by index": FRAME.to_json(orient="index").encode(),
    "json split": FRAME.to_json(orient="split").encode(),
    "json in an object": json.dumps({"count": 60, "results": RECORDS}).encode(),
    "json of lists": json.dumps({name: [record[name] for record in RECORDS] for name in FRAME}).encode(),
    "feather": FEATHER,
    "gzip of feather": gzip.compress(FEATHER),
    "feather of categories": bytes_of(FRAME.astype({"kind": "category"}).to_feather),
    "arrow stream": arrow_stream(pyarrow.Table.from_pandas(FRAME)),
    "parquet of categories": bytes_of(FRAME.astype({"kind": "category"}).to_parquet),
    "gzip of parquet": gzip.compress(bytes_of(FRAME.to_parquet)),
    "stata": stata(),
    "stata 114": stata(version=114),
    "gzip of stata": gzip.compress(stata()),
}


@pytest.mark.parametrize("form", SAME)
def test_the_same_rows_give_the_same_table_in_each_format(tmp_path, form):
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "rows.bin").write_bytes(SAME[form])
    expected, _ = read_table(tmp_path / "rows.csv")
    contract = inference.infer(expected, "price").contract
    frame, malformed = read_table(tmp_path / "rows.bin")
    (typed, rejected), (right, _) = check(frame, contract), check(expected, contract)
    pd.testing.assert_frame_equal(typed.reset_index(drop=True), right.reset_index(drop=True))
    assert (rejected.empty, malformed.empty) == (True, True)
    found = inference.infer(frame, "price").contract
    kinds = {name: column.kind for name, column in contract.columns.items()}
    if "stata" in form:
        kinds["new"] = "numeric"  # Stata has no booleans
    assert {name: column.kind for name, column in found.columns.items()} == kinds


def test_nested_values_of_json_are_left_out_with_the_reason(tmp_path):
    records = [{**record, "tags": ["a"], "where": {"x": 1}, "mixed": number} for number, record in enumerate(RECORDS)]
    (tmp_path / "rows.json").write_text(json.dumps([*records, {**records[0], "mixed": "x"}]))
    drop = inference.infer(read_table(tmp_path / "rows.json")[0], "price").contract.drop
    assert drop["tags"] == drop["where"] == "holds lists or other nested values"
    assert "nested" not in drop.get("mixed", "")


def test_json_objects_may_lack_keys_and_names_may_have_quotes(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a\\"b":1}\n{"c\'d":2.50}\n{"a\\"b":"x","c\'d":null}\n')
    frame, _ = read_table(tmp_path / "rows.jsonl")
    assert frame.fillna("-").to_dict("list") == {'a"b': ["1", "-", "x"], "c'd": ["-", "2.5", "-"]}
    assert list(frame.index) == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LINES + '{"size": 1,\n' + LINES, "in line 62: unexpected character"),
        (LINES[:-20], "in line 61: unexpected end of data"),
        (json.dumps(RECORDS)[:-20], "unexpected end of data"),
        ("[1, 2, 3]", "values that are not objects, or nothing; expected an object per line, or an array of objects"),
        ("[]", "values that are not objects"),
        ('{"a": 1, "a": 2}\n{"a": 3}\n', 'duplicate key "a"'),
        ("[" * 5000 + "]" * 5000, "maximum recursion depth"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "maximum recursion depth"),
    ],
)
def test_json_without_a_table_is_one_line(tmp_path, content, words):
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(UserError, match=words) as error:
        read_table(tmp_path / "rows.json")
    assert str(error.value).startswith(f"data {tmp_path / 'rows.json'}: not a table in JSON: ")
    assert "\n" not in str(error.value)


def test_csv_may_begin_like_json(tmp_path):
    (tmp_path / "it.csv").write_text("[id],[name]\n1,a\n2,b\n")
    assert list(read_table(tmp_path / "it.csv")[0]) == ["[id]", "[name]"]


def test_typed_values_that_pandas_holds_as_objects_are_read(tmp_path):
    seconds = pyarrow.array([n * 1_500_000 for n in range(60)], pyarrow.int64())
    columns = {
        "day": pyarrow.array(NUMBERS, pyarrow.int32()).cast(pyarrow.date32()),
        "cost": pyarrow.array(NUMBERS * 3).cast(pyarrow.decimal128(22, 2)),
        "at": pyarrow.array(NUMBERS % 24 * 3600, pyarrow.int32()).cast(pyarrow.time32("s")),
        "lasted": seconds.cast(pyarrow.duration("us")),
        "price": pyarrow.array(NUMBERS * 1.1),
    }
    (tmp_path / "it.feather").write_bytes(arrow_stream(pyarrow.table(columns)))
    frame, _ = read_table(tmp_path / "it.feather")
    assert frame.iloc[2].astype(str).tolist() == ["1970-01-03 00:00:00", "6.0", "02:00:00", "3.0", "2.2"]
    assert inference.infer(frame, "price").contract.drop == {}


def test_labels_of_stata_are_read_unless_two_are_the_same(tmp_path):
    frame = FRAME.assign(grade=[1, 2, 99] * 20)
    (tmp_path / "it.dta").write_bytes(stata(frame, value_labels={"grade": {99: "don't know"}}))
    assert read_table(tmp_path / "it.dta")[0]["grade"].tolist() == ["1", "2", "don't know"] * 20
    (tmp_path / "it.dta").write_bytes(stata(frame, value_labels={"grade": {1: "a", 2: "a"}}))
    assert read_table(tmp_path / "it.dta")[0]["grade"].tolist() == [1, 2, 99] * 20


def test_a_folder_may_hold_several_formats(tmp_path):
    folder = tmp_path / "year=2024"
    folder.mkdir()
    for name, content in {
        "a.csv": FRAME.to_csv(index=False).encode(),
        "b.jsonl": LINES.encode(),
        "c.feather": FEATHER,
    }.items():
        (folder / name).write_bytes(content)
    frame, _ = read_table(tmp_path)
    assert (len(frame), list(frame), frame.index.is_unique) == (180, [*FRAME, "year"], True)


def test_a_folder_above_the_file_adds_no_column(tmp_path):
    (tmp_path / "run=3").mkdir()
    for name, content in {"a.csv": FRAME.to_csv(index=False), "a.jsonl": LINES}.items():
        (tmp_path / "run=3" / name).write_text(content)
        with open_table(tmp_path / "run=3" / name) as table:
            assert table.columns == list(FRAME)


def tar() -> bytes:
    def write(file: io.BytesIO) -> None:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.csv"))

    return bytes_of(write)


OTHERS = {
    "an ARFF file": b"% from the UCI\n%\n@RELATION r\n@ATTRIBUTE x NUMERIC\n@DATA\n1\n",
    "an SPSS file": b"$FL2@(#) SPSS DATA FILE" + bytes(99),
    "a SAS file": bytes.fromhex("000000000000000000000000c2ea8160b31411cfbd92080009c7318c181f1011") + bytes(99),
    "an R file": gzip.compress(b"X\n\x00\x00\x00\x03\x00\x04"),
    "an old Office file, such as .xls": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512),
    "an OpenDocument file, such as .ods": zipped(mimetype="application/vnd.oasis", content="<x/>"),
    "a Word or PowerPoint document": zipped(**{"[Content_Types].xml": "", "word_document.xml": ""}),
    "a NumPy array": b"\x93NUMPY\x01\x00",
    "a NumPy archive": zipped(**{"a.npy": b"\x93NUMPY"}),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(99),
    "a SQLite database": b"SQLite format 3\x00" + bytes(99),
    "a PDF": b"%PDF-1.4\n",
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(9),
    "a pickle": b"\x80\x04\x95\x00",
    "an XML document": b'<?xml version="1.0"?><rows/>',
    "a tar archive": gzip.compress(tar()),
    "a pointer of Git LFS (git lfs pull fetches the file)": b"version https://git-lfs.github.com/spec/v1\noid x\n",
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_format_that_is_not_read_is_named_with_those_that_are(tmp_path, name):
    (tmp_path / "it.csv").write_bytes(OTHERS[name])
    with pytest.raises(UserError) as error:
        read_table(tmp_path / "it.csv")
    assert str(error.value) == (
        f"data {tmp_path / 'it.csv'}: {name}, a format that is not read; save it as CSV, Parquet, Excel (.xlsx),"
        " Feather, Stata or JSON lines"
    )


@pytest.mark.parametrize(
    "name", ["PAR1", "ORC", "fea1", "CDF", "A", "X", "RDX2", "BMI", "obj", "7z", "MM", "GIF8", "PK"]
)
def test_a_column_may_be_called_like_the_start_of_a_format(tmp_path, name):
    (tmp_path / "it.csv").write_text(f"{name},other\n" + "".join(f"{n},{n}\n" for n in range(9)))
    assert list(read_table(tmp_path / "it.csv")[0]) == [name, "other"]


@pytest.mark.parametrize("form", ["stata", "feather", "arrow stream"])
def test_a_damaged_file_is_read_or_refused(tmp_path, form):
    draw = random.Random(0)
    for attempt in range(60):
        content = bytearray(SAME[form])
        if attempt % 3:
            for _ in range(attempt % 7 + 1):
                content[draw.randrange(8, len(content))] = draw.randrange(256)
        else:
            content = content[: draw.randrange(8, len(content))]
        (tmp_path / "it.bin").write_bytes(content)
        with contextlib.suppress(UserError):
            read_table(tmp_path / "it.bin")
