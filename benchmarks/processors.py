"""Check that results are the same on other processors, which QEMU emulates; needs root and half an hour.

    apt-get install qemu-user && dpkg --add-architecture arm64 && apt-get update
    python benchmarks/processors.py

Needs QEMU 10: version 7.2 crashes where numpy sorts with AVX2.

Runs `main` with six models on a small file with a text column: natively, on two emulated x86-64 processors, and on an
emulated arm64 with Debian's Python and PyPI's wheels. Compares the receipts as `reproduce` does, and prints a line per
processor. Processors without AVX2 are left out: DuckDB does not load there.
"""

import argparse
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

from workflow.provenance import comparison, receipt  # noqa: E402
from workflow.provenance.receipt import Receipt  # noqa: E402

N_ROWS = 400
PARAMETERS = ["--models", "linear,knn,rf,extra_trees,boosting,blend", "--shap_samples", "2"]
PACKAGES = """
python3.11-minimal libpython3.11-stdlib libpython3.11-minimal libc6 libgcc-s1 libstdc++6 zlib1g libssl3 libffi8
libsqlite3-0 libexpat1 libbz2-1.0 liblzma5 libuuid1 libncursesw6 libtinfo6 libreadline8 libcrypt1
"""


def x86(processor: str) -> list[str]:
    """Return the command that starts this Python on another x86-64 processor."""
    return ["qemu-x86_64", "-cpu", processor, sys.executable]


def arm64(folder: Path) -> list[str]:
    """Install a Python for arm64 in `folder`; return the command that starts it."""
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


def run_main(python: list, folder: Path, data: Path) -> Receipt:
    """Run `main` by a command that starts Python; return its receipt."""
    store = f"sqlite:///{folder}/mlflow.db"
    script = [PROJECT / "steps/main.py", "--data", data, *PARAMETERS]
    done = subprocess.run(
        [*python, *script], env=os.environ | {"MLFLOW_TRACKING_URI": store}, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs(["0"], "tags.`workflow.step` = 'main'")
    path = Path(client.download_artifacts(run.info.run_id, "receipt.json", str(folder)))
    return receipt.read(path.read_text(encoding="utf-8"), str(path))


def main() -> None:
    """Print the verdict and the conclusion for each processor."""
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        data = parent / "wines.csv"
        rows = pd.read_csv(PROJECT / "data/wines.csv", dtype=str, keep_default_na=False).head(N_ROWS)
        rows.assign(label=rows["winery"] + " " + rows["wine"] + " " + rows["region"]).to_csv(data, index=False)
        contract = (PROJECT / "data/wines.yaml").read_text()
        data.with_suffix(".yaml").write_text(contract.replace("  winery:", "  label: {kind: text}\n  winery:", 1))
        folders = {name: parent / name for name in ("native", "Haswell", "EPYC", "arm64")}
        for folder in folders.values():
            folder.mkdir()
        commands = {
            "Haswell": x86("Haswell"),
            "EPYC": x86("EPYC"),
            "arm64": arm64(folders["arm64"]),
        }
        recorded = run_main([sys.executable], folders["native"], data)
        for processor, python in commands.items():
            started = time.monotonic()
            compared = comparison.compare(recorded, run_main(python, folders[processor], data), [], None)
            seconds = time.monotonic() - started
            print(f"{processor:<8} {seconds:5.0f} s  {compared.verdict}: {compared.conclusion}", flush=True)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
