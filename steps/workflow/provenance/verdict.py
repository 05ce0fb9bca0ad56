"""The verdict of a reproduction as an in-toto Statement: a document about a receipt that somebody can sign.

PYTHONPATH=steps python -c "from workflow.provenance import verdict; print(verdict.schema(), end='')"

in-toto Attestation Framework, https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

import json
import platform
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationError

from workflow.errors import UserError
from workflow.provenance.comparison import EQUAL, Comparison
from workflow.provenance.receipt import SCHEMA_URL, Commit, Part, Receipt, Sha256, first_fault

STATEMENT_TYPE: Literal["https://in-toto.io/Statement/v1"] = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Literal["urn:x-tabular-regression:verdict:v1"] = (
    "urn:x-tabular-regression:verdict:v1"  # names no domain, because the project has none
)
CONTENT = "contentSha256"  # a digest of what a receipt or a model holds, not of the bytes of its file
SHA256 = "sha256"
RECEIPT = "receipt"
MODEL = "model/model.skops"
Algorithm = Annotated[str, StringConstraints(pattern=r"^(sha256|contentSha256)$")]


class Subject(Part):
    """Something that the verdict is about."""

    name: str = Field(description="`receipt`, `model of train rf`, or an input by its parameter: `data`.")
    digest: dict[Algorithm, Sha256] = Field(
        description="sha256 of a file's bytes; contentSha256 of what a receipt or a model holds."
    )


class Verdict(Part):
    """What a reproduction has found."""

    verdict: str = Field(description="`equal`, `equal within 1e-9` (or another tolerance), or `differs`.")
    conclusion: str = Field(description="The verdict with its reason, in a line.")
    label: str = Field(description="The run that was reproduced: `evaluate rf`.")
    compared: int = Field(description="Number of metrics and artifacts.")
    rtol: float = Field(description="Relative tolerance of numbers.")
    largest_deviation: float | None = Field(description="Of a number; null if one has no deviation to measure.")
    reproduced: Sha256 = Field(description="The receipt's own digest of what was made again.")
    commit: Commit | None = Field(description="Of the code that ran.")
    python: str
    packages: dict[str, str] = Field(description="Versions of the packages that decide numbers.")
    platform: dict[str, str]
    machine: str = Field(description="The name of the machine on which it was made again.")
    time: str


class Statement(Part):
    """An in-toto Statement about a receipt, its models and its inputs."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Subject] = Field(min_length=1)
    predicate_type: Literal["urn:x-tabular-regression:verdict:v1"] = Field(alias="predicateType")
    predicate: Verdict

    def digest_of(self, name: str) -> str | None:
        """Return the digest of the subject with that name."""
        found = (digest for each in self.subject if each.name == name for digest in each.digest.values())
        return next(found, None)

    @property
    def says_equal(self) -> bool:
        """Whether the verdict is that the result came out as recorded."""
        return self.predicate.verdict.startswith(EQUAL)

    def text(self) -> str:
        """Return the JSON of the statement."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def statement_of(recorded: Receipt, made: Receipt, found: Comparison) -> Statement:
    """Return the statement about a receipt that was reproduced here.

    Args:
        recorded: the receipt.
        made: that of its reproduction.
        found: their comparison.
    """
    deviations = [row.deviation for row in found.rows if row.group in found.results]
    largest = max(deviations, default=0.0)
    return Statement(
        _type=STATEMENT_TYPE,
        subject=subjects_of(recorded),
        predicateType=PREDICATE_TYPE,
        predicate=Verdict(
            verdict=found.verdict,
            conclusion=found.conclusion,
            label=recorded.label,
            compared=len(deviations),
            rtol=found.rtol,
            largest_deviation=largest if largest < float("inf") else None,
            reproduced=made.sha256,
            commit=made.code.commit,
            python=made.environment.python,
            packages=made.environment.packages,
            platform=made.environment.platform,
            machine=platform.node(),
            time=made.provenance.time,
        ),
    )


def subjects_of(recorded: Receipt) -> list[Subject]:
    """Return what a verdict on a receipt is about: the receipt, the models that it proves, the inputs."""
    return [
        Subject(name=RECEIPT, digest={CONTENT: recorded.self_digest()}),
        *(Subject(name=name, digest={CONTENT: digest}) for name, digest in models_in(recorded).items()),
        *(Subject(name=name, digest={SHA256: entry.sha256}) for name, entry in recorded.inputs.items()),
    ]


def models_in(recorded: Receipt) -> dict[str, str]:
    """Return the digests of the models whose outcome a receipt holds, by the name of the subject."""
    return {
        f"model of {label}": artifact.sha256
        for label, outcome in recorded.outcome.items()
        for path, artifact in outcome.artifacts.items()
        if path == MODEL
    }


def read(content: str | bytes, name: str) -> Statement:
    """Parse a statement. Raises UserError, which begins with `name`, for anything else."""
    try:
        return Statement.model_validate_json(content)
    except ValidationError as error:
        raise UserError(f"{name}: not a verdict of this project: {first_fault(error)}") from None


def why_not_about(statement: Statement, recorded: Receipt) -> str:
    """Return why a statement is not about a receipt; empty if it is.

    One about a later step of the same lineage, such as `main`, also proves the model of a training.
    """
    digest, subjects = statement.digest_of(RECEIPT), subjects_of(recorded)
    if digest == recorded.self_digest():
        return "" if statement.subject == subjects else "its models and inputs are not those of the receipt"
    later = recorded.step == "train" and all(each in statement.subject for each in subjects[1:])
    return "" if later else f"it is about another receipt, {str(digest)[:12]}…"


def schema() -> str:
    """Return the JSON schema of a statement."""
    return json.dumps({"$schema": SCHEMA_URL} | Statement.model_json_schema(by_alias=True), indent=2) + "\n"
