"""Scripts as processes of their own, without the seconds of their imports: forked from a process that has them."""

import atexit
import multiprocessing
import os
import runpy
import sys
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("duckdb", "jinja2", "joblib", "jsonschema", "matplotlib.pyplot", "mlflow.data.pandas_dataset"),
        *("mlflow.sklearn", "rich.progress", "scipy.stats", "shap", "skops.io", "sklearn.compose", "sklearn.ensemble"),
        *("sklearn.neighbors",),
    ]
)


def run(script: Path, arguments: list[str], environment: dict[str, str], folder: Path, output: Path) -> int:
    """Run `script` in `folder` and write what it prints to `output`; its exit code."""
    process = SERVER.Process(target=work, args=(script, arguments, environment, folder, output))
    process.start()
    process.join()
    return process.exitcode


def work(script: Path, arguments: list[str], environment: dict[str, str], folder: Path, output: Path) -> None:
    """What the forked process does."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [str(script), *arguments]
    sys.path[:0] = [str(script.parent), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
