"""Run scripts in processes that are forked from one with all slow imports, which saves seconds per script.

Programs that start Python themselves, such as `mlflow run` and `reproduce`, start `python_forked` instead while
`ADDRESS` is in the environment.
"""

import atexit
import multiprocessing
import os
import runpy
import shutil
import sqlite3
import sys
import tempfile
import threading
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection, Listener, wait
from pathlib import Path

from mlflow import MlflowClient

SERVER = multiprocessing.get_context("forkserver")
ADDRESS = "TESTS_FORK_PYTHON_AT"  # environment variable that holds the address of `listen`
PYTHON = Path(__file__).with_name("python_forked")
SQLITE = "sqlite:///"


@cache
def empty_store() -> Path:
    """Return an empty tracking store, made once: MLflow spends seconds on its migrations."""
    path = Path(tempfile.mkdtemp()) / "mlflow.db"
    MlflowClient(f"{SQLITE}{path}").search_experiments()
    return path


def make_store(path: Path, empty: Path, artifacts: Path) -> None:
    """Copy an empty tracking store to `path`, and set its artifact folder as MLflow would."""
    shutil.copy(empty, path)
    with sqlite3.connect(path) as store:
        store.execute("UPDATE experiments SET artifact_location = ?", (f"{artifacts}/0",))


@cache
def start_server() -> None:
    """Start the process that all others are forked from; it finds `preloaded` through PYTHONPATH only."""
    SERVER.set_forkserver_preload(["preloaded"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), before]))
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


@cache
def listen() -> str:
    """Start to listen for requests of `python_forked`; return the address."""
    listener = Listener(str(Path(tempfile.mkdtemp()) / "socket"), "AF_UNIX")

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listener.accept(),), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.address


def serve(client: Connection) -> None:
    """Run the script that a client requests, in its environment and folder; send back the exit code."""
    with client:
        script, arguments, environment, folder, output = client.recv()
        process = start(Path(script), arguments, environment, Path(folder), Path(output))
        if process.sentinel not in wait([process.sentinel, client]):
            process.terminate()  # the client has ended, so it was terminated itself
        process.join()
        client.send(process.exitcode)


@cache
def folder_of_python() -> Path:
    """Return a folder where `python` is `python_forked`, to put first on the PATH of `mlflow run`."""
    folder = Path(tempfile.mkdtemp())
    (folder / "python").symlink_to(PYTHON)
    return folder


def run(script: Path, arguments: list[str], environment: dict[str, str], folder: Path, output: Path) -> int:
    """Run `script` in `folder`, write its output to a file, and return its exit code."""
    process = start(script, arguments, environment, folder, output)
    process.join()
    return process.exitcode


def start(script: Path, arguments: list[str], environment: dict[str, str], folder: Path, output: Path):
    """Start a forked process that runs `script`, on one core unless the environment says otherwise.

    On several, `main` starts a server of its own to fork models from, which imports everything again.
    """
    start_server()
    environment = {"LOKY_MAX_CPU_COUNT": "1"} | environment
    process = SERVER.Process(target=work, args=(script, arguments, environment, folder, output, empty_store()))
    process.start()
    return process


def work(
    script: Path, arguments: list[str], environment: dict[str, str], folder: Path, output: Path, empty: Path
) -> None:
    """Run a script as the main program of the forked process."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [str(script), *arguments]
    script = Path(folder, script)
    sys.path[:0] = [str(script.parent), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    if ADDRESS in environment:
        sys.executable = str(PYTHON)
    store = Path(environment.get("MLFLOW_TRACKING_URI", "").removeprefix(SQLITE))
    if store.parent.is_dir() and store.suffix == ".db" and not store.exists():
        make_store(store, empty, folder / "mlruns")
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
