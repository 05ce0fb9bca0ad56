"""Measure how predict scales with the number of rows, against a bare script (bare_predict.py) on the same file.

    python benchmarks/predict_scale.py
    python benchmarks/predict_scale.py 1000000 10000000

The model is boosting, fitted on 20,000 rows of the table of scale.py. Unlike the bare script, predict enforces the
contract, adds prediction intervals, measures drift, and scores the rows that are not in the training set.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import mlflow
from end_to_end import PROJECT, compare, measure
from scale import make_regression_table


def main(sizes: list[int]) -> None:
    """Print a table per size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_regression_table(20_000).to_csv(folder / "data.csv", index=False)
        store = f"sqlite:///{folder}/mlflow.db"
        words = [sys.executable, str(PROJECT / "steps/train.py"), "--model", "boosting", "--target", "price"]
        measure([*words, "--data", str(folder / "data.csv")], folder)
        client = mlflow.MlflowClient(store)
        (run,) = client.search_runs(["0"], "tags.`workflow.step` = 'train'")
        location = client.get_logged_model(run.outputs.model_outputs[0].model_id).artifact_location
        model = Path(location.removeprefix("file://")) / "model.skops"
        predict = [sys.executable, str(PROJECT / "steps/predict.py"), "--model", run.info.run_id, "--overwrite", "true"]
        files = ["--data", str(folder / "new.csv"), "--output", str(folder / "out.csv")]
        bare = [sys.executable, str(PROJECT / "benchmarks/bare_predict.py"), str(model), str(folder / "new.csv")]
        for rows in sizes:
            make_regression_table(rows).to_csv(folder / "new.csv", index=False)
            ours, theirs = [measure([*predict, *files], folder)], [measure(bare, folder)]
            (folder / "predicted.csv").unlink()
            print(f"\n{rows:,} rows", end="")
            compare("predict", ours, "bare script", theirs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[100_000, 1_000_000], help="(default: 100000 1000000)")
    main(**vars(parser.parse_args()))
