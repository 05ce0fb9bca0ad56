"""Whether results come out again bit for bit in other surroundings, and what it costs to see it.

    python benchmarks/reproduce.py

Evaluates each model once and reproduces each of them 15 times, every time from a fresh clone, with another level of
numpy, kernel of OpenBLAS, number of threads, hash seed, locale, time zone and Python. The ratio compares the first
reproduction with the run that it reproduces. Pythons that uv does not find are left out, and said so.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import mlflow
import numpy

PROJECT = Path(__file__).resolve().parent.parent
MODELS = ("linear", "knn", "rf", "extra_trees", "boosting", "blend")
PYTHONS = ("3.11", "3.12", "3.13")
ROUNDS = 15
LOCALES = ("C", "C.UTF-8", "POSIX")
ZONES = ("UTC", "Asia/Tokyo", "America/Lima", "Pacific/Apia")


def surroundings(pythons: list[Path]) -> Iterator[tuple[str, dict[str, str]]]:
    """A line about each of the surroundings, and its variables; the first are those of now."""
    found = numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    levels = ["none", *(" ".join(found[: count + 1]) for count in range(len(found)))]  # `none` leaves the baseline
    kernels = ["Nehalem", "Haswell", "Zen", *(["SkylakeX"] if "X86_V4" in found else [])]
    yield "as it is", {"PATH": path(pythons[0])}
    turns = zip(cycle(levels), cycle(kernels), cycle(range(1, 9)), cycle(pythons), cycle(LOCALES), cycle(ZONES))
    for seed, (level, kernel, threads, python, locale, zone) in enumerate(islice(turns, ROUNDS - 1)):
        yield (
            f"{python.parent.name}, {level}, {kernel}, {threads} threads, {locale}, {zone}",
            {
                "PATH": path(python),
                "NPY_ENABLE_CPU_FEATURES": level,
                "OPENBLAS_CORETYPE": kernel,
                "OMP_NUM_THREADS": str(threads),
                "OPENBLAS_NUM_THREADS": str(threads % 3 + 1),
                "PYTHONHASHSEED": str(seed),
                "LC_ALL": locale,
                "TZ": zone,
            },
        )


def path(python: Path) -> str:
    """A PATH on which the commands of an environment come first."""
    return f"{python}:{os.environ['PATH']}"


def interpreter(version: str) -> str:
    """The command of a Python on the PATH or of pyenv; the version itself if there is none."""
    folders = [*Path.home().glob(f".pyenv/versions/{version}.*/bin"), *map(Path, os.get_exec_path())]
    return shutil.which(f"python{version}", path=os.pathsep.join(map(str, folders))) or version


def environments(folder: Path) -> list[Path]:
    """Folders of commands, one for an environment of each Python, with what the lock says."""
    made = []
    for version in PYTHONS:
        place = folder / f"python{version}"
        uv = [sys.executable, "-m", "uv", "--quiet", "--no-python-downloads", "--directory", PROJECT]
        try:
            subprocess.run([*uv, "venv", "--python", interpreter(version), place], check=True)
            subprocess.run([*uv, "pip", "install", "--python", place, "-r", "requirements.txt"], check=True)
            made.append(place / "bin")
        except subprocess.CalledProcessError:
            print(f"Python {version} is not here: left out")
    return made


def run(project: Path, folder: Path, entry_point: str, parameter: str, **variables: str) -> tuple[float, str]:
    """Wall seconds of `mlflow run`, and the last line that it printed on stdout."""
    words = ["mlflow", "run", project, "-e", entry_point, "--env-manager", "local", "-P", parameter]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"} | variables
    command = ["/usr/bin/env", *words]  # finds it on the PATH of `variables`
    started = time.monotonic()
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    lines = done.stdout.splitlines() or done.stderr.splitlines()
    return time.monotonic() - started, lines[-1]


def clone(folder: Path) -> Path:
    """A fresh clone of the project, whose commits it has."""
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
    return folder


def main() -> None:
    """Print a line per reproduction, how many were equal, and the cost."""
    same, count, ratios = 0, 0, []
    with tempfile.TemporaryDirectory() as place:
        pythons = environments(Path(place))
        for model in MODELS:
            folder = Path(place) / model
            folder.mkdir()
            # The lineage is made anew for each model, as it is when it is reproduced.
            original, _ = run(clone(folder / "original"), folder, "evaluate", f"model={model}", PATH=path(pythons[0]))
            client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
            query = "tags.`workflow.step` = 'evaluate'"  # of a blend: itself, and then the models that it combines
            recorded = client.search_runs(["0"], query, order_by=["attributes.start_time"])[0]
            for number, (described, variables) in enumerate(surroundings(pythons)):
                project = clone(folder / str(number))
                took, said = run(project, folder, "reproduce", f"run={recorded.info.run_id}", **variables)
                same, count = same + said.endswith("bit for bit"), count + 1
                print(f"{model:<12} {took:5.1f} s  {described}\n{'':<22} {said}", flush=True)
                if not number:
                    ratios.append(took / original)
                    print(f"{'':<22} {ratios[-1]:.2f} times the {original:.1f} s of the run that it reproduces")
    print(f"{same} of {count} bit for bit; cost {statistics.median(ratios):.2f} times the original (median of models)")


if __name__ == "__main__":
    main()
