"""Run entry points from a notebook or a program: the parameters, runs and receipts of `mlflow run`, without it.

    import sys; sys.path.append("<project>/steps")
    from workflow.notebook import evaluate
    result = evaluate(model="linear")
    result.run.data.metrics["mean_absolute_error"]
    result  # shows its report

Each call starts a process of its own, because arithmetic must be fixed before numpy is imported; so the receipt is that
of the same command anywhere. Runs go where those of the notebook go: to the store and the experiment that
`mlflow.set_tracking_uri` and `mlflow.set_experiment` choose.
"""

import getpass
import html
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run

from workflow.entry_points import PROJECT, declared_defaults, docstring_of, scripts
from workflow.runs.tracking import note_of
from workflow.spelling import nearest

FORCING_COLOUR = {"FORCE_COLOR", "CLICOLOR_FORCE"}  # set by Jupyter: a progress bar would write a line for each step
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@dataclass(frozen=True)
class Result:
    """The run of an entry point, which a notebook shows as its page; if it has none, as its description or metrics."""

    run: Run

    def __repr__(self) -> str:
        """Return the name and the id of the run."""
        return f"{self.run.info.run_name}: run {self.run.info.run_id}"

    def artifact(self, path: str) -> Path:
        """Return the local path of an artifact of the run, which is downloaded from a server."""
        return Path(mlflow.artifacts.download_artifacts(run_id=self.run.info.run_id, artifact_path=path))

    def _repr_html_(self) -> str | None:
        names = [file.path for file in MlflowClient().list_artifacts(self.run.info.run_id)]
        page = next((name for name in names if name.endswith(".html")), None)
        if page is None:
            return None
        text = html.escape(self.artifact(page).read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{text}" style="width: 100%; height: 45em; border: 0"></iframe>'

    def _repr_markdown_(self) -> str:
        lines = [f"| {name} | {value:.6g} |" for name, value in sorted(self.run.data.metrics.items())]
        return note_of(self.run) or "\n".join([f"| {self} | |", "|---|---|", *lines])


class EntryPointError(Exception):
    """An entry point that failed, or whose result differs: its last line, which IPython shows without a traceback.

    Attributes:
        result: the run, which a notebook shows as any other.
    """

    def __init__(self, message: str, result: Result):
        """Take what is said, and the run."""
        super().__init__(message)
        self.result = result

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class EntryPoint:
    """An entry point of `MLproject`, to be called with its parameters by name."""

    def __init__(self, name: str):
        """Take the docstring of its script, and its parameters for completion."""
        self.name = self.__name__ = name
        self.__doc__ = docstring_of(scripts()[name])
        defaults = declared_defaults(name).items()
        self.__signature__ = Signature(
            [Parameter(parameter, Parameter.KEYWORD_ONLY, default=value) for parameter, value in defaults]
        )

    def __call__(self, **parameters: Any) -> Result:
        """Run the entry point, print what it prints, and return its run.

        Args:
            parameters: as texts, or what these texts mean: numbers, truth values, lists, dicts, and paths, which are
                relative to the folder of the notebook.

        Raises EntryPointError for a command that fails.
        """
        run_id, last = create_run(), ""
        inherited = {name: value for name, value in os.environ.items() if name not in FORCING_COLOUR}
        words = [word for name, value in parameters.items() for word in (f"--{name}", as_text(value))]
        process = subprocess.Popen(
            [sys.executable, scripts()[self.name], *words],
            cwd=PROJECT,
            env=inherited | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "MLFLOW_RUN_ID": run_id},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,  # an interrupt reaches it once, from here
        )
        assert process.stdout is not None
        try:
            for last in process.stdout:
                print(last, end="")
        except BaseException:
            process.terminate()
            process.wait()
            raise
        failed, result = process.wait() != 0, Result(mlflow.get_run(run_id))
        if failed:
            raise EntryPointError(f"{self.name}: {last.strip()}", result)
        return result


def as_text(value: Any) -> str:
    """Return the value of a parameter as one would type it; a mapping as JSON, which YAML understands."""
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, list | tuple):
        return ",".join(map(as_text, value))
    return value if isinstance(value, str) else json.dumps(value)


def create_run() -> str:
    """Open a run in the experiment of the notebook, with which the process of the entry point goes on."""
    experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID", "0")  # set by `mlflow.set_experiment`
    if name := os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        experiment_id = mlflow.set_experiment(name).experiment_id
    tags = {"mlflow.user": getpass.getuser(), "mlflow.source.name": str(PROJECT), "mlflow.source.type": "NOTEBOOK"}
    return str(MlflowClient().create_run(experiment_id, tags=tags).info.run_id)


def __getattr__(name: str) -> EntryPoint:
    """Return an entry point by its name."""
    if name not in scripts():
        raise AttributeError(f"no entry point {name}; {nearest(name, scripts())}")
    return EntryPoint(name)


def __dir__() -> list[str]:
    """Return the names of the entry points, for completion."""
    return list(scripts())
