"""Inject faults into main, promote and predict, and check that the same command recovers from them.

    python benchmarks/chaos.py
    python benchmarks/chaos.py --signals 12 --others 1 --seed 3
    python benchmarks/chaos.py --signals 0 --others 0             # tampering alone

A trial succeeds if the same command, repeated after the fault, exits with 0 and the same receipt, champion or output,
and leaves no run RUNNING and no partial file. The faults: a signal to the step, to `mlflow run` or to both at a random
moment; for main also a tracking server that is killed for 20 seconds, a PostgreSQL that crashes and restarts, and a
full disk (a small tmpfs: needs root). A main in another PID namespace (needs root), and several concurrent mains on
SQLite and on PostgreSQL, must all succeed. Prints successes and trials per kind of fault.

Then the store is tampered with: one bit of one file of the runs, one of their metrics or tags, or a value that a
command reads. That is noticed if the command fails in one line, or makes what was altered again, says so, and comes to
the same result.
"""

import argparse
import hashlib
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path

import pandas as pd
from end_to_end import PROJECT
from mlflow import MlflowClient

sys.path.insert(0, str(PROJECT / "tests"))

import servers
from ports import free_port

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SECONDS = {"main": 16, "promote": 8, "predict": 8}  # roughly, of each command
TARGETS = ("step", "mlflow run", "both")
MAIN = ("main",)
Attack = tuple[Callable[["Workspace"], object], tuple[str, ...]]  # what alters a store, and the command that meets it
FAST_OPTIONS = ["-P", "models=linear,dummy", "-P", "shap_samples=3", "-P", "cv=2"]


class Workspace:
    """A folder with a tracking store, in which commands run."""

    def __init__(self, folder: Path, copy_of: "Workspace | None" = None, uri: str = "") -> None:
        """Create the folder, with an empty store or a copy of another workspace's; or with the store at `uri`."""
        self.folder, self.output = folder, folder / "predictions.csv"
        folder.mkdir()
        if copy_of:
            shutil.copy(copy_of.folder / "mlflow.db", folder)
        self.uri = uri or f"sqlite:///{folder}/mlflow.db"

    @cached_property
    def client(self) -> MlflowClient:
        """Return a client, created late: the process that first opens a store decides where its artifacts are."""
        return MlflowClient(self.uri)

    def failure(self, code: int) -> str:
        """Return the exit code and the last error message of a failed command."""
        lines = [line for line in (self.folder / "log").read_text().splitlines() if "rror" in line]
        return f"exit code {code}: {lines[-1][:200] if lines else 'no message'}"

    def start(self, entry_point: str, *words: str, within: tuple[str, ...] = ()) -> subprocess.Popen:
        """Start `mlflow run` of an entry point in a process group of its own, `within` what another command makes."""
        run = [
            *within,
            sys.executable,
            "-m",
            "mlflow",
            "run",
            str(PROJECT),
            "--env-manager",
            "local",
            "-e",
            entry_point,
        ]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"MLFLOW_TRACKING_URI": self.uri, "PATH": path}
        with open(self.folder / "log", "a") as log:
            return subprocess.Popen(
                [*run, *words], env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    def last_main(self) -> str:
        """Return the id of the newest finished run of main."""
        query = "tags.`workflow.step` = 'main' and attributes.status = 'FINISHED'"
        return self.client.search_runs(["0"], query)[0].info.run_id

    def receipt_digest(self) -> str:
        """Return the digest of the receipt of that run."""
        path = self.client.download_artifacts(self.last_main(), "receipt.json", str(self.folder))
        return json.loads(Path(path).read_text())["sha256"]

    def champion(self, name: str) -> str:
        """Return the id of the run that trained the champion of a registered model."""
        return self.client.get_model_version_by_alias(name, "champion").run_id or ""

    def leftovers(self) -> list[str]:
        """Return a line per run that is RUNNING and per partial file."""
        running = self.client.search_runs(["0"], "attributes.status = 'RUNNING'")
        return [f"RUNNING: {run.info.run_name}" for run in running] + [
            f"partial file: {path.name}" for path in self.folder.glob(".*")
        ]


def command(name: str, workspace: Workspace, reference: Workspace, data: Path) -> tuple[list[str], Callable[[], bool]]:
    """Return the arguments of a command in `workspace`, and whether its result there is that of the reference."""
    best = reference.last_main()
    if name == "main":
        return [*FAST_OPTIONS, "-P", f"data={data}"], lambda: workspace.receipt_digest() == reference.receipt_digest()
    if name == "promote":
        words = ["-P", f"run={best}", "-P", "name=again"]
        return words, lambda: workspace.champion("again") == reference.champion("wines")
    words = ["-P", f"model={best}", "-P", f"data={data}", "-P", f"output={workspace.output}", "-P", "overwrite=true"]
    return words, lambda: workspace.output.read_bytes() == reference.output.read_bytes()


def send_signal(process: subprocess.Popen, kind: signal.Signals, target: str) -> None:
    """Send a signal to the step that `mlflow run` has started, to `mlflow run`, or to both; wait until they end."""
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    victims = {"step": children, "mlflow run": [process.pid], "both": [*children, process.pid]}[target]
    for victim in map(int, victims):
        with suppress(ProcessLookupError):  # it has ended already
            os.kill(victim, kind)
    process.wait()
    while subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True).returncode == 0:
        time.sleep(0.2)


