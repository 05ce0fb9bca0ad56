"""A local Dask cluster: the scheduler and each worker are separate processes in separate folders."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess as Process
from pathlib import Path

import forked
from distributed import Client
from ports import free_port, wait_for

DASK = Path(sys.executable).with_name("dask")


class Cluster:
    """A scheduler and its workers."""

    def __init__(self, folder: Path):
        self.folder, self.workers = folder, []
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self.start("scheduler", "--port", str(port), "--no-dashboard")
        wait_for(port)

    def start(self, *words: str, **variables: str) -> Process:
        """Start a `dask` command in an empty folder, without variables of MLflow and Python."""
        folder = self.folder / str(time.monotonic_ns())
        folder.mkdir(parents=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PYTHON"))}
        return forked.start(DASK, list(words), environment | variables, folder, folder / "log")

    def worker(self, threads: int = 1, **variables: str) -> Process:
        """Start another worker."""
        words = ["--nthreads", str(threads), "--no-dashboard", "--no-nanny", "--death-timeout", "60"]
        self.workers.append(self.start("worker", self.address, *words, **variables))
        return self.workers[-1]

    def wait(self) -> None:
        """Wait until all workers are connected."""
        if self.workers:
            with Client(self.address) as client:
                client.wait_for_workers(len(self.workers), timeout=60)

    def stop(self) -> None:
        """Kill all processes."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.join()


@contextmanager
def dask_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Start a cluster with a number of workers of one thread each; yield it."""
    made = Cluster(folder)
    try:
        for _ in range(workers):
            made.worker()
        made.wait()
        yield made
    finally:
        made.stop()
