import ast
import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from workflow.commands import evaluate, main, preprocess, train
from workflow.provenance import fingerprint
from workflow.provenance.fingerprint import STEPS, Code
from workflow.runs import drawing

CODES = {
    "preprocess": preprocess.CODE,
    "train": train.CODE,
    "evaluate": evaluate.CODE,
    "main": main.CODE,
    "data report": drawing.DATA_REPORT_CODE,
    "model report": drawing.MODEL_REPORT_CODE,
}
STAGES = ["preprocess", "train", "evaluate"]
REPORTS = ["data report", "model report"]
PARTS = {  # of the code, and what rests on them
    "workflow/data/contract.py": [*STAGES, *REPORTS],
    "workflow/data/tables.py": [*STAGES, *REPORTS],
    "workflow/data/files.py": ["preprocess"],
    "workflow/data/csv_files.py": ["preprocess"],
    "workflow/data/own_features.py": STAGES,
    "workflow/data/split.py": STAGES,
    "workflow/data/inference.py": ["preprocess"],
    "workflow/data/profile.py": ["preprocess", "data report"],
    "workflow/data/associations.py": ["preprocess", "data report"],
    "workflow/data/row_differences.py": [],
    "workflow/evaluation/leakage.py": ["preprocess"],
    "workflow/evaluation/cross_validation.py": ["train"],
    "workflow/evaluation/tree_count.py": ["train"],
    "workflow/evaluation/metrics.py": ["train", "evaluate", "main", "model report"],
    "workflow/evaluation/intervals.py": ["train", "evaluate"],
    "workflow/evaluation/shapley.py": ["train", "evaluate"],
    "workflow/evaluation/contributions.py": ["train", "evaluate"],
    "workflow/evaluation/neighbours.py": ["evaluate"],
    "workflow/evaluation/interactions.py": ["evaluate"],
    "workflow/evaluation/effects.py": ["evaluate", "model report"],
    "workflow/evaluation/attribution.py": [],
    "workflow/evaluation/drift.py": [],
    "workflow/evaluation/learning_curve.py": ["evaluate"],
    "workflow/evaluation/power_law.py": ["model report"],
    "workflow/evaluation/segments.py": ["evaluate"],
    "workflow/evaluation/search.py": [],
    "workflow/models/catalog.py": ["train", "evaluate"],
    "workflow/models/estimators.py": ["train", "evaluate"],
    "workflow/models/model_files.py": ["train", "evaluate"],
    "workflow/models/intervals.py": ["train", "evaluate"],
    "workflow/models/onnx_files.py": [],
    "workflow/models/serving.py": ["train"],
    "workflow/parallel/executors.py": ["train", "evaluate"],
    "workflow/parallel/cluster.py": [],
    "workflow/stages/preprocess.py": ["preprocess"],
    "workflow/stages/train.py": ["train"],
    "workflow/stages/evaluate.py": ["evaluate"],
    "workflow/stages/compare.py": ["main"],
    "workflow/stages/predict.py": [],
    "workflow/stages/promote.py": [],
    "workflow/stages/tune.py": [],
    "workflow/reports/report.html": REPORTS,
    "workflow/reports/report.py": REPORTS,
    "workflow/reports/data_report.py": ["data report"],
    "workflow/reports/model_report.py": ["model report"],
    "workflow/reports/model_card.py": ["model report"],
    "workflow/reports/plots.py": ["model report"],
    "workflow/reports/leaderboard.py": [],
    "workflow/commands/preprocess.py": ["preprocess"],
    "workflow/commands/train.py": ["train"],
    "workflow/commands/evaluate.py": ["evaluate"],
    "workflow/commands/main.py": ["main"],
    "workflow/commands/compare.py": [],
    "workflow/commands/explain.py": [],
    "workflow/commands/export.py": [],
    "workflow/commands/promote.py": [],
    "workflow/commands/retrain.py": [],
    "workflow/reports/retrain_report.py": [],
    "workflow/runs/artifacts.py": [*STAGES, "main"],
    "workflow/runs/names.py": [*STAGES, "main"],
    "workflow/runs/drawing.py": REPORTS,
    "workflow/runs/links.py": REPORTS,
    "workflow/runs/execution.py": [],
    "workflow/runs/cli.py": [],
    "workflow/runs/tracking.py": [],
    "workflow/provenance/fingerprint.py": [],
    "workflow/provenance/receipt.py": [],
    "workflow/parameters.py": [],  # the values of parameters decide, not their help
    "main.py": [],
    "train.py": [],
    "promotion.yaml": [],
}
PACKAGES = {
    "pandas": [*STAGES, "main", *REPORTS],
    "numpy": [*STAGES, "main", *REPORTS],
    "duckdb": [*STAGES, *REPORTS],
    "scikit-learn": STAGES,
    "scipy": [*STAGES, "main", "model report"],
    "skops": ["train", "evaluate"],
    "shap": ["train", "evaluate"],
    "jinja2": REPORTS,
    "matplotlib": ["model report"],
    "optuna": [],
    "rich": [],
    "distributed": [],
    "flask": [],  # required by mlflow, but decides no number
    "ruff": [],
}


