"""The receipt: a portable document from which a result can be made again and checked.

PYTHONPATH=steps python -c "from workflow.provenance import receipt; print(receipt.schema(), end='')"
"""

import datetime
import json
import os
import platform
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError, model_serializer

from workflow.errors import UserError
from workflow.provenance import fingerprint

if TYPE_CHECKING:
    from pydantic import SerializerFunctionWrapHandler

VERSION: Literal[5] = 5
SCHEMA_URL = "https://json-schema.org/draft/2020-12/schema"
NOT_DIGESTED = {"sha256", "provenance"}
MAX_INLINE_BYTES = 16 * 1024  # of an input whose content the receipt holds itself
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z_]+$")]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.!+_-]+$")]
Distribution = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]
RunId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40,64}$")]


class Part(BaseModel):
    """A part of a receipt: immutable, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Compact(Part):
    """A part whose absent fields are left out of the JSON."""

    @model_serializer(mode="wrap")
    def without_none(self, handler: "SerializerFunctionWrapHandler") -> dict[str, Any]:
        """Leave out fields that are None."""
        return {name: value for name, value in handler(self).items() if value is not None}


class InputRecord(Compact):
    """A file or folder that was read."""

    source: str = Field(description="As given: absolute, or relative to the project's folder.")
    sha256: Sha256
    function: str | None = Field(default=None, description="The function in the file that is called, if one is.")
    content: str | None = Field(default=None, description="The text of a short file.")
    artifact: str | None = Field(default=None, description="Where the first run of the lineage holds a copy.")


class CodeState(Part):
    """The code that ran, as git knows it."""

    commit: Commit | None = Field(description="The full hash; null if the project was in no git repository.")
    folder: str | None = Field(description="The project's folder in the repository; empty for its root.")
    remote: str | None = Field(description="The repository's `origin`, if it has one.")
    patch: Sha256 | None = Field(
        description="SHA-256 of uncommitted.patch, the artifact beside the receipt; null if all was committed."
    )
    files: dict[str, Sha256] = Field(description="SHA-256 of each file that decides the result, relative to steps/.")


class Environment(Part):
    """What the code ran in."""

    python: Annotated[str, StringConstraints(pattern=r"^[0-9]+[.][0-9]+[.][0-9a-z+]+$")]
    packages: dict[Distribution, Version] = Field(description="Exact versions of all packages that decide numbers.")
    supporting: dict[Distribution, Version] = Field(
        description="Exact versions of what else env=recorded installs: what MLflow and the reports require."
    )
    platform: dict[str, str] = Field(
        description="What may change the last bits: processor, libraries, the level that numpy and BLAS chose."
    )
    threads: dict[str, int | str] = Field(
        description="Number of processors and variables that set numbers of threads; should change nothing."
    )


class ArtifactDigest(Compact):
    """What a table or a model holds; see steps/workflow/provenance/digests.py."""

    sha256: Sha256
    structure: Sha256 | None = Field(
        default=None, description="Of a model without its floats: must match within a tolerance."
    )
    count: int | None = Field(default=None, description="How many floating-point numbers it holds.")
    sample: list[float | None] | None = Field(
        default=None, description="Some of them, evenly spaced, to compare within a tolerance."
    )
    types: list[str] | None = Field(
        default=None, description="Of a model: the types in its file, one by one, beyond those that skops trusts."
    )


class Outcome(Part):
    """What a reproduction of one run must make again."""

    metrics: dict[str, float | None] = Field(description="To full precision; null for an undefined score.")
    artifacts: dict[str, ArtifactDigest]


class FileRecord(Part):
    """The bytes of a file."""

    bytes: int
    sha256: Sha256

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the record of a file."""
        return cls(bytes=path.stat().st_size, sha256=fingerprint.file_digest(path))


class Provenance(Part):
    """When, where and by which runs, and what they left: the only part that differs between two equal executions."""

    time: str
    host: str
    runs: dict[str, RunId] = Field(description="Run ids, by the names under `outcome`.")
    receipts: dict[RunId, Sha256] = Field(
        default={}, description="SHA-256 of receipt.json of each run that this one builds on, by its id."
    )
    files: dict[str, FileRecord] = Field(
        default={}, description="Every other file that this run left, by its path; `model/` is the folder of its model."
    )
    tags: dict[str, str] = Field(default={}, description="Tags that say what this run is and what it was built on.")
    params: Sha256 | None = Field(default=None, description="Of the canonical JSON of the run's parameters in MLflow.")
    report: Sha256 | None = Field(default=None, description="Of the code that drew the pages and figures in `files`.")


