"""How predict grows with the rows of a file, against a bare script (bare_predict.py) on the same file, in turn.

    python benchmarks/predict_scale.py
    python benchmarks/predict_scale.py 1000000 10000000

The model is boosting, on 20,000 rows of the file of scale.py. Unlike the bare script, predict reads by the contract,
gives intervals, measures drift, and scores the rows it has not learned from.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import mlflow
from scale import with_a_price

from workflow import PROJECT, compare, measure


def main(sizes: list[int]) -> None:
    """Print a table per size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with_a_price(20_000).to_csv(folder / "data.csv", index=False)
        store = f"sqlite:///{folder}/mlflow.db"
        words = [sys.executable, str(PROJECT / "steps/train.py"), "--model", "boosting", "--target", "price"]
        measure([*words, "--data", str(folder / "data.csv")], folder)
        client = mlflow.MlflowClient(store)
        (run,) = client.search_runs(["0"], "tags.`workflow.step` = 'train'")
        location = client.get_logged_model(run.outputs.model_outputs[0].model_id).artifact_location
        model = Path(location.removeprefix("file://")) / "model.skops"
        for rows in sizes:
            with_a_price(rows).to_csv(folder / "new.csv", index=False)
            words = [
                sys.executable,
                str(PROJECT / "steps/predict.py"),
                "--model",
                run.info.run_id,
                "--overwrite",
                "true",
            ]
            ours = [measure([*words, "--data", str(folder / "new.csv"), "--output", str(folder / "out.csv")], folder)]
            bare = [sys.executable, str(PROJECT / "benchmarks/bare_predict.py"), str(model), str(folder / "new.csv")]
            theirs = [measure(bare, folder)]
            (folder / "predicted.csv").unlink()
            print(f"\n{rows:,} rows", end="")
            compare("predict", ours, "bare script", theirs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[100_000, 1_000_000], help="(default: 100000 1000000)")
    main(**vars(parser.parse_args()))
