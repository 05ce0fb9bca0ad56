"""Verification as an MLflow run: whose signatures a result has, and whether anything of it was edited."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import mlflow
import pandas as pd

from workflow.commands.preprocess import PROJECT
from workflow.errors import NotProven, UserError
from workflow.parameters import VerifyCommand
from workflow.provenance import signatures
from workflow.provenance.comparison import DIFFERS, Row, differences
from workflow.provenance.receipt import Receipt
from workflow.reports.report import Page, Section
from workflow.runs import cli, links, receipt_lookup, reproduction, sources, tracking, verdicts
from workflow.runs.names import Files, Tags
from workflow.runs.verdicts import CheckedVerdict

HOW_TO_TRUST = "write one with the public keys of those whom you trust, such as anna: {key: anna.pem}"
METHOD = (
    "A signed verdict is the statement of somebody who has made the result again from its receipt. It counts if its"
    " signature is that of a key in the file of trusted keys, and if it is about this very receipt."
)


def run(params: VerifyCommand) -> None:
    """Verify one result. Raises UserError if something needed is not found, NotProven if it does not pass."""
    cli.require("<run id, model URI or receipt>", run=params.run)
    mlflow.set_tag(Tags.STAGE, "verify")
    keys = signatures.trusted_keys(trust_file(params.trust), f"trust={params.trust}")
    with receipt_lookup.unpacked(params.run, PROJECT) as (name, packed):
        recorded, _ = receipt_lookup.find_receipt(name, PROJECT)
        tracking.describe_command("verify", f"verify {recorded.label}", params.model_dump(mode="json"))
        file = PROJECT / name
        envelopes = verdicts.envelopes_of(recorded, file if file.is_file() else None)
        edited = edited_rows(recorded, packed)
    envelopes |= verdicts.named_envelopes(params.verdicts, PROJECT)
    checked = verdicts.check(envelopes, keys, recorded)
    conclusion, fault = conclude(checked, edited, params.signatures)
    log(recorded, checked, edited, fault or conclusion)
    if checked:
        cli.print_table(table_of(checked), bold=[bool(each.fault) for each in checked])
    cli.print_links({"verify": links.run_page(tracking.active_run(), Files.VERIFICATION_REPORT)})
    if fault:
        raise NotProven(fault)
    print(conclusion)


def trust_file(name: str) -> Path:
    """Return the file of trusted keys; UserError, which says how to write one, if there is none."""
    try:
        return sources.local_copy("trust", name, PROJECT)
    except UserError as error:
        raise UserError(f"{error}; {HOW_TO_TRUST}") from error


def edited_rows(recorded: Receipt, packed: Mapping[str, Path]) -> list[Row]:
    """Return what is not as recorded: of the receipt, of its runs in this store, of its inputs, `packed` ones too."""
    rows = receipt_lookup.compare_as_logged(recorded)
    with tempfile.TemporaryDirectory() as folder:
        rows += reproduction.restore_inputs(recorded, (PROJECT, PROJECT), Path(folder), packed)[1]
    return [row for row in rows if row.verdict == DIFFERS]


def conclude(checked: Sequence[CheckedVerdict], edited: Sequence[Row], required: int) -> tuple[str, str]:
    """Return the conclusion in a line, and what stands against it; empty if nothing does."""
    if edited:
        return "", f"not as recorded: {differences(edited)}"
    if forged := next((each for each in checked if each.is_forged), None):
        return "", f"{forged.place}: {forged.fault}"
    try:
        signers = verdicts.signers_of(checked)
    except UserError as error:
        return "", str(error)
    named = f" ({', '.join(signers)})" if signers else ""
    if len(signers) < required:
        others = [each.fault for each in checked if each.fault]
        reason = f"; {others[0]}" if others else "; sign one: -e reproduce -P sign=<private key>"
        return "", f"{len(signers)} of {required} trusted signatures{named}{reason}"
    if not signers:
        return "not edited: nothing of it was edited, and nobody has signed it", ""
    what = "have reproduced and signed it" if len(signers) > 1 else "has reproduced and signed it"
    return f"proven: {', '.join(signers)} {what}, and nothing of it was edited", ""


def table_of(checked: Sequence[CheckedVerdict]) -> pd.DataFrame:
    """Return a row per signed verdict, as texts."""
    lines = [
        {
            "signed by": ", ".join(each.signers) or "–",
            "verdict": each.verdict or "–",
            "made again on": each.statement.predicate.machine if each.statement else "–",
            "time": each.time or "–",
            "counts": each.fault or "yes",
            "found in": each.place,
        }
        for each in checked
    ]
    return pd.DataFrame(lines)


def log(recorded: Receipt, checked: Sequence[CheckedVerdict], edited: Sequence[Row], conclusion: str) -> None:
    """Log the verification on the active run as a page, and describe the run."""
    sections = [Section("Signed verdicts", METHOD, table_of(checked) if checked else None)]
    if edited:
        rows = [(row.group, row.item, row.recorded, row.reproduced) for row in edited]
        table = pd.DataFrame(rows, columns=["of", "item", "recorded", "found"])
        sections.append(Section("Not as recorded", table=table))
    with tracking.artifacts() as folder:
        page = Page(f"Verification of {recorded.label}", f"{conclusion[0].upper()}{conclusion[1:]}.", sections)
        page.save(folder / Files.VERIFICATION_REPORT)
    page_link = links.run_page(tracking.active_run(), Files.VERIFICATION_REPORT)
    tracking.write_note(f"{conclusion}\n\n[All signatures]({page_link})")