class Receipt(Part):
    """Everything needed to make the result of a run again and to check it.

    The same inputs give the same receipt, apart from `provenance`.
    """

    version: Literal[5] = Field(description="Of this form. A reader refuses any other.")
    step: Name = Field(description="The entry point, whose script is steps/<step>.py.")
    parameters: dict[Name, JsonValue] = Field(
        description="Resolved parameters of the step and of all before it, except those that name its inputs."
    )
    inputs: dict[Name, InputRecord] = Field(description="The files that were read, by the parameter that names them.")
    code: CodeState
    environment: Environment
    outcome: dict[str, Outcome] = Field(
        min_length=1, description="What must match, by run: `preprocess`, `train rf`, `evaluate rf`, `main`."
    )
    sha256: Sha256 = Field(
        description="Of the canonical JSON (keys sorted, no spaces) of all but this and `provenance`."
    )
    provenance: Provenance

    @property
    def label(self) -> str:
        """The name of the run that it is of: `train rf`."""
        return list(self.outcome)[-1]

    @property
    def own_outcome(self) -> Outcome:
        """The outcome of that run."""
        return self.outcome[self.label]

    @property
    def script(self) -> str:
        """The script of its entry point, relative to the project's folder."""
        return f"steps/{self.step}.py"

    @property
    def run_id(self) -> str:
        """The id of the run that it is of."""
        return list(self.provenance.runs.values())[-1]

    def self_digest(self) -> str:
        """Return what `sha256` must be: an edit by hand shows."""
        return self_digest(self.model_dump(mode="json"))

    def text(self) -> str:
        """Return the JSON of the receipt, with a list of numbers on one line."""
        pretty = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)
        return re.sub(r"\[[^][{}\"]+\]", lambda numbers: " ".join(numbers[0].split()), pretty) + "\n"


def make(
    step: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, InputRecord],
    code: CodeState,
    environment: Environment,
    outcome: Mapping[str, Outcome],
    runs: Mapping[str, str],
) -> Receipt:
    """Return a receipt with its own digest, made here and now."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    receipt = Receipt(
        version=VERSION,
        step=step,
        parameters=dict(parameters),
        inputs=dict(inputs),
        code=code,
        environment=environment,
        outcome=dict(outcome),
        sha256="0" * 64,
        provenance=Provenance(time=now, host=socket.gethostname(), runs=dict(runs)),
    )
    return receipt.model_copy(update={"sha256": receipt.self_digest()})


def self_digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the JSON values of a receipt that are digested."""
    return fingerprint.digest({name: part for name, part in document.items() if name not in NOT_DIGESTED})


def read(content: str, name: str) -> Receipt:
    """Parse a receipt. Raises UserError, which begins with `name`, for anything else."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not JSON ({error})") from error
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, int) and version != VERSION:
        remedy = "use the commit that the receipt names" if version < VERSION else "use a newer commit of this project"
        raise UserError(f"{name}: a receipt of version {version}, but this project reads version {VERSION}; {remedy}")
    try:
        return Receipt.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{name}: not a receipt: {first_fault(error)}") from None


def first_fault(error: ValidationError) -> str:
    """Return where a document is not of its form first, and why, on one line."""
    fault = error.errors(include_url=False)[0]
    place = ".".join(map(str, fault["loc"])) or "the document"
    return f"{place}: {shortened(fault['msg'])}"


def shortened(message: str) -> str:
    """Return a message that quotes what may be long on one line of a sensible length."""
    line = " ".join(message.split())
    return line if len(line) <= 200 else f"{line[:100]} … {line[-95:]}"


def short_text(file: Path) -> str | None:
    """Return the content of a short UTF-8 file, else None."""
    if file.is_dir() or file.stat().st_size > MAX_INLINE_BYTES:
        return None
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return None


def current_environment(packages: Mapping[str, str], supporting: Mapping[str, str]) -> Environment:
    """Return what this process runs in, with the versions of packages that matter."""
    return Environment(
        python=platform.python_version(),
        packages=dict(sorted(packages.items())),
        supporting=dict(supporting),
        platform={
            "system": platform.system(),
            "machine": platform.machine(),
            "processor": processor(),
            "libc": " ".join(platform.libc_ver()),
            **arithmetic(),
        },
        threads={
            "cpus": os.cpu_count() or 1,
            **{name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        },
    )


def processor() -> str:
    """Return the model of the processor, as far as the system says."""
    try:
        information = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    model = re.search(r"^model name\s*:\s*(.+)$", information, re.M)
    return model[1] if model else platform.processor()


def arithmetic() -> dict[str, str]:
    """Return the SIMD level of numpy, the kernel of its BLAS library, and the compiler that built it.

    The compiler stands for that of all packages of the same origin.
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


def schema() -> str:
    """Return the JSON schema of a receipt."""
    return json.dumps({"$schema": SCHEMA_URL} | Receipt.model_json_schema(), indent=2) + "\n"


def merged(earlier: Sequence[Receipt]) -> tuple[dict[str, InputRecord], dict[str, Outcome], dict[str, str]]:
    """Return the inputs, outcomes and run ids of a lineage; where two receipts describe a run, the first counts."""
    inputs: dict[str, InputRecord] = {}
    outcomes: dict[str, Outcome] = {}
    runs: dict[str, str] = {}
    for receipt in earlier:
        inputs |= {name: record for name, record in receipt.inputs.items() if name not in inputs}
        outcomes |= {label: outcome for label, outcome in receipt.outcome.items() if label not in outcomes}
        runs |= {label: run_id for label, run_id in receipt.provenance.runs.items() if label not in runs}
    return inputs, outcomes, runs