def recover(
    name: str, workspace: Workspace, reference: Workspace, data: Path, inject_fault: Callable[[subprocess.Popen], None]
) -> list[str]:
    """Run a command, inject a fault, run it again; return what is wrong then."""
    words, is_same = command(name, workspace, reference, data)
    process = workspace.start(name, *words)
    inject_fault(process)
    process.wait()
    if code := workspace.start(name, *words).wait():
        return [workspace.failure(code)]
    return workspace.leftovers() + ([] if is_same() else ["a different result"])


def signal_trial(folder: Path, reference: Workspace, data: Path, rng: random.Random) -> tuple[str, list[str]]:
    """Send a signal to a command at a random moment; return the kind of trial, and what is wrong."""
    name = rng.choice(list(SECONDS))
    kind, target = rng.choice(SIGNALS), rng.choice(TARGETS)
    workspace = Workspace(folder, copy_of=None if name == "main" else reference)

    def inject_fault(process: subprocess.Popen) -> None:
        time.sleep(rng.uniform(0, SECONDS[name]))
        send_signal(process, kind, target)

    return f"{name}, {kind.name} to {target}", recover(name, workspace, reference, data, inject_fault)


def concurrent_trial(workspace: Workspace, reference: Workspace, data: Path, count: int) -> list[str]:
    """Run `count` mains at once on one store; return what is wrong."""
    words = ["-P", "seed=1", *command("main", workspace, reference, data)[0]]
    codes = [process.wait() for process in [workspace.start("main", *words) for _ in range(count)]]
    return [workspace.failure(code) for code in codes if code] + workspace.leftovers()


def server_trial(folder: Path, reference: Workspace, data: Path, rng: random.Random) -> list[str]:
    """Kill the tracking server of a main for 20 seconds at a random moment; return what is wrong."""
    store, server = f"sqlite:///{folder}.db", ExitStack()

    def serve() -> str:
        return server.enter_context(servers.tracking_server(store, f"{folder}-files", port=port))

    port = free_port()
    workspace = Workspace(folder, uri=serve())

    def inject_fault(process: subprocess.Popen) -> None:
        time.sleep(rng.uniform(2, SECONDS["main"]))
        server.close()
        time.sleep(20)
        serve()

    with server:
        return recover("main", workspace, reference, data, inject_fault)


