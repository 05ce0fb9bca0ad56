"""Trials of a search as MLflow runs: recorded when they are over, and found again by the next search."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunTag

from workflow.runs.tracking import active_run, this_process

MOST_FOLDS = 70
Folds = list[dict[str, float]]  # the scores of each, by metric


def recorded(mark: str) -> dict[str, Folds]:
    """What came of all trials with the fingerprint `mark` in the active run's experiment, by `key` of their parameters.

    Asked once: a store with ten thousand runs would be slow to answer for each trial.
    """
    runs = mlflow.search_runs(
        [active_run().info.experiment_id],
        f"tags.`workflow.search` = '{mark}' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time"],
        output_format="list",
    )
    return {run.data.tags["workflow.tried"]: unpacked(run.data.tags["workflow.folds"]) for run in runs}


def key(parameters: Mapping[str, Any]) -> str:
    """A text that tells parameters from others."""
    return json.dumps(parameters, sort_keys=True)


def packed(folds: Sequence[Mapping[str, float]]) -> str:
    """The scores of folds as a short text: a tag holds those of up to `MOST_FOLDS`."""
    return json.dumps({metric: [scores[metric] for scores in folds] for metric in folds[0]})


def unpacked(text: str) -> Folds:
    """The scores of folds that were `packed`."""
    scores = json.loads(text)
    return [dict(zip(scores, values, strict=True)) for values in zip(*scores.values(), strict=True)]


def record(
    mark: str,
    name: str,
    parameters: Mapping[str, Any],
    folds: Sequence[Mapping[str, float]],
    means: Mapping[str, float],
    started: float,
) -> None:
    """Log a trial that began at `started` as a run within the active one: the scores of its folds, and their `means`.

    A trial that was given up has no means. It is written in three requests, the last of which makes it count.
    """
    client, now = mlflow.MlflowClient(), int(time.time() * 1000)
    tags = {
        "mlflow.parentRunId": active_run().info.run_id,
        "workflow.step": "trial",
        "workflow.search": mark,
        "workflow.tried": key(parameters),
        "workflow.folds": packed(folds),
        "workflow.process": this_process(),
    }
    run = client.create_run(active_run().info.experiment_id, int(started * 1000), tags, name)
    metrics = [
        Metric(f"fold_{metric}", value, now, step)
        for step, scores in enumerate(folds)
        for metric, value in scores.items()
    ] + [Metric(metric, value, now, 0) for metric, value in means.items()]
    params = [Param(parameter, str(value)) for parameter, value in parameters.items()]
    pruned = [] if means else [RunTag("workflow.pruned", "true")]
    client.log_batch(run.info.run_id, metrics, params, pruned)
    client.set_terminated(run.info.run_id)
