"""How much faster a search is with more workers of a Dask cluster on this computer, each with one thread.

    python benchmarks/scale_out.py --trials 24 --workers 1 2

Prints the seconds of the search for each number of workers, above those with the first, and whether the trials are the
same. There must be as many cores as workers, and nothing else at work.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd

from workflow import PROJECT, search

sys.path[:0] = [str(PROJECT / "steps"), str(PROJECT / "tests")]

import environment  # noqa: E402  # whose pins the workers need too

from dask_cluster import cluster  # noqa: E402


def main(model: str, trials: int, workers: list[int]) -> None:
    """Print a line per number of workers."""
    first: tuple[float, pd.DataFrame] | None = None
    with tempfile.TemporaryDirectory() as name:
        for count in workers:
            with cluster(Path(name) / f"cluster{count}", count) as there:
                (folder := Path(name) / f"client{count}").mkdir()
                seconds, place = search(folder, model, trials, "--cluster", there.address)
            tried = pd.read_parquet(place)
            first = first or (seconds, tried)
            same = "the same trials" if tried.equals(first[1]) else "OTHER TRIALS"
            print(f"{count} workers: {seconds:6.1f} s, {first[0] / seconds:.2f} times as fast, {same}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="boosting")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    main(**vars(parser.parse_args()))
