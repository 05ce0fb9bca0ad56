"""Make the former champion of a registered model the champion again.

mlflow run . -e rollback -P name=wines
"""

from typing import Any

import environment

import mlflow

from workflow.errors import UserError
from workflow.parameters import Parameter, resolved
from workflow.runs import cli, registry, tracking

PARAMETERS = (Parameter("name", "", "the registered model"),)


def rollback(given: dict[str, Any]) -> None:
    """Move the alias. Raises UserError if there is no champion, or none before it."""
    parameters = resolved(PARAMETERS, given)
    name = parameters["name"]
    if not name:
        raise UserError("name: of which registered model? -P name=…")
    tracking.describe(f"rollback {name}", parameters)
    mlflow.set_tag("workflow.step", "rollback")
    fallen = registry.version_of(f"{registry.SCHEME}{name}@{registry.CHAMPION}")
    if registry.FORMER not in fallen.tags:
        raise UserError(f"name={name}: version {fallen.version} is the first champion; there is none before it")
    former = registry.version_of(f"{registry.SCHEME}{name}/{fallen.tags[registry.FORMER]}")
    story = f"version {former.version} of {name} is the champion again, after version {fallen.version}"
    registry.set_champion(former, None)
    registry.decide(former, story)
    registry.decide(fallen, f"was the champion, and was rolled back to version {former.version}")
    mlflow.set_tag(registry.DECISION, story)
    tracking.write_note(story)
    print(story)


if __name__ == "__main__":
    cli.command(__doc__, PARAMETERS, rollback)
