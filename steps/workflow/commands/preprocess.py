"""Preprocess as an MLflow run: both sets, the contract and the data report."""

import ast
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow

from workflow.data import own_features
from workflow.data.own_features import OwnFeatures
from workflow.parameters import PreprocessParams, PreprocessRunOption
from workflow.parsing import AUTO
from workflow.provenance import digests, fingerprint
from workflow.provenance.fingerprint import STEPS, Code
from workflow.reports.data_report import rows_summary
from workflow.runs import cli, drawing, execution, links, sources, tracking
from workflow.runs.artifacts import PreprocessRun
from workflow.runs.execution import InputFile, Report, Task
from workflow.runs.names import Files

if TYPE_CHECKING:
    from workflow.stages.preprocess import PreprocessResult

PROJECT = STEPS.parent
CODE = Code(("workflow/stages/preprocess.py",), ("workflow/commands/preprocess.py", *execution.ARTIFACT_FILES))
PROVEN_ARTIFACTS = {
    Files.TRAINING_SET: digests.table,
    Files.TEST_SET: digests.table,
    Files.CONTRACT: digests.yaml_values,
    Files.EXAMPLES: digests.yaml_values,
    Files.FEATURES: digests.file,
}


def run(params: PreprocessParams) -> None:
    """Preprocess in the active run."""
    execution.execute(task(params))
    summarize(PreprocessRun(mlflow.get_run(tracking.active_run().info.run_id)))
    cli.print_run("preprocess")


def find_or_run(params: PreprocessParams) -> PreprocessRun:
    """Return the preprocess run of these parameters."""
    found = PreprocessRun(execution.find_or_run(task(params)))
    summarize(found)
    return found


def is_known(params: PreprocessParams) -> bool:
    """Return whether the preprocess run of these parameters exists."""
    return execution.find_run(task(params).fingerprint()) is not None


def summarize(run: PreprocessRun) -> None:
    """Print what became of the data, what is odd about it, and where the data report is."""
    tracking.say(rows_summary(run.metrics))
    cli.print_findings(run.findings)
    tracking.say(f"data report: {links.absolute(links.run_page(run.run, Files.DATA_REPORT))}")


def upstream(command: PreprocessRunOption) -> PreprocessRun:
    """Return the preprocess run that a command names, or the one of its parameters."""
    if command.preprocess_run_id != AUTO:
        return PreprocessRun.named(command.preprocess_run_id, command)
    return find_or_run(command.narrow(PreprocessParams))


def task(params: PreprocessParams) -> Task:
    """Return the task of preprocessing a file."""
    files = input_files(params)
    own = own_features.read(files["features"].path, params.features_function) if params.features else None
    return Task(
        stage="preprocess",
        label="preprocess",
        script=STEPS / "preprocess.py",
        code=CODE,
        params=params,
        work=lambda: work(params, files, own),
        reads={"function": own.function} if own else {},
        files=files,
        proven_artifacts={name: PROVEN_ARTIFACTS[name] for name in PROVEN_ARTIFACTS if own or name != Files.FEATURES},
        modules=packages_of(own),
        report=Report(drawing.DATA_REPORT_CODE, drawing.draw_data_report),
    )


def input_files(params: PreprocessParams) -> dict[str, InputFile]:
    """Return the files to read: the data; the test set and the contract if they are files of their own; features."""
    data = sources.local_copy("data", params.data, PROJECT)
    files = {"data": InputFile(params.data, data)}
    if params.test_data:
        test_data = sources.local_copy("test_data", params.test_data, PROJECT)
        files["test_data"] = InputFile(params.test_data, test_data)
    if params.features:
        path = sources.local_copy("features", params.features_file, PROJECT)
        files["features"] = InputFile(params.features_file, path, params.features_function)
    if params.contract != AUTO:
        files["contract"] = InputFile(params.contract, sources.local_copy("contract", params.contract, PROJECT))
    elif not sources.is_remote(params.data) and (beside := data.with_suffix(".yaml")).is_file():
        files["contract"] = InputFile(Path(params.data).with_suffix(".yaml").as_posix(), beside)
    return files


def packages_of(own: OwnFeatures | None) -> frozenset[str]:
    """Return the packages that the file of a function of the user imports."""
    names = fingerprint.imported_names(ast.parse(own.source)) if own else set()
    return frozenset(name.partition(".")[0] for name in names) - sys.stdlib_module_names


def work(params: PreprocessParams, files: dict[str, InputFile], own: OwnFeatures | None) -> None:
    """Log both sets, the contract, the rejected rows and what was found in the file."""
    from workflow.data import contract
    from workflow.stages import preprocess

    paths = {name: file.path for name, file in files.items()}
    inputs = preprocess.PreprocessInputs(paths["data"], paths.get("contract"), paths.get("test_data"), own)
    with tracking.artifacts() as folder:
        result = preprocess.run(params, inputs, folder / Files.TRAINING_SET, folder / Files.TEST_SET)
        log_datasets(params, result)
        text = contract.contract_text(result.contract, result.facts.notes)
        (folder / Files.CONTRACT).write_text(text, encoding="utf-8")
        if own:
            (folder / Files.FEATURES).write_bytes(own.source.encode())
        examples = result.validation.examples.to_json(orient="records", date_format="iso", indent=2)
        (folder / Files.EXAMPLES).write_text(examples, encoding="utf-8")
        result.validation.rejected.to_csv(folder / Files.REJECTED, index=False)
        facts = json.dumps(result.facts.to_json(), indent=2, ensure_ascii=False)
        (folder / Files.DATA_FACTS).write_text(facts, encoding="utf-8")
        tracking.write_findings(folder, result.findings)
    mlflow.log_metrics(result.facts.counts | result.facts.scores)


def log_datasets(params: PreprocessParams, result: "PreprocessResult") -> None:
    """Log both sets as datasets of the active run."""
    rows = tracking.dataset_rows(len(result.contract.columns))
    for context, part, hashes in (
        ("training", result.training_set, result.training_hashes),
        ("testing", result.test_set, result.test_hashes),
    ):
        digest = digests.short_digest(hashes)
        tracking.log_dataset(part.head(rows), result.contract.target, params.data, context, digest)
