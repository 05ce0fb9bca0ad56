"""Measure how preprocess scales with the number of rows, against two scripts on the same file, in turn.

    python benchmarks/preprocess_scale.py
    python benchmarks/preprocess_scale.py 1000 10000 --rounds 1

One is bare (bare.py), the other does the same as an MLflow run (bare_run.py), whose overhead no step can avoid. The
file is synthetic: eleven columns like those of the bundled file, and a sixth of the rows are duplicates. The growth
exponent is that of wall time and peak memory between the last two sizes: 1 is linear.
"""

import argparse
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from end_to_end import PROJECT, compare, measure, median


def make_table(rows: int) -> pd.DataFrame:
    """Return a synthetic table with duplicates."""
    random = np.random.default_rng(0)
    distinct = pd.DataFrame(
        {
            "winery": random.choice([f"Bodega {number}" for number in range(5000)], rows),
            "wine": random.choice([f"Vino {number}" for number in range(20_000)], rows),
            "year": random.integers(1990, 2022, rows),
            "rating": random.normal(4, 0.3, rows).round(1),
            "num_reviews": random.integers(0, 5000, rows),
            "region": random.choice([f"Region {number}" for number in range(80)], rows),
            "type": random.choice(list("abcdefgh"), rows),
            "body": random.integers(1, 6, rows),
            "acidity": random.random(rows).round(3),
            "latitude": random.normal(40, 3, rows).round(5),
            "price": np.exp(random.normal(3, 1, rows)).round(2),
        }
    )
    return pd.concat([distinct, distinct.sample(rows // 5, random_state=0)]).tail(rows)


def main(sizes: list[int], rounds: int) -> None:
    """Print a table per size, and the growth."""
    walls, peaks = {}, {}
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            data = folder / "data.csv"
            make_table(rows).to_csv(data, index=False)
            preprocess = ["steps/preprocess.py", "--target", "price", "--data"]
            scripts = [preprocess, ["benchmarks/bare.py"], ["benchmarks/bare_run.py"]]
            commands = [[sys.executable, str(PROJECT / script), *rest, str(data)] for script, *rest in scripts]
            measure(commands[0], folder)  # creates the store
            ours, bare, bare_run = zip(
                *([measure(words, folder) for words in commands] for _ in range(rounds)), strict=True
            )
        print(f"\n{rows:,} rows", end="")
        compare("preprocess", ours, "bare script", bare)
        compare("preprocess", ours, "bare script as an MLflow run", bare_run)
        walls[rows], peaks[rows] = median([wall for wall, _, _ in ours]), median([peak for _, _, peak in ours])
    if len(sizes) > 1:
        fewer, most = sizes[-2:]
        for label, measured in (("wall time", walls), ("peak memory", peaks)):
            exponent = math.log(measured[most] / measured[fewer]) / math.log(most / fewer)
            print(f"growth exponent of {label}: {exponent:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [10_000, 100_000, 1_000_000]
    parser.add_argument("sizes", nargs="*", type=int, default=sizes, help="(default: 10000 100000 1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="odd; the median counts (default: 5)")
    main(**vars(parser.parse_args()))
