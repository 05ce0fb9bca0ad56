"""The whole workflow: preprocess once, train and evaluate every model, compare them and name the best.

    mlflow run .
    mlflow run . -P models=linear,knn,rf,extra_trees -P data=/path/to/wines.csv

Takes the parameters of all steps. Steps whose result exists already are reused.
"""

import gc

gc.set_threshold(100_000)  # the imports make no garbage, but looking for it takes them half a second

import math
import sys
from pathlib import Path

import level

import mlflow
import pandas as pd
from mlflow.entities import Run
from rich import box
from rich.console import Console
from rich.table import Table

import evaluate
import preprocess
import train
from errors import UserError
from runs import fingerprint, lineage, step, tracking
from runs.parameters import Parameter, mapping, nearest, resolved, several_of
from tabular.estimators import MODELS

MODEL_PARAMS = Parameter("model_params", "null", "a mapping of models to their own parameters, YAML or JSON", mapping)
EXAMPLE = "{rf: {n_estimators: 300}}"
PARAMETERS = (
    Parameter("models", "linear,knn,rf", f"comma-separated, of {', '.join(MODELS)}", several_of(MODELS)),
    *preprocess.PARAMETERS,
    *(p for p in train.PARAMETERS if p.name not in ("model", "model_params")),
    MODEL_PARAMS,
    *evaluate.PARAMETERS,
)
PICTURE = "leaderboard.png"
LEADERBOARD = (
    "cv_r2_score",
    "cv_r2_score_std",
    "cv_mean_absolute_error",
    "cv_mean_absolute_error_std",
    "r2_score",
    "r2_score_low",
    "r2_score_high",
    "mean_absolute_error",
    "mean_absolute_error_low",
    "mean_absolute_error_high",
)


def main(given: dict) -> None:
    """Find or make all runs, and log the leaderboard on the parent run."""
    parameters = resolved(PARAMETERS, given)
    models, model_params = parameters["models"], parameters["model_params"]
    for model, own in model_params.items():
        if model not in models:
            raise UserError(f"model_params={{{model}: …}}: not among the models; {nearest(model, models)}")
        if not isinstance(own, dict):
            raise UserError(f"model_params={{{model}: {own}}}: must map the model to its parameters, like {EXAMPLE}")
    tracking.describe(f"main {','.join(models)}", parameters)
    mlflow.set_tag("workflow.step", "main")
    preprocessed = lineage.obtain(preprocess.STEP, parameters)
    evaluated = []
    for model in models:
        chosen = parameters | {"model": model, "model_params": model_params.get(model, {})}
        chosen["preprocess_run_id"] = preprocessed.info.run_id
        trained = lineage.obtain(train.STEP, chosen)
        evaluated.append((trained, lineage.obtain(evaluate.STEP, chosen | {"train_run_id": trained.info.run_id})))
    terms = preprocess.read_contract_of(preprocessed)
    rows = publish(evaluated, parameters, terms.target_label)
    show(rows, terms.unit)


def publish(evaluated: list[tuple[Run, Run]], parameters: dict, target: str) -> list[dict]:
    """Log the leaderboard of (train run, evaluate run) pairs and tag the winner: best by cross-validated R².

    The receipt says how to make all of them again. Returns the rows of the leaderboard, best first.
    """
    rows = sorted((leaderboard_row(*pair) for pair in evaluated), key=lambda row: -row["cv_r2_score"])
    winner = rows[0]
    marks = {f"upstream {row['model']}": row["fingerprint"] for row in rows}
    mark = fingerprint.fingerprint("main", Path(__file__), {}, marks)
    with tracking.artifacts() as folder:
        pd.DataFrame(rows).to_csv(folder / "leaderboard.csv", index=False)
        if same := lineage.find_run(mark):  # drawing takes a second, and nothing has changed
            with tracking.downloaded(same, PICTURE) as path:
                (folder / PICTURE).write_bytes(path.read_bytes())
        else:
            from tabular import plots

            plots.save(plots.leaderboard(pd.DataFrame(rows), target), folder / PICTURE)
    scores = {name: winner[name] for name in LEADERBOARD}
    mlflow.log_metrics(scores)
    mlflow.set_tags({"workflow.winner": winner["model"], "workflow.winner_run_id": winner["train_run_id"]})
    mlflow.MlflowClient().set_tag(winner["train_run_id"], "workflow.winner_of", mlflow.active_run().info.run_id)
    receipts = [lineage.receipt_of(run) for _, run in evaluated]
    outcome = {"metrics": scores, "artifacts": {}}
    lineage.log_receipt("main", "main", Path(__file__), parameters, {}, receipts, outcome)
    mlflow.set_tag("workflow.fingerprint", mark)
    return rows


def leaderboard_row(trained: Run, evaluated: Run) -> dict:
    """A model's scores and where they come from."""
    metrics = trained.data.metrics | evaluated.data.metrics
    origin = {
        "train_run_id": trained.info.run_id,
        "evaluate_run_id": evaluated.info.run_id,
        "fingerprint": evaluated.data.tags["workflow.fingerprint"],
    }
    return {"model": lineage.parameters_of(trained)["model"]} | {name: metrics[name] for name in LEADERBOARD} | origin


def show(rows: list[dict], unit: str) -> None:
    """Print the leaderboard, and a link for each run."""
    shown = Table(title="Leaderboard, by cross-validated R²", title_justify="left", box=box.SIMPLE_HEAD)
    error = f"error {unit}".strip()
    for heading in ("model", "CV R²", f"CV {error}", "test R² (95 %)", f"test {error} (95 %)"):
        shown.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    decimals = max(0, 2 - math.floor(math.log10(rows[0]["mean_absolute_error"] or 1)))  # three digits of the best

    def amount(value: float) -> str:
        return f"{value:,.{decimals}f}"

    for place, row in enumerate(rows):
        shown.add_row(
            row["model"] + (" ★" if place == 0 else ""),
            f"{row['cv_r2_score']:.3f} ± {row['cv_r2_score_std']:.3f}",
            f"{amount(row['cv_mean_absolute_error'])} ± {amount(row['cv_mean_absolute_error_std'])}",
            f"{row['r2_score']:.3f} ({row['r2_score_low']:.2f}–{row['r2_score_high']:.2f})",
            f"{amount(row['mean_absolute_error'])}"
            f" ({amount(row['mean_absolute_error_low'])}–{amount(row['mean_absolute_error_high'])})",
            style="bold" if place == 0 else None,
        )
    Console(width=None if sys.stdout.isatty() else 100).print(shown)
    runs = {"leaderboard": mlflow.active_run()}
    runs |= {row["model"]: mlflow.get_run(row["evaluate_run_id"]) for row in rows}
    step.print_links(runs)
    step.print_proof()


if __name__ == "__main__":
    step.command(__doc__, PARAMETERS, main)
