"""The model registry: which version a name means, and which run has trained it."""

import re
import time
from collections.abc import Mapping

import mlflow
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from workflow.errors import UserError
from workflow.parameters import nearest
from workflow.runs import execution
from workflow.runs.tracking import TAG_LENGTH, active_run, console, model_id

SCHEME = "models:/"
VERSION_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
CHAMPION = "champion"
# Tags of a version: the run that promotes it, what that decided, and the version that was champion before.
PROMOTION, DECISION, FORMER = "workflow.promotion", "workflow.decision", "workflow.former_champion"


def resolve_train_run(parameter: str, name: str) -> Run:
    """The train run that `name` leads to: a model's URI, the id of a train run, or that of a main run (its winner's).

    Raises UserError, about the `parameter`, if there is none.
    """
    run_id = version_of(name).run_id if name.startswith(SCHEME) else name
    run = execution.existing_run(f"{parameter}={name}", run_id or "")
    if winner := run.data.tags.get("workflow.winner_run_id"):
        run = execution.existing_run(f"{parameter}={name}", winner)
    if run.data.tags.get("workflow.step") != "train" or run.info.status != "FINISHED":
        step = run.data.tags.get("workflow.step", "another program")
        raise UserError(
            f"{parameter}={name}: a {run.info.status} run of {step}, not of train or main, so it has no model"
        )
    return run


def version_of(uri: str) -> ModelVersion:
    """The version that `models:/<name>@<alias>` or `models:/<name>/<version>` means; UserError if there is none."""
    parts = VERSION_URI.fullmatch(uri)
    if not parts:
        raise UserError(f"{uri}: neither {SCHEME}<name>@<alias> nor {SCHEME}<name>/<version>")
    client, name = mlflow.MlflowClient(), parts["name"]
    try:
        if parts["alias"]:
            return client.get_model_version_by_alias(name, parts["alias"])
        return client.get_model_version(name, parts["version"])
    except MlflowException as error:
        raise UserError(f"{uri}: {why_absent(name, parts['alias'])}") from error


def why_absent(name: str, alias: str | None) -> str:
    """What is not there of a model's URI, and what is."""
    client = mlflow.MlflowClient()
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        names = [other.name for other in client.search_registered_models()]
        return f"no registered model {name}; {nearest(name, names) if names else 'there is none at all'}"
    if alias:
        there = nearest(alias, model.aliases) if model.aliases else "it has none"
        return f"{name} has no alias {alias}; {there}"
    versions = ", ".join(str(version.version) for version in versions_of(name))
    return f"{name} has no such version; there are {versions or 'none'}"


def champion_of(name: str) -> ModelVersion | None:
    """The version of a registered model that has the alias `champion`, if there is one."""
    client = mlflow.MlflowClient()
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def register(name: str, trained: Run, description: str, tags: Mapping[str, str]) -> ModelVersion:
    """A version of the registered model `name`, which is made if need be, of the model that a run has trained.

    It is the one that an earlier promotion of the same model left undecided, if any. Raises UserError if the tracking
    store has no registry, or if it does not take the name.
    """
    client = mlflow.MlflowClient()
    tags = {**tags, PROMOTION: active_run().info.run_id}
    try:
        create(name)
        for version in versions_of(name):
            if version.run_id == trained.info.run_id and is_undecided(version) and not is_running(version):
                for tag, value in tags.items():
                    client.set_model_version_tag(name, str(version.version), tag, value)
                return client.get_model_version(name, str(version.version))
        model = model_id(trained)
        source = mlflow.get_logged_model(model).artifact_location
        return client.create_model_version(
            name, source, trained.info.run_id, tags, description=description, model_id=model
        )
    except MlflowException as error:
        raise UserError(f"name={name}: cannot be registered: {' '.join(error.message.split())}") from error


def create(name: str) -> None:
    """Make a registered model, unless somebody else was faster."""
    try:
        mlflow.MlflowClient().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def versions_of(name: str) -> list[ModelVersion]:
    """All versions of a registered model, the oldest first."""
    versions = mlflow.MlflowClient().search_model_versions(f"name = '{name}'")
    return sorted(versions, key=lambda version: int(version.version))


def wait_for_turn(version: ModelVersion) -> None:
    """Return when all earlier versions have been decided on.

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
    """Whether a promotion has registered a version and not decided on it."""
    return PROMOTION in version.tags and DECISION not in version.tags


def is_running(version: ModelVersion) -> bool:
    """Whether the run that promotes a version is under way."""
    try:
        return mlflow.get_run(version.tags[PROMOTION]).info.status == "RUNNING"
    except MlflowException:
        return False


def set_champion(version: ModelVersion, former: ModelVersion | None) -> None:
    """Make a version the champion, and remember the `former` one, if there is one, in its tags."""
    client = mlflow.MlflowClient()
    if former:
        client.set_model_version_tag(version.name, str(version.version), FORMER, str(former.version))
    client.set_registered_model_alias(version.name, CHAMPION, str(version.version))


def decide(version: ModelVersion, decision: str) -> None:
    """Write what was decided on a version into its tags."""
    mlflow.MlflowClient().set_model_version_tag(version.name, str(version.version), DECISION, decision[:TAG_LENGTH])
