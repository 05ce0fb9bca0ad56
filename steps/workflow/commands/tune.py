"""Look for better parameters of a model by cross-validation, and see on the test part whether that has paid.

    mlflow run . -e tune -P model=boosting -P trials=50
    mlflow run . -e tune -P models=rf,boosting -P timeout=600 -P space='{rf: {max_features: {low: 0.2, high: 0.8}}}'

Trials see the training part only, all of them the same folds. They are runs, and none is made twice: given again after
it was stopped, or with more trials, the command goes on from what is there. Takes the parameters of preprocess too:
without a preprocess_run_id, they say which run to find or make.
"""

import json
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment

import mlflow
import pandas as pd
from mlflow.entities import Run
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from workflow.commands import evaluate, preprocess, train
from workflow.errors import UserError
from workflow.models.catalog import BLEND, candidate_params, default_parameters, get_model, regressor
from workflow.parallel.cluster import CLUSTER, on_cluster
from workflow.parameters import AUTO, Parameter, mapping, nearest, several, whole
from workflow.provenance import digests, fingerprint
from workflow.reports.leaderboard import ERROR, SCORES, TITLE, leaderboard, readable
from workflow.reports.report import markdown_table, number
from workflow.runs import cli, execution, links, tracking, trials

if TYPE_CHECKING:
    from optuna import Study
    from pandas import DataFrame, Series

    from workflow.data.contract import Contract
    from workflow.evaluation.paired import Difference
    from workflow.models.estimators import Estimator

OWN = (
    Parameter("model", "boosting", f"one of {', '.join(train.SINGLE)}, or a regressor's import path", train.model_name),
    Parameter(
        "models", "", "several instead, comma-separated", lambda text: several(train.model_name)(text) if text else []
    ),
    Parameter("trials", "50", "sets of parameters to try for each model", whole(1)),
    Parameter(
        "concurrent",
        "8",
        "trials that can be at work side by side; with another number, other parameters are tried",
        whole(1),
    ),
    Parameter("timeout", "0", "seconds after which no other trial of a model begins; 0 for none", whole(0)),
    Parameter(
        "space",
        "null",
        "what to try instead: a mapping of models to parameters, and these to {low: …, high: …, log: true} or a list",
        mapping,
    ),
)
PARAMETERS = (
    *OWN,
    *train.SHARED,
    *evaluate.PARAMETERS,
)
REPORT, TRIALS = "tuning.html", "trials.parquet"


def tune(parameters: dict[str, Any], upstream: Run) -> execution.Tell:
    """Search for each model, train and evaluate it as found and as it was, and log a leaderboard of these."""
    from workflow.evaluation import search

    if parameters["cv"] != AUTO and parameters["cv"] > trials.MOST_FOLDS:
        raise UserError(f"cv={parameters['cv']}: a trial keeps the scores of at most {trials.MOST_FOLDS} folds")
    rows, terms = train.read_training(parameters, upstream)
    studies, best, runs = {}, {}, {}
    for model, space in spaces_of(parameters).items():
        runs[model] = result_of(model, {}, parameters, upstream)
        # What is counted, the fitted model knows; one that learns from a sample does not show its own parameters.
        start = default_parameters(model, parameters["seed"], *rows[terms.features].shape)
        start |= train.read_model(execution.upstream_of(runs[model])).regressor[-1].get_params()
        chosen = {name for own in candidate_params(model, {}, *rows[terms.features].shape) for name in own}
        space |= search.distributions(model, {name: [start[name]] for name in sorted(chosen - space.keys())})
        studies[model] = search_model(model, space, start, parameters, upstream, rows, terms)
        best[model] = search.rounded(studies[model].best_params)
        runs[f"{model} tuned"] = result_of(model, best[model], parameters, upstream)
    table = leaderboard(
        {label: run.data.metrics | execution.upstream_of(run).data.metrics for label, run in runs.items()}
    )
    table["train_run_id"] = [runs[label].data.tags["workflow.upstream"] for label in table["model"]]
    table["evaluate_run_id"] = [runs[label].info.run_id for label in table["model"]]
    again = next_command(parameters, best, len(rows))
    return publish(table, runs, studies, best, terms, parameters, again)


