#!/usr/bin/env bash
# Print how much of what computes the fast tests run, and which of a tenth of its mutants they kill; fail if either has fallen.
set -euo pipefail
cd "$(dirname "$0")/.."

covered=(--cov=steps/workflow/data --cov=steps/workflow/evaluation --cov=steps/workflow/provenance)
pytest -q -n 2 -m "not slow" "${covered[@]}" --cov-report=term:skip-covered --cov-fail-under=98
pip install --quiet mutmut
python benchmarks/mutants.py --digits 7 --at-least 0.92
