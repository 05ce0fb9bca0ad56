"""The whole workflow: preprocess once, train and evaluate every model, compare them and name the best.

    mlflow run .
    mlflow run . -P models=linear,knn,rf,extra_trees -P data=/path/to/wines.csv

Takes the parameters of all steps. Steps whose result exists already are reused.
"""

import sys
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import Run
from rich import box
from rich.console import Console
from rich.table import Table

import evaluate
import preprocess
import train
from errors import UserError
from runs import lineage, step
from runs.parameters import Parameter, mapping, nearest, several_of
from tabular.estimators import MODELS

if TYPE_CHECKING:
    from pandas import DataFrame

MODEL_PARAMS = Parameter("model_params", "null", "a mapping of models to their own parameters", mapping)
PARAMETERS = (
    Parameter("models", "linear,knn,rf", f"comma-separated, of {', '.join(MODELS)}", several_of(MODELS)),
    *preprocess.PARAMETERS,
    *(p for p in train.PARAMETERS if p.name not in ("model", "model_params")),
    MODEL_PARAMS,
    *evaluate.PARAMETERS,
)
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
    parameters = {p.name: given.get(p.name, p.convert(p.default)) for p in PARAMETERS}
    models, model_params = parameters["models"], parameters["model_params"]
    for model in model_params:
        if model not in models:
            raise UserError(f"model_params={{{model}: …}}: not among the models; {nearest(model, models)}")
    lineage.describe(f"main {','.join(models)}", parameters)
    mlflow.set_tag("workflow.step", "main")
    preprocessed = lineage.obtain(preprocess.STEP, parameters)
    rows = []
    for model in models:
        chosen = parameters | {"model": model, "model_params": model_params.get(model) or {}}
        chosen["preprocess_run_id"] = preprocessed.info.run_id
        chosen["train_run_id"] = lineage.obtain(train.STEP, chosen).info.run_id
        evaluated = lineage.obtain(evaluate.STEP, chosen)
        rows.append(leaderboard_row(model, mlflow.get_run(chosen["train_run_id"]), evaluated))
    publish(rows, preprocessed)


def leaderboard_row(model: str, trained: Run, evaluated: Run) -> dict:
    """A model's scores and where they come from."""
    metrics = trained.data.metrics | evaluated.data.metrics
    run_ids = {"train_run_id": trained.info.run_id, "evaluate_run_id": evaluated.info.run_id}
    return {"model": model} | {name: metrics[name] for name in LEADERBOARD} | run_ids


def publish(rows: list[dict], preprocessed: Run) -> None:
    """Log and print the leaderboard, and tag the winner: the model with the best cross-validated R²."""
    import pandas as pd

    from tabular import plots

    _, _, terms = preprocess.parts(preprocessed)
    table = pd.DataFrame(rows).sort_values("cv_r2_score", ascending=False, kind="stable", ignore_index=True)
    winner = table.iloc[0]
    with lineage.artifacts() as folder:
        table.to_csv(folder / "leaderboard.csv", index=False)
        plots.save(plots.leaderboard(table, terms.target_label), folder / "leaderboard.png")
    mlflow.log_metrics({name: float(winner[name]) for name in LEADERBOARD})
    mlflow.set_tags({"workflow.winner": winner["model"], "workflow.winner_run_id": winner["train_run_id"]})
    client = mlflow.MlflowClient()
    client.set_tag(winner["train_run_id"], "workflow.winner_of", mlflow.active_run().info.run_id)
    show(table, terms.unit)


def show(table: "DataFrame", unit: str) -> None:
    """Print the leaderboard, and a link for each run."""
    shown = Table(title="Leaderboard, by cross-validated R²", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("model", "CV R²", f"CV error {unit}", "test R² (95 %)", f"test error {unit} (95 %)"):
        shown.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for place, row in table.iterrows():
        shown.add_row(
            row["model"] + (" ★" if place == 0 else ""),
            f"{row['cv_r2_score']:.3f} ± {row['cv_r2_score_std']:.3f}",
            f"{row['cv_mean_absolute_error']:,.1f} ± {row['cv_mean_absolute_error_std']:,.1f}",
            f"{row['r2_score']:.3f} ({row['r2_score_low']:.2f}–{row['r2_score_high']:.2f})",
            "{mean_absolute_error:,.1f} ({mean_absolute_error_low:,.0f}–{mean_absolute_error_high:,.0f})".format(**row),
            style="bold" if place == 0 else None,
        )
    Console(width=None if sys.stdout.isatty() else 100).print(shown)
    runs = {"leaderboard": mlflow.active_run()}
    runs |= {row["model"]: mlflow.get_run(row["evaluate_run_id"]) for _, row in table.iterrows()}
    step.print_links(runs)


if __name__ == "__main__":
    step.command(__doc__, PARAMETERS, main)
