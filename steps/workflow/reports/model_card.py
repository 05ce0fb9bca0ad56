"""The model card: a model, its data, its scores and its limits, in the form that Hugging Face reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from workflow.formatting import percent
from workflow.reports.model_report import METRIC_NAMES, ModelResult, model_summary, score_table
from workflow.reports.report import cell, markdown_table

TASK = "tabular-regression"
MAX_SEGMENTS = 20
LIMITS = (
    "The scores hold for rows like those of the file. Where a value is outside the range of the training rows, which"
    " the data report lists, the model extrapolates, and no score covers that.",
    "It is not for decisions about people without somebody who looks at the case: nothing here says whether its errors"
    " are fair.",
    "SHAP values say what moves a prediction, not what causes the outcome.",
)


@dataclass(frozen=True)
class Origin:
    """Where a model comes from.

    Attributes:
        run_id: of the evaluate run, whose receipt holds all that decided the scores.
        data_sha256: of the bytes of the data file.
        rows: what became of the rows of the file, in words.
        command: makes the result again.
    """

    run_id: str
    data_sha256: str
    rows: str
    command: str


def model_card(result: ModelResult, origin: Origin) -> str:
    """Return the card as Markdown, after metadata in YAML."""
    metadata = yaml.safe_dump(card_metadata(result, origin), sort_keys=False, allow_unicode=True)
    return f"---\n{metadata}---\n\n{card_text(result, origin)}"


def card_metadata(result: ModelResult, origin: Origin) -> dict[str, Any]:
    """Return what a program reads of a card.

    Source: the specification of model cards in the documentation of the Hugging Face Hub.
    """
    scores = [
        {"type": name, "name": METRIC_NAMES.get(name, name), "value": float(result.metrics[name])}
        for name in METRIC_NAMES | {result.parameters["metric"]: ""}
        if name in result.metrics
    ]
    dataset = {"type": "tabular", "name": data_name(result), "revision": origin.data_sha256, "split": "test"}
    entry = {"task": {"type": TASK}, "dataset": dataset, "metrics": scores}
    return {
        "library_name": "sklearn",
        "pipeline_tag": TASK,
        "tags": ["mlflow", "skops", TASK],
        "model-index": [{"name": f"{result.model} for {result.contract.target}", "results": [entry]}],
    }


def data_name(result: ModelResult) -> str:
    """Return the name of the data file, without its folder."""
    return str(result.parameters["data"]).rstrip("/").rpartition("/")[2]


def card_text(result: ModelResult, origin: Origin) -> str:
    """Return the card for people, as Markdown."""
    target, metrics = result.contract.target, result.metrics
    scores = score_table(metrics, result.parameters["metric"])
    findings = [str(finding) for finding in result.findings]
    parts = [
        f"# {result.model}: {plain(target)} predicted",
        plain(model_summary(result)),
        "## Data",
        f"`{data_name(result)}`, SHA-256 `{origin.data_sha256}`: {origin.rows}. They were split"
        f" by `split={result.parameters['split']}`.",
        "## Scores",
        "On the test set, with 95 % bootstrap confidence intervals; the baseline is a constant prediction."
        f" The {percent(result.parameters['level'][0])} prediction intervals cover"
        f" {percent(metrics['interval_coverage'])} of it.",
        table_text(scores),
        "## Errors by segment",
        table_text(result.segments.head(MAX_SEGMENTS).rename(columns=METRIC_NAMES)),
        "## Limits",
        bullets([*LIMITS, *findings]),
        "## Reproduce it",
        f"```sh\n{origin.command}\n"
        f"mlflow run . -e reproduce -P run={origin.run_id}  # and compare with the receipt\n```",
    ]
    return "\n\n".join(parts) + "\n"


def bullets(texts: Sequence[str]) -> str:
    """Return texts as a list in Markdown."""
    return "\n".join(f"- {plain(text)}" for text in texts)


def table_text(table: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    texts = table.astype(object).map(lambda value: plain(str(cell(value))))
    return markdown_table(texts.rename(columns=lambda name: plain(str(name))))


def plain(text: str) -> str:
    """Return a text of the data such that Markdown shows it as it is, on one line."""
    return "".join(f"\\{sign}" if sign in r"\`*_[]<>|#" else sign for sign in " ".join(text.split()))