def database_trials(folder: Path, reference: Workspace, data: Path, rng: random.Random) -> dict[str, list[str]]:
    """Crash and restart the PostgreSQL of a main, then run eight mains at once; return what is wrong, by kind."""
    folder.mkdir()
    with servers.postgres(folder) as (uri, restart):
        workspace = Workspace(folder / "workspace", uri=uri)

        def inject_fault(process: subprocess.Popen) -> None:
            time.sleep(rng.uniform(2, SECONDS["main"]))
            restart()

        return {
            "PostgreSQL crashes and is restarted": recover("main", workspace, reference, data, inject_fault),
            "8 mains at once on PostgreSQL": concurrent_trial(workspace, reference, data, 8),
        }


def disk_trial(folder: Path, reference: Workspace, data: Path, megabytes: float) -> list[str]:
    """Run a main on a disk that is full after some megabytes, then enlarge it; return what is wrong."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    subprocess.run([*mount, f"size={int(megabytes * 1024)}k", "tmpfs", folder], check=True)
    try:
        more = [*mount, "remount,size=200m", "tmpfs", folder]
        return recover(
            "main",
            Workspace(folder / "workspace"),
            reference,
            data,
            lambda process: (process.wait(), subprocess.run(more, check=True)),
        )
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # the workspace's client has files open


def flip_bit(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_column(path: Path, column: str, edit: Callable[[pd.Series], pd.Series]) -> None:
    """Replace a column of a Parquet file."""
    rows = pd.read_parquet(path)
    rows.assign(**{column: edit(rows[column])}).to_parquet(path, index=False)


def artifact_path(uri: str) -> Path:
    """Return the folder of an artifact URI of a store on this machine."""
    return Path(uri.removeprefix("file://"))


def folders_of(reference: Workspace) -> dict[str, Path]:
    """Return the artifact folders of the runs of main and of their models, by the names of the runs."""
    found = {}
    for run in reference.client.search_runs(["0"], "tags.`workflow.receipt` != ''"):
        found[run.info.run_name] = artifact_path(run.info.artifact_uri)
        for output in run.outputs.model_outputs if run.outputs else []:
            location = reference.client.get_logged_model(output.model_id).artifact_location
            found[f"model of {run.info.run_name}"] = artifact_path(location)
    return found


def is_noticed(workspace: Workspace, reference: Workspace, data: Path, entry_point: str, *words: str) -> list[str]:
    """Run a command on an altered store; return what is wrong: it said nothing, or came to another result."""
    usual, is_same = command("main", workspace, reference, data)
    code = workspace.start(entry_point, *(words or usual)).wait()
    log = (workspace.folder / "log").read_text()
    refused = code and sum(line.startswith("error: ") for line in log.splitlines()) == 1 and "Traceback" not in log
    if "not what was recorded" in log and (refused or (code == 0 and not words and is_same())):
        return workspace.leftovers()
    return ["a different result, or not a word", workspace.failure(code)]


def tamper(folder: Path, reference: Workspace, data: Path, attack: Attack) -> list[str]:
    """Alter a copy of the reference's database, or its artifacts; return what is wrong with what a command does then.

    The artifacts are restored.
    """
    alter, words = attack
    artifacts, saved = reference.folder / "mlruns", folder.with_name(f"{folder.name}-saved")
    shutil.copytree(artifacts, saved)
    workspace = Workspace(folder, copy_of=reference)
    try:
        alter(workspace)
        return is_noticed(workspace, reference, data, *words)
    finally:
        shutil.rmtree(artifacts)
        saved.rename(artifacts)


def tampering_trials(
    folder: Path, reference: Workspace, data: Path, rng: random.Random, count: int
) -> Iterator[tuple[str, list[str]]]:
    """Yield the kind of each trial on an altered store, and what is wrong: `count` files, and values of other kinds."""
    folder.mkdir()
    folders = folders_of(reference)
    files = [(run, path) for run, root in folders.items() for path in sorted(root.rglob("*")) if path.is_file()]
    attacks: dict[str, Attack] = {
        f"one bit of {run}: {path.relative_to(folders[run])}": (lambda _, path=path: flip_bit(path), MAIN)
        for run, path in rng.sample(files, min(count, len(files)))
    }
    attacks |= file_attacks(reference, folders, data) | store_attacks(reference)
    for number, (kind, attack) in enumerate(attacks.items()):
        yield kind, tamper(folder / str(number), reference, data, attack)


def file_attacks(reference: Workspace, folders: dict[str, Path], data: Path) -> dict[str, Attack]:
    """Return attacks on values in files that a command reads, by kind."""
    runs = run_ids(reference)
    sets, model, other = folders["preprocess"], folders["model of train linear"], folders["model of train dummy"]
    train, test, contract = sets / "train.parquet", sets / "test.parquet", sets / "contract.yaml"
    trained = ("evaluate", "-P", f"train_run_id={runs['train linear']}")
    preprocessed = ("train", "-P", f"preprocess_run_id={runs['preprocess']}", "-P", "model=linear")
    predict = ("predict", "-P", "model=models:/wines@champion", "-P", f"data={data}", "-P", f"output={data}.out.csv")
    promote = ("promote", "-P", f"run={reference.last_main()}", "-P", "name=other")

    def forge(workspace: Workspace) -> None:
        edit_column(train, "price", lambda price: price[::-1].to_numpy())
        receipt = sets / "receipt.json"
        document = json.loads(receipt.read_text())
        content = {"bytes": train.stat().st_size, "sha256": hashlib.sha256(train.read_bytes()).hexdigest()}
        document["provenance"]["files"][train.name] = content
        receipt.write_text(json.dumps(document))
        digest = hashlib.sha256(receipt.read_bytes()).hexdigest()
        workspace.client.set_tag(runs["preprocess"], "workflow.receipt", digest)

    def swap_model(_: Workspace) -> None:
        shutil.copy(other / "model.skops", model)

    return {
        "a training target multiplied": (
            lambda _: edit_column(train, "price", lambda price: price.where(price.index > 0, price * 1000)),
            preprocessed,
        ),
        "a training set of half the rows": (lambda _: pd.read_parquet(train).head(200).to_parquet(train), preprocessed),
        "a training set forged with its receipt, train": (forge, preprocessed),
        "a training set forged with its receipt, main": (forge, MAIN),
        "half a file of a training set": (lambda _: os.truncate(train, train.stat().st_size // 2), preprocessed),
        "test targets reversed": (
            lambda _: edit_column(test, "price", lambda price: price[::-1].to_numpy()),
            trained,
        ),
        "out-of-fold predictions edited": (
            lambda _: flip_bit(folders["train linear"] / "cross_validation.parquet"),
            trained,
        ),
        "a model swapped, evaluate": (swap_model, trained),
        "a model swapped, promote": (swap_model, promote),
        "the champion swapped, predict": (swap_model, predict),
        "a unit edited, predict": (lambda _: contract.write_text(contract.read_text().replace("EUR", "USD")), predict),
        "code of a model edited, promote": (lambda _: flip_bit(model / "code/workflow/models/serving.py"), promote),
        "a folder of a model deleted, main": (lambda _: shutil.rmtree(model), MAIN),
    }


def store_attacks(reference: Workspace) -> dict[str, Attack]:
    """Return attacks on metrics and tags that a command reads, by kind."""
    runs = run_ids(reference)
    trained = ("evaluate", "-P", f"train_run_id={runs['train linear']}")
    promote = ("promote", "-P", f"run={reference.last_main()}", "-P", "name=other")
    fingerprint = reference.client.get_run(runs["train linear"]).data.tags["workflow.fingerprint"]
    winner = "workflow.winner_run_id"

    def metric(run: str, name: str, value: float) -> Callable[[Workspace], None]:
        return lambda workspace: workspace.client.log_metric(runs[run], name, value)

    def tag(run: str, name: str, value: str) -> Callable[[Workspace], None]:
        return lambda workspace: workspace.client.set_tag(runs[run], name, value)

    return {
        "a metric edited, main": (metric("evaluate linear", "mean_absolute_error", 3.0), MAIN),
        "a metric edited, promote": (metric("evaluate linear", "r2_score", 0.99), promote),
        "a winner edited, promote": (tag("main linear,dummy", winner, runs["train dummy"]), promote),
        "parameters edited, evaluate": (tag("train linear", "workflow.parameters", '{"model": "rf"}'), trained),
        "an upstream run edited, evaluate": (tag("train linear", "workflow.upstream", runs["train dummy"]), trained),
        "a fingerprint copied, main": (tag("train dummy", "workflow.fingerprint", fingerprint), MAIN),
    }


def run_ids(reference: Workspace) -> dict[str, str]:
    """Return the ids of all runs, by name."""
    return {run.info.run_name: run.info.run_id for run in reference.client.search_runs(["0"])}


def namespace_trial(workspace: Workspace, reference: Workspace, data: Path, rng: random.Random) -> list[str]:
    """Run a main in a PID namespace of its own, as in a container, and one here meanwhile; return what is wrong."""
    container = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    words = ["-P", "seed=2", *command("main", workspace, reference, data)[0]]
    processes = [workspace.start("main", *words, within=container)]
    time.sleep(rng.uniform(4, SECONDS["main"]))
    processes.append(workspace.start("main", *words))
    codes = [process.wait() for process in processes]
    failed = workspace.client.search_runs(["0"], "attributes.status = 'FAILED'")
    return (
        [workspace.failure(code) for code in codes if code]
        + [f"FAILED: {run.info.run_name}" for run in failed]
        + workspace.leftovers()
    )


def main(signals: int, others: int, tampering: int, seed: int) -> None:
    """Run all trials and print a table."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    rng, outcomes, noticed = random.Random(seed), defaultdict(list), []

    def report(kind: str, problems: list[str]) -> None:
        outcomes[kind].append(not problems)
        print(f"{kind:<36} {'; '.join(problems) or 'recovered'}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data.csv"
        pd.read_csv(PROJECT / "data/wines.csv", dtype=str, keep_default_na=False).head(900).to_csv(data, index=False)
        shutil.copy(PROJECT / "data/wines.yaml", folder / "data.yaml")
        reference = Workspace(folder / "reference")
        words = [*FAST_OPTIONS, "-P", f"data={data}", "-P", "register=wines"]
        assert reference.start("main", *words).wait() == 0, (reference.folder / "log").read_text()
        assert reference.start("predict", *command("predict", reference, reference, data)[0]).wait() == 0
        shared = (reference, data, rng)
        for number in range(others):
            report("server killed for 20 s", server_trial(folder / f"server{number}", *shared))
            for kind, problems in database_trials(folder / f"database{number}", *shared).items():
                report(kind, problems)
            report(
                "4 mains at once on SQLite",
                concurrent_trial(Workspace(folder / f"concurrent{number}", reference), reference, data, 4),
            )
            if os.geteuid() == 0:
                workspace = Workspace(folder / f"namespace{number}", reference)
                report("mains in two PID namespaces", namespace_trial(workspace, *shared))
                megabytes = rng.uniform(1.5, 3)
                report("disk full", disk_trial(folder / f"disk{number}", reference, data, megabytes))
        for number in range(signals):
            report(*signal_trial(folder / f"signal{number}", *shared))
        for kind, problems in tampering_trials(folder / "tampering", *shared, tampering) if tampering else ():
            print(f"{kind:<75} {'; '.join(problems) or 'noticed'}", flush=True)
            noticed.append(not problems)
    print()
    for kind, recovered in sorted(outcomes.items()):
        print(f"{kind:<36} {sum(recovered)} of {len(recovered)} recovered")
    print(f"{'tampering':<36} {sum(noticed)} of {len(noticed)} noticed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=40, help="number of trials with signals (default: 40)")
    parser.add_argument("--others", type=int, default=2, help="number of trials of each other kind (default: 2)")
    parser.add_argument("--tampering", type=int, default=40, help="number of altered files; values too (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments and faults (default: 0)")
    main(**vars(parser.parse_args()))
