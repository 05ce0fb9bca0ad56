"""Reproduction as an MLflow run: a logged result, made again from its receipt and compared."""

import dataclasses
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from mlflow.entities import Experiment, Run
from rich.markup import escape

from workflow.commands import evaluate, preprocess, train, tune
from workflow.commands.preprocess import PROJECT
from workflow.errors import Difference, UserError
from workflow.parameters import ReproduceCommand
from workflow.provenance import comparison, git, signatures, verdict
from workflow.provenance.comparison import DIFFERS, EQUAL, Comparison
from workflow.provenance.receipt import Receipt
from workflow.provenance.verdict import Statement
from workflow.reports.badge import badge
from workflow.reports.report import Page, Section
from workflow.reports.reproduction_report import reproduction_report, summary
from workflow.runs import cli, links, receipt_lookup, reproduction, sources, tracking
from workflow.runs.names import Files, Tags

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

PROVEN_ARTIFACTS = {
    "preprocess": preprocess.PROVEN_ARTIFACTS,
    "train": train.PROVEN_ARTIFACTS,
    "evaluate": evaluate.PROVEN_ARTIFACTS,
    "tune": tune.PROVEN_ARTIFACTS,
}


def run(params: ReproduceCommand) -> None:
    """Reproduce one run, or all of an experiment.

    Raises UserError if something that is needed is not found, Difference if the result is not the same.
    """
    cli.require("<run id, model URI, receipt, or experiment>", run=params.run)
    if experiment := receipt_lookup.find_experiment(params.run, PROJECT):
        describe(experiment.name, params)
        reproduce_all(experiment, params)
        return
    mlflow.set_tag(Tags.STAGE, "reproduce")
    found = reproduce_one(params)
    show(summary(table_of(found), found.results))
    cli.print_links({"reproduce": links.run_page(tracking.active_run())})
    if found.verdict == DIFFERS:
        raise Difference(found.conclusion)
    print(f"{found.verdict}: {found.conclusion}")


def describe(label: str, params: ReproduceCommand) -> None:
    """Name the active run and log its parameters."""
    tracking.describe_command("reproduce", f"reproduce {label}", params.model_dump(mode="json"))


def reproduce_one(params: ReproduceCommand) -> Comparison:
    """Run the entry point of one receipt at its commit, in a store of its own, and log the comparison."""
    signer = signer_in(params.sign) if params.sign else None  # before anything runs
    with receipt_lookup.unpacked(params.run, PROJECT) as (name, packed):
        return reproduce_receipt(name, packed, params, signer)


def reproduce_receipt(
    name: str, packed: Mapping[str, Path], params: ReproduceCommand, signer: "CryptoSigner | None"
) -> Comparison:
    """Reproduce the receipt with a name; its inputs are `packed` with it, if it comes from a crate."""
    recorded, patch = receipt_lookup.find_receipt(name, PROJECT, params.search)
    describe(recorded.label, params)
    mlflow.set_tags({Tags.REPRODUCES: recorded.run_id, Tags.RECEIPT_DIGEST: recorded.sha256})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:  # MLflow keeps its store open
        folder = Path(temporary)
        (folder / "code").mkdir()
        code = git.checkout(recorded.code, patch, PROJECT, folder / "code", recorded.script, params.trust)
        inputs, rows = reproduction.restore_inputs(recorded, (code.project, PROJECT), folder, packed)
        store = f"sqlite:///{folder}/mlflow.db"
        changes = f"{code.origin}{' with its uncommitted changes' if patch else ''}"
        tracking.console.print(escape(f"reproducing {recorded.step} at commit {recorded.code.commit} of {changes}"))
        more = ["--cluster", params.cluster] if params.cluster else []
        with reproduction.run_again(recorded, code, inputs, params.env, store, more) as process:
            rows = receipt_lookup.compare_as_logged(recorded, PROVEN_ARTIFACTS) + rows
            made = reproduction.wait_for_receipt(process, recorded, store)
    rtol = params.rtol if isinstance(params.rtol, float) else None
    found = comparison.compare(recorded, made, rows, rtol)
    log_comparison(found, recorded, made)
    log_verdict(verdict.statement_of(recorded, made, found), signer)
    receipt_lookup.tag_original(recorded, found.verdict)
    return found


def log_comparison(found: Comparison, recorded: Receipt, made: Receipt) -> None:
    """Log a comparison on the active run, as a table and as a page, with both receipts."""
    compared, provenance = table_of(found), recorded.provenance
    changes = " with uncommitted changes" if recorded.code.patch else ""
    origin = f"Recorded {provenance.time} on {provenance.host}, at commit {recorded.code.commit}{changes}."
    page = reproduction_report(compared, found.results, recorded.label, found.verdict, found.conclusion, origin)
    with tracking.artifacts() as folder:
        compared.to_csv(folder / Files.REPRODUCTION, index=False)
        page.save(folder / Files.REPRODUCTION_REPORT)
        (folder / Files.RECORDED_RECEIPT).write_text(recorded.text(), encoding="utf-8")
        (folder / Files.REPRODUCED_RECEIPT).write_text(made.text(), encoding="utf-8")
    mlflow.log_metric("largest_deviation", compared["deviation"].max())
    mlflow.set_tag(Tags.VERDICT, found.verdict)
    tracking.write_note(note(found.verdict, found.conclusion))
    add_to_job_summary(found.verdict, found.conclusion, summary(compared, found.results))


