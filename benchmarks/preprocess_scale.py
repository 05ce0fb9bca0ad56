"""How preprocess grows with the number of rows, against two scripts on the same file, in turn.

    python benchmarks/preprocess_scale.py

One is bare (bare.py), the other does the same as an MLflow run (bare_run.py), which takes a time that no step can save.
The file is made up: eleven columns like the wines', a sixth of the rows copies. The growth exponent is that of wall
time and peak memory from the second largest size to the largest: 1 is in proportion to the rows.
"""

import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from workflow import PROJECT, compare, measure, median

SIZES = (10_000, 100_000, 1_000_000)
ROUNDS = 5


def made_up(rows: int) -> pd.DataFrame:
    """A file of so many rows."""
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


def main() -> None:
    """Print a table per size, and the growth."""
    walls, peaks = {}, {}
    for rows in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            data = folder / "data.csv"
            made_up(rows).to_csv(data, index=False)
            preprocess = ["steps/preprocess.py", "--target", "price", "--data"]
            scripts = [preprocess, ["benchmarks/bare.py"], ["benchmarks/bare_run.py"]]
            commands = [[sys.executable, str(PROJECT / script), *rest, str(data)] for script, *rest in scripts]
            measure(commands[0], folder)  # makes the store
            ours, bare, bare_run = zip(
                *([measure(words, folder) for words in commands] for _ in range(ROUNDS)), strict=True
            )
        print(f"\n{rows:,} rows", end="")
        compare("preprocess", ours, "bare script", bare)
        compare("preprocess", ours, "bare script as an MLflow run", bare_run)
        walls[rows], peaks[rows] = median([wall for wall, _, _ in ours]), median([peak for _, _, peak in ours])
    fewer, most = SIZES[-2:]
    for what, found in (("wall time", walls), ("peak memory", peaks)):
        print(f"growth exponent of {what}: {math.log(found[most] / found[fewer]) / math.log(most / fewer):.2f}")


if __name__ == "__main__":
    main()
