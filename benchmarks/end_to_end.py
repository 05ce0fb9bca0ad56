"""Time the whole workflow against a tutorial-style script (tutorial.py) on the same file, in turn.

    python benchmarks/end_to_end.py data/wines.csv
    python benchmarks/end_to_end.py houses.csv --target SalePrice

The workflow also cross-validates, scores with confidence intervals, explains raw features and writes reports. The
second table compares a second `main`, which reuses all runs, with an `mlflow run` of an entry point that only imports
mlflow.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ROUNDS = 3


def measure(words: list[str], store: Path) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak memory (MB, of the largest process) of a command.

    Args:
        words: of the command.
        store: the folder in which it runs, and keeps its tracking store.
    """
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    # An intermediate process reports only its own children, so the peak is that of this command.
    script = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL);"
        " print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], env=environment, cwd=store, capture_output=True, text=True
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.monotonic() - started, cpu, int(done.stdout) / 1024


def search(folder: Path, model: str, trials: int, *more: str) -> tuple[float, Path]:
    """Run `tune` with a new store in `folder`; return the seconds of its search, and the path of its trials."""
    words = [sys.executable, str(PROJECT / "steps/tune.py"), "--model", model, "--trials", str(trials), *more]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    done = subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    (path,) = folder.glob("mlruns/0/*/artifacts/trials.parquet")
    return float(re.search(rf"^tune {model} +([\d.]+) s", done.stderr, re.M)[1]), path


def median(values: list[float]) -> float:
    """Return the middle one of an odd number of values."""
    return sorted(values)[len(values) // 2]


def compare(name: str, ours: list[tuple], baseline: str, theirs: list[tuple]) -> None:
    """Print the medians of both and the median ratio of the pairs."""
    print(f"\n{'':<34}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}")
    for label, rows in ((name, ours), (baseline, theirs)):
        print(f"{label:<34}" + "".join(f"{median(list(column)):>9.1f}" for column in zip(*rows, strict=True)))
    ratios = [[a / b for a, b in zip(*pair, strict=True)] for pair in zip(ours, theirs, strict=True)]
    print(f"{'ratio':<34}" + "".join(f"{median(list(column)):>9.2f}" for column in zip(*ratios, strict=True)))


def main(data: str, target: str) -> None:
    """Run everything in turn and print two tables."""
    run = [sys.executable, "-m", "mlflow", "run", "--env-manager", "local"]
    workflow = [*run, str(PROJECT), "-P", f"data={Path(data).resolve()}", "-P", f"target={target}"]
    tutorial = [sys.executable, str(PROJECT / "benchmarks/tutorial.py"), str(Path(data).resolve()), target]
    first, tutorials, second, floors = [], [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as store, tempfile.TemporaryDirectory() as other:
            floor = Path(store) / "floor"
            floor.mkdir()
            (floor / "import_mlflow.py").write_text("import mlflow\n")
            tutorials.append(measure(tutorial, Path(other)))
            first.append(measure(workflow, Path(store)))
            measure(workflow, Path(store))
            second.append(measure(workflow, Path(store)))
            floors.append(measure([*run, str(floor), "-e", "import_mlflow.py"], Path(store)))
    compare("workflow, empty store", first, "tutorial-style script", tutorials)
    compare("workflow again, all reused", second, "mlflow run that imports mlflow", floors)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a CSV file")
    parser.add_argument("--target", default="price", help="the column to predict (default: price)")
    main(**vars(parser.parse_args()))
