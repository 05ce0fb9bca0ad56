"""Time the answers of a served model against those of the bare pipeline behind the same server, in turn.

    python benchmarks/serving.py data/wines.csv

Our model gets rows as the file has them and enforces the contract; the bare pipeline gets rows that preprocess has
typed. The times are medians.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import mlflow
import pandas as pd
from end_to_end import PROJECT, measure, median

sys.path[:0] = [str(PROJECT / "steps"), str(PROJECT / "tests")]

from servers import model_server  # noqa: E402

from workflow.models import model_files  # noqa: E402

MODEL = "boosting"
REQUESTS = {1: 101, 1000: 31}  # number of requests, by the rows of each


def request_milliseconds(address: str, rows: pd.DataFrame) -> float:
    """Return the milliseconds that a request for predictions takes."""
    table = json.loads(rows.to_json(orient="split", index=False))
    body = json.dumps({"dataframe_split": table}).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"content-type": "application/json"})
    started = time.perf_counter()
    urllib.request.urlopen(request).read()
    return (time.perf_counter() - started) * 1000


def train(data: str, folder: Path) -> tuple[Path, pd.DataFrame]:
    """Train in a new store in `folder`; return the folder of the logged model, and its typed training rows."""
    measure([sys.executable, str(PROJECT / "steps/train.py"), "--model", MODEL, "--data", data], folder)
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    trained, preprocessed = (
        client.search_runs(["0"], f"tags.`workflow.step` = '{step}'")[0] for step in ("train", "preprocess")
    )
    location = client.get_logged_model(trained.outputs.model_outputs[0].model_id).artifact_location
    rows = pd.read_parquet(client.download_artifacts(preprocessed.info.run_id, "train.parquet", str(folder)))
    return Path(location.removeprefix("file://")), rows


def save_bare_pipeline(model: Path, features: pd.DataFrame, path: Path) -> None:
    """Save the estimator of a logged model by itself, as MLflow's own scikit-learn flavor does."""
    estimator = model_files.load(model / "model.skops", [MODEL])
    mlflow.sklearn.save_model(
        estimator,
        path,
        serialization_format="skops",
        skops_trusted_types=model_files.listed_types([MODEL]),
        signature=mlflow.models.infer_signature(features, estimator.predict(features.head())),
        pip_requirements=["mlflow"],
    )


def main(data: str) -> None:
    """Print a table."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, training_rows = train(str(Path(data).resolve()), folder)
        typed = training_rows.drop(columns="price")
        typed.attrs = {}
        save_bare_pipeline(ours, typed, folder / "bare")
        raw = pd.read_csv(data, dtype=str, keep_default_na=False)
        with model_server(str(ours), os.environ) as our_address, model_server(str(folder / "bare"), os.environ) as bare:
            print(f"{'rows':>6}{'raw rows, ms':>15}{'bare pipeline, ms':>20}{'ratio':>8}")
            for rows, n_requests in REQUESTS.items():
                pairs = [
                    (request_milliseconds(our_address, raw.head(rows)), request_milliseconds(bare, typed.head(rows)))
                    for _ in range(n_requests)
                ]
                mine, theirs = (median(list(column)) for column in zip(*pairs, strict=True))
                print(f"{rows:>6}{mine:>15.1f}{theirs:>20.1f}{mine / theirs:>8.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a CSV file with the columns of data/wines.csv")
    main(**vars(parser.parse_args()))
