"""Whether results come out again bit for bit in other surroundings, and what it costs to see it.

    python benchmarks/reproduce.py

Evaluates four models once and reproduces each of them five times, every time from a fresh clone, with another number of
threads, hash seed, locale and time zone. The ratio compares the first reproduction with the run that it reproduces.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mlflow

PROJECT = Path(__file__).resolve().parent.parent
MODELS = ("linear", "knn", "rf", "extra_trees")
SURROUNDINGS = (
    {},
    {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC"},
    {
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "PYTHONHASHSEED": "2",
        "LC_ALL": "C.UTF-8",
        "TZ": "Asia/Tokyo",
    },
    {
        "OMP_NUM_THREADS": "4",
        "OPENBLAS_NUM_THREADS": "3",
        "PYTHONHASHSEED": "3",
        "LC_ALL": "POSIX",
        "TZ": "America/Lima",
    },
    {"OMP_NUM_THREADS": "7", "LOKY_MAX_CPU_COUNT": "1", "PYTHONHASHSEED": "42", "LC_ALL": "C", "TZ": "Pacific/Apia"},
)


def run(project: Path, folder: Path, entry_point: str, parameter: str, **variables: str) -> tuple[float, str]:
    """Wall seconds of `mlflow run`, and the last line that it printed on stdout."""
    words = [
        sys.executable,
        "-m",
        "mlflow",
        "run",
        project,
        "-e",
        entry_point,
        "--env-manager",
        "local",
        "-P",
        parameter,
    ]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"} | variables
    started = time.monotonic()
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True)
    lines = done.stdout.splitlines() or done.stderr.splitlines()
    return time.monotonic() - started, lines[-1]


def clone(folder: Path) -> Path:
    """A fresh clone of the project, whose commits it has."""
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
    return folder


def main() -> None:
    """Print a line per reproduction, how many were equal, and the cost."""
    same, count, ratios = 0, 0, []
    for model in MODELS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            # The lineage is made anew for each model, as it is when it is reproduced.
            original, _ = run(clone(folder / "original"), folder, "evaluate", f"model={model}")
            client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
            (recorded,) = client.search_runs(["0"], "tags.`workflow.step` = 'evaluate'")
            for number, variables in enumerate(SURROUNDINGS):
                project = clone(folder / str(number))
                took, said = run(project, folder, "reproduce", f"run={recorded.info.run_id}", **variables)
                same, count = same + said.endswith("bit for bit"), count + 1
                print(f"{model:<12} {took:5.1f} s  {said}", flush=True)
                if not variables:
                    ratios.append(took / original)
                    print(f"{'':<12} {ratios[-1]:.2f} times the {original:.1f} s of the run that it reproduces")
    print(f"{same} of {count} bit for bit; cost {statistics.median(ratios):.2f} times the original (median of models)")


if __name__ == "__main__":
    main()
