import json
import os
import platform
import re
from pathlib import Path

import numpy
import pytest
from conftest import PROJECT
from pydantic import ValidationError
from threadpoolctl import threadpool_info

from workflow.errors import UserError
from workflow.provenance import receipt
from workflow.provenance.receipt import ArtifactDigest, CodeState, Environment, InputRecord, Outcome, Receipt

ONE, OTHER = "1" * 64, "2" * 64
DATA = InputRecord(source="data/wines.csv", sha256=ONE, artifact="inputs/wines.csv")
CODE = CodeState(commit="a" * 40, folder="", remote=None, patch=None, files={"train.py": OTHER})
ENVIRONMENT = Environment(python="3.11.7", packages={"numpy": "2.4.6"}, supporting={}, platform={}, threads={})


def made(
    label: str, run_id: str, earlier: tuple[Receipt, ...] = (), data: InputRecord = DATA, metric: float = 0.1 + 0.2
) -> Receipt:
    """Return a receipt of a run that was built on those of `earlier` receipts."""
    inputs, outcomes, runs = receipt.merged(earlier)
    return receipt.make(
        label.partition(" ")[0],
        {"model": "rf", "seed": 0},
        inputs or {"data": data},
        CODE,
        ENVIRONMENT,
        outcomes | {label: Outcome(metrics={"cv_r2_score": metric}, artifacts={"it": ArtifactDigest(sha256=ONE)})},
        runs | {label: run_id},
    )


RECEIPT = made("train rf", "b" * 32)
DOCUMENT = json.loads(RECEIPT.text())


def test_a_receipt_is_read_as_it_was_written():
    assert receipt.read(RECEIPT.text(), "it") == RECEIPT
    assert receipt.read(RECEIPT.text(), "it").text() == RECEIPT.text()


def test_a_receipt_names_its_run():
    built = made("evaluate rf", "c" * 32, (RECEIPT,))
    assert (RECEIPT.label, RECEIPT.run_id) == ("train rf", "b" * 32)
    assert (built.label, built.run_id) == ("evaluate rf", "c" * 32)


def test_the_platform_includes_the_level_at_which_numpy_and_blas_compute():
    found = receipt.current_environment({}, {}).platform
    assert re.fullmatch(r"X86_V\d.*|[A-Z0-9 ]+", found["numpy"])
    assert re.fullmatch(r"\w+ [\d.]+ \w+", found["blas"])
    assert re.fullmatch(r"\w+ [\d.]+", found["compiler"])
    assert found["libc"]


def test_the_digest_covers_all_but_the_provenance():
    later = RECEIPT.model_copy(update={"provenance": RECEIPT.provenance.model_copy(update={"host": "elsewhere"})})
    assert later.self_digest() == RECEIPT.self_digest() == RECEIPT.sha256
    assert receipt.self_digest(DOCUMENT | {"provenance": {}}) == RECEIPT.sha256
    for part in DOCUMENT.keys() - {"sha256", "provenance"}:
        assert receipt.self_digest(DOCUMENT | {part: "edited"}) != RECEIPT.sha256


def test_an_edited_receipt_is_read_and_no_longer_has_its_digest():
    edited = receipt.read(json.dumps(DOCUMENT | {"parameters": {"model": "knn"}}), "it")
    assert edited.sha256 == RECEIPT.sha256 != edited.self_digest()


def test_a_receipt_cannot_be_changed():
    with pytest.raises(ValidationError):
        RECEIPT.step = "evaluate"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("price: 3", "it: not JSON"),
        ("[]", "it: not a receipt: the document: Input should be a valid dictionary"),
        ("{}", "it: not a receipt: version: Field required"),
        (
            {"version": 4},
            "it: a receipt of version 4, but this project reads version 5; use the commit that the receipt names",
        ),
        (
            {"version": 6},
            "it: a receipt of version 6, but this project reads version 5; use a newer commit of this project",
        ),
        ({"version": "1"}, "version: Input should be 5"),
        *(({part: None}, f"it: not a receipt: {part}: Field required") for part in DOCUMENT if part != "version"),
        ({"outcome": {}}, "outcome: Dictionary should have at least 1 item"),
        ({"step": "../evil"}, "step: String should match pattern"),
        ({"sha256": "abc"}, "sha256: String should match pattern"),
        ({"code": DOCUMENT["code"] | {"commit": "--upload-pack=evil"}}, "code.commit: String should match pattern"),
        ({"parameters": {"a b": 1}}, "parameters.a b.[key]: String should match pattern"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        (
            {"environment": DOCUMENT["environment"] | {"packages": {"numpy": "2; rm -rf"}}},
            "environment.packages.numpy: String should match pattern",
        ),
        ({"provenance": DOCUMENT["provenance"] | {"runs": {"train rf": "../evil"}}}, "String should match pattern"),
    ],
)
def test_anything_but_a_receipt_of_this_version_is_refused_in_one_line(change, words):
    if isinstance(change, dict):
        changed = {name: part for name, part in (DOCUMENT | change).items() if part is not None}
        change = json.dumps(changed)
    with pytest.raises(UserError) as error:
        receipt.read(change, "it")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_only_a_short_text_stands_in_the_receipt(tmp_path):
    file = tmp_path / "file"
    file.write_bytes("vinícola".encode())
    assert receipt.short_text(file) == "vinícola"
    file.write_bytes("vinícola".encode("latin-1"))
    assert receipt.short_text(file) is None
    file.write_bytes(b"x" * receipt.MAX_INLINE_BYTES)
    assert receipt.short_text(file) == "x" * receipt.MAX_INLINE_BYTES
    file.write_bytes(b"x" * (receipt.MAX_INLINE_BYTES + 1))
    assert receipt.short_text(file) is None
    assert receipt.short_text(tmp_path) is None


