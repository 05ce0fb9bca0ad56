"""Local servers for tests: PostgreSQL and those of MLflow."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ports import free_port

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # as installed by Debian


def has_postgres() -> bool:
    """Return whether PostgreSQL is installed."""
    return bool(POSTGRES)


@contextmanager
def postgres(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Start a new database in `folder`; yield its address, and a function that restarts it as after a crash."""
    port = free_port()
    owner = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # initdb refuses root
    database = folder / "database"
    database.mkdir()
    if os.geteuid() == 0:
        shutil.chown(database, owner)
        for parent in (database, *database.parents[:-2]):
            parent.chmod(parent.stat().st_mode | 0o011)
    as_owner = {"user": owner} if os.geteuid() == 0 else {}

    def control(*words: str | Path, check: bool = True) -> None:
        subprocess.run([POSTGRES[-1] / words[0], "-D", database, *words[1:]], check=check, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, **as_owner)  # fmt: skip

    def wait_until_ready() -> None:
        for _ in range(300):
            if subprocess.run([POSTGRES[-1] / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0:
                return
            time.sleep(0.1)
        raise TimeoutError((database / "log").read_text())

    control("initdb", "-U", "mlflow", "-A", "trust")
    options = f"-p {port} -k {database} -c listen_addresses=127.0.0.1 -c fsync=off"
    waiting = ("-w", "-l", database / "log")
    control("pg_ctl", *waiting, "-o", options, "start", check=False)  # may fail though the server starts
    wait_until_ready()
    try:
        yield (
            f"postgresql://mlflow@127.0.0.1:{port}/postgres",
            lambda: control("pg_ctl", *waiting, "-o", options, "-m", "immediate", "restart"),
        )
    finally:
        control("pg_ctl", "-w", "-m", "immediate", "stop")


@contextmanager
def tracking_server(store: str, artifacts: Path | str, *words: str, port: int = 0, **variables: str) -> Iterator[str]:
    """Start an `mlflow server` that keeps runs in `store` and proxies artifacts; yield its address."""
    port = port or free_port()
    options = ["--workers", "1", "--backend-store-uri", store, "--artifacts-destination", str(artifacts), *words]
    # Job execution would start seven processes that no test uses.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | variables
    with answering(["server", "--port", str(port), *options], f"http://127.0.0.1:{port}", "health", environment) as it:
        yield it


@contextmanager
def model_server(model: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Start `mlflow models serve`; yield its address."""
    port = free_port()
    words = ["models", "serve", "-m", model, "-p", str(port), "--env-manager", "local"]
    with answering(words, f"http://127.0.0.1:{port}", "ping", environment) as address:
        yield address


@contextmanager
def answering(words: list[str], address: str, page: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Start a server with an `mlflow` command, wait until its `page` answers, and yield its address."""
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/{page}").close()
                break
            except urllib.error.URLError:
                assert server.poll() is None, "the server did not start"
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
