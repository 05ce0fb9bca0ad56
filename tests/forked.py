"""Scripts as processes of their own, without the seconds of their imports: forked from a process that has them.

What starts Python itself, as `reproduce` and `mlflow run` do, gets `python_forked` for it, if the environment has
`ADDRESS`.
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
ADDRESS = "TESTS_FORK_PYTHON_AT"  # the variable of the environment with the address of `listen`
PYTHON = Path(__file__).with_name("python_forked")
SQLITE = "sqlite:///"


@cache
def empty_store() -> Path:
    """A tracking store in which is nothing yet; to make one takes MLflow seconds of migrations."""
    path = Path(tempfile.mkdtemp()) / "mlflow.db"
    MlflowClient(f"{SQLITE}{path}").search_experiments()
    return path


def make_store(path: Path, empty: Path, artifacts: Path) -> None:
    """A tracking store at `path` as MLflow would make it, with its artifacts in a folder."""
    shutil.copy(empty, path)
    with sqlite3.connect(path) as store:
        store.execute("UPDATE experiments SET artifact_location = ?", (f"{artifacts}/0",))


@cache
def start_server() -> None:
    """Start the process that all are forked from. Only the environment tells it where the module is that it imports."""
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
    """The address at which this process waits for what `python_forked` asks for."""
    listener = Listener(str(Path(tempfile.mkdtemp()) / "socket"), "AF_UNIX")

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listener.accept(),), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.address


def serve(client: Connection) -> None:
    """Run the script that a client names, with its environment, folder and output; tell it the exit code."""
    with client:
        script, arguments, environment, folder, output = client.recv()
        process = start(Path(script), arguments, environment, Path(folder), Path(output))
        if process.sentinel not in wait([process.sentinel, client]):
            process.terminate()  # as the client was
        process.join()
        client.send(process.exitcode)


@cache
def folder_of_python() -> Path:
    """A folder in which `python` is `python_forked`: first on the PATH, `mlflow run` finds that."""
    folder = Path(tempfile.mkdtemp())
    (folder / "python").symlink_to(PYTHON)
    return folder


def run(script: Path, arguments: list[str], environment: dict[str, str], folder: Path, output: Path) -> int:
    """Run `script` in `folder` and write what it prints to `output`; its exit code."""
    process = start(script, arguments, environment, folder, output)
    process.join()
    return process.exitcode


def start(script: Path, arguments: list[str], environment: dict[str, str], folder: Path, output: Path):
    """A forked process that runs `script`."""
    start_server()
    process = SERVER.Process(target=work, args=(script, arguments, environment, folder, output, empty_store()))
    process.start()
    return process


def work(
    script: Path, arguments: list[str], environment: dict[str, str], folder: Path, output: Path, empty: Path
) -> None:
    """What the forked process does."""
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
