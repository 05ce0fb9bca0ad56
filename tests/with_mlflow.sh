#!/usr/bin/env bash
# Run the tests that rest on MLflow with another version of it: the lock, except for MLflow, in an environment of its own.
#   tests/with_mlflow.sh 3.16.0     # the oldest that is promised
#   tests/with_mlflow.sh            # the newest that the lock's packages allow
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
grep -v '^mlflow' requirements-dev.txt > "$folder/lock.txt"
python -m uv venv --quiet "$folder/venv"
. "$folder/venv/bin/activate"
uv pip install --quiet -r "$folder/lock.txt" "mlflow${1:+==$1}"
uv pip list 2>/dev/null | grep '^mlflow '

# A receipt names the version of MLflow, so those that are in the repository differ in it.
pytest -n 3 tests/runs tests/test_project.py tests/test_reproduce.py tests/test_ui.py tests/test_service.py tests/test_servers.py \
    --deselect tests/test_reproduce.py::test_the_committed_receipt_is_reproduced
