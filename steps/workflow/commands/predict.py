"""Prediction of a file as an MLflow run: the output, the drift of its rows, and scores if the target is known."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelInput

from workflow.commands import preprocess
from workflow.data import files, split
from workflow.data.contract import Contract
from workflow.data.inference import unreadable_reason
from workflow.errors import UserError
from workflow.evaluation.contributions import Explainer, background_rows
from workflow.evaluation.drift import drift
from workflow.formatting import number
from workflow.parallel.executors import iterate_in_threads
from workflow.parameters import PredictCommand
from workflow.reports.drift_report import drift_report
from workflow.runs import cli, links, outputs, registry, sources, tracking
from workflow.runs.artifacts import TrainRun
from workflow.runs.names import Files
from workflow.stages import train
from workflow.stages.predict import DRIFT_SAMPLE_ROWS, Chunk, Predictions, Predictor, explained

SUFFIXES = (".csv", ".parquet")
FORMULA = re.compile(r"[=+\-@\t\r]")  # at the start of a cell
NUMBER = re.compile(r"[+-]?[$€£¥]? ?[\d.,]*\d[.,]?(e[+-]?\d+)? ?[%$€£¥]?", re.I)


def run(params: PredictCommand) -> None:
    """Write the predictions; log what became of the rows, how they have drifted, and their scores if they are known.

    Raises UserError for a model, a file or an output that cannot be used.
    """
    cli.require("models:/<name>@champion, or the id of a main or train run", model=params.model)
    cli.require("<file>", data=params.data)
    cli.require("<file>.csv", output=params.output)
    if Path(params.output).suffix not in SUFFIXES:
        raise UserError(f"output={params.output}: must end in {' or '.join(SUFFIXES)}")
    if params.escape_formulas and Path(params.output).suffix != ".csv":
        raise UserError(f"escape_formulas=true: only a .csv file needs it, and output={params.output}; leave it out")
    trained = registry.resolve_train_run("model", params.model)
    logged = params.model_dump(mode="json", exclude={"cluster"})
    tracking.describe_command("predict", f"predict {Path(params.data).name}", logged)
    mlflow.MlflowClient().log_inputs(tracking.active_run().info.run_id, models=[LoggedModelInput(trained.model_id)])
    contract = trained.preprocess().contract
    training_rows, hashes = training_rows_of(trained, contract)
    predictions = write_predictions(params, trained, contract, hashes)
    scores, rejected = predictions.scores(params.level), predictions.rejected
    summary = summary_of(predictions, rejected, scores, params.output, contract)
    log_drift(drift(training_rows, predictions.sample, contract), rejected, summary)
    mlflow.log_metrics({"rows_in": predictions.rows, "rows_rejected": rejected["row"].nunique()} | scores)
    report = links.run_page(tracking.active_run(), Files.DRIFT_REPORT)
    tracking.write_note(f"{summary}\n\n[How the rows have drifted]({report})")
    print(summary)
    cli.print_findings(predictions.findings)
    cli.print_links({"drift": report})


def training_rows_of(trained: TrainRun, contract: Contract) -> tuple[pd.DataFrame, pd.Series]:
    """Return the rows that a model was fitted on, and the hashes of its whole training set."""
    with trained.preprocess().training_set() as training_set:
        rows = train.subsample_training_rows(trained.params, training_set, contract)
        return rows, split.content_hashes(training_set, contract)


def write_predictions(params: PredictCommand, trained: TrainRun, contract: Contract, hashes: pd.Series) -> Predictions:
    """Write the rows of the data with their predictions to the output, and return what they add up to."""
    data = sources.local_copy("data", params.data, preprocess.PROJECT)
    with (
        files.open_table(data) as table,
        outputs.written("output", params.output, preprocess.PROJECT, params.overwrite) as path,
    ):
        predictions = Predictions(table)
        fraction, own = min(1, DRIFT_SAMPLE_ROWS / table.rows), trained.preprocess().features
        predictor = Predictor(trained.estimator(), contract, trained.intervals(), params.level, hashes, fraction, own)
        if params.explain:
            explainer = explainer_of(trained, predictor)
            predictor = replace(predictor, contributions=explainer.columns)
            chunks = predictions.collect(
                with_progress(iterate_in_threads(predictor, table.chunks()), explainer, table.rows)
            )
        else:
            chunks = with_status(predictions.collect(iterate_in_threads(predictor, table.chunks())), predictions)
        write(path, chunks, params.escape_formulas)
        predictions.check_rejected()
    return predictions


def explainer_of(trained: TrainRun, predictor: Predictor) -> Explainer:
    """Return the explainer that evaluate explains the model of a train run with; UserError for a feature `base`."""
    model = trained.params
    with trained.preprocess().training_set() as training_set:
        background = background_rows(training_set, predictor.contract.features, model.seed)
    return Explainer(predictor.estimator, model.model, background, model.seed)


def with_progress(chunks: Iterator[Chunk], explainer: Explainer, rows: int) -> Iterator[Chunk]:
    """Yield chunks with contributions while the console shows how many of the rows are explained, and the time left."""
    with cli.timed_progress() as progress:
        bar = progress.add_task("rows explained", total=rows)
        yield from explained(chunks, explainer, lambda done: progress.advance(bar, done))


def with_status(chunks: Iterator[pd.DataFrame], predictions: Predictions) -> Iterator[pd.DataFrame]:
    """Yield chunks while the console shows how many rows have been predicted."""
    with tracking.console.status("reading") as status:
        for chunk in chunks:
            yield chunk
            status.update(f"{predictions.rows:,} rows predicted")


def write(path: Path, chunks: Iterator[pd.DataFrame], escape_formulas: bool = False) -> None:
    """Write the rows of all chunks to a CSV or Parquet file."""
    import pyarrow
    from pyarrow.csv import CSVWriter
    from pyarrow.parquet import ParquetWriter

    if path.suffix == ".csv":
        chunks = map(nested_as_json, chunks)
    if escape_formulas:
        chunks = map(without_formulas, chunks)
    first = next(chunks)
    schema = pyarrow.Table.from_pandas(first, preserve_index=False).schema.remove_metadata()
    with (ParquetWriter if path.suffix == ".parquet" else CSVWriter)(path, schema) as file:
        for rows in chain([first], chunks):
            file.write_table(pyarrow.Table.from_pandas(rows, schema, preserve_index=False, safe=False))


def without_formulas(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows in which no text or name of a column is a formula: a ' before it, as OWASP advises; numbers stay."""
    texts = [name for name in rows if not pd.api.types.is_numeric_dtype(rows[name])]
    escaped = {name: rows[name].map(as_plain_text, na_action="ignore") for name in texts}
    return rows.assign(**escaped).rename(columns=as_plain_text)


