"""Trials of a search as MLflow runs: recorded when they end, and found again by the next search."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunTag

from workflow.provenance import fingerprint
from workflow.runs.names import Tags
from workflow.runs.tracking import active_run, this_process

MAX_FOLDS = 70  # whose scores fit into a tag
FoldScores = list[dict[str, float]]  # the scores of each fold, by metric


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Attributes:
        name: of its run.
        params: the estimator parameters that were tried.
        folds: the scores of the folds that it went through.
        means: of the scores over all folds; empty for a pruned trial.
        started: in seconds since 1970.
    """

    name: str
    params: Mapping[str, Any]
    folds: FoldScores
    means: Mapping[str, float]
    started: float


def find_recorded(search: str) -> dict[str, FoldScores]:
    """Return the fold scores of all recorded trials of a search in this experiment, by `key` of their parameters.

    `search` is its fingerprint. Asked once: a store with ten thousand runs would be slow to answer for each trial. A
    trial whose tags were edited is left out, so that it runs again.
    """
    runs = mlflow.search_runs(
        [active_run().info.experiment_id],
        f"tags.`{Tags.SEARCH}` = '{search}' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time"],
        output_format="list",
    )
    recorded = [run.data.tags for run in runs]
    return {
        tags[Tags.TRIED]: unpack(tags[Tags.FOLD_SCORES])
        for tags in recorded
        if tags.get(Tags.RECEIPT) == fingerprint.digest([search, tags[Tags.TRIED], tags[Tags.FOLD_SCORES]])
    }


def key(params: Mapping[str, Any]) -> str:
    """Return a text that identifies parameters."""
    return json.dumps(params, sort_keys=True)


def pack(folds: Sequence[Mapping[str, float]]) -> str:
    """Return the scores of folds as a short text: a tag holds those of up to `MAX_FOLDS`."""
    return json.dumps({metric: [scores[metric] for scores in folds] for metric in folds[0]})


def unpack(text: str) -> FoldScores:
    """Return the scores of folds that were packed."""
    scores = json.loads(text)
    return [dict(zip(scores, values, strict=True)) for values in zip(*scores.values(), strict=True)]


def record(search: str, trial: Trial) -> None:
    """Log a trial as a run within the active one. It takes three requests, the last of which makes it count."""
    client, now, tried, folds = mlflow.MlflowClient(), int(time.time() * 1000), key(trial.params), pack(trial.folds)
    tags = {
        "mlflow.parentRunId": active_run().info.run_id,
        Tags.STAGE: "trial",
        Tags.SEARCH: search,
        Tags.TRIED: tried,
        Tags.FOLD_SCORES: folds,
        Tags.RECEIPT: fingerprint.digest([search, tried, folds]),
        Tags.PROCESS: this_process(),
    }
    run = client.create_run(active_run().info.experiment_id, int(trial.started * 1000), tags, trial.name)
    metrics = [
        Metric(f"fold_{metric}", value, now, step)
        for step, scores in enumerate(trial.folds)
        for metric, value in scores.items()
    ] + [Metric(metric, value, now, 0) for metric, value in trial.means.items()]
    params = [Param(name, str(value)) for name, value in trial.params.items()]
    pruned = [] if trial.means else [RunTag(Tags.PRUNED, "true")]
    client.log_batch(run.info.run_id, metrics, params, pruned)
    client.set_terminated(run.info.run_id)
