"""Measure what limits a search with many workers, and a tracking store with many runs.

    python benchmarks/limits.py store --runs 10 10000
    python benchmarks/limits.py search --workers 10 100

`store` prints how long it takes to find a run to reuse, and to record a trial, by the number of runs in the store: on
SQLite, and on an `mlflow server` over HTTP with PostgreSQL. `search` measures the serial parts (sampling parameters,
submitting a task to the cluster, recording a trial), predicts from them how many trials per second a number of workers
can finish, and compares that with trials that only sleep, a hundred of which any computer can run at once.
"""

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from end_to_end import PROJECT, median

sys.path[:0] = [str(PROJECT / "steps"), str(PROJECT / "tests")]

import environment  # noqa: E402

import servers  # noqa: E402
from dask_cluster import dask_cluster  # noqa: E402

from workflow.evaluation import search  # noqa: E402
from workflow.models import catalog  # noqa: E402
from workflow.parallel import cluster  # noqa: E402
from workflow.runs import execution, trials  # noqa: E402

MODEL, FOLDS, ROUNDS = "boosting", 5, 9
PARAMETERS = dict.fromkeys(catalog.get_model(MODEL).search_space, 0.123)
SCORES = [{"mean_absolute_error": 1.0, "r2_score": 0.5, "root_mean_squared_error": 2.0}] * FOLDS


@contextmanager
def stores(folder: Path) -> Iterator[dict[str, tuple[str, str]]]:
    """Start the stores; yield by name the address that commands use, and the database, which is faster to fill."""
    (folder / "server").mkdir()
    local = f"sqlite:///{folder}/mlflow.db"
    with servers.postgres(folder) as (database, _), servers.tracking_server(database, folder / "server") as address:
        yield {"SQLite": (local, local), "server with PostgreSQL": (address, database)}


def milliseconds(work: Callable[[], object]) -> float:
    """Return the median milliseconds of some calls."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return median(times)


def record() -> None:
    """Record a trial as `tune` does."""
    trials.record("mark", trials.Trial(f"trial {MODEL}", PARAMETERS, SCORES, SCORES[0], time.time()))


def fill(uri: str, count: int) -> None:
    """Create `count` runs in a store, with the tags and parameters of a stage's run."""
    client = mlflow.MlflowClient(uri)
    tags = {"workflow.step": "train", "workflow.parameters": "x" * 500, "mlflow.runName": "train rf"}
    for number in range(count):
        run = client.create_run("0", tags=tags | {"workflow.fingerprint": f"other{number}"})
        client.log_batch(run.info.run_id, [], [mlflow.entities.Param(name, "1") for name in PARAMETERS])
        client.set_terminated(run.info.run_id)


def show_stores(sizes: list[int]) -> None:
    """Print a line per store and size."""
    with tempfile.TemporaryDirectory() as name, stores(Path(name)) as addresses:
        for label, (address, database) in addresses.items():
            filled = 0
            for size in sizes:
                fill(database, size - filled)
                filled = size
                mlflow.set_tracking_uri(address)
                with mlflow.start_run(experiment_id="0"):
                    mlflow.set_tag("workflow.fingerprint", "mark")
                with mlflow.start_run(experiment_id="0"):
                    hit = milliseconds(lambda: execution.find_run("mark"))
                    miss = milliseconds(lambda: execution.find_run("none"))
                    recorded = milliseconds(record)
                print(
                    f"{label:<24} {size:>7,} runs: cache hit {hit:.0f} ms, miss {miss:.0f} ms,"
                    f" recording a trial {recorded:.0f} ms",
                    flush=True,
                )


def show_search(counts: list[int], seconds: float) -> None:
    """Print the time of each part; and for each number of workers the trials per second, predicted and measured."""
    space = search.distributions(MODEL, catalog.get_model(MODEL).search_space)
    with tempfile.TemporaryDirectory() as name, stores(Path(name)) as addresses:
        mlflow.set_tracking_uri(addresses["server with PostgreSQL"][0])
        with mlflow.start_run(experiment_id="0"):
            recording = milliseconds(record) / 1000
            sampling = sampling_seconds(space)
            print(f"recording a trial: {1000 * recording:.0f} ms; sampling parameters: {1000 * sampling:.0f} ms")
            for count in counts:
                with dask_cluster(Path(name) / f"cluster{count}", 0) as workers:
                    workers.worker(threads=count)
                    workers.wait()
                    with cluster.connected(workers.address) as client:
                        submitting = submission_seconds(client)
                        predicted = min(count / seconds, 1 / (sampling + submitting + recording))
                        measured = trials_per_second(client, space, count, seconds)
                print(
                    f"{count} workers, trials of {seconds:g} s: {1000 * submitting:.1f} ms to submit one;"
                    f" {predicted:.1f} trials per second predicted, {measured:.1f} measured",
                    flush=True,
                )


def sampling_seconds(space: dict) -> float:
    """Return the seconds that sampling parameters takes after a hundred trials."""
    times = []

    def run_trials(requests):
        for _ in requests:
            times.append(time.perf_counter())
            yield [1.0] * FOLDS

    for _ in search.search(space, {}, 150, 0, 0, FOLDS, run_trials):
        pass
    return (times[-1] - times[100]) / (len(times) - 101)


def submission_seconds(client) -> float:
    """Return the seconds that it takes to submit a task and receive its result."""
    started = time.perf_counter()
    list(cluster.map_on_cluster(client, lambda item: item, range(200)))
    return (time.perf_counter() - started) / 200


def trials_per_second(client, space: dict, count: int, seconds: float) -> float:
    """Return how many trials that only sleep end per second, with two per worker in flight."""

    def sleep(request: search.TrialRequest) -> list[float]:
        time.sleep(seconds)
        return [1.0] * FOLDS

    def run_trials(requests):
        for errors in cluster.map_on_cluster(client, sleep, requests, 2 * count):
            record()
            yield errors

    total = count * math.ceil(120 / count)
    started = time.perf_counter()
    for _ in search.search(space, {}, total, 0, 0, FOLDS, run_trials):
        pass
    return total / (time.perf_counter() - started)


if __name__ == "__main__":
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("store", "search"))
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 10_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--seconds", type=float, default=1.0, help="per trial (default: 1)")
    options = parser.parse_args()
    show_stores(options.runs) if options.what == "store" else show_search(options.workers, options.seconds)
