"""Any file ends in a finished run or in one clear line: no traceback, no half-written artifact."""

import bz2
import contextlib
import gzip
import io
import lzma
import random
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from conftest import Workflow
from frames import distinct, enforced, read_table, split_frame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workflow.data import inference
from workflow.errors import UserError


def rows(count: int = 40) -> list[list[str]]:
    draw = random.Random(0)
    return [[draw.choice("abc"), str(draw.randint(1, 9)), f"{draw.uniform(5, 90):.2f}"] for _ in range(count)]


def csv(header: str = "kind,size,price", lines: list[list[str]] | None = None, delimiter: str = ",") -> str:
    written = [delimiter.join(line) for line in (rows() if lines is None else lines)]
    return "\n".join([header.replace(",", delimiter), *written]) + "\n"


def with_column(name: str, values: list[str]) -> bytes:
    lines = [[value, *line] for value, line in zip(values, rows(), strict=True)]
    return csv(f"{name},kind,size,price", lines).encode()


def with_prices(change) -> bytes:
    return csv(
        lines=[[kind, size, change(number, price)] for number, (kind, size, price) in enumerate(rows())]
    ).encode()


def parquet(**columns) -> bytes:
    buffer = io.BytesIO()
    frame = pd.DataFrame(rows(), columns=["kind", "size", "price"]).astype({"size": int, "price": float})
    frame.assign(**columns).to_parquet(buffer)
    return buffer.getvalue()


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


FINE = ""
PLAIN = csv().encode()
FILES = {
    "plain": (PLAIN, FINE),
    "utf-8 mark": (csv().encode("utf-8-sig"), FINE),
    "utf-16": (csv().encode("utf-16"), FINE),
    "utf-32": (csv().encode("utf-32"), FINE),
    "latin-1": (csv("viñedo,size,price").encode("latin-1"), FINE),
    "half utf-16": (csv().encode("utf-16")[:-1], "not valid utf-16"),
    "random bytes": (random.Random(0).randbytes(3000), "error"),
    "semicolons": (csv(delimiter=";").encode(), FINE),
    "tabs": (csv(delimiter="\t").encode(), FINE),
    "windows lines": (PLAIN.replace(b"\n", b"\r\n"), FINE),
    "old mac lines": (PLAIN.replace(b"\n", b"\r"), FINE),
    "no last newline": (PLAIN.rstrip(), FINE),
    "blank lines": (PLAIN.replace(b"\n", b"\n\n", 10), FINE),
    "comment lines first": (b"# exported today\n" + PLAIN, FINE),
    "some ragged rows": (PLAIN + b"a,1\na,1,2,3\n", FINE),
    "all rows ragged": (b"kind,size,price\n" + b"a,1\n" * 20, "price"),
    "an open quote": (PLAIN + b'"a,1,2\n', FINE),
    "newlines in fields": (with_column("note", ['"one\ntwo"', "three"] * 20), FINE),
    "nul in a field": (PLAIN + b"a\x00,1,9\n", FINE),
    "nuls only": (b"\x00" * 200, "error"),
    "repeated names": (csv("size,size,price").encode(), FINE),
    "the name of the target twice": (csv("price,size,price").encode(), "not a numeric column"),
    "a blank name": (csv(",size,price").encode(), FINE),
    "blank names only": (csv(",,").encode(), "target=price: no such column"),
    "non-ascii names": (csv("类型,größe,price").encode(), FINE),
    "names with quotes": (csv('"ki\'n""d","si;ze",price').encode(), FINE),
    "no header": ("\n".join(["1,2,3"] * 30).encode(), "no header"),
    "another target": (
        csv("kind,size,cost").encode(),
        "target=price: no such column; expected one of kind, size, cost",
    ),
    "one column": (b"price\n" + b"\n".join(b"%d" % (n % 7) for n in range(40)), "no feature is left"),
    "mixed types": (with_column("mixed", ["1", "two", "3.0", "2024-01-01"] * 10), FINE),
    "infinities": (with_column("infinite", ["inf", "-inf", "1", "2"] * 10), "too few rows"),
    "a few infinities": (with_column("infinite", ["inf"] + ["1", "2", "5"] * 13), FINE),
    "all missing": (with_column("empty", [""] * 40), FINE),
    "spelt missing": (with_column("empty", ["N/A", "-"] * 20), FINE),
    "constant": (with_column("constant", ["7"] * 40), FINE),
    "huge integers": (with_column("huge", [str(10**30 + n % 7) for n in range(40)]), FINE),
    "too huge for a float": (with_column("huge", ["1e999", "5"] * 20), "too few rows"),
    "hexadecimal": (with_column("hex", ["0x1f", "0x2e"] * 20), FINE),
    "dates": (with_column("sold", [f"2024-01-{n % 28 + 1:02d}" for n in range(40)]), FINE),
    "dates before 1677": (with_column("sold", [f"{1200 + n}-01-01" for n in range(40)]), FINE),
    "impossible dates": (with_column("sold", ["2024-02-30", "2024-13-01"] * 20), FINE),
    "a formula": (with_column("evil", ["=cmd|' /C calc'!A0", "<script>alert(1)</script>"] * 20), FINE),
    "text target": (with_prices(lambda n, price: f"cheap {n % 3}"), "target=price: not a numeric column"),
    "some text in the target": (with_prices(lambda n, price: "POA" if n == 3 else price), FINE),
    "constant target": (with_prices(lambda n, price: "9.99"), "target=price: the column is constant"),
    "missing target": (with_prices(lambda n, price: ""), "target=price: the column is empty"),
    "money": (with_prices(lambda n, price: f"€ {price}"), FINE),
    "decimal commas": (csv(lines=[[a, b, c.replace(".", ",")] for a, b, c in rows()], delimiter=";").encode(), FINE),
    "one row": (csv(lines=rows(1)).encode(), "error"),
    "few rows": (csv(lines=rows(12)).encode(), "too few rows"),
    "a header": (b"kind,size,price\n", "no rows after the header"),
    "nothing": (b"", "an empty file"),
    "blank": (b"\n\n\n", "error"),
    "a million columns": (",".join(f"c{n}" for n in range(10**6)).encode(), "1,000,000 fields"),
    "a web page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page, not a table"),
    "json": (b'[{"kind": "a", "size": 1, "price": 3}]', "error"),
    "gzip": (gzip.compress(PLAIN), FINE),
    "bzip2": (bz2.compress(PLAIN), FINE),
    "xz": (lzma.compress(PLAIN), FINE),
    "zip": (zipped(**{"it.csv": csv()}), FINE),
    "truncated gzip": (gzip.compress(PLAIN)[:-30], "cannot be unpacked"),
    "zip of two": (zipped(**{"a.csv": csv(), "b.csv": csv()}), "a zip of 2 files"),
    "workbook": (zipped(**{"[Content_Types].xml": "", "sheet.xml": ""}), "not a valid Excel workbook"),
    "parquet": (parquet(), FINE),
    "parquet with lists": (parquet(tags=[["a"], []] * 20), FINE),
    "parquet with dates": (parquet(sold=pd.date_range("2024-01-01", periods=40)), FINE),
    "truncated parquet": (parquet()[:-20], "not a valid Parquet file"),
}


