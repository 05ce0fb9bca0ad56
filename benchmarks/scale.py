"""How each step of the whole workflow grows with the number of rows.

    python benchmarks/scale.py
    python benchmarks/scale.py 1000000 10000000 --models linear,boosting

The file is that of preprocess_scale.py with a price that hangs on its columns. Per step: seconds, and the size of the
model's file; of the whole: the peak memory. The growth exponent is from the first size to the last: 1 is in proportion
to the rows.
"""

import argparse
import math
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from preprocess_scale import made_up

from workflow import PROJECT, measure


def with_a_price(rows: int) -> pd.DataFrame:
    """A file of so many rows whose prices can be predicted, though not without error."""
    frame = made_up(rows)
    winery = frame["winery"].str.removeprefix("Bodega ").astype(int)
    noise = np.random.default_rng(1).normal(0, 0.3, len(frame))
    log_price = np.sin(winery) + frame["rating"] * frame["acidity"] + 0.1 * (2022 - frame["year"]) ** 0.5 + noise
    return frame.assign(price=np.exp(log_price).round(2))


def steps_of(store: Path) -> dict[str, tuple[float, float]]:
    """Seconds of each step, and megabytes of its model."""
    client = mlflow.MlflowClient(f"sqlite:///{store}/mlflow.db")
    found = {}
    for run in client.search_runs(["0"], order_by=["attributes.start_time"]):
        size = 0.0
        if run.outputs and run.outputs.model_outputs:
            model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
            size = (Path(model.artifact_location.removeprefix("file://")) / "model.skops").stat().st_size / 1e6
        found[run.info.run_name] = ((run.info.end_time - run.info.start_time) / 1000, size)
    return found


def main(rows: list[int], models: str) -> None:
    """Print a table per size, and the growth of each step."""
    measured = []
    for count in rows:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with_a_price(count).to_csv(folder / "data.csv", index=False)
            words = ["--data", str(folder / "data.csv"), "--target", "price", "--models", models]
            _, _, peak = measure([sys.executable, str(PROJECT / "steps/main.py"), *words], folder)
            measured.append(steps_of(folder))
        print(f"\n{count:,} rows, peak {peak:,.0f} MB")
        for step, (seconds, size) in measured[-1].items():
            print(f"  {step:<22} {seconds:>8.1f} s" + (f" {size:>8.1f} MB" if size else ""), flush=True)
    if len(rows) > 1:
        print("\ngrowth exponents of wall time")
        for step, (seconds, _) in measured[-1].items():
            growth = math.log(seconds / measured[0][step][0]) / math.log(rows[-1] / rows[0])
            print(f"  {step:<22} {growth:>8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, default=[100_000, 1_000_000], help="(default: 100000 1000000)")
    parser.add_argument("--models", default="linear,rf,boosting,blend", help="(default: %(default)s)")
    main(**vars(parser.parse_args()))