def test_the_text_of_a_receipt_has_a_list_of_numbers_on_one_line_and_no_absent_fields():
    digest = ArtifactDigest(sha256=ONE, count=2, sample=[1.5, None])
    outcome = {"train é": Outcome(metrics={"a": None}, artifacts={"it": digest})}
    text = receipt.make("train", {"models": ["rf"]}, {}, CODE, ENVIRONMENT, outcome, {"train é": "b" * 32}).text()
    assert text.startswith('{\n  "version": 5,\n  "step": "train",\n')
    assert text.endswith("}\n")
    assert '"models": [\n      "rf"\n    ]' in text
    assert f'"it": {{\n          "sha256": "{ONE}",\n          "count": 2,\n          "sample": [ 1.5, null ]\n' in text
    assert '"a": null' in text
    assert '"remote": null' in text
    assert "train é" in text
    assert "structure" not in text


def test_a_long_message_loses_its_middle():
    assert receipt.shortened("a\n b" + "c" * 197) == "a b" + "c" * 197
    long = "".join(str(position % 10) for position in range(201))
    assert receipt.shortened(long) == f"{long[:100]} … {long[-95:]}"


def test_the_environment_is_that_of_this_process(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    found = receipt.current_environment({"numpy": "2"}, {"flask": "3"})
    assert found.platform.keys() == {"system", "machine", "processor", "libc", "numpy", "blas", "compiler"}
    assert found.platform["libc"] == " ".join(platform.libc_ver())
    assert found.threads["cpus"] == os.cpu_count()
    assert found.threads["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in found.threads
    assert found.python == platform.python_version()
    assert (found.packages, found.supporting) == ({"numpy": "2"}, {"flask": "3"})


def test_the_recorded_level_is_the_pinned_one():
    found = receipt.arithmetic()
    levels = numpy.show_config(mode="dicts")["SIMD Extensions"]
    assert found["numpy"] == " ".join(levels.get("found") or levels["baseline"])
    (library,) = [library for library in threadpool_info() if "numpy.libs" in library["filepath"]]
    assert found["blas"] == f"openblas {library['version']} {library['architecture']}"


def test_the_processor_has_the_name_that_the_system_gives_it():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    assert receipt.processor() == (names[0] if names else platform.processor())


def test_the_time_is_in_utc():
    assert RECEIPT.provenance.time.endswith("+00:00")


def test_of_two_receipts_that_describe_a_run_the_first_counts():
    moved = DATA.model_copy(update={"source": "copy.csv"})
    old, new = made("preprocess", "a" * 32, metric=1.0), made("preprocess", "b" * 32, data=moved, metric=2.0)
    trained = made("train rf", "c" * 32, (old,))
    inputs, outcomes, runs = receipt.merged([new, trained])
    assert inputs == {"data": moved}
    assert list(outcomes) == list(runs) == ["preprocess", "train rf"]
    assert outcomes["preprocess"] == new.outcome["preprocess"] != trained.outcome["preprocess"]
    assert runs == {"preprocess": "b" * 32, "train rf": "c" * 32}
    assert receipt.merged([]) == ({}, {}, {})


def test_the_committed_schema_is_that_of_the_code():
    assert (PROJECT / "receipts/receipt.schema.json").read_text(encoding="utf-8") == receipt.schema()


def test_a_deeply_nested_document_is_refused_in_a_line():
    with pytest.raises(UserError, match=r"^it: not JSON \(maximum recursion depth exceeded"):
        receipt.read("[" * 100_000 + "]" * 100_000, "it")
