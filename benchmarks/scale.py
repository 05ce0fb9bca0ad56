"""Measure how each step of the whole workflow scales with the number of rows.

    python benchmarks/scale.py
    python benchmarks/scale.py 1000000 10000000 --models linear,boosting

The table is that of preprocess_scale.py, with a target that depends on its features. Prints seconds per step and the
size of the model's file, and the peak memory of the whole. The growth exponent is that of wall time from the first size
to the last: 1 is linear.
"""

import argparse
import math
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from end_to_end import PROJECT, measure
from preprocess_scale import make_table


def make_regression_table(rows: int) -> pd.DataFrame:
    """Return a synthetic table whose target can be predicted, though not without error."""
    frame = make_table(rows)
    winery = frame["winery"].str.removeprefix("Bodega ").astype(int)
    noise = np.random.default_rng(1).normal(0, 0.3, len(frame))
    log_price = np.sin(winery) + frame["rating"] * frame["acidity"] + 0.1 * (2022 - frame["year"]) ** 0.5 + noise
    return frame.assign(price=np.exp(log_price).round(2))


def measured_steps(store: Path) -> dict[str, tuple[float, float]]:
    """Return seconds of each run in a store, and megabytes of its model, by the run's name."""
    client = mlflow.MlflowClient(f"sqlite:///{store}/mlflow.db")
    steps = {}
    for run in client.search_runs(["0"], order_by=["attributes.start_time"]):
        size = 0.0
        if run.outputs and run.outputs.model_outputs:
            model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
            size = (Path(model.artifact_location.removeprefix("file://")) / "model.skops").stat().st_size / 1e6
        steps[run.info.run_name] = ((run.info.end_time - run.info.start_time) / 1000, size)
    return steps


def main(rows: list[int], models: str) -> None:
    """Print a table per size, and the growth of each step."""
    measured = []
    for count in rows:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_regression_table(count).to_csv(folder / "data.csv", index=False)
            words = ["--data", str(folder / "data.csv"), "--target", "price", "--models", models]
            _, _, peak = measure([sys.executable, str(PROJECT / "steps/main.py"), *words], folder)
            measured.append(measured_steps(folder))
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