def as_plain_text(value: object) -> object:
    """Return a text that a spreadsheet would run with a ' before it; any other value, and a number, as it is."""
    is_formula = isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value)
    return f"'{value}" if is_formula else value


def nested_as_json(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows for a CSV file: lists and other nested values become JSON."""

    def as_json(value: object) -> str:
        if isinstance(value, bytes):  # JSON, if the rows are from a JSON file
            return value.decode("utf-8", "replace")
        return json.dumps(value, default=lambda other: other.tolist() if hasattr(other, "tolist") else str(other))

    nested = {name: rows[name].map(as_json, na_action="ignore") for name in rows if unreadable_reason(rows[name])}
    return rows.assign(**nested)


def log_drift(moved: pd.DataFrame, rejected: pd.DataFrame, summary: str) -> None:
    """Log how the rows have drifted, as a table and a page, and the rejected values."""
    addresses = {"run": links.absolute(links.run_page(tracking.active_run()))}
    with tracking.artifacts() as folder:
        rejected.to_csv(folder / Files.REJECTED, index=False)
        moved.to_csv(folder / Files.DRIFT, index=False)
        drift_report(moved, summary, addresses).save(folder / Files.DRIFT_REPORT)


def summary_of(
    predictions: Predictions, rejected: pd.DataFrame, scores: dict[str, float], output: str, contract: Contract
) -> str:
    """Return what became of the rows, in a sentence or two."""
    refused = rejected["row"].nunique()
    summary = f"{predictions.rows - refused:,} rows predicted in {output}"
    if refused:
        first = rejected.iloc[0]
        summary += f"; {refused:,} rejected, the first because {first['column']} {first['reason']}: see rejected.csv"
    if scores:
        unit = f" {contract.unit}" if contract.unit else ""
        error = f"{number(scores['mean_absolute_error'])}{unit}"
        summary += f". Against the {contract.target} in the file: MAE {error}, R² {scores['r2_score']:.3f}"
    if predictions.seen:
        summary += f"; {predictions.seen:,} training rows are not scored"
    return f"{summary}."
