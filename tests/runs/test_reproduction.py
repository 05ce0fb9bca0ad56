from pathlib import Path

from conftest import PROJECT

from workflow.parameters import SAME
from workflow.provenance import receipt
from workflow.provenance.git import Checkout
from workflow.provenance.signatures import PASSPHRASE
from workflow.runs.reproduction import interpreter, run_again

RECORDED = receipt.read((PROJECT / "receipts/wines.json").read_text(), "wines.json")


def test_recorded_code_sees_neither_the_pass_phrase_of_a_key_nor_the_store_of_its_caller(tmp_path, monkeypatch):
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps/main.py").write_text(
        "import os\nprint(sorted(os.environ))\nprint(os.environ['MLFLOW_TRACKING_URI'])\n"
    )
    for name in (PASSPHRASE, "MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "OTHER"):
        monkeypatch.setenv(name, "of the caller")
    with run_again(RECORDED, Checkout(tmp_path, "here", tmp_path), {}, SAME, "sqlite:///own.db", []) as process:
        names, store = process.stdout.read().splitlines()
    assert "'OTHER'" in names
    assert PASSPHRASE not in names
    assert "MLFLOW_RUN_ID" not in names
    assert store == "sqlite:///own.db"


def test_the_recorded_environment_is_listed_outside_the_checked_out_code_even_of_a_subfolder(tmp_path):
    (tmp_path / "code/.git").mkdir(parents=True)
    (tmp_path / "code/inner").mkdir()
    words = interpreter(RECORDED, "recorded", tmp_path / "code/.git")
    assert f"scikit-learn=={RECORDED.environment.packages['scikit-learn']}" in Path(words[-2]).read_text().splitlines()
    assert not list((tmp_path / "code/inner").iterdir())