def signer_in(name: str) -> "CryptoSigner":
    """Return what signs with the private key in a file; UserError if there is none."""
    path = sources.local_copy("sign", name, PROJECT)
    if signatures.is_readable_by_others(path):
        tracking.warn(f"sign={name}: others on this machine can read this private key; chmod 600 {name}")
    return signatures.signer_of(path, f"sign={name}")


def log_verdict(statement: Statement, signer: "CryptoSigner | None") -> None:
    """Log a verdict on the active run as a document, and signed if there is a `signer`."""
    digests = [digest for each in statement.subject for digest in each.digest.values()]
    with tracking.artifacts() as folder:
        (folder / Files.VERDICT).write_text(statement.text(), encoding="utf-8")
        about = statement.predicate
        (folder / Files.BADGE).write_text(badge(about.verdict, about.time), encoding="utf-8")
        if signer:
            envelope = signatures.sign(statement.text().encode(), signer)
            (folder / Files.SIGNED_VERDICT).write_text(envelope, encoding="utf-8")
            mlflow.set_tag(Tags.SIGNED, signer.public_key.keyid)
    mlflow.set_tag(Tags.SUBJECTS, " ".join(digests)[: tracking.TAG_LENGTH])


def table_of(found: Comparison) -> pd.DataFrame:
    """Return the rows of a comparison, with shortened digests."""
    compared = pd.DataFrame([dataclasses.asdict(row) for row in found.rows])
    return compared.assign(**{name: compared[name].map(comparison.shortened) for name in ("recorded", "reproduced")})


def reproduce_all(experiment: Experiment, params: ReproduceCommand) -> None:
    """Reproduce every finished top-level run of an experiment, each in a nested run; log and print the verdicts.

    Raises Difference if one differs, UserError if one could not be compared.
    """
    runs = receipt_lookup.top_level_runs(experiment.experiment_id)
    if not runs:
        raise UserError(f"run={params.run}: that experiment has no finished run with a receipt")
    lines = []
    for each in runs:
        started = time.monotonic()
        verdict, remark = attempt(each, params)
        tracking.console.print(f"{each.info.run_name:<22} {verdict:<18} {time.monotonic() - started:5.1f} s")
        lines.append((each.info.run_name, each.info.run_id, verdict, remark))
    outcome = pd.DataFrame(lines, columns=["run", "id", "verdict", "remark"])
    matching = outcome["verdict"].str.startswith(EQUAL)
    conclusion = f"{matching.sum()} of {len(runs)} runs of experiment {experiment.name} match"
    if not matching.all():
        conclusion += f"; not {', '.join(outcome['run'][~matching])}"
    failed = next((kind for kind in (Difference, UserError) if (outcome["verdict"] == kind.heading).any()), None)
    verdict = failed.heading if failed else outcome["verdict"].max()  # `equal within …` sorts after `equal`
    log_outcome(experiment, outcome, verdict, conclusion)
    if failed:
        raise failed(conclusion)
    print(f"{verdict}: {conclusion}")


def log_outcome(experiment: Experiment, outcome: pd.DataFrame, verdict: str, conclusion: str) -> None:
    """Log the verdicts on the runs of an experiment, and print them."""
    with tracking.artifacts() as folder:
        outcome.to_csv(folder / Files.REPRODUCTION, index=False)
        page = Page(f"Reproduction of {experiment.name}: {verdict}", conclusion, [Section("Runs", table=outcome)])
        page.save(folder / Files.REPRODUCTION_REPORT)
    mlflow.set_tag(Tags.VERDICT, verdict)
    tracking.write_note(note(verdict, conclusion))
    add_to_job_summary(verdict, conclusion, outcome)
    show(outcome)
    cli.print_links({"reproduce": links.run_page(tracking.active_run())})


def attempt(run: Run, params: ReproduceCommand) -> tuple[str, str]:
    """Return the verdict on one run of an experiment, and a remark.

    A run that was verified before on this machine, by the same receipt, is only compared as logged, unless `again`.
    """
    try:
        recorded, _ = receipt_lookup.find_receipt(run.info.run_id, PROJECT, params.search)
        known = not params.again and receipt_lookup.already_verified(run, recorded)
        if known and all(row.verdict == EQUAL for row in receipt_lookup.compare_as_logged(recorded, PROVEN_ARTIFACTS)):
            return EQUAL, "verified before"
        with tracking.opened(run_name=f"reproduce {run.info.run_name}", nested=True):
            found = reproduce_one(params.model_copy(update={"run": run.info.run_id}))
            if found.verdict == DIFFERS:
                raise Difference(found.conclusion)
    except UserError as error:
        return error.heading, str(error)
    return found.verdict, "" if found.verdict == EQUAL else found.conclusion


def show(table: pd.DataFrame) -> None:
    """Print a table with what is not equal in bold."""
    cli.print_table(table, bold=~table["verdict"].str.startswith(EQUAL))


def note(verdict: str, conclusion: str) -> str:
    """Return the description of the active run, in Markdown."""
    page = links.run_page(tracking.active_run(), Files.REPRODUCTION_REPORT)
    return f"**{verdict}**: {conclusion}\n\n[All rows]({page})"


def add_to_job_summary(verdict: str, conclusion: str, table: pd.DataFrame) -> None:
    """Show the outcome on the page of a GitHub job, if this is one."""
    if page_of_job := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(page_of_job, "a", encoding="utf-8") as file:
            file.write(f"**{verdict}**: {conclusion}\n\n{table.to_html(index=False, border=0)}\n")
