"""Every form that was ever released is read for ever: results are reproduced, verdicts verified, models loaded."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT, Workflow

from workflow.provenance import crate, receipt
from workflow.provenance.fingerprint import versions

pytestmark = pytest.mark.slow
RELEASED = sorted(path for path in (PROJECT / "receipts/released").iterdir() if path.is_dir())


@pytest.fixture(params=RELEASED, ids=[path.name for path in RELEASED])
def released(request) -> Path:
    """Return the folder of a released form."""
    return request.param


@pytest.fixture
def elsewhere(tmp_path) -> Workflow:
    """Return a workflow with an empty store."""
    return Workflow(tmp_path / "store")


def test_a_verdict_is_verified(released, elsewhere):
    parameters = {"run": str(released / "wines.zip"), "trust": str(released / "trust.yaml")}
    result = elsewhere.step("verify", **parameters)
    assert result.code == 0, result.output
    assert "proven: maker has reproduced and signed it" in result.output


def test_a_result_is_reproduced(released, elsewhere, tmp_path):
    path, _ = crate.unpack(released / "wines.zip", str(released), tmp_path)
    recorded = receipt.read(path.read_text(encoding="utf-8"), str(released)).environment
    same = versions(recorded.packages) == recorded.packages
    result = elsewhere.step("reproduce", run=str(released / "wines.zip"), env="same" if same else "recorded")
    assert result.code == 0, result.output
    assert result.output.splitlines()[-1].startswith("equal")


def test_a_model_predicts_what_it_predicted(released, tmp_path):
    shutil.unpack_archive(released / "model.zip", tmp_path / "model")
    words = [sys.executable, PROJECT / "receipts/released/predict.py", tmp_path / "model", released / "rows.csv"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    expected = (released / "predictions.txt").read_text().splitlines()
    assert list(map(float, done.stdout.splitlines())) == pytest.approx(list(map(float, expected)), rel=1e-9)
    assert len(expected) == 20
