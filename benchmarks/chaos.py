"""What is left when something dies: trials of main, promote and predict that are disturbed, and done again.

    python benchmarks/chaos.py
    python benchmarks/chaos.py --signals 12 --others 1 --seed 3

A trial survives if the same command, given again afterwards, ends well with the same receipt, champion or output, and
if then no run is RUNNING and nothing half-written lies about. Disturbed are: the step, `mlflow run` or both, by a
signal at a random moment; main, by its tracking server, which is killed for 20 seconds, by its PostgreSQL, which
crashes and is restarted, and by a full disk (a small tmpfs: needs root). Several mains at once, on SQLite and on
PostgreSQL, must all end well. Prints survived and tried per kind.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient

from workflow import PROJECT

sys.path.insert(0, str(PROJECT / "tests"))

import servers
from ports import free_port

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SECONDS = {"main": 16, "promote": 8, "predict": 8}  # that a command takes, about
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

    @cached_property
    def client(self) -> MlflowClient:
        """Made late, because whoever opens a new store first has its artifacts in his folder."""
        return MlflowClient(self.uri)

    def reason(self, code: int) -> str:
        """What the last command that failed has said."""
        lines = [line for line in (self.folder / "log").read_text().splitlines() if "rror" in line]
        return f"exit code {code}: {lines[-1][:200] if lines else 'nothing said'}"

    def start(self, entry_point: str, *words: str) -> subprocess.Popen:
        """`mlflow run` of an entry point, as the leader of its own group."""
        run = [sys.executable, "-m", "mlflow", "run", str(PROJECT), "--env-manager", "local", "-e", entry_point]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"MLFLOW_TRACKING_URI": self.uri, "PATH": path}
        with open(self.folder / "log", "a") as log:
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
        with suppress(ProcessLookupError):  # it was done already
            os.kill(victim, kind)
    process.wait()
    while subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True).returncode == 0:
        time.sleep(0.2)


def survive(
    name: str, world: World, reference: World, data: Path, disturb: Callable[[subprocess.Popen], None]
) -> list[str]:
    """What is wrong after a command that `disturb` has disturbed was given again."""
    words, came_out = command(name, world, reference, data)
    process = world.start(name, *words)
    disturb(process)
    process.wait()
    if code := world.start(name, *words).wait():
        return [world.reason(code)]
    return world.faults() + ([] if came_out() else ["another result"])


def signal_trial(folder: Path, reference: World, data: Path, chance: random.Random) -> tuple[str, list[str]]:
    """One command, struck at a random moment: its kind, and what went wrong."""
    name = chance.choice(list(SECONDS))
    kind, target = chance.choice(SIGNALS), chance.choice(TARGETS)
    world = World(folder, like=None if name == "main" else reference)

    def disturb(process: subprocess.Popen) -> None:
        time.sleep(chance.uniform(0, SECONDS[name]))
        strike(process, kind, target)

    return f"{name}, {kind.name} to {target}", survive(name, world, reference, data, disturb)


def crowd_trial(world: World, reference: World, data: Path, count: int) -> list[str]:
    """So many mains at once on one store."""
    words = ["-P", "seed=1", *command("main", world, reference, data)[0]]
    codes = [process.wait() for process in [world.start("main", *words) for _ in range(count)]]
    return [world.reason(code) for code in codes if code] + world.faults()


def server_trial(folder: Path, reference: World, data: Path, chance: random.Random) -> list[str]:
    """A main on a tracking server that is killed for 20 seconds at a random moment."""
    store, place = f"sqlite:///{folder}.db", ExitStack()

    def serve() -> str:
        return place.enter_context(servers.tracking_server(store, f"{folder}-files", port=port))

    port = free_port()
    world = World(folder, uri=serve())

    def disturb(process: subprocess.Popen) -> None:
        time.sleep(chance.uniform(2, SECONDS["main"]))
        place.close()
        time.sleep(20)
        serve()

    with place:
        return survive("main", world, reference, data, disturb)


def database_trials(folder: Path, reference: World, data: Path, chance: random.Random) -> dict[str, list[str]]:
    """A main whose PostgreSQL crashes and is restarted at a random moment; then eight mains at once."""
    folder.mkdir()
    with servers.postgres(folder) as (uri, restart):
        world = World(folder / "world", uri=uri)

        def disturb(process: subprocess.Popen) -> None:
            time.sleep(chance.uniform(2, SECONDS["main"]))
            restart()

        return {
            "PostgreSQL crashes and is restarted": survive("main", world, reference, data, disturb),
            "8 mains at once on PostgreSQL": crowd_trial(world, reference, data, 8),
        }


def disk_trial(folder: Path, reference: World, data: Path, megabytes: float) -> list[str]:
    """A main whose disk is full after so many megabytes, and then has room again."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    subprocess.run([*mount, f"size={int(megabytes * 1024)}k", "tmpfs", folder], check=True)
    try:
        more = [*mount, "remount,size=200m", "tmpfs", folder]
        return survive(
            "main",
            World(folder / "world"),
            reference,
            data,
            lambda process: (process.wait(), subprocess.run(more, check=True)),
        )
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # the client of the world still looks into it


def main(signals: int, others: int, seed: int) -> None:
    """Run all trials and print a table."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    chance, tried = random.Random(seed), defaultdict(list)

    def told(kind: str, faults: list[str]) -> None:
        tried[kind].append(not faults)
        print(f"{kind:<36} {'; '.join(faults) or 'survived'}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data.csv"
        pd.read_csv(PROJECT / "data/wines.csv", dtype=str, keep_default_na=False).head(900).to_csv(data, index=False)
        shutil.copy(PROJECT / "data/wines.yaml", folder / "data.yaml")
        reference = World(folder / "reference")
        words = [*QUICK, "-P", f"data={data}", "-P", "register=wines"]
        assert reference.start("main", *words).wait() == 0, (reference.folder / "log").read_text()
        assert reference.start("predict", *command("predict", reference, reference, data)[0]).wait() == 0
        given = (reference, data, chance)
        for number in range(others):
            told("server killed for 20 s", server_trial(folder / f"server{number}", *given))
            for kind, faults in database_trials(folder / f"database{number}", *given).items():
                told(kind, faults)
            told(
                "4 mains at once on SQLite",
                crowd_trial(World(folder / f"crowd{number}", reference), reference, data, 4),
            )
            if os.geteuid() == 0:
                megabytes = chance.uniform(1.5, 3)
                told("disk full", disk_trial(folder / f"disk{number}", reference, data, megabytes))
        for number in range(signals):
            told(*signal_trial(folder / f"signal{number}", *given))
    print()
    for kind, survived in sorted(tried.items()):
        print(f"{kind:<36} {sum(survived)} of {len(survived)} survived")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=40, help="trials with signals (default: 40)")
    parser.add_argument("--others", type=int, default=2, help="trials of each other kind (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of what is tried when (default: 0)")
    main(**vars(parser.parse_args()))
