"""How long a served model takes to answer, against the bare pipeline behind the same server, in turn.

    python benchmarks/serving.py data/wines.csv

Ours gets rows as the file has them and reads them by the contract; the other gets what preprocess makes of them. The
times are medians.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pandas as pd
from workflow import PROJECT, measure, median

sys.path.insert(0, str(PROJECT / "steps"))

from tabular.learning import model_files

MODEL = "boosting"
ASKED = {1: 101, 1000: 31}  # rows, and how often


@contextmanager
def served(model: str) -> Iterator[str]:
    """The address at which `mlflow models serve` answers for a model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "-p", str(port), "--env-manager", "local"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(words, start_new_session=True, **quiet)
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            urllib.request.urlopen(f"{address}/ping").close()
            break
        except urllib.error.URLError:
            time.sleep(0.5)
    yield address
    os.killpg(server.pid, 15)
    server.wait()


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
        with served(str(ours)) as ours_at, served(str(folder / "bare")) as bare_at:
            print(f"{'rows':>6}{'raw rows, ms':>15}{'bare pipeline, ms':>20}{'ratio':>8}")
            for rows, times in ASKED.items():
                found = [(ask(ours_at, raw.head(rows)), ask(bare_at, typed.head(rows))) for _ in range(times)]
                mine, theirs = (median(list(column)) for column in zip(*found, strict=True))
                print(f"{rows:>6}{mine:>15.1f}{theirs:>20.1f}{mine / theirs:>8.2f}", flush=True)


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()))
