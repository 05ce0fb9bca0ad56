"""Whether the whole workflow gets through a file that is larger than the memory it may use; as root: half an hour.

    python benchmarks/memory.py --rows 3200000 --limit 2000 --max_rows 150000

Writes a CSV file of 100 columns, has the system limit the memory of `main` with `linear,boosting` (a cgroup, which also
counts what is cached of files; tried with their first version), and prints how large the file is beside the limit, and
what became of `main`.
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

from workflow import PROJECT, measure

CGROUPS = Path("/sys/fs/cgroup")
COLUMNS, KINDS, PIECE = 99, 9, 100_000


def write_file(path: Path, rows: int) -> None:
    """Write so many rows of numbers and kinds, and a target that hangs on three of them."""
    random = np.random.default_rng(0)
    for first in range(0, rows, PIECE):
        numbers = random.normal(size=(min(PIECE, rows - first), COLUMNS - KINDS)).round(4)
        frame = pd.DataFrame(numbers).add_prefix("n")
        for kind in range(KINDS):
            frame[f"k{kind}"] = random.integers(0, 50, len(frame)).astype(str) + " kind"
        frame["y"] = (10 + numbers[:, 0] + numbers[:, 1] * numbers[:, 2]).round(3)
        frame.to_csv(path, index=False, header=first == 0, mode="a")


@contextmanager
def limited(megabytes: int) -> Iterator[list[str]]:
    """The words before a command that hold it to so much memory."""
    memory = CGROUPS / "memory"  # of the first version; the second has one tree for all
    group = (memory if memory.is_dir() else CGROUPS) / f"benchmark-{os.getpid()}"
    group.mkdir()
    try:
        limit = "memory.limit_in_bytes" if memory.is_dir() else "memory.max"
        (group / limit).write_text(str(megabytes * 10**6))
        yield ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs")]
    finally:
        group.rmdir()


def main(rows: int, limit: int, max_rows: str) -> None:
    """Print two lines."""
    with tempfile.TemporaryDirectory() as name, limited(limit) as within:
        folder = Path(name)
        write_file(folder / "data.csv", rows)
        size = (folder / "data.csv").stat().st_size / 1e6
        print(f"{size:,.0f} MB of CSV, {size / limit:.2f} times the limit of {limit:,} MB", flush=True)
        words = ["--data", str(folder / "data.csv"), "--target", "y", "--models", "linear,boosting"]
        words = [sys.executable, str(PROJECT / "steps/main.py"), *words, "--max_rows", max_rows]
        try:
            seconds, _, peak = measure([*within, *words], folder)
        except subprocess.CalledProcessError:
            sys.exit("main did not get through")
        print(f"main: {seconds:.0f} s, the largest process {peak:,.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_200_000, help="of the file (default: 3,200,000: 2.4 GB)")
    parser.add_argument("--limit", type=int, default=2000, help="megabytes of memory (default: 2000)")
    parser.add_argument("--max_rows", default="150000", help="rows to learn from (default: 150,000)")
    main(**vars(parser.parse_args()))
