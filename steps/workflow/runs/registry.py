"""The model registry: which version a name means, which run trained it, and which version is the champion."""

import re
import time
from collections.abc import Mapping

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from workflow.errors import UserError
from workflow.runs import integrity
from workflow.runs.artifacts import StageRun, TrainRun, existing_run
from workflow.runs.names import Files, Tags
from workflow.runs.tracking import TAG_LENGTH, active_run, console
from workflow.spelling import nearest

SCHEME = "models:/"
VERSION_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
CHAMPION = "champion"


def resolve_train_run(parameter: str, name: str) -> TrainRun:
    """Return the train run that `name` leads to: a model's URI, the id of a train run, or of a main run (its winner's).

    Raises UserError, about the `parameter`, if there is none.
    """
    version = version_of(name) if name.startswith(SCHEME) else None
    run = existing_run(f"{parameter}={name}", (version.run_id or "") if version else name)
    if winner := run.data.tags.get(Tags.WINNER_RUN):
        return StageRun(run).upstream(TrainRun, winner)
    if run.data.tags.get(Tags.STAGE) != TrainRun.stage or run.info.status != "FINISHED":
        stage = run.data.tags.get(Tags.STAGE, "another program")
        raise UserError(
            f"{parameter}={name}: a {run.info.status} run of {stage}, not of train or main, so it has no model"
        )
    integrity.verify_against_later(run)
    trained = TrainRun(run)
    if version and version.tags.get(Tags.RECEIPT, trained.tags[Tags.RECEIPT]) != trained.tags[Tags.RECEIPT]:
        raise integrity.altered(run, f"{Files.RECEIPT} is not that with which version {version.version} was registered")
    return trained


def version_of(uri: str) -> ModelVersion:
    """Return the version that `models:/<name>@<alias>` or `models:/<name>/<version>` means; UserError if none."""
    parts = VERSION_URI.fullmatch(uri)
    if not parts:
        raise UserError(f"{uri}: expected {SCHEME}<name>@<alias> or {SCHEME}<name>/<version>")
    client, name = mlflow.MlflowClient(), parts["name"]
    try:
        if parts["alias"]:
            return client.get_model_version_by_alias(name, parts["alias"])
        return client.get_model_version(name, parts["version"])
    except MlflowException as error:
        raise UserError(f"{uri}: {why_absent(name, parts['alias'])}") from error


def why_absent(name: str, alias: str | None) -> str:
    """Return which part of a model's URI does not exist, and what does."""
    client = mlflow.MlflowClient()
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        names = [other.name for other in client.search_registered_models()]
        return f"no registered model {name}; {nearest(name, names) if names else 'none is registered'}"
    if alias:
        existing = nearest(alias, model.aliases) if model.aliases else "it has none"
        return f"{name} has no alias {alias}; {existing}"
    versions = ", ".join(str(version.version) for version in versions_of(name))
    return f"{name} has no such version; expected one of {versions or 'none'}"


def champion_of(name: str) -> ModelVersion | None:
    """Return the version of a registered model with the alias `champion`, if there is one."""
    client = mlflow.MlflowClient()
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def register(name: str, trained: TrainRun, description: str, tags: Mapping[str, str]) -> ModelVersion:
    """Make the model of a train run a version of the registered model `name`, which is created if need be.

    A version that an earlier promotion of the same model left undecided is used again. Raises UserError if the tracking
    store has no registry, or if it does not take the name.
    """
    client = mlflow.MlflowClient()
    tags = {**tags, Tags.PROMOTION: active_run().info.run_id}
    try:
        create(name)
        for version in versions_of(name):
            if version.run_id == trained.id and is_undecided(version) and not is_running(version):
                for tag, value in tags.items():
                    client.set_model_version_tag(name, str(version.version), tag, value)
                return client.get_model_version(name, str(version.version))
        source = mlflow.get_logged_model(trained.model_id).artifact_location
        return client.create_model_version(
            name, source, trained.id, tags, description=description, model_id=trained.model_id
        )
    except MlflowException as error:
        raise UserError(f"name={name}: cannot be registered: {' '.join(error.message.split())}") from error


def create(name: str) -> None:
    """Create a registered model, unless it exists."""
    try:
        mlflow.MlflowClient().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def versions_of(name: str) -> list[ModelVersion]:
    """Return all versions of a registered model, the oldest first."""
    versions = mlflow.MlflowClient().search_model_versions(f"name = '{name}'")
    return sorted(versions, key=lambda version: int(version.version))


def wait_for_turn(version: ModelVersion) -> None:
    """Wait until all earlier versions have been decided on.

    The registry numbers versions one by one, so their numbers are a queue: of two promotions at once, the later sees
    the champion that the earlier one has left. A promotion whose run has ended is not waited for.
    """
    with console.status(f"waiting for another promotion of {version.name}"):
        while any(
            int(other.version) < int(version.version) and is_undecided(other) and is_running(other)
            for other in versions_of(version.name)
        ):
            time.sleep(1)


def is_undecided(version: ModelVersion) -> bool:
    """Return whether a promotion has registered a version and not decided on it."""
    return Tags.PROMOTION in version.tags and Tags.DECISION not in version.tags


def is_running(version: ModelVersion) -> bool:
    """Return whether the run that promotes a version is still running."""
    try:
        return mlflow.get_run(version.tags[Tags.PROMOTION]).info.status == "RUNNING"
    except MlflowException:
        return False


def set_champion(version: ModelVersion, former: ModelVersion | None) -> None:
    """Make a version the champion, and record the `former` one, if there is one, in its tags."""
    client = mlflow.MlflowClient()
    if former:
        client.set_model_version_tag(version.name, str(version.version), Tags.FORMER_CHAMPION, str(former.version))
    client.set_registered_model_alias(version.name, CHAMPION, str(version.version))
    client.set_tag(active_run().info.run_id, Tags.CHAMPION, f"{version.name}/{version.version}")


def tag_decision(version: ModelVersion, decision: str) -> None:
    """Record the decision on a version in its tags."""
    mlflow.MlflowClient().set_model_version_tag(
        version.name, str(version.version), Tags.DECISION, decision[:TAG_LENGTH]
    )
