"""Rollback as an MLflow run: the former champion of a registered model is the champion again."""

import mlflow

from workflow.errors import UserError
from workflow.parameters import RollbackParams
from workflow.runs import cli, integrity, registry, tracking
from workflow.runs.names import Tags


def run(params: RollbackParams) -> None:
    """Move the alias. Raises UserError if there is no champion, or none before it."""
    cli.require("<registered model>", name=params.name)
    name = params.name
    tracking.describe_command("rollback", f"rollback {name}", params.model_dump(mode="json"))
    replaced = registry.version_of(f"{registry.SCHEME}{name}@{registry.CHAMPION}")
    if Tags.FORMER_CHAMPION not in replaced.tags:
        raise UserError(f"name={name}: version {replaced.version} is the first champion; nothing to roll back to")
    uri = f"{registry.SCHEME}{name}/{replaced.tags[Tags.FORMER_CHAMPION]}"
    former = registry.version_of(uri)
    integrity.verify_files(registry.resolve_train_run("name", uri).run)
    decision = f"version {former.version} of {name} is the champion again, after version {replaced.version}"
    registry.set_champion(former, None)
    registry.tag_decision(former, decision)
    registry.tag_decision(replaced, f"was the champion, and was rolled back to version {former.version}")
    mlflow.set_tag(Tags.DECISION, decision)
    tracking.write_note(decision)
    print(decision)
