"""The receipt: a portable document from which a result can be made again and checked. Its form: receipt.schema.json."""

import datetime
import json
import os
import platform
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workflow.errors import UserError
from workflow.provenance import fingerprint

FILE = "receipt.json"
VERSION = 4
SCHEMA = Path(__file__).with_name("receipt.schema.json")
UNSEALED = {"sha256", "occasion"}
SHORT = 16 * 1024  # bytes of an input that stands in the receipt itself
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


def make(
    step: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, dict[str, Any]],
    code: Mapping[str, Any],
    environment: Mapping[str, Any],
    outcome: Mapping[str, dict[str, Any]],
    runs: Mapping[str, str],
) -> dict[str, Any]:
    """A sealed receipt. All that can differ between two makings of the same result stands in `occasion`."""
    document = {
        "version": VERSION,
        "step": step,
        "parameters": dict(parameters),
        "inputs": dict(inputs),
        "code": dict(code),
        "environment": dict(environment),
        "outcome": dict(outcome),
    }
    occasion = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "runs": dict(runs),
    }
    return document | {"sha256": seal(document), "occasion": occasion}


def seal(document: Mapping[str, Any]) -> str:
    """SHA-256 of all that the receipt says, except about the occasion: an edit by hand shows."""
    return fingerprint.digest({name: part for name, part in document.items() if name not in UNSEALED})


def text(document: dict[str, Any]) -> str:
    """The JSON of a receipt, with a list of numbers on one line."""
    pretty = json.dumps(document, indent=2, ensure_ascii=False)
    return re.sub(r"\[[^][{}\"]+\]", lambda numbers: " ".join(numbers[0].split()), pretty) + "\n"


def read(content: str, name: str) -> dict[str, Any]:
    """The receipt in `content`. Raises UserError, with its `name`, for anything else."""
    import jsonschema

    try:
        document = json.loads(content)
    except ValueError as error:
        raise UserError(f"{name}: not JSON ({error})") from error
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise UserError(
            f"{name}: a receipt of version {version}, but this project reads up to {VERSION}; use a newer commit of it"
        )
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    if fault := jsonschema.exceptions.best_match(validator.iter_errors(document)):
        place = ".".join(map(str, fault.absolute_path)) or "the whole"
        raise UserError(f"{name}: not a receipt: {place}: {shortened(fault.message)}")
    return document


def shortened(message: str) -> str:
    """A message that quotes what may be long, on one line of a sensible length."""
    line = " ".join(message.split())
    return line if len(line) <= 200 else f"{line[:100]} … {line[-95:]}"


def short_text(file: Path) -> str | None:
    """The content of a short UTF-8 file, else None."""
    if file.is_dir() or file.stat().st_size > SHORT:
        return None
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return None


def environment(script: Path, modules: Iterable[str] = ()) -> dict[str, Any]:
    """What `script` runs in: Python, packages (those of `modules` too), platform, threads."""
    return {
        "python": platform.python_version(),
        "packages": fingerprint.packages(script, modules),
        "supporting": fingerprint.supporting_packages(script, modules),
        "platform": {
            "system": platform.system(),
            "machine": platform.machine(),
            "processor": processor(),
            "libc": " ".join(platform.libc_ver()),
            **arithmetic(),
        },
        "threads": {"cpus": os.cpu_count()} | {name: os.environ[name] for name in THREADS if name in os.environ},
    }


def processor() -> str:
    """The model of the processor, as far as the system tells."""
    try:
        information = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    model = re.search(r"^model name\s*:\s*(.+)$", information, re.M)
    return model[1] if model else platform.processor()


def arithmetic() -> dict[str, str]:
    """What numpy chose for this processor: its level, and the kernel of the library that multiplies its matrices.

    And the compiler that it was built with, which stands for that of all packages of the same origin.
    """
    import numpy
    from threadpoolctl import threadpool_info

    built = numpy.show_config(mode="dicts")
    levels, compiler = built["SIMD Extensions"], built["Compilers"]["c"]
    libraries = [
        library for library in threadpool_info() if library["user_api"] == "blas" and "numpy" in library["filepath"]
    ]
    return {
        "numpy": " ".join(levels.get("found") or levels["baseline"]),
        "blas": " ".join(f"{each['internal_api']} {each['version']} {each.get('architecture')}" for each in libraries),
        "compiler": f"{compiler['name']} {compiler['version']}",
    }
