"""Whether the workflow comes out again on other processors, which QEMU stands in for: half an hour, as root.

    apt-get install qemu-user && dpkg --add-architecture arm64 && apt-get update
    python benchmarks/processors.py

It takes QEMU 10; 7.2 crashes where numpy sorts with AVX2.

Runs `main` with six models on a small file with a column of prose: here, on two x86-64 processors, and on arm64 with a
Python of Debian's and wheels of PyPI; compares the receipts as `reproduce` does, and prints a line for each processor.
One without AVX2 cannot be tried: DuckDB does not load there.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mlflow
import pandas as pd

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "steps"))

from workflow.provenance import comparison  # noqa: E402

ROWS = 400
PARAMETERS = ["--models", "linear,knn,rf,extra_trees,boosting,blend", "--shap_samples", "2"]
PACKAGES = """
python3.11-minimal libpython3.11-stdlib libpython3.11-minimal libc6 libgcc-s1 libstdc++6 zlib1g libssl3 libffi8
libsqlite3-0 libexpat1 libbz2-1.0 liblzma5 libuuid1 libncursesw6 libtinfo6 libreadline8 libcrypt1
"""


def x86(processor: str) -> list[str]:
    """The command of this Python on another x86-64 processor."""
    return ["qemu-x86_64", "-cpu", processor, sys.executable]


def arm64(folder: Path) -> list[str]:
    """The command of a Python for arm64, which is put together in `folder`."""
    root, packages = folder / "root", folder / "packages"
    subprocess.run(
        ["apt-get", "download", "-q", *(f"{name}:arm64" for name in PACKAGES.split())], cwd=folder, check=True
    )
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], check=True)
    words = ["--target", packages, "--python-platform", "aarch64-unknown-linux-gnu", "--only-binary", ":all:"]
    requirements = ["--python-version", "3.11", "-r", PROJECT / "requirements.txt"]
    subprocess.run([sys.executable, "-m", "uv", "pip", "install", "--quiet", *words, *requirements], check=True)
    return ["env", f"PYTHONPATH={packages}", "qemu-aarch64", "-L", root, root / "usr/bin/python3.11"]


def receipt(words: list, folder: Path, data: Path) -> dict:
    """The receipt of `main`, run by a command that starts Python."""
    store = f"sqlite:///{folder}/mlflow.db"
    script = [PROJECT / "steps/main.py", "--data", data, *PARAMETERS]
    done = subprocess.run(
        [*words, *script], env=os.environ | {"MLFLOW_TRACKING_URI": store}, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs(["0"], "tags.`workflow.step` = 'main'")
    return json.loads(Path(client.download_artifacts(run.info.run_id, "receipt.json", str(folder))).read_text())


def main() -> None:
    """Print the verdict and its reason for each processor."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        data = place / "wines.csv"
        rows = pd.read_csv(PROJECT / "data/wines.csv", dtype=str, keep_default_na=False).head(ROWS)
        rows.assign(label=rows["winery"] + " " + rows["wine"] + " " + rows["region"]).to_csv(data, index=False)
        terms = (PROJECT / "data/wines.yaml").read_text()
        data.with_suffix(".yaml").write_text(terms.replace("  winery:", "  label: {kind: text}\n  winery:", 1))
        folders = {name: place / name for name in ("here", "Haswell", "EPYC", "arm64")}
        for folder in folders.values():
            folder.mkdir()
        commands = {
            "Haswell": x86("Haswell"),
            "EPYC": x86("EPYC"),
            "arm64": arm64(folders["arm64"]),
        }
        recorded = receipt([sys.executable], folders["here"], data)
        for processor, words in commands.items():
            started = time.monotonic()
            made = receipt(words, folders[processor], data)
            found = comparison.compare(recorded, made, [], None)
            print(
                f"{processor:<8} {time.monotonic() - started:5.0f} s  {found.verdict}: {found.conclusion}", flush=True
            )


if __name__ == "__main__":
    main()
