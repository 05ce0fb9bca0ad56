"""A receipt with everything that it needs in one zip file: an RO-Crate, whose data set Croissant describes.

Process Run Crate 0.5: https://www.researchobject.org/workflow-run-crate/profiles/process_run_crate
Croissant 1.0: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

import json
import mimetypes
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow.errors import UserError
from workflow.provenance.receipt import Receipt

SUFFIX = ".zip"
RECEIPT, PATCH, INPUTS, VERDICTS = "receipt.json", "uncommitted.patch", "inputs", "verdicts"
METADATA, CROISSANT = "ro-crate-metadata.json", "croissant.json"
TIME_IN_ZIP = (1980, 1, 1, 0, 0, 0)  # the same crate has the same bytes
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
LICENCE = {
    "@id": "#license",
    "@type": "CreativeWork",
    "name": "Not stated",
    "description": "Whoever publishes this crate says under which licence; the project that wrote it does not know.",
}
CROISSANT_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def pack(path: Path, recorded: Receipt, files: Mapping[str, Path], contract: Mapping[str, Any] | None) -> None:
    """Write a crate: always the same bytes for the same content.

    Args:
        path: the zip file to write.
        recorded: the receipt.
        files: what else is in it, by name in the crate.
        contract: the values of the data contract, if it is known.
    """
    texts = {RECEIPT: recorded.text()}
    if contract and (data := next((name for name in files if name.startswith(f"{INPUTS}/data/")), None)):
        texts[CROISSANT] = as_json(croissant(recorded, data, contract))
    texts[METADATA] = as_json(metadata(recorded, sorted([*files, *texts])))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted([*files, *texts]):
            entry = zipfile.ZipInfo(name, TIME_IN_ZIP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            if name in texts:
                archive.writestr(entry, texts[name])
                continue
            with open(files[name], "rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)


def as_json(value: Mapping[str, Any]) -> str:
    """Return a document as JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def metadata(recorded: Receipt, names: list[str]) -> dict[str, Any]:
    """Return the metadata of a crate with the files `names`: one execution of the recorded entry point."""
    code, action = recorded.code, action_entity(recorded, names)
    descriptor = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{recorded.label}, reproducible",
        "description": f"The receipt of {recorded.label} with what it was made from: reproduce makes it again.",
        "datePublished": recorded.provenance.time,
        "license": {"@id": LICENCE["@id"]},
        "conformsTo": {"@id": PROFILE},
        "hasPart": [{"@id": name} for name in names],
        "mentions": {"@id": action["@id"]},
    }
    profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    program = {
        "@id": action["instrument"]["@id"],
        "@type": "SoftwareApplication",
        "name": "Tabular regression, reproducible",
        "url": code.remote or "",
        "softwareVersion": str(code.commit),
    }
    files = [file_entity(name, recorded) for name in names]
    graph = [descriptor, root, profile, LICENCE, program, action, *files]
    return {"@context": [CONTEXT, {"sha256": "https://schema.org/sha256"}], "@graph": graph}


def action_entity(recorded: Receipt, names: list[str]) -> dict[str, Any]:
    """Return the entity of the execution, which made some of the files `names` of others."""
    inputs = [name for name in names if name.startswith(f"{INPUTS}/")]
    results = [name for name in names if name not in inputs and not name.startswith(VERDICTS)]
    return {
        "@id": f"#{recorded.run_id}",
        "@type": "CreateAction",
        "name": f"{recorded.label}, as recorded in {RECEIPT}",
        "description": f"Entry point {recorded.step} at commit {recorded.code.commit}.",
        "endTime": recorded.provenance.time,
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "instrument": {"@id": recorded.code.remote or "#workflow"},
        "object": [{"@id": name} for name in inputs],
        "result": [{"@id": name} for name in results],
    }


def file_entity(name: str, recorded: Receipt) -> dict[str, Any]:
    """Return the entry of a file."""
    known = {RECEIPT: "Receipt", PATCH: "Uncommitted changes of the code", CROISSANT: "Description of the data set"}
    parameter = name.split("/")[1] if name.startswith(f"{INPUTS}/") else ""
    title = known.get(name) or (f"Input {parameter}" if parameter else name.rpartition("/")[2])
    entity: dict[str, Any] = {"@id": name, "@type": "File", "name": title, "encodingFormat": media_type(name)}
    entry = recorded.inputs.get(parameter)
    return entity | ({"sha256": entry.sha256} if entry else {})


def media_type(name: str) -> str:
    """Return the media type of a file by its name."""
    if name.endswith((".yaml", ".yml")):
        return "application/yaml"
    if name.endswith(".parquet"):
        return "application/vnd.apache.parquet"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def croissant(recorded: Receipt, file: str, contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of the data set in `file`, whose columns a contract names."""
    columns = contract["columns"].items()
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"rows/{name}",
            "name": name,
            "description": f"{column['kind']}, as the contract of this crate reads it",
            "dataType": "sc:Float" if is_plain_number(column, contract) else "sc:Text",
            "source": {"fileObject": {"@id": "data"}, "extract": {"column": name}},
        }
        for name, column in columns
        if not column.get("derived")
    ]
    stem = Path(file).stem
    return {
        "@context": CROISSANT_CONTEXT,
        "@type": "sc:Dataset",
        "name": stem,
        "description": f"The data of {recorded.label}; the target is {contract['target']}.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "datePublished": recorded.provenance.time,
        "version": "1.0.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "data",
                "name": Path(file).name,
                "contentUrl": file,
                "encodingFormat": media_type(file),
                "sha256": recorded.inputs["data"].sha256,
            }
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}],
    }


def is_plain_number(column: Mapping[str, Any], contract: Mapping[str, Any]) -> bool:
    """Return whether a column holds numbers that any program reads: without units or words for missing values."""
    own = {name for name, value in column.items() if value not in (None, False, [], "")}
    return column.get("kind") == "numeric" and not contract.get("missing") and own <= {"kind", "range", "monotonic"}


def unpack(path: Path, name: str, folder: Path) -> tuple[Path, dict[str, Path]]:
    """Unpack a crate into a folder; return its receipt, and its inputs by parameter. Nothing is checked yet.

    Raises UserError, which begins with `name`, for a file that is no crate, or larger than the disk has room for.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {each.filename: each for each in archive.infolist() if belongs(each.filename)}
            if RECEIPT not in entries:
                raise UserError(f"{name}: a zip file without {RECEIPT}, so not a crate that export has written")
            size = sum(each.file_size for each in entries.values())
            if size > shutil.disk_usage(folder).free:
                raise UserError(f"{name}: unpacked it would have {size / 1e9:,.1f} GB, more than there is room for")
            for each in entries.values():
                archive.extract(each, folder)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise UserError(f"{name}: not a zip file that can be read ({error})") from error
    parameters = sorted(each for each in (folder / INPUTS).glob("*") if each.is_dir())
    return folder / RECEIPT, {each.name: next(each.iterdir()) for each in parameters}


def belongs(name: str) -> bool:
    """Return whether a file in a zip archive is one that `pack` writes, within its own folder."""
    parts = name.split("/")
    inside = ".." not in parts and "" not in parts and not name.startswith("/") and "\\" not in name
    return inside and (name in (RECEIPT, PATCH) or parts[0] in (INPUTS, VERDICTS))
