"""Take the pictures of the README: the workflow on the bundled file, seen in the MLflow UI.

    python docs/take_pictures.py

Needs Chromium and its driver, and what requirements-dev.txt installs.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "tests"))

from browser import find_browser, opened, shown  # noqa: E402
from conftest import free_port, wait_for  # noqa: E402


def main() -> None:
    """Run the workflow in a store of its own, show it, and take two pictures."""
    if not (found := find_browser()):
        sys.exit("error: Chromium and chromedriver are not installed (Debian: apt install chromium chromium-driver)")
    with tempfile.TemporaryDirectory() as folder, opened(*found) as browser:
        store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        words = [sys.executable, "-m", "mlflow"]
        run = [*words, "run", str(PROJECT), "--env-manager", "local"]
        done = subprocess.run(run, env=os.environ | store, cwd=folder, check=True, stderr=subprocess.PIPE, text=True)
        port = free_port()
        with subprocess.Popen([*words, "ui", "--port", str(port)], env=os.environ | store, cwd=folder) as server:
            wait_for(port)

            def address(name: str) -> str:
                printed = re.search(rf"^ +{name} +(http\S+)$", done.stderr, re.M)[1]
                return printed.replace("127.0.0.1:5000", f"127.0.0.1:{port}")

            shown(browser, address("models"), "wines-testing", "cv_r2_score", size=(1800, 620))
            time.sleep(2)  # the table moves while its columns appear
            browser.save_screenshot(str(PROJECT / "docs/ui.png"))
            report = re.search(r"experiments/0/runs/(\w+)/artifacts/report.html", address("rf"))[1]
            file = next(Path(folder).rglob(f"{report}/artifacts/report.html"))
            shown(browser, file.as_uri(), "What moves a prediction", size=(1000, 1900))
            browser.save_screenshot(str(PROJECT / "docs/report.png"))
            server.terminate()
    for name in ("ui.png", "report.png"):  # a quarter of the bytes
        Image.open(PROJECT / "docs" / name).convert("RGB").quantize(128).save(PROJECT / "docs" / name, optimize=True)


if __name__ == "__main__":
    main()
