"""Make a logged result again from its receipt, compare, and prove that it is the same.

    mlflow run . -e reproduce -P run=<run id>
    mlflow run . -e reproduce -P run=receipts/wines.json -P env=recorded

The exit code is 0 only if all is equal, 1 if something differs, 2 if it could not be compared. It runs the code that
the receipt names: reproduce only what you trust.
"""

import dataclasses
import os
import sys
import tempfile
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path

import level

import mlflow
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

import evaluate
from errors import Difference, UserError
from preprocess import PROJECT
from runs import comparison, git, receipt, reproduction, step, tracking
from runs.comparison import DIFFERS, EQUAL, Row
from runs.parameters import Parameter, at_least_zero, one_of, resolved
from tabular.report import Section, page

PARAMETERS = (
    Parameter("run", "", "the run to reproduce: its id, or the path or URI of its receipt"),
    Parameter(
        "env",
        reproduction.SAME,
        "the environment to use: the same as now, or one that uv builds as recorded",
        one_of((reproduction.SAME, reproduction.RECORDED)),
    ),
    Parameter("rtol", "0", "relative tolerance of numbers; 0 is bit for bit", at_least_zero),
)
STEPS = {link.name: link for link in evaluate.STEP.chain()}
COLUMNS = ["item", "recorded", "reproduced", "verdict"]
EXPLAINED = {
    "receipt": "Its own digest: an edit after it was written shows.",
    reproduction.AS_LOGGED: "What the recorded runs hold today: an edited metric or a swapped model shows.",
    "platform": "May differ, and may then change the last digits.",
    "threads": "May differ, and should change nothing.",
}
MOST = 4  # rows of a group to show where they are not equal
SHOWN = {"cv_r2_score", "r2_score", "mean_absolute_error"}  # in the terminal, even where all is equal


def reproduce(given: dict) -> None:
    """Run the recorded entry point at the recorded commit, in a store of its own, and log the comparison.

    Raises UserError if something that it takes cannot be had, Difference if the result is not the same.
    """
    parameters = resolved(PARAMETERS, given)
    if not parameters["run"]:
        raise UserError("run: name the run to reproduce by its id, or by the path or URI of its receipt")
    recorded, patch = reproduction.find(parameters["run"], PROJECT)
    tracking.describe(f"reproduce {list(recorded['outcome'])[-1]}", parameters)
    mlflow.set_tags({"workflow.step": "reproduce", "workflow.reproduces": reproduction.own_run(recorded)})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "code").mkdir()
        project = git.checkout(recorded["code"], patch, PROJECT, folder / "code")
        inputs, rows = reproduction.inputs_again(recorded, (project, PROJECT), folder)
        store = f"sqlite:///{folder}/mlflow.db"
        with reproduction.started(recorded, project, inputs, parameters["env"], store) as process:
            rows = reproduction.examined(recorded, STEPS) + rows
            reproduced = reproduction.result(process, recorded, store)
    rows += comparison.compare(recorded, reproduced, parameters["rtol"])
    publish(rows, recorded, reproduced, comparison.conclusion(rows, recorded["outcome"]))


def publish(rows: list[Row], recorded: dict, reproduced: dict, conclusion: str) -> None:
    """Print and log the comparison, tag the run that was reproduced, and raise Difference if it was not."""
    verdict = EQUAL if comparison.holds(rows) else DIFFERS
    table = pd.DataFrame([dataclasses.asdict(row) for row in rows])
    with tracking.artifacts() as folder:
        table.to_csv(folder / "reproduction.csv", index=False)
        (folder / "reproduction.html").write_text(html(rows, recorded, verdict, conclusion), encoding="utf-8")
        (folder / "recorded.json").write_text(receipt.text(recorded), encoding="utf-8")
        (folder / "reproduced.json").write_text(receipt.text(reproduced), encoding="utf-8")
    mlflow.log_metric("largest_deviation", table["deviation"].max())
    mlflow.set_tag("workflow.verdict", verdict)
    reproduction.tag_original(recorded, verdict)
    short = summary(rows, recorded["outcome"])
    if page_of_job := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(page_of_job, "a", encoding="utf-8") as file:
            file.write(f"**{verdict}**: {conclusion}\n\n{short.to_html(index=False, border=0)}\n")
    show(short)
    step.print_links({"reproduce": mlflow.active_run()})
    if verdict == DIFFERS:
        raise Difference(conclusion)
    print(f"{verdict}: {conclusion}")


def summary(rows: Sequence[Row], outcome: Collection[str]) -> pd.DataFrame:
    """What people look at: of each group the first that are not equal, and how many are; the scores of `outcome`."""
    lines = []
    for group, members in groupby(rows, key=lambda row: row.group):
        members = list(members)
        scores = SHOWN if group in outcome else set()
        wrong = [row for row in members if row.verdict != EQUAL]
        fine = [row for row in members if row.verdict == EQUAL and (row.item in scores or len(members) == 1)]
        for row in wrong[:MOST] + fine:
            texts = [comparison.shortened(text) for text in (row.recorded, row.reproduced)]
            lines.append((f"{group}: {row.item}", *texts, row.verdict))
        if len(wrong) > MOST:
            lines.append((f"{group}: {len(wrong) - MOST} more", "", "see reproduction.html", "not equal"))
        if rest := len(members) - len(wrong) - len(fine):
            lines.append((f"{group}: {rest}{' more' if rest < len(members) else ''}", "", "", EQUAL))
    return pd.DataFrame(lines, columns=COLUMNS)


def show(table: pd.DataFrame) -> None:
    """Print the summary."""
    shown = Table(box=box.SIMPLE_HEAD)
    for heading in table.columns:
        shown.add_column(heading, overflow="fold", max_width=50)
    for line in table.itertuples(index=False):
        shown.add_row(*line, style=None if line.verdict == EQUAL else "bold")
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(shown)


def html(rows: Sequence[Row], recorded: dict, verdict: str, conclusion: str) -> str:
    """The page about a reproduction: the conclusion, the summary, and every row."""
    code, occasion = recorded["code"], recorded["occasion"]
    lead = f"Recorded {occasion['time']} on {occasion['host']}, at commit {code['commit']}"
    lead += " with uncommitted changes." if code["patch"] else "."
    warning = conclusion
    if verdict == EQUAL:
        lead, warning = f"{conclusion[0].upper()}{conclusion[1:]}. {lead}", ""
    sections = [Section("In short", table=summary(rows, recorded["outcome"]))]
    for group, members in groupby(rows, key=lambda row: row.group):
        lines = [(row.item, row.recorded, row.reproduced, row.verdict) for row in members]
        table = pd.DataFrame(lines, columns=COLUMNS).map(comparison.shortened)
        sections.append(Section(group.capitalize(), EXPLAINED.get(group, ""), table))
    return page(f"Reproduction of {list(recorded['outcome'])[-1]}: {verdict}", lead, sections, warning)


if __name__ == "__main__":
    step.command(__doc__, PARAMETERS, reproduce)
