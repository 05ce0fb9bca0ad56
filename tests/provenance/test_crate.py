import json
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import PROJECT

from workflow.errors import UserError
from workflow.provenance import crate, receipt

RECORDED = receipt.read((PROJECT / "receipts/wines.json").read_text(), "wines.json")
CONTRACT = yaml.safe_load((PROJECT / "data/wines.yaml").read_text())


@pytest.fixture
def packed(tmp_path) -> Path:
    files = {f"inputs/{name}/wines.{suffix}": PROJECT / f"data/wines.{suffix}" for name, suffix in INPUTS.items()}
    (tmp_path / "anna").write_text("{}")
    crate.pack(tmp_path / "wines.zip", RECORDED, files | {"verdicts/anna.dsse.json": tmp_path / "anna"}, CONTRACT)
    return tmp_path / "wines.zip"


INPUTS = {"data": "csv", "contract": "yaml"}


def unpacked(path: Path) -> tuple[Path, dict[str, Path]]:
    folder = path.parent / "unpacked"
    folder.mkdir()
    return crate.unpack(path, "run=wines.zip", folder)


def test_a_crate_holds_the_receipt_and_its_inputs_and_always_has_the_same_bytes(packed):
    first = packed.read_bytes()
    path, inputs = unpacked(packed)
    assert receipt.read(path.read_text(), "receipt") == RECORDED
    assert inputs.keys() == INPUTS.keys()
    assert inputs["data"].read_bytes() == (PROJECT / "data/wines.csv").read_bytes()
    assert (path.parent / "verdicts/anna.dsse.json").exists()
    files = {f"inputs/{name}/wines.{suffix}": PROJECT / f"data/wines.{suffix}" for name, suffix in INPUTS.items()}
    crate.pack(packed, RECORDED, files | {"verdicts/anna.dsse.json": packed.parent / "anna"}, CONTRACT)
    assert packed.read_bytes() == first


def test_the_metadata_name_every_file_and_what_it_is(packed):
    with zipfile.ZipFile(packed) as archive:
        graph = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
        names = set(archive.namelist()) - {"ro-crate-metadata.json"}
    entities = {entity["@id"]: entity for entity in graph}
    root, (action,) = entities["./"], [each for each in graph if each["@type"] == "CreateAction"]
    assert {part["@id"] for part in root["hasPart"]} == names <= entities.keys()
    assert root["conformsTo"]["@id"] == crate.PROFILE
    assert {each["@id"] for each in action["object"]} == {"inputs/data/wines.csv", "inputs/contract/wines.yaml"}
    assert entities[action["instrument"]["@id"]]["softwareVersion"] == RECORDED.code.commit
    assert entities["inputs/data/wines.csv"]["sha256"] == RECORDED.inputs["data"].sha256


def test_croissant_describes_the_columns_of_the_file_as_any_program_can_read_them(packed):
    with zipfile.ZipFile(packed) as archive:
        described = json.loads(archive.read("croissant.json"))
    (file,), (rows,) = described["distribution"], described["recordSet"]
    assert (file["contentUrl"], file["sha256"]) == ("inputs/data/wines.csv", RECORDED.inputs["data"].sha256)
    assert [field["name"] for field in rows["field"]] == list(CONTRACT["columns"])
    assert {field["dataType"] for field in rows["field"]} == {"sc:Text"}  # N.V. is a missing year
    plain = crate.croissant(RECORDED, "inputs/data/wines.csv", CONTRACT | {"missing": []})
    types = {field["name"]: field["dataType"] for field in plain["recordSet"][0]["field"]}
    assert types["price"] == "sc:Float"
    assert types["winery"] == "sc:Text"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["notes.txt"], "a zip file without receipt.json"),
        (["../receipt.json"], "a zip file without receipt.json"),
        (["inputs/../../receipt.json", "/receipt.json"], "a zip file without receipt.json"),
    ],
)
def test_a_zip_file_that_is_no_crate_is_one_line(tmp_path, names, words):
    with zipfile.ZipFile(tmp_path / "wines.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    with pytest.raises(UserError, match=words):
        unpacked(tmp_path / "wines.zip")
    assert [path.name for path in tmp_path.iterdir() if path.name != "wines.zip"] == ["unpacked"]


def test_nothing_is_written_outside_the_folder(packed):
    with zipfile.ZipFile(packed, "a") as archive:
        for name in ("inputs/../../../outside.txt", "/tmp/outside.txt", "inputs/data/../../../outside.txt"):
            archive.writestr(name, "outside")
    path, _ = unpacked(packed)
    assert not list(path.parent.rglob("outside.txt"))
    assert not (packed.parent / "outside.txt").exists()


def test_a_crate_that_the_disk_has_no_room_for_is_refused_before_it_is_unpacked(packed, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="more than there is room for"):
        unpacked(packed)
    assert not list((packed.parent / "unpacked").iterdir())


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04" + b"x" * 50])
def test_anything_else_is_no_zip_file(tmp_path, content):
    (tmp_path / "wines.zip").write_bytes(content)
    with pytest.raises(UserError, match="not a zip file that can be read"):
        unpacked(tmp_path / "wines.zip")


def test_a_damaged_crate_is_one_line(packed):
    content = bytearray(packed.read_bytes())
    content[2000:2100] = b"x" * 100
    packed.write_bytes(content)
    with pytest.raises(UserError, match="not a zip file that can be read"):
        unpacked(packed)