def preprocess(path: Path) -> None:
    """Infer, validate, deduplicate and split a file in this process."""
    frame, malformed = read_table(path)
    contract = inference.infer(frame, "price").contract
    kept, _ = enforced(frame, contract, malformed)
    split_frame(distinct(kept)[0], 0.3, 0)


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_read_or_refused_in_one_line(tmp_path, name):
    content, words = FILES[name]
    path = tmp_path / "it.csv"
    path.write_bytes(content)
    if words == FINE:
        preprocess(path)
        return
    with pytest.raises(UserError) as error:
        preprocess(path)
    assert "\n" not in str(error.value)
    assert words == "error" or words in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["some ragged rows", "dates", "parquet with dates", "names with quotes", "a formula", "constant target", "json"],
)
def test_the_workflow_ends_in_a_result_or_one_line(tmp_path, name):
    content, words = FILES[name]
    path = tmp_path / "it.csv"
    path.write_bytes(content)
    workflow = Workflow(tmp_path / "store")
    small = {"model": "linear", "test_size": "0.3", "shap_samples": "2"}
    result = workflow.step("evaluate", data=str(path), target="price", **small)
    assert "Traceback" not in result.output
    if words == FINE:
        assert result.code == 0, result.output
    else:
        assert result.code == 2
        assert workflow.last().data.tags["workflow.error"] == result.error
        assert not [run for run in workflow.runs() if "workflow.fingerprint" in run.data.tags]


CELLS = st.one_of(
    st.sampled_from(
        ["", "NA", "1", "2.5", "1,5", "€ 3", "2024-01-31", "yes", "no", "inf", '"', "\n", "\x00", "ñ", "a b"]
    ),
    st.text(max_size=6),
    st.integers().map(str),
    st.floats().map(str),
)
TABLES = st.builds(
    lambda names, lines, delimiter, encoding: "\n".join(
        delimiter.join(line) for line in [[*names, "price"], *lines]
    ).encode(encoding, "replace"),
    st.lists(st.text(max_size=5), max_size=4),
    st.lists(st.lists(CELLS, max_size=6), max_size=40),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "latin-1", "utf-16", "utf-8-sig"]),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(TABLES, TABLES, st.binary(max_size=300)))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "it.csv"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        preprocess(path)
