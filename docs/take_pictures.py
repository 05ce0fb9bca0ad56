"""Take the screenshots of the README: the workflow on the bundled file, in the MLflow UI.

    python docs/take_pictures.py

Requires Chromium, its driver, and the packages of requirements-dev.txt.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "tests"))

from browser import find_browser, opened, shown  # noqa: E402
from ports import free_port, wait_for  # noqa: E402


def main() -> None:
    """Run the workflow in a new tracking store, and save a screenshot of its leaderboard and of the best report."""
    if not (found := find_browser()):
        sys.exit("error: Chromium and chromedriver are not installed (Debian: apt install chromium chromium-driver)")
    with tempfile.TemporaryDirectory() as folder, opened(*found) as browser:
        environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        mlflow = [sys.executable, "-m", "mlflow"]
        command = [*mlflow, "run", str(PROJECT), "--env-manager", "local"]
        result = subprocess.run(command, env=environment, cwd=folder, check=True, stderr=subprocess.PIPE, text=True)
        port = free_port()
        server = subprocess.Popen([*mlflow, "ui", "--port", str(port)], env=environment, cwd=folder)
        try:
            wait_for(port)
            leaderboard = address(result.stderr, "leaderboard").replace("127.0.0.1:5000", f"127.0.0.1:{port}")
            shown(browser, leaderboard, "main auto", "blend", size=(1500, 900))
            browser.find_element("xpath", "//button[contains(., 'Show more')]").click()
            for button in browser.find_elements("xpath", "//button[@aria-label='Hide banner' or @aria-label='Close']"):
                button.click()  # a hint and the assistant cover the page
            time.sleep(3)  # the page moves while its parts appear
            browser.execute_script("document.querySelectorAll('*').forEach(element => element.scrollTop = 0)")
            browser.save_screenshot(str(PROJECT / "docs/leaderboard.png"))
            run_id = re.search(r"/runs/(\w+)/", address(result.stderr, "blend"))[1]
            shown(browser, next(Path(folder).rglob(f"{run_id}/artifacts/report.html")).as_uri(), size=(1000, 2200))
            browser.save_screenshot(str(PROJECT / "docs/report.png"))
        finally:
            server.terminate()
        explain(Path(folder), environment)
    for name in ("leaderboard.png", "report.png", "explanation.png"):  # 128 colours need a quarter of the bytes
        Image.open(PROJECT / "docs" / name).convert("RGB").quantize(128).save(PROJECT / "docs" / name, optimize=True)


def explain(folder: Path, environment: dict[str, str]) -> None:
    """Save the figure that explains the change of a score: by rows, an encoder and a seed."""
    rows = (PROJECT / "data/wines.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    shutil.copy(PROJECT / "data/wines.yaml", folder / "march.yaml")
    (folder / "march.csv").write_text("".join(rows[:6001]), encoding="utf-8")
    evaluate = [sys.executable, PROJECT / "steps/evaluate.py", "--model", "extra_trees"]
    ids = []
    for words in (["--data", folder / "march.csv"], ["--encoder", "onehot", "--seed", "1"]):
        done = subprocess.run([*evaluate, *words], env=environment, check=True, capture_output=True, text=True)
        ids.append(re.search(r"-P run=(\w+)", done.stderr)[1])
    command = [sys.executable, PROJECT / "steps/explain.py", "--a", ids[0], "--b", ids[1]]
    subprocess.run(command, env=environment, check=True)
    shutil.copy(next(folder.rglob("explanation.png")), PROJECT / "docs/explanation.png")


def address(output: str, name: str) -> str:
    """Return the address that `main` printed for a page."""
    return re.search(rf"^ +{name} +(http\S+)$", output, re.M)[1]


if __name__ == "__main__":
    main()
