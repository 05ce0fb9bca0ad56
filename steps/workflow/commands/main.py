"""The whole workflow: preprocess once, train and evaluate every model, compare them and name the best.

    mlflow run .
    mlflow run . -P models=linear,knn,rf,extra_trees -P data=/path/to/wines.csv

Takes the parameters of all steps. Steps whose result exists already are reused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment

import mlflow
import pandas as pd
from mlflow.entities import Run

from workflow.commands import evaluate, preprocess, train
from workflow.errors import UserError
from workflow.models.catalog import BLEND, FEW_FOR_RANDOM_FOREST
from workflow.parallel.cluster import CLUSTER, on_cluster
from workflow.parameters import AUTO, Parameter, mapping, nearest, or_auto, resolved, several, to_command_line
from workflow.provenance import fingerprint
from workflow.reports.leaderboard import SCORES, TITLE, leaderboard, readable
from workflow.reports.report import markdown_table
from workflow.runs import cli, execution, links, tracking

if TYPE_CHECKING:
    from workflow.data.contract import Contract

MODEL_PARAMS = Parameter("model_params", "null", "a mapping of models to their own parameters, YAML or JSON", mapping)
REGISTER = Parameter("register", "", "a registered model: the winner becomes a version of it, and perhaps the champion")
POSSIBLE = [*dict.fromkeys([*compared(0), *compared(FEW_FOR_RANDOM_FOREST + 1)]), BLEND]  # of models=auto
EXAMPLE = "{rf: {n_estimators: 300}}"
PARAMETERS = (
    Parameter(
        "models",
        AUTO,
        f"comma-separated, of {', '.join(train.NAMES)}, or regressors' import paths; {BLEND} combines the others; auto:"
        f" {','.join(compared(0))},{BLEND}, with rf for extra_trees if more than {FEW_FOR_RANDOM_FOREST:,} rows are"
        " learned from",
        or_auto(several(train.model_name)),
    ),
    *preprocess.PARAMETERS,
    *train.SHARED,
    MODEL_PARAMS,
    *evaluate.PARAMETERS,
    REGISTER,
)
PICTURE = "leaderboard.png"
PAGES = {  # that the description links to
    "compare": "side by side",
    "scores": "all scores",
    "models": "the models",
    "data": "the data report",
}


def main(given: dict[str, Any]) -> None:
    """Find or make all runs, and log the leaderboard on the parent run."""
    parameters = resolved(PARAMETERS, given)
    model_params, is_chosen = parameters["model_params"], parameters["models"] != AUTO
    check(model_params, parameters["models"] if is_chosen else POSSIBLE)
    tracking.describe(f"main {to_command_line(parameters['models'])}", parameters)
    mlflow.set_tag("workflow.step", "main")
    preprocessed = execution.obtain(preprocess.STEP, parameters)
    terms = preprocess.read_contract_of(preprocessed)
    if not is_chosen:
        parameters["models"] = models_for(preprocessed, parameters, terms)
        check(model_params, parameters["models"])
    models = parameters["models"]
    trained, evaluated = {}, {}
    for model in sorted(models, key=lambda model: model == BLEND):  # last: it combines what the others leave
        own = model_params.get(model, {})
        if model == BLEND and not own:
            own = {other: model_params.get(other, {}) for other in sorted(models) if other != BLEND}
        chosen = parameters | {"model": model, "model_params": own}
        chosen["preprocess_run_id"] = preprocessed.info.run_id
        trained[model] = execution.obtain(train.STEP, chosen)
        chosen["train_run_id"] = trained[model].info.run_id
        evaluated[model] = execution.obtain(evaluate.STEP, chosen)
    table = leaderboard({model: trained[model].data.metrics | evaluated[model].data.metrics for model in models})
    table["train_run_id"] = [trained[model].info.run_id for model in table["model"]]
    table["evaluate_run_id"] = [evaluated[model].info.run_id for model in table["model"]]
    runs = {model: evaluated[model] for model in table["model"]}
    pages = {
        "leaderboard": links.run_page(tracking.active_run()),
        "models": links.models_page(preprocessed.info.experiment_id),
        "scores": links.scores_page(preprocessed.info.experiment_id),
        **({"compare": links.comparison_page(list(runs.values()))} if len(runs) > 1 else {}),
        "data": links.run_page(preprocessed, preprocess.REPORT),
        **{model: links.run_page(run, evaluate.REPORT) for model, run in runs.items()},
    }
    shown = readable(table, terms.unit)
    describe(shown, runs, pages, preprocessed, terms)
    publish(table, runs, parameters, terms.target_label)
    right, winner = [name for name in shown if name != "model"], shown.index == shown.index[0]
    cli.print_table(shown, winner, TITLE, right)
    if parameters["register"]:
        pages |= register(parameters["register"])
    cli.print_links(pages)
    cli.print_proof()


def models_for(preprocessed: Run, parameters: Mapping[str, Any], terms: "Contract") -> list[str]:
    """What is compared if nobody says what: it hangs on the number of rows that the models learn from."""
    rows = int(preprocessed.data.metrics["rows_train"])
    return [*compared(min(rows, train.most_rows(parameters, terms))), BLEND]


def check(model_params: Mapping[str, Any], models: Sequence[str]) -> None:
    """Raise UserError for parameters that are none, or of a model that is not compared."""
    for model, own in model_params.items():
        if not isinstance(own, dict):
            raise UserError(f"model_params={{{model}: {own}}}: must map the model to its parameters, like {EXAMPLE}")
        if model not in models:
            raise UserError(f"model_params={{{model}: …}}: not among the models; {nearest(model, models)}")


def register(name: str) -> dict[str, str]:
    """Make the active run's winner a version of a registered model, and perhaps the champion; the pages about that."""
    from workflow.commands import promote

    chosen = resolved(promote.PARAMETERS, {"run": tracking.active_run().info.run_id, "name": name})
    with tracking.opened(run_name=f"promote {name}", nested=True):
        return promote.promote_run(chosen)


