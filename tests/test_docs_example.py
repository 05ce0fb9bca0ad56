"""The example of stages without MLflow in the documents works as it stands."""

import os
import re
import subprocess
import sys

from conftest import PROJECT

PRINT_MLFLOW = "import sys; print([name for name in sys.modules if name.partition('.')[0] == 'mlflow'])"


def test_the_example_of_calling_stages_prints_a_score_and_imports_nothing_of_mlflow():
    section = (PROJECT / "docs/architecture.md").read_text().partition("## Call a stage without MLflow\n")[2]
    (example,) = re.findall(r"^```python\n(.*?)^```$", section.partition("\n## ")[0], re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", f"{example}\n{PRINT_MLFLOW}"],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": "steps"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    score, imported = done.stdout.splitlines()
    assert 10 < float(score) < 100
    assert imported == "[]"