def publish(
    table: pd.DataFrame,
    runs: Mapping[str, Run],
    studies: "Mapping[str, Study]",
    best: Mapping[str, dict[str, Any]],
    terms: "Contract",
    parameters: Mapping[str, Any],
    again: str,
) -> execution.Tell:
    """Log what the searches have come to, and the page about them; return how to tell the user.

    Takes the leaderboard, the evaluate runs of its models, by model the study and the parameters that it has found, and
    the command that goes on from there.
    """
    from workflow.reports import tuning_report

    gains = {model: astuple(gain(runs[model], runs[f"{model} tuned"], parameters["seed"])) for model in studies}
    errors = table.set_index("model")[f"cv_{ERROR}"]
    said = [
        tuning_report.conclusion(model, study, (errors[model], errors[f"{model} tuned"]), gains[model], terms.unit)
        for model, study in studies.items()
    ]
    conclusion, shown = "\n".join(said), readable(table, terms.unit)
    tried = pd.concat(map(table_of, studies, studies.values()), ignore_index=True)
    addresses = {
        f"report of {label}": links.absolute(links.run_page(run, evaluate.REPORT)) for label, run in runs.items()
    }
    with tracking.artifacts() as folder:
        tried.to_parquet(folder / TRIALS)
        table.to_csv(folder / "leaderboard.csv", index=False)
        html = tuning_report.tuning_report(studies, best, shown, conclusion, terms.unit, folder, again, addresses)
        (folder / REPORT).write_text(html, encoding="utf-8")
    log_result(table.iloc[0], tried, gains)
    pages = {"report": links.run_page(tracking.active_run(), REPORT)}
    tracking.write_note("\n\n".join([*said, markdown_table(shown), f"[The report]({pages['report']})"]))

    def tell() -> dict[str, str]:
        right, winner = [name for name in shown if name != "model"], shown.index == shown.index[0]
        cli.print_table(shown, winner, TITLE, right)
        tracking.console.print(f"{conclusion}\nCompare it with others: [bold]{escape(again)}[/bold]")
        return pages

    return tell


def next_command(parameters: Mapping[str, Any], best: Mapping[str, dict[str, Any]], rows: int) -> str:
    """The command that takes what was found into the leaderboard of main, beside what that compares of so many rows."""
    shared = [p for p in (*preprocess.PARAMETERS, *PARAMETERS) if p not in OWN]
    models = ",".join(dict.fromkeys([*compared(rows), *best, BLEND]))
    given = [
        *execution.arguments(shared, parameters),
        "-P",
        f"models={models}",
        "-P",
        f"model_params={json.dumps(best)}",
    ]
    return shlex.join(["mlflow", "run", ".", *given])


def spaces_of(parameters: Mapping[str, Any]) -> "dict[str, dict[str, Any]]":
    """What is tried of each model's parameters; UserError if that is nothing, or if it has no such parameter."""
    from workflow.evaluation import search

    models = parameters["models"] or [parameters["model"]]
    given, found = parameters["space"], {}
    for model, space in given.items():
        if model not in models:
            raise UserError(f"space={{{model}: …}}: not among the models; {nearest(model, models)}")
        if not isinstance(space, dict):
            raise UserError(f"space={{{model}: {space}}}: must map the model's parameters to what to try")
    for model in models:
        if model == BLEND:
            raise UserError(f"model={BLEND}: combines models, and has no parameters of its own; tune those")
        space = given.get(model) or get_model(model).space
        if not space:
            raise UserError(f"model={model}: what to try? -P space='{{{model}: {{alpha: {{low: 0.1, high: 10}}}}}}'")
        found[model] = search.distributions(model, space)
        regressor(model, parameters["seed"], dict.fromkeys(space))  # which refuses those that it has not
    return found


def search_model(
    model: str,
    space: dict[str, Any],
    start: dict[str, Any],
    parameters: dict[str, Any],
    upstream: Run,
    rows: "DataFrame",
    terms: "Contract",
) -> "Study":
    """The trials of one model on the training rows, which `start` with parameters: each a run, unless there is one."""
    from workflow.evaluation import cross_validation, search
    from workflow.models import estimators
    from workflow.parallel.executors import iterate_in_processes

    features, target = rows[terms.features], rows[terms.target]
    folds = train.folds_of(parameters, rows, terms)
    mark, made, started = trial_mark(model, parameters, upstream), 0, time.monotonic()
    recorded, count = trials.recorded(mark), len(folds)

    def test(asked: "Iterator[search.Asked]") -> Iterator[list[float]]:
        """See `search.search`."""
        nonlocal made
        for own, known, began, done in iterate_in_processes(test_trial, map(prepared, asked), parameters["concurrent"]):
            if len(done) > len(known):
                means = cross_validation.mean_scores(done) if len(done) == count else {}
                trials.record(mark, f"trial {model}", own, done, means, began)
                made += 1
            yield [scores[ERROR] for scores in done]

    def prepared(asked: "search.Asked") -> "tuple[dict[str, Any], list[float], Estimator, trials.Folds]":
        own, limits = asked
        estimator = train.unfitted(parameters | {"model": model, "model_params": own}, rows, terms)
        return own, limits, estimator, recorded.get(trials.key(own), [])

    def test_trial(trial: tuple[Any, ...]) -> tuple[dict[str, Any], trials.Folds, float, trials.Folds]:
        own, limits, estimator, known = trial
        began = time.time()

        def predict_fold(fold: int) -> dict[str, float]:
            if fold < len(known):
                return known[fold]
            return cross_validation.fold_scores(cross_validation.predict_fold(estimator, features, target, folds[fold]))

        with estimators.estimator_errors_as_user_errors(model, own):
            return own, known, began, search.test_folds(predict_fold, count, limits, ERROR)

    seed, wanted = parameters["seed"], parameters["trials"]
    # Closed before the interpreter ends, however the search does: its processes would outlive what they share.
    with closing(search.search(space, start, wanted, parameters["timeout"], seed, count, test)) as studies:
        study = followed(studies, model, wanted, terms)
    tracking.console.print(
        f"{f'tune {model}':<22} {time.monotonic() - started:5.1f} s  [dim]{len(study.trials)} trials,"
        f" {len(study.trials) - made} of them reused[/dim]"
    )
    return study


