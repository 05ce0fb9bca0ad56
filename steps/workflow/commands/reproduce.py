"""Make a logged result again from its receipt, compare, and prove that it is the same.

    mlflow run . -e reproduce -P run=<run id>
    mlflow run . -e reproduce -P run=receipts/wines.json -P env=recorded
    mlflow run . -e reproduce -P run=models:/wines@champion
    mlflow run . -e reproduce -P run=<name of an experiment>

The exit code is 0 if all is equal, to the last bit on the same platform and within 1e-9 on another; 1 if something
differs; 2 if it could not be compared. It runs the code that the receipt names: reproduce only what you trust.
"""

import dataclasses
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import environment

import mlflow
import pandas as pd
from mlflow.entities import Experiment, Run

from workflow.commands import evaluate, tune
from workflow.commands.preprocess import PROJECT
from workflow.errors import Difference, UserError
from workflow.parallel.cluster import CLUSTER
from workflow.parameters import AUTO, Parameter, at_least_zero, one_of, or_auto, resolved, truth
from workflow.provenance import comparison, git, receipt
from workflow.provenance.comparison import DIFFERS, EQUAL, Comparison
from workflow.reports.report import Section, page
from workflow.reports.reproduction_report import reproduction_report, summary
from workflow.runs import cli, links, receipt_lookup, reproduction, tracking
from workflow.runs.secrets import without_secrets

PARAMETERS = (
    Parameter(
        "run",
        "",
        "what to reproduce: a run id, models:/<name>@<alias>, a receipt's path or URI, or an experiment's name or id",
        without_secrets,
    ),
    Parameter(
        "env",
        reproduction.SAME,
        "the environment to use: the same as now, or one that uv builds as recorded",
        one_of((reproduction.SAME, reproduction.RECORDED)),
    ),
    Parameter(
        "rtol",
        AUTO,
        f"relative tolerance of numbers; 0 is bit for bit; auto: 0, but {comparison.power(comparison.ELSEWHERE)} on"
        " another platform than the recorded one",
        or_auto(at_least_zero),
    ),
    Parameter("search", "false", "of a tune run, reproduce the whole search, and not only its best model", truth),
    CLUSTER,
    Parameter("again", "false", "of an experiment, reproduce also what was found equal on this machine before", truth),
)
REPORT = "reproduction.html"
STEPS = {link.name: link for link in [tune.STEP, *evaluate.STEP.chain()]}


def reproduce(given: dict[str, Any]) -> None:
    """Reproduce one run, or all of an experiment.

    Raises UserError if something that it takes cannot be had, Difference if the result is not the same.
    """
    parameters = resolved(PARAMETERS, given)
    name = parameters["run"]
    if not name:
        raise UserError("run: name the run to reproduce by its id, by the path or URI of its receipt, or an experiment")
    mlflow.set_tag("workflow.step", "reproduce")
    if experiment := receipt_lookup.find_experiment(name, PROJECT):
        tracking.describe(f"reproduce {experiment.name}", parameters)
        reproduce_all(experiment, parameters)
        return
    found = reproduce_one(name, parameters)
    show(summary(table(found), found.results))
    cli.print_links({"reproduce": links.run_page(tracking.active_run())})
    if found.verdict == DIFFERS:
        raise Difference(found.conclusion)
    print(f"{found.verdict}: {found.conclusion}")


def reproduce_one(name: str, parameters: dict[str, Any]) -> Comparison:
    """Run the entry point of one receipt at its commit, in a store of its own, and log the comparison."""
    document, patch = receipt_lookup.find_receipt(name, PROJECT, parameters["search"])
    label = list(document["outcome"])[-1]
    tracking.describe(f"reproduce {label}", parameters)
    mlflow.set_tags({"workflow.reproduces": receipt_lookup.run_id_of(document), "workflow.seal": document["sha256"]})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "code").mkdir()
        project = git.checkout(document["code"], patch, PROJECT, folder / "code")
        inputs, rows = reproduction.restore_inputs(document, (project, PROJECT), folder)
        store = f"sqlite:///{folder}/mlflow.db"
        more = [f"--{CLUSTER.name}", parameters[CLUSTER.name]] if parameters[CLUSTER.name] else []
        with reproduction.run_again(document, project, inputs, parameters["env"], store, more) as process:
            rows = receipt_lookup.compare_as_logged(document, STEPS) + rows
            made = reproduction.wait_for_receipt(process, document, store)
    rtol = parameters["rtol"]
    found = comparison.compare(document, made, rows, None if rtol == AUTO else rtol)
    compared = table(found)
    code, occasion = document["code"], document["occasion"]
    changes = " with uncommitted changes" if code["patch"] else ""
    origin = f"Recorded {occasion['time']} on {occasion['host']}, at commit {code['commit']}{changes}."
    html = reproduction_report(compared, found.results, label, found.verdict, found.conclusion, origin)
    with tracking.artifacts() as folder:
        compared.to_csv(folder / "reproduction.csv", index=False)
        (folder / REPORT).write_text(html, encoding="utf-8")
        (folder / "recorded.json").write_text(receipt.text(document), encoding="utf-8")
        (folder / "reproduced.json").write_text(receipt.text(made), encoding="utf-8")
    mlflow.log_metric("largest_deviation", compared["deviation"].max())
    mlflow.set_tag("workflow.verdict", found.verdict)
    tracking.write_note(note(found.verdict, found.conclusion))
    receipt_lookup.tag_original(document, found.verdict)
    add_to_job_summary(found.verdict, found.conclusion, summary(compared, found.results))
    return found


