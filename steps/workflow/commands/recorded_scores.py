"""The scores that receipts stand for, and their differences on the test rows that two of them share."""

from collections.abc import Sequence

from workflow.errors import UserError
from workflow.evaluation.paired import Difference
from workflow.evaluation.ranking import RankingMetric, ranking_metric
from workflow.evaluation.scored_rows import ScoredRows, scored_rows, shared_columns, shared_difference
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
    return recorded.provenance.tags.get(Tags.WINNER) or next(reversed(scored_runs(recorded)), None)


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
        left, right = rows_scored_by(runs)
        rows, found = shared_difference(left, right, metric, seed_of(one))
    except (UserError, ValueError) as error:
        return Score(name, metric.name, "", values, remark=str(error))
    value, *ends = (float(metric.as_error(each)) for each in (found.value, found.low, found.high))
    return Score(name, metric.name, unit, values, rows, Difference(value, min(ends), max(ends)))


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


def rows_scored_by(runs: Sequence[EvaluateRun]) -> list[ScoredRows]:
    """Return the test rows that some runs have scored; ValueError if their targets differ."""
    data = [run.preprocess() for run in runs]
    columns = shared_columns([each.contract for each in data])
    if any(each.contract.target not in columns for each in data):
        raise ValueError("they predict different targets")
    found = []
    for run, each in zip(runs, data, strict=True):
        with each.training_set() as training_set, each.test_set() as test_set:
            found.append(scored_rows(run.predictions(), training_set, test_set, each.contract, columns))
    return found
