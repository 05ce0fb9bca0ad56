from importlib import metadata

import pytest
from conftest import PROJECT

from runs import fingerprint

STEPS = PROJECT / "steps"


def test_sources_are_what_the_step_imports_however_late():
    files = fingerprint.sources(STEPS / "train.py")
    assert {"train.py", "preprocess.py", "tabular/estimators.py", "tabular/scoring.py", "runs/lineage.py"} <= set(files)
    assert not {"main.py", "evaluate.py", "tabular/plots.py", "tabular/shapley.py"} & set(files)


def test_a_file_that_a_module_brings_belongs_to_it():
    assert "tabular/report.html" in fingerprint.sources(STEPS / "evaluate.py")


def test_packages_come_with_what_they_require():
    found = fingerprint.packages(STEPS / "train.py")
    assert found["scikit-learn"] == metadata.version("scikit-learn")
    assert "scipy" in found
    assert "flask" not in found  # mlflow's, and no number rests on it


@pytest.mark.parametrize("script", ["preprocess", "train", "evaluate", "main", "reproduce"])
def test_no_package_takes_long_to_look_up(script):
    _, names = fingerprint.imports(STEPS / f"{script}.py")
    assert [name for name in names if name not in fingerprint.PROVIDERS and not fingerprint.installed(name)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"step": "other"},
        {"parameters": {"a": 2}},
        {"parameters": {"a": "1"}},
        {"inputs": {"data": "y"}},
        {"inputs": {}},
    ],
)
def test_each_part_decides(change):
    arguments = {"step": "train", "script": STEPS / "train.py", "parameters": {"a": 1}, "inputs": {"data": "x"}}
    assert fingerprint.fingerprint(**arguments) == fingerprint.fingerprint(**arguments)
    assert fingerprint.fingerprint(**arguments) != fingerprint.fingerprint(**arguments | change)


def test_wings_do_not_know_each_other():
    for wing, banned in (("tabular", {"mlflow", "runs"}), ("runs", {"sklearn", "pandas", "tabular"})):
        for module in (STEPS / wing).glob("*.py"):
            words = module.read_text().split()
            imported = {
                words[place + 1].partition(".")[0] for place, word in enumerate(words) if word in ("import", "from")
            }
            assert not imported & banned, module
