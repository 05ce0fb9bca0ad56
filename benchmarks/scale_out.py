"""Measure the speed-up of a search by more workers of a Dask cluster on this computer, each with one thread.

    python benchmarks/scale_out.py --trials 24 --workers 1 2

Prints the seconds of the search for each number of workers, the speed-up over the first, and whether the trials are the
same. Needs as many cores as workers, and no other load.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd
from end_to_end import PROJECT, search

sys.path[:0] = [str(PROJECT / "steps"), str(PROJECT / "tests")]

import environment  # noqa: E402  # its pinned variables must reach the workers

from dask_cluster import dask_cluster  # noqa: E402


def main(model: str, trials: int, workers: list[int]) -> None:
    """Print a line per number of workers."""
    first: tuple[float, pd.DataFrame] | None = None
    with tempfile.TemporaryDirectory() as name:
        for count in workers:
            with dask_cluster(Path(name) / f"cluster{count}", count) as cluster:
                (folder := Path(name) / f"client{count}").mkdir()
                seconds, path = search(folder, model, trials, "--cluster", cluster.address)
            table = pd.read_parquet(path)
            first = first or (seconds, table)
            same = "the same trials" if table.equals(first[1]) else "OTHER TRIALS"
            print(f"{count} workers: {seconds:6.1f} s, speed-up {first[0] / seconds:.2f}, {same}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="boosting")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    main(**vars(parser.parse_args()))
