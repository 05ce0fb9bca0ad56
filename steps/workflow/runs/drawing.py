"""Pages and figures of runs, drawn from what the runs have logged: they can be drawn again at any time."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Run

from workflow.parameters import EvaluateCommand
from workflow.provenance.fingerprint import Code
from workflow.runs import execution, links, tracking
from workflow.runs.artifacts import EvaluateRun, PreprocessRun, TrainRun
from workflow.runs.integrity import downloaded
from workflow.runs.names import Files

if TYPE_CHECKING:
    from workflow.data.findings import Finding
    from workflow.data.profile import DataFacts
    from workflow.reports.model_card import Origin
    from workflow.reports.model_report import ModelResult

DRAWING_FILES = ("workflow/runs/drawing.py", "workflow/runs/links.py")
DATA_REPORT_CODE = Code(("workflow/reports/data_report.py",), DRAWING_FILES)
MODEL_REPORT_CODE = Code(("workflow/reports/model_report.py", "workflow/reports/model_card.py"), DRAWING_FILES)


def draw_data_report(run: Run) -> None:
    """Log the data report of a preprocess run, and describe the run."""
    import pandas as pd

    from workflow.reports.data_report import data_report, data_summary

    data, facts = PreprocessRun(run), facts_of(run)
    with downloaded(run, Files.REJECTED) as path:
        rejected = pd.read_csv(path, dtype={"column": str, "value": str}, keep_default_na=False)
    question = question_of(data)
    addresses = {"run": links.absolute(links.run_page(run))}
    with tracking.artifacts(data.id) as folder:
        page = data_report(data.contract, facts, data.findings, rejected, data.examples(), question, addresses)
        page.save(folder / Files.DATA_REPORT)
    summary = data_summary(facts.counts, question)
    report = f"[The data report]({links.run_page(run, Files.DATA_REPORT)})"
    tracking.write_note(note(summary, data.findings, report), data.id)


def facts_of(run: Run) -> "DataFacts":
    """Return what a preprocess run found in its file."""
    from workflow.data.profile import DataFacts

    with downloaded(run, Files.DATA_FACTS) as path:
        return DataFacts.from_json(json.loads(path.read_text(encoding="utf-8")))


def question_of(data: PreprocessRun) -> str:
    """Return what a score on the test set of a preprocess run says, as the end of "how well …"."""
    from workflow.data import split

    params = data.params
    column = split.split_column(params.split, data.contract)
    return split.question(params.split, column, params.gap, Path(params.test_data).name)


def draw_model_report(run: Run) -> None:
    """Log the report of an evaluate run with its figures, and describe the run."""
    from workflow.reports import plots
    from workflow.reports.model_card import model_card
    from workflow.reports.model_report import descriptions, figures, model_report, model_summary
    from workflow.reports.report import Picture

    evaluated = EvaluateRun(run)
    trained, data = evaluated.train(), evaluated.preprocess()
    result = result_of(evaluated, trained, data)
    origin = origin_of(evaluated, trained, data)
    pages = {
        "run": links.run_page(run),
        "model": links.model_page(run, trained.model_id),
        "data report": links.run_page(data.run, Files.DATA_REPORT),
    }
    with tracking.artifacts(evaluated.id) as folder:
        words = descriptions(result)
        pictures = {
            name: Picture(plots.save(figure, folder / name), words[name]) for name, figure in figures(result).items()
        }
        addresses = {name: links.absolute(page) for name, page in pages.items()}
        model_report(result, pictures, origin.command, addresses).save(folder / Files.MODEL_REPORT)
        (folder / Files.MODEL_CARD).write_text(model_card(result, origin), encoding="utf-8")
    reports = (
        f"[The report]({links.run_page(run, Files.MODEL_REPORT)}), [the model]({pages['model']}),"
        f" [the data report]({pages['data report']})"
    )
    tracking.write_note(note(model_summary(result), result.findings, reports), evaluated.id)


def result_of(evaluated: EvaluateRun, trained: TrainRun, data: PreprocessRun) -> "ModelResult":
    """Return what an evaluate run has logged about the model of a train run."""
    from workflow.reports.model_report import ModelResult

    own, logged = evaluated.logged_parameters, trained.run.data.params
    described = {name: logged[name] for name in sorted(logged.keys() - own)}
    return ModelResult(
        model=trained.params.model,
        contract=data.contract,
        parameters=own | described,
        metrics=evaluated.metrics,
        predictions=evaluated.predictions(),
        shap_values=evaluated.shap_values(),
        shap_colours=evaluated.table(Files.SHAP_COLOURS),
        calibration=evaluated.table(Files.INTERVAL_CALIBRATION),
        effects=evaluated.table(Files.EFFECTS),
        interactions=evaluated.table(Files.INTERACTIONS),
        learning_curve=evaluated.learning_curve(),
        named_segments=evaluated.table(Files.NAMED_SEGMENTS),
        worst_segments=evaluated.table(Files.WORST_SEGMENTS),
        segments=evaluated.table(Files.SEGMENTS),
        worst=evaluated.table(Files.WORST_PREDICTIONS),
        nearest=evaluated.table(Files.NEAREST_ROWS),
        findings=evaluated.findings,
        question=question_of(data),
    )


def origin_of(evaluated: EvaluateRun, trained: TrainRun, data: PreprocessRun) -> "Origin":
    """Return where the model of an evaluate run comes from."""
    from workflow.reports.data_report import rows_summary
    from workflow.reports.model_card import Origin

    command = execution.command_line("evaluate", EvaluateCommand, evaluated.logged_parameters, evaluated.run)
    return Origin(evaluated.id, trained.receipt.inputs["data"].sha256, rows_summary(data.metrics), command)


def card_text_of(evaluated: EvaluateRun) -> str:
    """Return the model card of an evaluate run for people, as Markdown."""
    from workflow.reports.model_card import card_text

    trained, data = evaluated.train(), evaluated.preprocess()
    return card_text(result_of(evaluated, trained, data), origin_of(evaluated, trained, data))


def note(summary: str, findings: "Sequence[Finding]", pages: str) -> str:
    """Return the description of a run with its warnings, in Markdown."""
    warnings = [f"**Warning.** {finding}" for finding in findings if finding.is_warning]
    return "\n\n".join([summary, *warnings, pages])
