"""What is left when something dies: trials of main, promote and predict that are killed at random, and done again.

    python benchmarks/chaos.py
    python benchmarks/chaos.py --trials 12 --seed 3

A trial survives if the same command, given again, ends well with the same receipt, champion or output, and if then no
run is RUNNING and nothing half-written lies about. Kinds: a signal to the step, to `mlflow run` or to both, at a random
moment; several mains at once on one SQLite store; a tracking server that is killed for 20 seconds. Prints survived and
tried per kind.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from workflow import PROJECT

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TARGETS = ("step", "mlflow run", "both")
QUICK = ["-P", "models=linear,dummy", "-P", "shap_samples=3", "-P", "cv=2"]


class World:
    """A folder with a tracking store, and the commands that are tried in it."""

    def __init__(self, folder: Path, like: "World | None" = None, uri: str = "") -> None:
        """An empty store in `folder`, or a copy of another world; or a store that is elsewhere."""
        self.folder, self.output = folder, folder / "prices.csv"
        folder.mkdir()
        if like:
            shutil.copy(like.folder / "mlflow.db", folder)
        self.uri = uri or f"sqlite:///{folder}/mlflow.db"
        self.client = MlflowClient(self.uri)

    def start(self, entry_point: str, *words: str) -> subprocess.Popen:
        """`mlflow run` of an entry point, as the leader of its own group."""
        run = [sys.executable, "-m", "mlflow", "run", str(PROJECT), "--env-manager", "local", "-e", entry_point]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"MLFLOW_TRACKING_URI": self.uri, "PATH": path}
        log = open(self.folder / "log", "a")  # noqa: SIM115 - the process has it
        return subprocess.Popen(
            [*run, *words], env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
        )

    def last_main(self) -> str:
        """The id of the newest main run that has finished."""
        query = "tags.`workflow.step` = 'main' and attributes.status = 'FINISHED'"
        return self.client.search_runs(["0"], query)[0].info.run_id

    def seal(self) -> str:
        """The digest of what that run's receipt says."""
        place = self.client.download_artifacts(self.last_main(), "receipt.json", str(self.folder))
        return json.loads(Path(place).read_text())["sha256"]

    def champion(self, name: str) -> str:
        """The run that has trained the champion of a registered model."""
        return self.client.get_model_version_by_alias(name, "champion").run_id or ""

    def faults(self) -> list[str]:
        """What should not be there."""
        running = self.client.search_runs(["0"], "attributes.status = 'RUNNING'")
        return [f"RUNNING: {run.info.run_name}" for run in running] + [
            f"left over: {path.name}" for path in self.folder.glob(".*")
        ]


def command(name: str, world: World, reference: World, data: Path) -> tuple[list[str], Callable[[], bool]]:
    """The words of a command in `world`, and whether it has done there what it did in the reference."""
    best = reference.last_main()
    if name == "main":
        return [*QUICK, "-P", f"data={data}"], lambda: world.seal() == reference.seal()
    if name == "promote":
        words = ["-P", f"run={best}", "-P", "name=again"]
        return words, lambda: world.champion("again") == reference.champion("wines")
    words = ["-P", f"model={best}", "-P", f"data={data}", "-P", f"output={world.output}", "-P", "overwrite=true"]
    return words, lambda: world.output.read_bytes() == reference.output.read_bytes()


def strike(process: subprocess.Popen, kind: signal.Signals, target: str) -> None:
    """Send a signal to the step that `mlflow run` has started, to `mlflow run`, or to both; wait until all is over."""
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    victims = {"step": children, "mlflow run": [process.pid], "both": [*children, process.pid]}[target]
    for victim in map(int, victims):
        with contextlib.suppress(ProcessLookupError):  # it was done already
            os.kill(victim, kind)
    process.wait()
    while subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True).returncode == 0:
        time.sleep(0.2)


def signal_trial(folder: Path, reference: World, data: Path, chance: random.Random) -> tuple[str, list[str]]:
    """One command, struck at a random moment and given again: its kind, and what went wrong."""
    name = chance.choice(["main", "promote", "predict"])
    kind, target = chance.choice(SIGNALS), chance.choice(TARGETS)
    world = World(folder, like=None if name == "main" else reference)
    words, came_out = command(name, world, reference, data)
    process = world.start(name, *words)
    time.sleep(chance.uniform(0, {"main": 16, "promote": 8, "predict": 8}[name]))
    strike(process, kind, target)
    code = world.start(name, *words).wait()
    faults = [f"exit code {code}"] if code else world.faults()
    if not code and not came_out():
        faults.append("another result")
    return f"{name}, {kind.name} to {target}", faults


def crowd_trial(folder: Path, reference: World, data: Path, count: int) -> list[str]:
    """So many mains at once on one SQLite store, which exists already."""
    world = World(folder, like=reference)
    words = ["-P", "seed=1", *command("main", world, reference, data)[0]]
    codes = [process.wait() for process in [world.start("main", *words) for _ in range(count)]]
    return [f"exit code {code}" for code in codes if code] + world.faults()


def outage_trial(folder: Path, reference: World, data: Path, chance: random.Random) -> list[str]:
    """A main on a tracking server that is killed for 20 seconds at a random moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = World(folder, uri=f"http://127.0.0.1:{port}")

    def serve() -> subprocess.Popen:
        words = [
            "--backend-store-uri",
            f"sqlite:///{folder}/server.db",
            "--artifacts-destination",
            str(folder / "files"),
        ]
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while True:
            try:
                urllib.request.urlopen(f"{world.uri}/health").close()
                return server
            except urllib.error.URLError:
                time.sleep(0.5)

    server = serve()
    words, came_out = command("main", world, reference, data)
    process = world.start("main", *words)
    time.sleep(chance.uniform(2, 12))
    os.killpg(server.pid, signal.SIGKILL)
    time.sleep(20)
    server = serve()
    code = process.wait()
    faults = [f"exit code {code}"] if code else world.faults()
    if not code and not came_out():
        faults.append("another result")
    os.killpg(server.pid, signal.SIGKILL)
    return faults


def main(trials: int, seed: int) -> None:
    """Run all trials and print a table."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    chance, tried = random.Random(seed), defaultdict(list)

    def told(kind: str, faults: list[str]) -> None:
        tried[kind].append(not faults)
        print(f"{kind:<34} {'; '.join(faults) or 'survived'}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data.csv"
        pd.read_csv(PROJECT / "data/wines.csv", dtype=str, keep_default_na=False).head(900).to_csv(data, index=False)
        shutil.copy(PROJECT / "data/wines.yaml", folder / "data.yaml")
        reference = World(folder / "reference")
        words = [*QUICK, "-P", f"data={data}", "-P", "register=wines"]
        assert reference.start("main", *words).wait() == 0, (reference.folder / "log").read_text()
        assert reference.start("predict", *command("predict", reference, reference, data)[0]).wait() == 0
        for number in range(trials):
            told(*signal_trial(folder / f"trial{number}", reference, data, chance))
        told("4 mains at once on SQLite", crowd_trial(folder / "crowd", reference, data, 4))
        for number in range(2):
            told("server killed for 20 s", outage_trial(folder / f"outage{number}", reference, data, chance))
    print()
    for kind, survived in sorted(tried.items()):
        print(f"{kind:<34} {sum(survived)} of {len(survived)} survived")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=45, help="with signals (default: 45)")
    parser.add_argument("--seed", type=int, default=0, help="of what is tried when (default: 0)")
    main(**vars(parser.parse_args()))