def describe(
    table: pd.DataFrame, runs: Mapping[str, Run], pages: Mapping[str, str], preprocessed: Run, terms: "Contract"
) -> None:
    """Write the leaderboard, a table of texts, as the active run's description; and how to get there above all runs.

    The `runs` are the evaluate runs of its models.
    """
    from workflow.data import split

    way = execution.parameters_of(preprocessed)["split"]
    question = split.question(way, preprocess.split_column(way, terms))
    leaks = {
        run.data.tags["workflow.leak"]: None
        for run in (preprocessed, *runs.values())
        if "workflow.leak" in run.data.tags
    }
    linked = table.assign(
        model=[f"[{name}]({links.run_page(run)})" for name, run in zip(table["model"], runs.values(), strict=True)]
    )
    parts = [
        f"How well {question}:",
        markdown_table(linked),
        *(f"**Careful.** {leak}" for leak in leaks),
        ", ".join(f"[{words}]({pages[name]})" for name, words in PAGES.items() if name in pages),
    ]
    tracking.write_note("\n\n".join(parts))
    winner = next(iter(runs))
    tracking.write_experiment_note(
        f"[leaderboard]({pages['leaderboard']}), [{winner}, the best]({pages[winner]}), [all models]({pages['models']})"
    )


def publish(table: pd.DataFrame, runs: Mapping[str, Run], parameters: dict[str, Any], target: str) -> None:
    """Log the leaderboard and tag the winner. The receipt says how to make all the evaluate `runs` again."""
    winner = table.iloc[0]
    upstream = {f"upstream {model}": run.data.tags["workflow.fingerprint"] for model, run in runs.items()}
    mark = fingerprint.fingerprint("main", Path(__file__), {}, upstream)
    with tracking.artifacts() as folder:
        table.to_csv(folder / "leaderboard.csv", index=False)
        if same := execution.find_run(mark):  # drawing takes a second, and nothing has changed
            with tracking.downloaded(same, PICTURE) as path:
                (folder / PICTURE).write_bytes(path.read_bytes())
        else:
            from workflow.reports import plots

            plots.save(plots.leaderboard(table, target), folder / PICTURE)
    scores = {name: float(winner[name]) for name in SCORES}
    mlflow.log_metrics(scores)
    mlflow.set_tags({"workflow.winner": winner["model"], "workflow.winner_run_id": winner["train_run_id"]})
    mlflow.MlflowClient().set_tag(winner["train_run_id"], "workflow.winner_of", tracking.active_run().info.run_id)
    receipts = [execution.receipt_of(runs[model]) for model in parameters["models"]]
    decisive = {name: value for name, value in parameters.items() if name != REGISTER.name}
    outcome = {"metrics": scores, "artifacts": {}}
    modules = {name for run in runs.values() for name in train.modules(execution.parameters_of(run))}
    execution.log_receipt("main", "main", Path(__file__), decisive, {}, receipts, outcome, modules)
    mlflow.set_tag("workflow.fingerprint", mark)


if __name__ == "__main__":
    cli.command(__doc__, [*PARAMETERS, CLUSTER], on_cluster(main))
