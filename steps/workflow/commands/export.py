"""Export as an MLflow run: of a model to a file that other programs run, or of a result with all that proves it."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath

import mlflow
from mlflow.entities import LoggedModelInput

from workflow.commands import preprocess
from workflow.data import contract
from workflow.errors import UserError
from workflow.models import onnx_files
from workflow.parameters import ExportParams
from workflow.provenance import crate, fingerprint
from workflow.provenance.receipt import Receipt
from workflow.runs import cli, differences, outputs, receipt_lookup, registry, reproduction, tracking, verdicts

SUFFIX = ".onnx"


def run(params: ExportParams) -> None:
    """Write an ONNX file or a crate, as the name of the output ends.

    Raises UserError for a model that cannot be exported, and for an output that cannot be written.
    """
    cli.require("models:/<name>@champion, or the id of a main or train run", model=params.model)
    cli.require(f"<file>{SUFFIX}", output=params.output)
    if params.output.endswith(crate.SUFFIX):
        write_crate(params)
    elif params.output.endswith(SUFFIX):
        write_onnx(params)
    else:
        raise UserError(f"output={params.output}: must end in {SUFFIX}, or in {crate.SUFFIX} for a crate")


def write_crate(params: ExportParams) -> None:
    """Write the receipt of a result with its inputs and the signed verdicts on it."""
    recorded, patch = receipt_lookup.find_receipt(params.model, preprocess.PROJECT, parameter="model")
    tracking.describe_command("export", f"export {Path(params.output).name}", params.model_dump(mode="json"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs, _ = reproduction.restore_inputs(recorded, (preprocess.PROJECT, preprocess.PROJECT), folder)
        files = dict(packed_inputs(recorded, inputs))
        added = {crate.PATCH: patch} if patch else {}
        for place, envelope in verdicts.envelopes_of(recorded).items():
            added[f"{crate.VERDICTS}/{place.rpartition(' ')[2]}{verdicts.SUFFIX}"] = envelope
        for number, (title, content) in enumerate(added.items()):
            files[title] = folder / f"added{number}"
            files[title].write_bytes(content)
        with outputs.written("output", params.output, preprocess.PROJECT, params.overwrite) as path:
            crate.pack(path, recorded, files, differences.contract_of(recorded))
    count = len(added) - bool(patch)
    text = f"{recorded.label} in {params.output}: receipt, {', '.join(inputs)}; signed verdicts: {count}"
    tracking.write_note(text)
    print(text)


def packed_inputs(recorded: Receipt, inputs: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    """Yield the files of the inputs, by their names in a crate."""
    for name, path in inputs.items():
        title = PureWindowsPath(recorded.inputs[name].source).name  # which knows both kinds of slashes
        if path.is_file():
            yield f"{crate.INPUTS}/{name}/{title}", path
            continue
        for file in fingerprint.files_in(path):
            yield f"{crate.INPUTS}/{name}/{title}/{file.relative_to(path).as_posix()}", file


def write_onnx(params: ExportParams) -> None:
    """Write the model as an ONNX file, after its predictions of the test set were found to be the same."""
    onnx_files.check_packages(f"output={params.output}")
    trained = registry.resolve_train_run("model", params.model)
    tracking.describe_command("export", f"export {Path(params.output).name}", params.model_dump(mode="json"))
    mlflow.MlflowClient().log_inputs(tracking.active_run().info.run_id, models=[LoggedModelInput(trained.model_id)])
    model, estimator, data = trained.params.model, trained.estimator(), trained.preprocess()
    metadata = {"contract": contract.contract_text(data.contract, {}), "receipt": trained.receipt.sha256}
    with outputs.written("output", params.output, preprocess.PROJECT, params.overwrite) as path:
        file = onnx_files.export(estimator, model, data.contract.target, metadata)
        with data.test_set() as test_set:
            chunks = (chunk[data.contract.features] for chunk in test_set.chunks())
            deviation = max(onnx_files.largest_deviation(file, estimator, model, rows) for rows in chunks)
            rows = len(test_set)
        if not deviation <= onnx_files.MAX_DEVIATION:
            raise UserError(
                f"model={params.model}: the ONNX file would predict other values (relative deviation {deviation:.2g}),"
                " so it is not written; serve the model by MLflow instead"
            )
        path.write_bytes(file)
    mlflow.log_metrics({"rows_compared": rows, "largest_deviation": deviation})
    text = f"{model} in {params.output}: predicts the {rows:,} test rows as the model does, to {deviation:.1g} relative"
    tracking.write_note(text)
    print(text)