def table(found: Comparison) -> pd.DataFrame:
    """The rows of a comparison, with digests as people quote them."""
    rows = [dataclasses.asdict(row) for row in found.rows]
    compared = pd.DataFrame(rows)
    return compared.assign(**{name: compared[name].map(comparison.shortened) for name in ("recorded", "reproduced")})


def reproduce_all(experiment: Experiment, parameters: dict[str, Any]) -> None:
    """Reproduce every finished top-level run of an experiment, each in a nested run; log and print what came of them.

    Raises Difference if one differs, UserError if one could not be compared.
    """
    runs = receipt_lookup.top_level_runs(experiment.experiment_id)
    if not runs:
        raise UserError(f"run={parameters['run']}: that experiment has no finished run with a receipt")
    lines = []
    for run in runs:
        started = time.monotonic()
        verdict, remark = attempt(run, parameters)
        tracking.console.print(f"{run.info.run_name:<22} {verdict:<18} {time.monotonic() - started:5.1f} s")
        lines.append((run.info.run_name, run.info.run_id, verdict, remark))
    outcome = pd.DataFrame(lines, columns=["run", "id", "verdict", "remark"])
    well = outcome["verdict"].str.startswith(EQUAL)
    conclusion = f"{well.sum()} of {len(runs)} runs of experiment {experiment.name} came out again"
    if not well.all():
        conclusion += f"; not {', '.join(outcome['run'][~well])}"
    failed = next((kind for kind in (Difference, UserError) if (outcome["verdict"] == kind.heading).any()), None)
    verdict = failed.heading if failed else outcome["verdict"].max()  # `equal within …` comes after `equal`
    with tracking.artifacts() as folder:
        outcome.to_csv(folder / "reproduction.csv", index=False)
        html = page(f"Reproduction of {experiment.name}: {verdict}", conclusion, [Section("Runs", table=outcome)])
        (folder / REPORT).write_text(html, encoding="utf-8")
    mlflow.set_tag("workflow.verdict", verdict)
    tracking.write_note(note(verdict, conclusion))
    add_to_job_summary(verdict, conclusion, outcome)
    show(outcome)
    cli.print_links({"reproduce": links.run_page(tracking.active_run())})
    if failed:
        raise failed(conclusion)
    print(f"{verdict}: {conclusion}")


def attempt(run: Run, parameters: dict[str, Any]) -> tuple[str, str]:
    """The verdict on one run of an experiment, and a remark.

    What was found equal on this machine before, by the same receipt, is only looked at, unless `again`.
    """
    try:
        document, _ = receipt_lookup.find_receipt(run.info.run_id, PROJECT, parameters["search"])
        known = not parameters["again"] and receipt_lookup.is_proven(run, document)
        if known and all(row.verdict == EQUAL for row in receipt_lookup.compare_as_logged(document, STEPS)):
            return EQUAL, "proven before"
        with tracking.opened(run_name=f"reproduce {run.info.run_name}", nested=True):
            found = reproduce_one(run.info.run_id, parameters)
            if found.verdict == DIFFERS:
                raise Difference(found.conclusion)
    except UserError as error:
        return error.heading, str(error)
    return found.verdict, "" if found.verdict == EQUAL else found.conclusion


def show(table: pd.DataFrame) -> None:
    """Print a table; what is not equal in bold."""
    cli.print_table(table, bold=~table["verdict"].str.startswith(EQUAL))


def note(verdict: str, conclusion: str) -> str:
    """The description of the active run, in Markdown."""
    return f"**{verdict}**: {conclusion}\n\n[All rows]({links.run_page(tracking.active_run(), REPORT)})"


def add_to_job_summary(verdict: str, conclusion: str, table: pd.DataFrame) -> None:
    """Show the outcome on the page of a GitHub job, if this is one."""
    if page_of_job := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(page_of_job, "a", encoding="utf-8") as file:
            file.write(f"**{verdict}**: {conclusion}\n\n{table.to_html(index=False, border=0)}\n")


if __name__ == "__main__":
    cli.command(__doc__, PARAMETERS, reproduce)