@pytest.mark.parametrize(("name", "codes"), PARTS.items())
def test_exactly_the_code_that_can_change_a_result_or_a_report_belongs_to_it(name, codes):
    assert (STEPS / name).is_file()
    assert [code for code in CODES if name in CODES[code].paths()] == codes


@pytest.mark.parametrize(("name", "codes"), PACKAGES.items())
def test_exactly_the_packages_that_can_change_a_result_or_a_report_belong_to_it(name, codes):
    assert [code for code in CODES if name in CODES[code].packages()] == codes


def test_packages_come_with_what_they_require():
    found = train.CODE.packages()
    assert found["scikit-learn"] == metadata.version("scikit-learn")
    assert "scipy" in found
    assert found["mlflow"] == metadata.version("mlflow")
    assert "flask" not in found


def test_a_parameter_may_name_a_package_that_decides_too():
    assert "optuna" not in train.CODE.packages()
    assert train.CODE.packages(["optuna"])["optuna"] == metadata.version("optuna")


@pytest.mark.parametrize("script", ["preprocess", "train", "evaluate", "main", "tune", "predict", "reproduce"])
def test_the_distribution_of_every_import_is_known_without_a_search(script):
    _, names = fingerprint.imports(STEPS / f"{script}.py", STEPS)
    known = fingerprint.KNOWN_DISTRIBUTIONS.keys() | fingerprint.IGNORED
    assert [name for name in names if name not in known and not fingerprint.installed(name)] == []


TOY = {
    "package/__init__.py": "",
    "package/stage.py": "import yaml\nfrom package import helper\n",
    "package/helper.py": "def late():\n    import package.inner\n    import numpy.linalg\n",
    "package/inner.py": "import json\n",
    "package/inner.html": "<p>\n",
    "package/binding.py": "from package import runs\nimport rich\n",
    "package/runs.py": "import mlflow\n",
    "package/typed.py": (
        "import json\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import pandas\n    from package import inner\n"
        "else:\n    from package import runs\n"
    ),
}


@pytest.fixture
def toy(tmp_path) -> Path:
    """Return the root of a small package."""
    for name, text in TOY.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_code_is_all_modules_that_are_imported_however_late_and_their_files(toy):
    files, packages = fingerprint.imports(toy / "package/stage.py", toy)
    inner = {f"package/{name}" for name in ("__init__.py", "stage.py", "helper.py", "inner.py", "inner.html")}
    assert files.keys() == inner
    assert packages == {"yaml", "numpy"}


def test_imports_for_type_checking_do_not_count(toy):
    files, packages = fingerprint.imports(toy / "package/typed.py", toy)
    assert files.keys() == {"package/__init__.py", "package/typed.py", "package/runs.py"}
    assert packages == {"mlflow"}


