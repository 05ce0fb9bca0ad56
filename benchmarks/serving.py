"""How long a served model takes to answer, against the bare pipeline behind the same server, in turn.

    python benchmarks/serving.py data/wines.csv

Ours gets rows as the file has them and reads them by the contract; the other gets what preprocess makes of them. The
times are medians.
"""

import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import mlflow
import pandas as pd

from workflow import PROJECT, measure, median

sys.path[:0] = [str(PROJECT / "steps"), str(PROJECT / "tests")]

from servers import model_server  # noqa: E402

from workflow.models import model_files  # noqa: E402

MODEL = "boosting"
ASKED = {1: 101, 1000: 31}  # rows, and how often


def ask(address: str, rows: pd.DataFrame) -> float:
    """Milliseconds that an answer takes."""
    table = json.loads(rows.to_json(orient="split", index=False))
    body = json.dumps({"dataframe_split": table}).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"content-type": "application/json"})
    started = time.perf_counter()
    urllib.request.urlopen(request).read()
    return (time.perf_counter() - started) * 1000


def main(data: str) -> None:
    """Print a table."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure([sys.executable, str(PROJECT / "steps/train.py"), "--model", MODEL, "--data", data], folder)
        client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
        trained, preprocessed = (
            client.search_runs(["0"], f"tags.`workflow.step` = '{step}'")[0] for step in ("train", "preprocess")
        )
        location = client.get_logged_model(trained.outputs.model_outputs[0].model_id).artifact_location
        ours = Path(location.removeprefix("file://"))
        part = pd.read_parquet(client.download_artifacts(preprocessed.info.run_id, "train.parquet", name))
        typed = part.drop(columns="price")
        typed.attrs = {}
        estimator = model_files.load(ours / "model.skops", [MODEL])
        mlflow.sklearn.save_model(
            estimator,
            folder / "bare",
            serialization_format="skops",
            skops_trusted_types=model_files.listed_types([MODEL]),
            signature=mlflow.models.infer_signature(typed, estimator.predict(typed.head())),
            pip_requirements=["mlflow"],
        )
        raw = pd.read_csv(data, dtype=str, keep_default_na=False)
        with model_server(str(ours), os.environ) as ours_at, model_server(str(folder / "bare"), os.environ) as bare_at:
            print(f"{'rows':>6}{'raw rows, ms':>15}{'bare pipeline, ms':>20}{'ratio':>8}")
            for rows, times in ASKED.items():
                found = [(ask(ours_at, raw.head(rows)), ask(bare_at, typed.head(rows))) for _ in range(times)]
                mine, theirs = (median(list(column)) for column in zip(*found, strict=True))
                print(f"{rows:>6}{mine:>15.1f}{theirs:>20.1f}{mine / theirs:>8.2f}", flush=True)


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()))
