"""The scores that receipts stand for, and their differences on the test rows that two of them share."""

import mlflow
from mlflow.exceptions import MlflowException

from workflow.errors import UserError
from workflow.evaluation.paired import Difference
from workflow.evaluation.ranking import RankingMetric, ranking_metric
from workflow.evaluation.scored_rows import ScoredRows, scored_rows, shared_difference
from workflow.provenance.receipt import Receipt
from workflow.reports.comparison_report import Score
from workflow.runs.artifacts import EvaluateRun
from workflow.runs.names import Tags


def paired_scores(one: Receipt, other: Receipt) -> list[Score]:
    """Return the scores of the best model of each receipt, then those of every model that both have."""
    best, other_best = winner_of(one), winner_of(other)
    if best is None or other_best is None:
        return []
    pairs = [(best, other_best), *((model, model) for model in scored_runs(one) if model in scored_runs(other))]
    return [paired_score(one, other, *pair) for pair in dict.fromkeys(pairs)]


def winner_of(recorded: Receipt) -> str | None:
    """Return the model whose score stands for a receipt; None if nothing was scored."""
    models = scored_runs(recorded)
    best = recorded.provenance.tags.get(Tags.WINNER)
    return best if best in models else next(reversed(models), None)


def scored_runs(recorded: Receipt) -> dict[str, str]:
    """Return the ids of the evaluate runs of a receipt, by model."""
    runs = recorded.provenance.runs.items()
    return {label.partition(" ")[2]: run_id for label, run_id in runs if label.startswith("evaluate ")}


def paired_score(one: Receipt, other: Receipt, model: str, other_model: str) -> Score:
    """Return the score of a model of each receipt, in pairs if their runs are in this tracking store."""
    metric = metric_of(one)
    values = (
        one.outcome[f"evaluate {model}"].metrics.get(metric.name),
        other.outcome[f"evaluate {other_model}"].metrics.get(metric.name),
    )
    name = model if model == other_model else f"{model} → {other_model}"
    try:
        runs = evaluate_run(one, model), evaluate_run(other, other_model)
        unit = runs[0].preprocess().contract.unit if metric.has_target_unit else ""
        rows, found = shared_difference(rows_scored_by(runs[0]), rows_scored_by(runs[1]), metric, seed_of(one))
    except (UserError, ValueError) as error:
        return Score(name, metric.name, "", values, remark=str(error))
    value, *ends = (float(metric.as_error(each)) for each in (found.value, found.low, found.high))
    return Score(name, metric.name, unit, values, rows, Difference(value, min(ends), max(ends)))


def logged_score(recorded: Receipt, metric: RankingMetric) -> float | None:
    """Return the score that stands for a receipt: what its run shows now, if it is in this tracking store."""
    model = winner_of(recorded)
    try:
        logged = mlflow.get_run(scored_runs(recorded)[str(model)]).data.metrics
    except MlflowException:
        logged = {}
    return logged.get(metric.name, recorded.outcome[f"evaluate {model}"].metrics.get(metric.name))


def metric_of(recorded: Receipt) -> RankingMetric:
    """Return the metric by which the models of a receipt are ranked."""
    params = recorded.parameters["metric_params"]
    return ranking_metric(str(recorded.parameters["metric"]), params if isinstance(params, dict) else {})


def seed_of(recorded: Receipt) -> int:
    """Return the seed of a receipt."""
    return int(str(recorded.parameters["seed"]))


def evaluate_run(recorded: Receipt, model: str) -> EvaluateRun:
    """Return the evaluate run of a model in a receipt; UserError if it is not in this store, or was altered since."""
    run = EvaluateRun.of(scored_runs(recorded)[model])
    if run.receipt.own_outcome != recorded.outcome[f"evaluate {model}"]:
        raise UserError(f"evaluate run {run.id}: its outcome is not that of the receipt")
    return run


def rows_scored_by(run: EvaluateRun) -> ScoredRows:
    """Return the test rows that a run has scored."""
    data = run.preprocess()
    with data.training_set() as training_set, data.test_set() as test_set:
        return scored_rows(run.predictions(), training_set, test_set, data.contract)