def test_a_binding_counts_with_its_packages_but_not_with_the_modules_that_it_imports(toy):
    code = Code(("package/stage.py",), ("package/binding.py",), toy)
    assert "package/binding.py" in code.paths()
    assert "package/runs.py" not in code.paths()
    assert {"pyyaml", "numpy", "rich"} <= code.packages().keys()
    assert "mlflow" not in code.packages()


def test_the_digests_of_the_code_are_those_of_its_files(toy):
    found = Code(("package/stage.py",), ("package/binding.py",), toy).digests()
    assert found["package/inner.html"] == hashlib.sha256(b"<p>\n").hexdigest()
    assert list(found) == sorted(found)


@pytest.mark.parametrize("name", ["package/stage.py", "package/inner.html", "package/binding.py"])
def test_the_fingerprint_of_the_code_changes_with_each_of_its_files(toy, name):
    code = Code(("package/stage.py",), ("package/binding.py",), toy)
    before = code.fingerprint()
    (toy / "package/runs.py").write_text("import sys\n")
    assert code.fingerprint() == before
    with open(toy / name, "a") as file:
        file.write("# edited\n")
    assert code.fingerprint() != before


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "other"},
        {"parameters": {"a": 2}},
        {"parameters": {"a": "1"}},
        {"inputs": {"data": "y"}},
        {"inputs": {}},
        {"code": evaluate.CODE},
        {"more": ["optuna"]},
    ],
)
def test_each_part_decides_a_fingerprint(change):
    arguments = {"stage": "train", "code": train.CODE, "parameters": {"a": 1}, "inputs": {"data": "x"}}
    assert fingerprint.fingerprint(**arguments) == fingerprint.fingerprint(**arguments)
    assert fingerprint.fingerprint(**arguments) != fingerprint.fingerprint(**arguments | change)


def test_supporting_packages_are_those_that_no_number_depends_on():
    known = train.CODE.packages()
    others = fingerprint.supporting_packages(STEPS / "train.py", known)
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
def test_a_requirement_counts_if_its_marker_holds_here_without_extras(line, expected):
    assert fingerprint.is_required(line) is expected


@pytest.mark.parametrize("name", ["Scikit-Learn", "scikit_learn", "scikit.-_learn"])
def test_names_are_spelled_as_in_pep_503(name):
    assert fingerprint.normalised_name(name) == "scikit-learn"


