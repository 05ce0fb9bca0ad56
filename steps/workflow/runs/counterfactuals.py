"""Results that nobody has recorded: those of a receipt, but with the data, the code or a parameter of another one."""

import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from workflow.parameters import RECORDED, SAME
from workflow.provenance import causes, fingerprint, git
from workflow.provenance.causes import CODE
from workflow.provenance.git import Checkout
from workflow.provenance.receipt import Environment, Receipt
from workflow.runs import reproduction
from workflow.runs.differences import Recorded
from workflow.runs.names import Tags
from workflow.runs.tracking import active_run


@dataclass(frozen=True)
class Workspace:
    """The checkouts and inputs of two recorded results, to run the code of one with the inputs of the other.

    Attributes:
        one: a result.
        other: another one of the same entry point.
        checkouts: the code of each, by the name that the user gave.
        inputs: files with the recorded bytes of each, by its name and the parameter.
        folder: a temporary folder. Runs with the same packages share a tracking store in it, and so what they have in
            common; another version of MLflow might not read it.
        more: arguments that decide nothing.
    """

    one: Recorded
    other: Recorded
    checkouts: dict[str, Checkout]
    inputs: dict[str, dict[str, Path]]
    folder: Path
    more: list[str] = field(default_factory=list)

    def run(self, mixed: Receipt, changed: frozenset[str]) -> tuple[Receipt, mlflow.MlflowClient]:
        """Run what `causes.mix` has made of the `changed` causes; return its receipt, and the store with its runs.

        Raises UserError if it fails.
        """
        code = self.checkouts[(self.other if CODE in changed else self.one).name]
        inputs = {name: self.path_of(mixed, name) for name in mixed.inputs}
        env = SAME if is_installed(mixed.environment) else RECORDED
        packages = fingerprint.digest([mixed.environment.python, mixed.environment.packages])
        store = f"sqlite:///{self.folder}/{packages[:12]}.db"
        with reproduction.run_again(mixed, code, inputs, env, store, self.more) as process:
            made = reproduction.wait_for_receipt(process, mixed, store)
        return made, mlflow.MlflowClient(tracking_uri=store)

    def path_of(self, mixed: Receipt, name: str) -> Path:
        """Return the file with the bytes of an input of either result."""
        side = self.one if self.one.receipt.inputs.get(name) == mixed.inputs[name] else self.other
        return self.inputs[side.name][name]


@contextmanager
def workspace(one: Recorded, other: Recorded, project: Path, trust: str, more: list[str]) -> Iterator[Workspace]:
    """Check out the code of two results, and restore their inputs; UserError if something is not found."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # MLflow keeps its stores open
        folder = Path(name)
        checkouts, inputs = {}, {}
        for place, each in enumerate((one, other)):
            code = folder / f"code{place}"
            code.mkdir()
            (folder / f"inputs{place}").mkdir()
            script = each.receipt.script
            checkouts[each.name] = git.checkout(each.receipt.code, each.patch, project, code, script, trust)
            roots = checkouts[each.name].project, project
            inputs[each.name], _ = reproduction.restore_inputs(each.receipt, roots, folder / f"inputs{place}")
        yield Workspace(one, other, checkouts, inputs, folder, more)


def is_installed(recorded: Environment) -> bool:
    """Return whether this environment has the recorded versions."""
    return recorded.python == platform.python_version() and (
        fingerprint.versions(recorded.packages) == recorded.packages
    )


def digest_of(mixed: Receipt) -> str:
    """Return the digest of all that decides the outcome of a receipt."""
    names = causes.names_of(mixed, mixed)
    values = {name: causes.value(mixed, name) for name in names}
    return fingerprint.digest(
        {"step": mixed.step, "values": values, "code": mixed.code.files}
        | {"packages": mixed.environment.packages, "python": mixed.environment.python}
    )


def find_run(mixed: Receipt) -> Run | None:
    """Return the run in this experiment that has made the outcome of a mixed receipt before, if there is one."""
    found = mlflow.search_runs(
        [active_run().info.experiment_id],
        f"tags.`{Tags.COUNTERFACTUAL}` = '{digest_of(mixed)}' and attributes.status = 'FINISHED'",
        max_results=1,
        output_format="list",
    )
    return found[0] if found else None


def seconds_of(recorded: Receipt) -> float | None:
    """Return how long the runs of a receipt took; None if one of them is not in this tracking store."""
    seconds = 0.0
    for run_id in recorded.provenance.runs.values():
        try:
            about = mlflow.get_run(run_id).info
        except MlflowException:
            return None
        seconds += (about.end_time - about.start_time) / 1000
    return seconds
