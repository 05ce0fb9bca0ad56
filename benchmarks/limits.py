"""What stops a search from growing with its workers, and a store from growing with its runs.

    python benchmarks/limits.py store --runs 10 10000
    python benchmarks/limits.py search --workers 10 100

`store` prints how long it takes to find a run that can be reused, and to record a trial, with so many runs in a store:
on SQLite, and on an `mlflow server` over HTTP with PostgreSQL. `search` measures what is done one after the other
(asking for parameters, handing a task to the cluster, recording a trial), says from that how many trials a second so
many workers can make, and has them make some that only sleep, which any computer can do a hundred of at once.
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

from workflow import PROJECT, median

sys.path[:0] = [str(PROJECT / "steps"), str(PROJECT / "tests")]

import environment  # noqa: E402

import servers  # noqa: E402
import workers as on_workers  # noqa: E402
from dask_cluster import cluster  # noqa: E402

from workflow.evaluation import search  # noqa: E402
from workflow.models import catalog  # noqa: E402
from workflow.runs import execution, trials  # noqa: E402

MODEL, FOLDS, ROUNDS = "boosting", 5, 9
PARAMETERS = dict.fromkeys(catalog.get_model(MODEL).space, 0.123)
SCORES = [{"mean_absolute_error": 1.0, "r2_score": 0.5, "root_mean_squared_error": 2.0}] * FOLDS


@contextmanager
def stores(folder: Path) -> Iterator[dict[str, tuple[str, str]]]:
    """Where commands reach a store, and where this script fills it, by its name."""
    (folder / "server").mkdir()
    local = f"sqlite:///{folder}/mlflow.db"
    with servers.postgres(folder) as (database, _), servers.tracking_server(database, folder / "server") as address:
        yield {"SQLite": (local, local), "server with PostgreSQL": (address, database)}


def milliseconds(work: Callable[[], object]) -> float:
    """The median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return median(times)


def record() -> None:
    """Record a trial as `tune` does."""
    trials.record("mark", f"trial {MODEL}", PARAMETERS, SCORES, SCORES[0], time.time())


def fill(uri: str, count: int) -> None:
    """Put so many runs into a store, each with what a run of a step has."""
    client = mlflow.MlflowClient(uri)
    tags = {"workflow.step": "train", "workflow.parameters": "x" * 500, "mlflow.runName": "train rf"}
    for number in range(count):
        run = client.create_run("0", tags=tags | {"workflow.fingerprint": f"other{number}"})
        client.log_batch(run.info.run_id, [], [mlflow.entities.Param(name, "1") for name in PARAMETERS])
        client.set_terminated(run.info.run_id)


def show_stores(sizes: list[int]) -> None:
    """Print a line per store and size."""
    with tempfile.TemporaryDirectory() as name, stores(Path(name)) as places:
        for label, (address, database) in places.items():
            filled = 0
            for size in sizes:
                fill(database, size - filled)
                filled = size
                mlflow.set_tracking_uri(address)
                with mlflow.start_run(experiment_id="0"):
                    mlflow.set_tag("workflow.fingerprint", "mark")
                with mlflow.start_run(experiment_id="0"):
                    found = milliseconds(lambda: execution.find_run("mark"))
                    missed = milliseconds(lambda: execution.find_run("none"))
                    recorded = milliseconds(record)
                print(
                    f"{label:<24} {size:>7,} runs: found in {found:.0f} ms, not found in {missed:.0f} ms,"
                    f" a trial recorded in {recorded:.0f} ms",
                    flush=True,
                )


def show_search(counts: list[int], seconds: float) -> None:
    """Print what the parts take; and for each number of workers the trials a second, predicted and made."""
    space = search.distributions(MODEL, catalog.get_model(MODEL).space)
    with tempfile.TemporaryDirectory() as name, stores(Path(name)) as places:
        mlflow.set_tracking_uri(places["server with PostgreSQL"][0])
        with mlflow.start_run(experiment_id="0"):
            recording = milliseconds(record) / 1000
            asking = seconds_to_ask(space)
            print(f"to record a trial: {1000 * recording:.0f} ms; to ask for one: {1000 * asking:.0f} ms")
            for count in counts:
                with cluster(Path(name) / f"cluster{count}", 0) as there:
                    there.worker(threads=count)
                    there.wait()
                    with on_workers.connected(there.address) as client:
                        handing = seconds_to_hand(client)
                        predicted = min(count / seconds, 1 / (asking + handing + recording))
                        made = trials_a_second(client, space, count, seconds)
                print(
                    f"{count} workers, trials of {seconds:g} s: {1000 * handing:.1f} ms to hand one over;"
                    f" {predicted:.1f} trials a second predicted, {made:.1f} made",
                    flush=True,
                )


def seconds_to_ask(space: dict) -> float:
    """For parameters, when the sampler knows of a hundred trials."""
    times = []

    def test(asked):
        for _ in asked:
            times.append(time.perf_counter())
            yield [1.0] * FOLDS

    for _ in search.search(space, {}, 150, 0, 0, FOLDS, test):
        pass
    return (times[-1] - times[100]) / (len(times) - 101)


def seconds_to_hand(client) -> float:
    """A task to a worker, and its outcome back."""
    started = time.perf_counter()
    list(on_workers.each(client, lambda item: item, range(200)))
    return (time.perf_counter() - started) / 200


def trials_a_second(client, space: dict, count: int, seconds: float) -> float:
    """Of trials that only sleep, twice as many of them on their way as there are workers."""

    def sleep(asked: search.Asked) -> list[float]:
        time.sleep(seconds)
        return [1.0] * FOLDS

    def test(asked):
        for errors in on_workers.each(client, sleep, asked, ahead=2 * count):
            record()
            yield errors

    total = count * math.ceil(120 / count)
    started = time.perf_counter()
    for _ in search.search(space, {}, total, 0, 0, FOLDS, test):
        pass
    return total / (time.perf_counter() - started)


if __name__ == "__main__":
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("store", "search"))
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 10_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--seconds", type=float, default=1.0, help="of a trial (default: 1)")
    given = parser.parse_args()
    show_stores(given.runs) if given.what == "store" else show_search(given.workers, given.seconds)
