"""Export of a model to a file that other programs run, as an MLflow run."""

from pathlib import Path

import mlflow
from mlflow.entities import LoggedModelInput

from workflow.commands import preprocess
from workflow.data import contract
from workflow.errors import UserError
from workflow.models import onnx_files
from workflow.parameters import ExportParams
from workflow.runs import cli, outputs, registry, tracking

SUFFIX = ".onnx"


def run(params: ExportParams) -> None:
    """Write the model as an ONNX file, after its predictions of the test set were found to be the same.

    Raises UserError for a model that cannot be exported, and for an output that cannot be written.
    """
    cli.require("models:/<name>@champion, or the id of a main or train run", model=params.model)
    cli.require(f"<file>{SUFFIX}", output=params.output)
    if Path(params.output).suffix != SUFFIX:
        raise UserError(f"output={params.output}: must end in {SUFFIX}")
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
