"""Check that the workflow handles a file larger than the memory it may use; needs root and half an hour.

    python benchmarks/memory.py --rows 3200000 --limit 2000 --max_rows 150000

Writes a CSV file of 100 columns, limits the memory of `main` with `linear,boosting` by a cgroup (which also counts
cached file pages; tested with cgroup v1), and prints the size of the file beside the limit, and whether `main` ended
well.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from end_to_end import PROJECT, measure

CGROUPS = Path("/sys/fs/cgroup")
FEATURES, CATEGORICAL_FEATURES, CHUNK_ROWS = 99, 9, 100_000


def write_file(path: Path, rows: int) -> None:
    """Write a table of numeric and categorical features, and a target that depends on three of them."""
    random = np.random.default_rng(0)
    for first in range(0, rows, CHUNK_ROWS):
        numbers = random.normal(size=(min(CHUNK_ROWS, rows - first), FEATURES - CATEGORICAL_FEATURES)).round(4)
        frame = pd.DataFrame(numbers).add_prefix("n")
        for number in range(CATEGORICAL_FEATURES):
            frame[f"k{number}"] = random.integers(0, 50, len(frame)).astype(str) + " kind"
        frame["y"] = (10 + numbers[:, 0] + numbers[:, 1] * numbers[:, 2]).round(3)
        frame.to_csv(path, index=False, header=first == 0, mode="a")


@contextmanager
def limited(megabytes: int) -> Iterator[list[str]]:
    """Yield the words before a command that limit its memory."""
    memory = CGROUPS / "memory"  # of cgroup v1; v2 has a single hierarchy
    group = (memory if memory.is_dir() else CGROUPS) / f"benchmark-{os.getpid()}"
    group.mkdir()
    try:
        limit = "memory.limit_in_bytes" if memory.is_dir() else "memory.max"
        (group / limit).write_text(str(megabytes * 10**6))
        yield ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs")]
    finally:
        group.rmdir()


def main(rows: int, limit: int, max_rows: str) -> None:
    """Print the size of the file, and the time and peak memory of `main`."""
    with tempfile.TemporaryDirectory() as name, limited(limit) as prefix:
        folder = Path(name)
        write_file(folder / "data.csv", rows)
        size = (folder / "data.csv").stat().st_size / 1e6
        print(f"{size:,.0f} MB of CSV, {size / limit:.2f} times the limit of {limit:,} MB", flush=True)
        words = ["--data", str(folder / "data.csv"), "--target", "y", "--models", "linear,boosting"]
        words = [sys.executable, str(PROJECT / "steps/main.py"), *words, "--max_rows", max_rows]
        try:
            seconds, _, peak = measure([*prefix, *words], folder)
        except subprocess.CalledProcessError:
            sys.exit("main failed")
        print(f"main: {seconds:.0f} s, the largest process {peak:,.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_200_000, help="of the file (default: 3,200,000: 2.4 GB)")
    parser.add_argument("--limit", type=int, default=2000, help="megabytes of memory (default: 2000)")
    parser.add_argument("--max_rows", default="150000", help="training rows (default: 150,000)")
    main(**vars(parser.parse_args()))
