"""Which faults in the modules that decide the fast tests do not see: mutants by mutmut, each a small change.

    pip install mutmut
    python benchmarks/mutants.py                     # all of MODULES: two hours on two cores
    python benchmarks/mutants.py tabular/learning/scoring     # one of them

It prints the survivors as differences, and at the end the share that was killed in each module.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MODULES = (
    *("tabular/reading/contract", "tabular/reading/inference"),
    *("tabular/learning/scoring", "tabular/learning/split", "tabular/learning/leak"),
    *("runs/comparison", "runs/receipt", "runs/fingerprint", "runs/lineage"),
)
CONFIGURATION = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = {modules}
also_copy = ["data", "steps"]
pytest_add_cli_args = ["-m", "not slow", "-p", "no:xdist", "-p", "no:randomly"]
pytest_add_cli_args_test_selection = ["tests/tabular", "tests/runs"]
"""


def copy_project(folder: Path, modules: list[str]) -> None:
    """The project as mutmut wants it: what it changes lies in `src`, the one folder that it takes for no package."""
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns(".*", "mlruns", "*.db"), dirs_exist_ok=True)
    shutil.copytree(folder / "steps", folder / "src")
    settings = (folder / "pyproject.toml").read_text()
    settings = settings.replace('pythonpath = ["steps", "tests"]', 'pythonpath = ["src", "tests"]')
    settings = re.sub(r" --dist=\S+ --no-loadscope-reorder", "", settings)
    chosen = [f"src/{module}.py" for module in modules]
    (folder / "pyproject.toml").write_text(settings + CONFIGURATION.format(modules=chosen))


def main(modules: list[str]) -> None:
    """Run mutmut on a copy of the project, and tell what came of the mutants."""
    mutmut = Path(sys.executable).with_name("mutmut")
    if not mutmut.exists():
        sys.exit("error: mutmut is not installed: pip install mutmut")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "project"
        copy_project(folder, modules)
        if subprocess.run([mutmut, "run", "--max-children", "2"], cwd=folder).returncode:
            sys.exit("error: mutmut could not run the tests")
        listed = subprocess.run([mutmut, "results", "--all", "true"], cwd=folder, capture_output=True, text=True).stdout
        found = re.findall(r"^\s*(\S+): (.+)$", listed, re.M)
        for name, status in found:
            if status != "killed":
                print(f"\n{status}: {name}")
                print(subprocess.run([mutmut, "show", name], cwd=folder, capture_output=True, text=True).stdout)
    print(f"\n{'module':<28}{'mutants':>8}{'killed':>8}")
    every = Counter(module_of(name) for name, _ in found)
    killed = Counter(module_of(name) for name, status in found if status in ("killed", "timeout"))
    for module, count in every.items():
        print(f"{module:<28}{count:>8}{killed[module] / count:>8.0%}")


def module_of(name: str) -> str:
    """The module of a mutant: `tabular.learning.scoring`."""
    return name.partition(".x")[0]


if __name__ == "__main__":
    main(sys.argv[1:] or list(MODULES))
