"""Make the folder of a released form: a result of this version with everything that it leaves, to be read for ever.

    git clone <this repository> clean && cd clean        # a receipt names a commit that others have
    python receipts/released/make.py receipts/released/form-<version of the receipt>

The folder holds a crate (receipt, data, contract, signed verdict), the trusted key, the folder of the logged model as a
zip file, and rows with their predictions. It needs the packages of requirements.txt. tests/test_released.py reproduces,
verifies and loads each folder.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from mlflow import MlflowClient

PROJECT = Path(__file__).resolve().parents[2]
ROWS = 400


def main(target: Path) -> None:
    """Evaluate a linear model on a few wines, reproduce and sign the result, and export all of it."""
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = pd.read_csv(PROJECT / "data/wines.csv", dtype=str, keep_default_na=False).head(ROWS)
        rows.to_csv(folder / "wines.csv", index=False)
        shutil.copy(PROJECT / "data/wines.yaml", folder / "wines.yaml")
        store = f"sqlite:///{folder}/mlflow.db"
        output = run(store, "evaluate", "--data", folder / "wines.csv", "--model", "linear", "--shap_samples", "5")
        run_id = re.search(r"-P run=([0-9a-f]{32})", output)[1]
        key = write_key(folder, target)
        run(store, "reproduce", "--run", run_id, "--sign", key)
        run(store, "export", "--model", run_id, "--output", target.resolve() / "wines.zip")
        client = MlflowClient(store)
        trained = client.get_run(client.get_run(run_id).data.tags["workflow.upstream"])
        model = client.get_logged_model(trained.outputs.model_outputs[0].model_id)
        shutil.make_archive(str(target / "model"), "zip", model.artifact_location)
        rows.drop(columns="price").head(20).to_csv(target / "rows.csv", index=False)
        predict = [sys.executable, Path(__file__).with_name("predict.py"), model.artifact_location, target / "rows.csv"]
        done = subprocess.run(predict, capture_output=True, text=True, check=True)
        (target / "predictions.txt").write_text(done.stdout)


def run(store: str, step: str, *words: object) -> str:
    """Run a script of this project, and return what it has printed."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": store}
    command = [sys.executable, PROJECT / f"steps/{step}.py", *map(str, words)]
    folder = store.removeprefix("sqlite:///").rpartition("/")[0]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def write_key(folder: Path, target: Path) -> Path:
    """Write a private key to a folder that is thrown away, and the public one to `target`; return the private one."""
    key = Ed25519PrivateKey.generate()
    path = folder / "key.pem"
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (target / "maker.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (target / "trust.yaml").write_text("maker: {key: maker.pem}\n")
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1]))
