"""Predict the target of every row of a file, as the file has them, with a model that is logged or registered.

    mlflow run . -e predict -P model=models:/wines@champion -P data=/path/to/new.csv -P output=/path/to/prices.csv
    mlflow run . -e predict -P model=<id of a train or main run> -P data=s3://bucket/new/ -P output=s3://bucket/out.parquet

The output has the columns of the file, and for each row the prediction with the interval that holds the true value in
90 % of rows. Rows that cannot be read are in rejected.csv of the run, with the reason. If the target is in the file,
the scores are logged too. The file may be larger than the memory.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import environment

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelInput, Run

from workflow.commands import preprocess, train
from workflow.data import contract, split, tables
from workflow.errors import UserError
from workflow.evaluation import conformal, metrics
from workflow.evaluation.drift import drift
from workflow.models import estimators
from workflow.parallel.cluster import CLUSTER, on_cluster
from workflow.parallel.executors import iterate_in_threads
from workflow.parameters import Parameter, resolved, truth
from workflow.reports.drift_report import drift_report
from workflow.reports.report import number
from workflow.runs import cli, execution, links, outputs, registry, sources, tracking
from workflow.runs.secrets import without_secrets
from workflow.stages.predict import SAMPLE, Chunk, Predictor

PARAMETERS = (
    Parameter("model", "", "models:/<name>@<alias>, models:/<name>/<version>, or the id of a train or main run"),
    Parameter("data", "", "rows as the training file had them: a path or a URI, as of preprocess", without_secrets),
    Parameter("output", "", "the file to write, ending in .csv or .parquet: a path, or a URI", without_secrets),
    Parameter("overwrite", "false", "replace the output if it exists", truth),
)
SUFFIXES = (".csv", ".parquet")
REPORT = "drift.html"


def predict(given: dict[str, Any]) -> None:
    """Write the predictions, and log what became of the rows, how they have drifted, and their scores if they can be.

    Raises UserError for a model, a file or an output that cannot be used.
    """
    parameters = resolved(PARAMETERS, given)
    for name in ("model", "data", "output"):
        if not parameters[name]:
            raise UserError(f"{name}: {next(p.help for p in PARAMETERS if p.name == name)}; -P {name}=…")
    if Path(parameters["output"]).suffix not in SUFFIXES:
        raise UserError(f"output={parameters['output']}: must end in {' or '.join(SUFFIXES)}")
    mlflow.set_tag("workflow.step", "predict")
    trained = registry.resolve_train_run("model", parameters["model"])
    tracking.describe(f"predict {Path(parameters['data']).name}", parameters)
    mlflow.MlflowClient().log_inputs(
        tracking.active_run().info.run_id, models=[LoggedModelInput(tracking.model_id(trained))]
    )
    data = sources.local_copy("data", parameters["data"], preprocess.PROJECT)
    preprocessed = execution.upstream_of(trained)
    terms = preprocess.read_contract_of(preprocessed)
    with preprocess.training_part(preprocessed) as training:
        learned, ids = train.learned_rows(execution.parameters_of(trained), training, terms), split.hash_rows(training)
    found = Predictions(terms)
    with (
        tables.open_table(data) as table,
        outputs.written("output", parameters["output"], preprocess.PROJECT, parameters["overwrite"]) as path,
    ):
        found.lose(table.lost)
        predictor = predictor_of(trained, terms, list(learned.columns), ids, table.rows)
        write(path, found.rows_of(iterate_in_threads(predictor, table.chunks())))
        found.check_rejected()
    rejected = pd.concat(found.rejected).sort_values(["row", "column"], ignore_index=True)
    moved = drift(learned, pd.concat(found.samples), terms)
    scores = found.scores()
    lead = lead_of(found, rejected, scores, parameters)
    pages = {"run": links.absolute(links.run_page(tracking.active_run()))}
    with tracking.artifacts() as folder:
        rejected.to_csv(folder / "rejected.csv", index=False)
        moved.to_csv(folder / "drift.csv", index=False)
        (folder / REPORT).write_text(drift_report(moved, lead, pages), encoding="utf-8")
    mlflow.log_metrics({"rows_in": found.rows, "rows_rejected": rejected["row"].nunique()} | scores)
    tracking.write_note(f"{lead}\n\n[How the rows have drifted]({links.run_page(tracking.active_run(), REPORT)})")
    print(lead)
    cli.print_links({"drift": links.run_page(tracking.active_run(), REPORT)})


class Predictions:
    """What is to be told in the end of rows that come in chunks."""

    def __init__(self, terms: contract.Contract) -> None:
        """Know of no chunk yet."""
        self.terms = terms
        self.rows = self.seen = 0
        self.rejected: list[pd.DataFrame] = []
        self.samples: list[pd.DataFrame] = []
        self.tested: list[pd.DataFrame] = []

    def lose(self, lost: pd.DataFrame) -> None:
        """Count the lines of the file that are no rows."""
        self.rows += lost["row"].nunique()
        self.rejected.append(lost)

    def rows_of(self, chunks: Iterable[Chunk]) -> Iterator[pd.DataFrame]:
        """The rows of each chunk with their predictions, while the rest is kept; says how far it is."""
        with tracking.console.status("reading") as status:
            for chunk in chunks:
                self.rows += chunk.rows
                self.seen += chunk.seen
                self.rejected.append(chunk.rejected)
                self.samples.append(chunk.sample)
                if chunk.tested is not None:
                    self.tested.append(chunk.tested)
                yield chunk.predicted
                status.update(f"{self.rows:,} rows predicted")

    def check_rejected(self) -> None:
        """Raise UserError if most rows cannot be read: then the file is another one."""
        faults = pd.concat(self.rejected)
        if faults["row"].nunique() > self.rows / 2:
            row, column, value, reason = faults.iloc[0]
            raise UserError(
                f"most of the {self.rows:,} rows break the contract of the model: column {column} {reason} (first:"
                f" {value!r} in line {row}); is it the file for this model?"
            )

    def scores(self) -> dict[str, float]:
        """The scores of the rows whose target is in the file and which were not in training; none without."""
        if not self.tested or not sum(map(len, self.tested)):
            return {}
        tested = pd.concat(self.tested)
        true, predicted, low, high = tested.to_numpy().T
        covered = {"interval_coverage": conformal.coverage(true, low, high)}
        return metrics.scores(metrics.applicable_metrics(true), true, predicted) | covered


def predictor_of(trained: Run, terms: contract.Contract, columns: list[str], ids: pd.Series, rows: int) -> Predictor:
    """What predicts so many rows with the model that a run has `trained`.

    Takes the columns of the training part, and what `split.row_hashes` says of it.
    """
    estimator = train.read_model(trained)
    half = conformal.conformal_quantile(train.read_tested(trained), estimators.target_transform_of(estimator))
    return Predictor(estimator, terms, half, columns, ids, share=min(1, SAMPLE / rows))


def write(path: Path, chunks: Iterator[pd.DataFrame]) -> None:
    """Write the rows of all chunks to a CSV or Parquet file."""
    import pyarrow
    from pyarrow.csv import CSVWriter
    from pyarrow.parquet import ParquetWriter

    first = next(chunks)
    schema = pyarrow.Table.from_pandas(first, preserve_index=False).schema.remove_metadata()
    with (ParquetWriter if path.suffix == ".parquet" else CSVWriter)(path, schema) as file:
        for rows in chain([first], chunks):
            file.write_table(pyarrow.Table.from_pandas(rows, schema, preserve_index=False, safe=False))


def lead_of(found: Predictions, rejected: pd.DataFrame, scores: dict[str, float], parameters: dict[str, Any]) -> str:
    """What became of the rows, in a sentence or two."""
    refused = rejected["row"].nunique()
    lead = f"{found.rows - refused:,} rows predicted in {parameters['output']}"
    if refused:
        first = rejected.iloc[0]
        lead += f"; {refused:,} could not be read, the first because {first['column']} {first['reason']}: rejected.csv"
    if scores:
        unit = f" {found.terms.unit}" if found.terms.unit else ""
        error = f"{number(scores['mean_absolute_error'])}{unit}"
        lead += f". The file has the {found.terms.target}: mean absolute error {error}, R² {scores['r2_score']:.3f}"
    if found.seen:
        lead += f"; {found.seen:,} rows were in training, so no score counts them"
    return f"{lead}."


if __name__ == "__main__":
    cli.command(__doc__, [*PARAMETERS, CLUSTER], on_cluster(predict))