def followed(studies: "Iterator[Study]", model: str, wanted: int, terms: "Contract") -> "Study":
    """The last of the `studies`, with a bar that shows how far they are, and the least error so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    quiet = not tracking.console.is_terminal
    with Progress(*columns, *times, console=tracking.console, transient=True, disable=quiet) as progress:
        bar = progress.add_task(f"tuning {model}", total=wanted)
        for study in studies:
            told = f"tuning {model}, best error {number(study.best_value)} {terms.unit}".strip()
            progress.update(bar, advance=1, description=told)
    return study


def trial_mark(model: str, parameters: Mapping[str, Any], upstream: Run) -> str:
    """The fingerprint of all trials of a model: what decides them, but for the parameters that are tried."""
    deciding = {p.name: parameters[p.name] for p in train.SHARED} | {"model": model}
    inputs = {"upstream": upstream.data.tags["workflow.fingerprint"]}
    return fingerprint.fingerprint("trial", train.STEP.script, deciding, inputs, modules({"models": [model]}))


def result_of(model: str, own: dict[str, Any], parameters: dict[str, Any], upstream: Run) -> Run:
    """The evaluate run of a model with parameters of its own."""
    chosen = parameters | {"model": model, "model_params": own, preprocess.STEP.run_id_parameter: upstream.info.run_id}
    return execution.obtain(evaluate.STEP, chosen)


def table_of(model: str, study: "Study") -> pd.DataFrame:
    """A row per trial: its parameters, its error over the folds that it has been through, and whether it was given up.

    Numbers in one column, and parameters in one text: models do not share them.
    """
    from workflow.evaluation import search

    lines = [
        (model, trial.number, trials.key(search.rounded(trial.params)), trial.state.name == "PRUNED", error)
        for trial in study.trials
        for error in [list(trial.intermediate_values.values())[-1]]
    ]
    return pd.DataFrame(lines, columns=["model", "trial", "parameters", "given up", f"cv_{ERROR}"])


def gain(untuned: Run, tuned: Run, seed: int) -> "Difference":
    """By how much the test error of the tuned model is larger: below 0, tuning has paid."""
    from workflow.evaluation import paired

    before, after = evaluate.read_predictions(untuned), evaluate.read_predictions(tuned)
    return paired.difference(
        after["true"].to_numpy(), after["predicted"].to_numpy(), before["predicted"].to_numpy(), ERROR, seed
    )


def log_result(winner: "Series", tried: pd.DataFrame, gains: Mapping[str, tuple[float, ...]]) -> None:
    """Log the scores of the leaderboard's first line on the active run, and tag what `promote` and `reproduce` take."""
    ends = ("", "_low", "_high")
    differences = {
        f"{model}_difference{end}": value
        for model, found in gains.items()
        for end, value in zip(ends, found, strict=True)
    }
    counts = {"trials": len(tried), "trials_given_up": int(tried["given up"].sum())}
    mlflow.log_metrics(counts | differences | {name: float(winner[name]) for name in SCORES})
    mlflow.set_tags(
        {
            "workflow.winner": winner["model"],
            "workflow.winner_run_id": winner["train_run_id"],
            "workflow.winner_evaluate_run_id": winner["evaluate_run_id"],
        }
    )


def modules(parameters: Mapping[str, Any]) -> set[str]:
    """The packages that the chosen models come from."""
    models = parameters["models"] or [parameters["model"]]
    return {name for model in models for name in train.modules({"model": model, "model_params": {}})}


PROOFS = {TRIALS: digests.numbers}
STEP = execution.Step(
    "tune", Path(__file__), PARAMETERS, tune, upstream=preprocess.STEP, modules=modules, proofs=PROOFS
)

if __name__ == "__main__":
    cli.run(STEP, __doc__, [CLUSTER], on_cluster)