def test_the_digest_of_a_folder_is_of_its_files(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("b.csv", "a.csv", "in/c.csv"):
        (tmp_path / name).write_text(name)
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.csv", "b.csv", "in/c.csv")}
    assert fingerprint.path_digest(tmp_path) == fingerprint.digest(digests)
    assert fingerprint.path_digest(tmp_path / "a.csv") == digests["a.csv"]
    assert [name for name, *_ in fingerprint.path_state(tmp_path)] == ["a.csv", "b.csv", "c.csv"]
    before = fingerprint.path_state(tmp_path)
    (tmp_path / ".DS_Store").write_text("left by a file manager")
    assert fingerprint.path_digest(tmp_path) == fingerprint.digest(digests)
    (tmp_path / "in/c.csv").write_text("another")
    assert fingerprint.path_state(tmp_path) != before


def test_a_digest_does_not_depend_on_the_order_of_names():
    canonical = '{"a":"ñ","b":[1,2]}'
    assert fingerprint.digest({"b": [1, 2], "a": "ñ"}) == hashlib.sha256(canonical.encode()).hexdigest()


def test_a_fingerprint_covers_parameters_inputs_sources_packages_and_python():
    assert fingerprint.fingerprint("train", train.CODE, {"seed": 0}, {"data": "x"}) == fingerprint.digest(
        {
            "stage": "train",
            "parameters": {"seed": 0},
            "inputs": {"data": "x"},
            "sources": train.CODE.digests(),
            "packages": train.CODE.packages(),
            "python": platform.python_version(),
        }
    )


MAY_IMPORT = {  # of the package: each room, or module beside the rooms, and the others that it may import
    "__main__": {"entry_points", "spelling"},
    "notebook": {"entry_points", "runs", "spelling"},
    "entry_points": set(),
    "documents": set(),
    "errors": set(),
    "formatting": set(),
    "secrets": set(),
    "spelling": set(),
    "parsing": {"documents", "errors", "spelling"},
    "parameters": {"models", "parsing", "secrets"},
    "data": {"documents", "errors", "formatting", "spelling"},
    "parallel": {"errors"},
    "models": {"data", "parallel", "errors", "spelling"},
    "evaluation": {"data", "models", "parallel", "errors", "formatting", "spelling"},
    "stages": {"data", "evaluation", "models", "parallel", "errors", "formatting", "parameters", "spelling"},
    "reports": {"data", "evaluation", "formatting"},
    "provenance": {"data", "parallel", "documents", "errors", "secrets"},
    "runs": {
        *("data", "models", "parallel", "provenance", "reports"),
        *("documents", "errors", "parameters", "parsing", "secrets", "spelling"),
    },
    "commands": {
        *("data", "evaluation", "models", "parallel", "provenance", "reports", "runs", "stages"),
        *("documents", "errors", "formatting", "parameters", "parsing", "spelling"),
    },
}
DO_WITHOUT = {  # a package, and the rooms that never import it, however late
    "mlflow": ["data", "models", "evaluation", "reports", "stages", "parallel", "provenance"],
    "sklearn": ["provenance", "runs"],
}
MLFLOW_MODEL = "models/serving.py"  # is loaded by MLflow, and explains its predictions on request
SLOW_PACKAGES = {"pandas", "numpy", "scipy", "sklearn"}
PACKAGE = STEPS / "workflow"


def modules_of(room: str) -> dict[str, Path]:
    """Return the modules of a room, or the one beside the rooms, by path relative to the package."""
    paths = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else (PACKAGE / room).glob("*.py")
    return {path.relative_to(PACKAGE).as_posix(): path for path in paths}


def imported(module: Path) -> Iterator[str]:
    """Yield the names that a file imports, wherever in it, for type checking too: `workflow.data.contract`."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_rooms(module: Path) -> set[str]:
    """Return the rooms that a file imports."""
    return {name.split(".")[1] for name in imported(module) if name.startswith("workflow.")}


def test_each_room_of_the_package_has_a_line_in_the_table():
    rooms = {path.parent.name for path in PACKAGE.glob("*/*.py")} | {path.stem for path in PACKAGE.glob("*.py")}
    assert rooms - {"__init__"} == MAY_IMPORT.keys()


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_the_table_allows(room):
    found = {(name, other) for name, path in modules_of(room).items() for other in imported_rooms(path) - {room}}
    forbidden = {(name, other) for name, other in found if other not in MAY_IMPORT[room]}
    assert forbidden == ({(MLFLOW_MODEL, "evaluation")} if room == "models" else set())


@pytest.mark.parametrize(
    ("package", "room"), [(package, room) for package, rooms in DO_WITHOUT.items() for room in rooms]
)
def test_a_room_does_without_a_package(package, room):
    users = [
        name
        for name, path in modules_of(room).items()
        if any(other.partition(".")[0] == package for other in imported(path))
    ]
    assert users == ([MLFLOW_MODEL] if (package, room) == ("mlflow", "models") else [])


@pytest.mark.parametrize("room", ["runs", "provenance"])
def test_slow_packages_are_imported_only_within_functions(room):
    for path in modules_of(room).values():
        statements = ast.parse(path.read_text(encoding="utf-8")).body
        outermost = [each for each in statements if isinstance(each, ast.Import | ast.ImportFrom)]
        names = set().union(*map(fingerprint.imported_names, outermost))
        assert not SLOW_PACKAGES & {name.partition(".")[0] for name in names}, path


def test_a_command_starts_without_the_packages_that_compute():
    packages = ["sklearn", "shap", "optuna", "matplotlib", "duckdb", "distributed"]
    script = f"import sys, workflow.commands.evaluate; print([name for name in {packages} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=STEPS, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_versions_are_those_of_the_installed_distributions():
    found = fingerprint.versions({"numpy", "pandas", "no-such-distribution"})
    assert found == {name: metadata.version(name) for name in ("numpy", "pandas")}
