#!/usr/bin/env bash
# Print the coverage of the fast tests, and which of a tenth of the mutants they kill; fail if either has fallen.
set -euo pipefail
cd "$(dirname "$0")/.."

pytest -q -n 2 -m "not slow" --cov=steps/workflow --cov-report=term:skip-covered --cov-fail-under=80
pip install --quiet mutmut
python benchmarks/mutants.py --digits 3 --at-least 0.92
