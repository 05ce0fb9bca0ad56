import json
import os
import platform
import re
from pathlib import Path

import numpy
import pytest
from threadpoolctl import threadpool_info

from workflow.errors import UserError
from workflow.provenance import receipt

DOCUMENT = receipt.make(
    "train",
    {"model": "rf", "seed": 0},
    {"data": {"source": "data/wines.csv", "sha256": "1" * 64, "artifact": "inputs/wines.csv"}},
    {"commit": "a" * 40, "folder": "", "remote": None, "patch": None, "files": {"train.py": "2" * 64}},
    {"python": "3.11.7", "packages": {"numpy": "2.4.6"}, "supporting": {}, "platform": {}, "threads": {}},
    {"train rf": {"metrics": {"cv_r2_score": 0.1 + 0.2}, "artifacts": {}}},
    {"train rf": "b" * 32},
)


def test_a_receipt_is_read_as_it_was_written():
    assert receipt.read(receipt.text(DOCUMENT), "it") == DOCUMENT


def test_an_older_receipt_is_read():
    older = DOCUMENT | {"version": 1}
    assert receipt.read(json.dumps(older), "it") == older


def test_the_platform_says_at_which_level_is_computed():
    said = receipt.environment(Path(receipt.__file__))["platform"]
    assert re.fullmatch(r"X86_V\d.*|[A-Z0-9 ]+", said["numpy"])
    assert re.fullmatch(r"\w+ [\d.]+ \w+", said["blas"])
    assert re.fullmatch(r"\w+ [\d.]+", said["compiler"])
    assert said["libc"]


def test_the_seal_covers_all_but_the_occasion():
    assert receipt.seal(DOCUMENT | {"occasion": {}}) == DOCUMENT["sha256"]
    for part in DOCUMENT.keys() - {"sha256", "occasion"}:
        assert receipt.seal(DOCUMENT | {part: "edited"}) != DOCUMENT["sha256"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("price: 3", "it: not JSON"),
        ("[]", "it: not a receipt: the whole: [] is not of type 'object'"),
        ("{}", "is a required property"),
        ({"version": 5}, "a receipt of version 5, but this project reads up to 4"),
        ({"version": "1"}, "version: '1' is not one of [1, 2, 3, 4]"),
        *(({part: None}, f"'{part}' is a required property") for part in DOCUMENT if part != "version"),
        ({"outcome": {}}, "outcome: {} should be non-empty"),
        ({"step": "../evil"}, "step: '../evil' does not match"),
        ({"sha256": "abc"}, "sha256: 'abc' does not match"),
        ({"code": DOCUMENT["code"] | {"commit": "--upload-pack=evil"}}, "code.commit: "),
        ({"parameters": {"a b": 1}}, "parameters: 'a b' does not match"),
        ({"surprise": 1}, "'surprise' was unexpected"),
    ],
)
def test_what_is_no_receipt_is_refused_in_one_line(change, words):
    if isinstance(change, dict):
        changed = {name: part for name, part in (DOCUMENT | change).items() if part is not None}
        change = json.dumps(changed)
    with pytest.raises(UserError) as as_user_error:
        receipt.read(change, "it")
    assert words in str(as_user_error.value)
    assert "\n" not in str(as_user_error.value)


def test_only_a_short_text_stands_in_the_receipt(tmp_path):
    file = tmp_path / "file"
    file.write_bytes("vinícola".encode())
    assert receipt.short_text(file) == "vinícola"
    file.write_bytes("vinícola".encode("latin-1"))
    assert receipt.short_text(file) is None
    file.write_bytes(b"x" * receipt.SHORT)
    assert receipt.short_text(file) == "x" * receipt.SHORT
    file.write_bytes(b"x" * (receipt.SHORT + 1))
    assert receipt.short_text(file) is None


def test_the_text_of_a_receipt():
    found = receipt.text({"step": "é", "sample": [1.5, 2.5], "models": ["rf"], "parts": {"a": None}})
    assert found == (
        '{\n  "step": "é",\n  "sample": [ 1.5, 2.5 ],\n  "models": [\n    "rf"\n  ],\n'
        '  "parts": {\n    "a": null\n  }\n}\n'
    )


def test_a_long_message_loses_its_middle():
    assert receipt.shortened("a\n b" + "c" * 197) == "a b" + "c" * 197
    long = "".join(str(place % 10) for place in range(201))
    assert receipt.shortened(long) == f"{long[:100]} … {long[-95:]}"


def test_what_a_script_runs_in(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    said = receipt.environment(Path(receipt.__file__))
    assert said["platform"].keys() == {"system", "machine", "processor", "libc", "numpy", "blas", "compiler"}
    assert said["platform"]["libc"] == " ".join(platform.libc_ver())
    assert said["threads"]["cpus"] == os.cpu_count()
    assert said["threads"]["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in said["threads"]
    assert said["python"] == platform.python_version()


def test_the_level_is_the_one_that_is_pinned():
    said = receipt.arithmetic()
    found = numpy.show_config(mode="dicts")["SIMD Extensions"]
    assert said["numpy"] == " ".join(found.get("found") or found["baseline"])
    (library,) = [library for library in threadpool_info() if "numpy.libs" in library["filepath"]]
    assert said["blas"] == f"openblas {library['version']} {library['architecture']}"


def test_the_processor_is_called_as_the_system_calls_it():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    assert receipt.processor() == (names[0] if names else platform.processor())


def test_the_time_is_told_in_utc():
    assert DOCUMENT["occasion"]["time"].endswith("+00:00")
