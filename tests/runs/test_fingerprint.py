import ast
from importlib import metadata
from pathlib import Path

import pytest
from conftest import PROJECT

from runs import fingerprint

STEPS = PROJECT / "steps"


def test_sources_are_what_the_step_imports_however_late():
    files = set(fingerprint.sources(STEPS / "train.py"))
    assert {"train.py", "preprocess.py", "runs/lineage.py", "tabular/learning/scoring.py"} <= files
    assert not {"main.py", "evaluate.py", "tabular/telling/plots.py", "tabular/learning/shapley.py"} & files


def test_a_file_that_a_module_brings_belongs_to_it():
    assert "tabular/telling/report.html" in fingerprint.sources(STEPS / "evaluate.py")


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


def imports(module: Path) -> set[str]:
    """The names that a file imports, wherever in it: `tabular.reading.contract`."""
    nodes = list(ast.walk(ast.parse(module.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize(
    ("room", "banned"),
    [
        ("runs", {"sklearn", "pandas", "tabular"}),
        ("tabular/reading", {"mlflow", "runs", "tabular.learning", "tabular.telling"}),
        ("tabular/learning", {"mlflow", "runs", "tabular.telling"}),
        ("tabular/telling", {"mlflow", "runs", "tabular.learning"}),
    ],
)
def test_walls(room, banned):
    modules = list((STEPS / room).glob("*.py"))
    assert len(modules) > 3
    for module in modules:
        for name in imports(module):
            assert not any(name == other or name.startswith(f"{other}.") for other in banned), (module, name)
