"""Links into the MLflow UI, in its view for model training (it opens in another one, where runs do not show)."""

import json
import time
from collections.abc import Sequence
from urllib.parse import quote

import mlflow
from mlflow.entities import Run

from workflow.runs.names import Tags

LOCAL_UI = "http://127.0.0.1:5000"  # where `mlflow ui` shows a store that is no server
VIEW = "workflowType=machine_learning"
SAVED_VIEW = "workflow-scores"
SAVED_VIEW_TAG = f"mlflow.sharedViewState.{SAVED_VIEW}"  # of an experiment: where the UI's "Save view" keeps it
SAVED_VIEW_METRICS = ("r2_score", "r2_score_low", "r2_score_high", "mean_absolute_error", "root_mean_squared_error")


def absolute(fragment: str) -> str:
    """Return the whole address of a page of the UI. Within the UI, the fragment alone leads there."""
    uri = mlflow.get_tracking_uri()
    return f"{uri if uri.startswith('http') else LOCAL_UI}/{fragment}"


def run_page(run: Run, artifact: str = "") -> str:
    """Return the page of a run, or of one of its artifacts."""
    page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    return f"{page}/artifacts/{quote(artifact)}?{VIEW}" if artifact else f"{page}?{VIEW}"


def model_page(run: Run, model_id: str) -> str:
    """Return the page of the logged model that `run` made or scored."""
    return f"#/experiments/{run.info.experiment_id}/models/{model_id}?{VIEW}"


def version_page(name: str, version: str) -> str:
    """Return the page of a version of a registered model."""
    return f"#/models/{quote(name)}/versions/{version}?{VIEW}"


def models_page(experiment_id: str) -> str:
    """Return the page of all logged models, with a group of scores for each dataset."""
    return f"#/experiments/{experiment_id}/models?{VIEW}"


def comparison_page(runs: Sequence[Run]) -> str:
    """Return the page that shows runs side by side."""
    ids = json.dumps([run.info.run_id for run in runs], separators=(",", ":"))
    experiments = json.dumps(sorted({run.info.experiment_id for run in runs}), separators=(",", ":"))
    return f"#/compare-runs?runs={quote(ids)}&experiments={quote(experiments)}&{VIEW}"


def scores_page(experiment_id: str) -> str:
    """Return the page of the view of `SAVED_VIEW_TAG`."""
    return f"#/experiments/{experiment_id}/runs?{VIEW}&viewStateShareKey={SAVED_VIEW}"


def scores_view() -> str:
    """Return the value of `SAVED_VIEW_TAG`: the table of the evaluate runs with their scores.

    No link expands the children of a run, and a saved view does not either. So this one lists the evaluate runs.
    """
    state = {
        "searchFilter": f"tags.{Tags.STAGE} = 'evaluate'",
        "orderByKey": "metrics.`mean_absolute_error`",
        "orderByAsc": True,
        "selectedColumns": ["params.`model`", *(f"metrics.`{name}`" for name in SAVED_VIEW_METRICS)],
    }
    now = int(time.time() * 1000)
    return json.dumps(
        {"name": "Scores on the test set", "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )
