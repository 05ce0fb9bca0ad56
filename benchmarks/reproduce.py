"""Check that results match bit for bit in other environments, and measure the cost of a reproduction.

    python benchmarks/reproduce.py
    python benchmarks/reproduce.py --models linear --rounds 2

Evaluates each model once and reproduces it 15 times, every time from a fresh clone, with another numpy SIMD level,
OpenBLAS kernel, number of threads, hash seed, locale, time zone and Python. The ratio compares the first reproduction
with the run that it reproduces. Python versions that uv does not find are left out, with a message.
"""

import argparse
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
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LOCALES = ("C", "C.UTF-8", "POSIX")
ZONES = ("UTC", "Asia/Tokyo", "America/Lima", "Pacific/Apia")


def environments(pythons: list[Path], rounds: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the description and the variables of each environment; the first is the present one."""
    extensions = numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    levels = ["none", *(" ".join(extensions[: count + 1]) for count in range(len(extensions)))]  # none: the baseline
    kernels = ["Nehalem", "Haswell", "Zen", *(["SkylakeX"] if "X86_V4" in extensions else [])]
    yield "unchanged", {"PATH": path(pythons[0])}
    settings = zip(cycle(levels), cycle(kernels), cycle(range(1, 9)), cycle(pythons), cycle(LOCALES), cycle(ZONES))
    for seed, (level, kernel, threads, python, locale, zone) in enumerate(islice(settings, rounds - 1)):
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
    """Return a PATH on which the commands of a virtual environment come first."""
    return f"{python}:{os.environ['PATH']}"


def interpreter(version: str) -> str:
    """Return the path of a Python of pyenv or on the PATH; the version itself if none is found."""
    folders = [*Path.home().glob(f".pyenv/versions/{version}.*/bin"), *map(Path, os.get_exec_path())]
    return shutil.which(f"python{version}", path=os.pathsep.join(map(str, folders))) or version


def install_pythons(folder: Path) -> list[Path]:
    """Create a virtual environment with the locked packages for each Python; return their `bin` folders."""
    installed = []
    for version in PYTHONS:
        virtual = folder / f"python{version}"
        uv = [sys.executable, "-m", "uv", "--quiet", "--no-python-downloads", "--directory", PROJECT]
        try:
            subprocess.run([*uv, "venv", "--python", interpreter(version), virtual], check=True)
            subprocess.run([*uv, "pip", "install", "--python", virtual, "-r", "requirements.txt"], check=True)
            installed.append(virtual / "bin")
        except subprocess.CalledProcessError:
            print(f"Python {version} not found: left out")
    return installed


def run(project: Path, folder: Path, entry_point: str, parameter: str, **variables: str) -> tuple[float, str]:
    """Return the wall seconds of `mlflow run`, and the last line of its stdout."""
    words = ["mlflow", "run", project, "-e", entry_point, "--env-manager", "local", "-P", parameter]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"} | variables
    command = ["/usr/bin/env", *words]  # looks it up on the PATH of `variables`
    started = time.monotonic()
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    lines = done.stdout.splitlines() or done.stderr.splitlines()
    return time.monotonic() - started, lines[-1]


def clone(folder: Path) -> Path:
    """Clone the committed project into `folder`."""
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
    return folder


def main(models: list[str], rounds: int) -> None:
    """Print a line per reproduction, how many were equal, and the cost."""
    same, count, ratios = 0, 0, []
    with tempfile.TemporaryDirectory() as name:
        pythons = install_pythons(Path(name))
        for model in models:
            folder = Path(name) / model
            folder.mkdir()
            # Each model has a store of its own, so that preprocess runs again, as it does in a reproduction.
            original, _ = run(clone(folder / "original"), folder, "evaluate", f"model={model}", PATH=path(pythons[0]))
            client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
            query = "tags.`workflow.step` = 'evaluate'"
            recorded = client.search_runs(["0"], query, order_by=["attributes.start_time"])[0]
            for number, (description, variables) in enumerate(environments(pythons, rounds)):
                project = clone(folder / str(number))
                seconds, line = run(project, folder, "reproduce", f"run={recorded.info.run_id}", **variables)
                same, count = same + line.endswith("bit for bit"), count + 1
                print(f"{model:<12} {seconds:5.1f} s  {description}\n{'':<22} {line}", flush=True)
                if not number:
                    ratios.append(seconds / original)
                    print(f"{'':<22} {ratios[-1]:.2f} times the {original:.1f} s of the run that it reproduces")
    print(f"{same} of {count} bit for bit; cost {statistics.median(ratios):.2f} times the original (median of models)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help=f"(default: {' '.join(MODELS)})")
    parser.add_argument("--rounds", type=int, default=15, help="reproductions of each model (default: 15)")
    main(**vars(parser.parse_args()))
