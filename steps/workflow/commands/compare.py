"""Comparison as an MLflow run: what differs between two recorded results, without running anything."""

import dataclasses

import mlflow
import pandas as pd

from workflow.commands import recorded_scores
from workflow.commands.preprocess import PROJECT
from workflow.commands.reproduce import show, table_of
from workflow.errors import Difference, UserError
from workflow.formatting import first_few
from workflow.parameters import CompareCommand
from workflow.provenance import comparison, text_differences
from workflow.provenance.comparison import DIFFERS, EQUAL, MAY_DIFFER, Comparison, Row
from workflow.reports.comparison_report import SIDES, Details, Differences, comparison_report, comparison_summary
from workflow.runs import cli, differences, links, tracking
from workflow.runs.differences import ENTRIES, Recorded
from workflow.runs.names import Files, Tags


def run(params: CompareCommand) -> None:
    """Compare two results. Raises UserError if one is not found, Difference if they are not the same."""
    cli.require("<run id, model URI or receipt>", a=params.a, b=params.b)
    mlflow.set_tag(Tags.STAGE, "compare")
    one, other = (differences.find_recorded(name, getattr(params, name), PROJECT) for name in ("a", "b"))
    label = " and ".join(dict.fromkeys((one.receipt.label, other.receipt.label)))
    tracking.describe_command("compare", f"compare {label}", params.model_dump(mode="json"))
    compared = compare(one, other)
    found = differences_of(one, other, compared)
    sentence = conclusion(one, other, compared, found)
    log(one, other, compared.verdict, sentence, found)
    show(comparison_summary(found))
    cli.print_links({"compare": links.run_page(tracking.active_run(), Files.COMPARISON_REPORT)})
    if compared.verdict == DIFFERS:
        raise Difference(sentence)
    print(f"{compared.verdict}: {sentence}")


def compare(one: Recorded, other: Recorded) -> Comparison:
    """Return a row per item of two results."""
    left, right = comparison.with_common_labels(one.receipt, other.receipt)
    rows = [
        *differences.as_logged_rows({"a": one, "b": other}),
        *differences.input_rows(left, right),
        *differences.contract_rows(left, right),
        *differences.git_rows(left, right),
    ]
    return comparison.compare(left, right, rows, rtol=0)


def differences_of(one: Recorded, other: Recorded, compared: Comparison) -> Differences:
    """Return what differs in full."""
    return Differences(
        rows=table_of(compared),
        results=compared.results,
        details=details_of(one, other),
        scores=recorded_scores.paired_scores(one.receipt, other.receipt),
    )


def details_of(one: Recorded, other: Recorded) -> Details:
    """Return how the rows of tables differ, and the lines of code."""
    tables = differences.table_differences(one.receipt, other.receipt, PROJECT)
    try:
        return Details(tables, differences.source_differences(one, other, PROJECT))
    except UserError as error:
        return Details(tables, sources_remark=str(error))


def conclusion(one: Recorded, other: Recorded, compared: Comparison, found: Differences) -> str:
    """Return what differs in one sentence: the causes first, then the outcome."""
    unequal = [row for row in compared.rows if row.verdict == DIFFERS]
    results = [row for row in compared.rows if row.group in compared.results]
    wrong = [row for row in results if row.verdict != EQUAL]
    if not unequal:
        return f"all {len(results)} metrics and artifacts are equal, and so is what they were made from"
    causes = [row for row in unequal if row.group not in compared.results]
    groups = dict.fromkeys(row.group for row in causes if row.group != ENTRIES)
    parts = [cause(group, causes, found.details) for group in groups]
    patched = [side for side, each in (("a", one), ("b", other)) if each.patch]
    if found.details.sources and patched:
        parts.append(f"uncommitted changes in {' and '.join(patched)}")
    if wrong and not causes:
        others = [row for row in compared.rows if row.verdict == MAY_DIFFER]
        parts.append(comparison.differences(others) or "nothing that is recorded explains it")
    parts.append(f"{len(wrong)} of {len(results)} metrics and artifacts" if wrong else "the outcome is the same")
    parts += [str(score) for score in found.scores[:1] if wrong]
    return "; ".join(parts)


def cause(group: str, rows: list[Row], details: Details) -> str:
    """Return how a group of items differs."""
    if group in details.tables:
        return f"{group}: {details.tables[group]}"
    if group == "code" and details.sources:
        changed = {name: text_differences.changed_lines(diff) for name, diff in details.sources.items()}
        return f"code: {first_few([f'{name} (+{added} −{removed})' for name, (added, removed) in changed.items()])}"
    if group == "contract" and (entries := [row for row in rows if row.group == ENTRIES]):
        return comparison.differences([dataclasses.replace(row, group=group) for row in entries])
    return comparison.differences([row for row in rows if row.group == group])


def log(one: Recorded, other: Recorded, verdict: str, sentence: str, found: Differences) -> None:
    """Log the comparison on the active run, as a table and as a page, and describe the run."""
    origins = pd.DataFrame([origin("a", one), origin("b", other)])
    title = f"Comparison of {one.receipt.label} and {other.receipt.label}: {verdict}"
    with tracking.artifacts() as folder:
        found.rows.rename(columns=SIDES).to_csv(folder / Files.COMPARISON, index=False)
        comparison_report(title, f"{sentence[0].upper()}{sentence[1:]}.", origins, found).save(
            folder / Files.COMPARISON_REPORT
        )
    mlflow.set_tag(Tags.VERDICT, verdict)
    page = links.run_page(tracking.active_run(), Files.COMPARISON_REPORT)
    tracking.write_note(f"**{verdict}**: {sentence}\n\n[All differences]({page})")


def origin(side: str, recorded: Recorded) -> dict[str, str]:
    """Return when, where and from which commit a result was recorded, by headings of a table."""
    about, commit = recorded.receipt.provenance, str(recorded.receipt.code.commit)[:12]
    return {
        "": side,
        "run": recorded.receipt.run_id,
        "of": recorded.receipt.label,
        "recorded": about.time,
        "on": about.host,
        "commit": f"{commit} with uncommitted changes" if recorded.patch else commit,
    }
