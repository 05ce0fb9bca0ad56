import ast
import hashlib
import platform
from importlib import metadata
from pathlib import Path

import pytest
from conftest import PROJECT

from workflow.provenance import fingerprint

STEPS = PROJECT / "steps"


def test_sources_are_what_the_step_imports_however_late():
    files = set(fingerprint.sources(STEPS / "train.py"))
    assert {"train.py", "preprocess.py", "runs/lineage.py", "tabular/learning/scoring.py"} <= files
    assert not {"main.py", "evaluate.py", "tabular/telling/plots.py", "tabular/learning/shapley.py"} & files


def test_a_file_that_a_module_brings_belongs_to_it():
    assert "tabular/telling/report.html" in fingerprint.sources(STEPS / "evaluate.py")


@pytest.mark.parametrize(
    ("rests_on", "name", "steps"),
    [
        (fingerprint.sources, "preprocess.py", ["preprocess", "train", "evaluate"]),
        (fingerprint.sources, "tabular/reading/contract.py", ["preprocess", "train", "evaluate"]),
        (fingerprint.sources, "tabular/telling/report.html", ["preprocess", "train", "evaluate"]),
        (fingerprint.sources, "train.py", ["train", "evaluate"]),
        (fingerprint.sources, "tabular/learning/scoring.py", ["train", "evaluate"]),
        (fingerprint.sources, "evaluate.py", ["evaluate"]),
        (fingerprint.sources, "tabular/learning/shapley.py", ["evaluate"]),
        (fingerprint.sources, "main.py", []),
        (fingerprint.packages, "duckdb", ["preprocess", "train", "evaluate"]),
        (fingerprint.packages, "skops", ["train", "evaluate"]),
        (fingerprint.packages, "matplotlib", ["evaluate"]),
        (fingerprint.packages, "ruff", []),
    ],
)
def test_what_a_step_rests_on(rests_on, name, steps):
    scripts = ("preprocess", "train", "evaluate")
    assert [step for step in scripts if name in rests_on(STEPS / f"{step}.py")] == steps


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


def test_what_supports_is_what_no_number_rests_on():
    known, others = fingerprint.packages(STEPS / "train.py"), fingerprint.supporting_packages(STEPS / "train.py")
    assert not known.keys() & others.keys()
    assert others["flask"] == metadata.version("flask")
    assert set(fingerprint.with_requirements(["mlflow"], {"mlflow"})) == {"mlflow"}
    assert "flask" in fingerprint.with_requirements(["mlflow"], set())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("numpy>=2", True),
        ("numpy>=2; python_version >= '3.9'", True),
        ("numpy>=2; python_version < '3'", False),
        ("numpy>=2; extra == 'all'", False),
        ("numpy>=2; extra == '' and platform_version != '; '", True),
    ],
)
def test_what_is_required_here(line, expected):
    assert fingerprint.is_required(line) is expected


@pytest.mark.parametrize("name", ["Scikit-Learn", "scikit_learn", "scikit.-_learn"])
def test_names_as_pep_503_spells_them(name):
    assert fingerprint.normalised_name(name) == "scikit-learn"


def test_the_content_of_a_folder_is_that_of_its_files(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("b.csv", "a.csv", "in/c.csv"):
        (tmp_path / name).write_text(name)
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.csv", "b.csv", "in/c.csv")}
    assert fingerprint.path_digest(tmp_path) == fingerprint.digest(digests)
    assert fingerprint.path_digest(tmp_path / "a.csv") == digests["a.csv"]
    assert [name for name, *_ in fingerprint.path_state(tmp_path)] == ["a.csv", "b.csv", "c.csv"]
    before = fingerprint.path_state(tmp_path)
    (tmp_path / "in/c.csv").write_text("another")
    assert fingerprint.path_state(tmp_path) != before


def test_a_digest_does_not_hang_on_the_order_of_names():
    canonical = '{"a":"ñ","b":[1,2]}'
    assert fingerprint.digest({"b": [1, 2], "a": "ñ"}) == hashlib.sha256(canonical.encode()).hexdigest()


def test_a_fingerprint_is_of_all_that_decides():
    script = STEPS / "train.py"
    assert fingerprint.fingerprint("train", script, {"seed": 0}, {"data": "x"}) == fingerprint.digest(
        {
            "step": "train",
            "parameters": {"seed": 0},
            "inputs": {"data": "x"},
            "sources": fingerprint.sources(script),
            "packages": fingerprint.packages(script),
            "python": platform.python_version(),
        }
    )


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
