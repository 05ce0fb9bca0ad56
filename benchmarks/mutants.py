"""Find faults in the code that the fast tests do not notice: mutants by mutmut, each with one small change.

    pip install mutmut
    python benchmarks/mutants.py                                        # all of MODULES: two hours on two cores
    python benchmarks/mutants.py workflow/evaluation/cross_validation   # one of them

Prints the surviving mutants as differences, and at the end the share that was killed in each module.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MODULES = tuple(
    f"workflow/{module}"
    for module in (
        *("data/contract", "data/inference", "data/split"),
        *("evaluation/cross_validation", "evaluation/leakage", "evaluation/metrics"),
        *("provenance/comparison", "provenance/fingerprint", "provenance/receipt"),
        *("runs/execution", "stages/promote"),
    )
)
TESTS = [
    f"tests/{folder}"
    for folder in ("data", "models", "evaluation", "reports", "parallel", "provenance", "runs", "stages")
]
PACKAGES_TEST = "test_exactly_the_packages_that_can_change_a_result_or_a_report_belong_to_it"
DESELECTED = f"tests/provenance/test_fingerprint.py::{PACKAGES_TEST}"  # a mutated module imports mutmut, and so rich
CONFIGURATION = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = {modules}
also_copy = ["data", "receipts", "steps"]
pytest_add_cli_args = ["-m", "not slow", "-p", "no:xdist", "-p", "no:randomly", "--deselect", "{deselected}"]
pytest_add_cli_args_test_selection = {tests}
"""


def copy_project(folder: Path, modules: list[str]) -> None:
    """Copy the project with the code to mutate in `src`, the one folder that mutmut does not take for a package."""
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns(".*", "mlruns", "*.db"), dirs_exist_ok=True)
    shutil.copytree(folder / "steps", folder / "src")
    settings = (folder / "pyproject.toml").read_text()
    settings = settings.replace('pythonpath = ["steps", "tests"]', 'pythonpath = ["src", "tests"]')
    settings = re.sub(r" --dist=\S+ --no-loadscope-reorder", "", settings)
    paths = [f"src/{module}.py" for module in modules]
    configuration = CONFIGURATION.format(modules=paths, tests=TESTS, deselected=DESELECTED)
    (folder / "pyproject.toml").write_text(settings + configuration)


def main(modules: list[str]) -> None:
    """Run mutmut on a copy of the project, and print what became of the mutants."""
    mutmut = Path(sys.executable).with_name("mutmut")
    if not mutmut.exists():
        sys.exit("error: mutmut is not installed; pip install mutmut")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        copy_project(folder, modules)
        if subprocess.run([mutmut, "run", "--max-children", "2"], cwd=folder).returncode:
            sys.exit("error: mutmut could not run the tests")
        listed = subprocess.run([mutmut, "results", "--all", "true"], cwd=folder, capture_output=True, text=True).stdout
        mutants = re.findall(r"^\s*(\S+): (.+)$", listed, re.M)
        for mutant, status in mutants:
            if status != "killed":
                print(f"\n{status}: {mutant}")
                print(subprocess.run([mutmut, "show", mutant], cwd=folder, capture_output=True, text=True).stdout)
    print(f"\n{'module':<40}{'mutants':>8}{'killed':>8}")
    total = Counter(module_of(mutant) for mutant, _ in mutants)
    killed = Counter(module_of(mutant) for mutant, status in mutants if status in ("killed", "timeout"))
    for module, count in total.items():
        print(f"{module:<40}{count:>8}{killed[module] / count:>8.0%}")


def module_of(mutant: str) -> str:
    """Return the module of a mutant: `workflow.data.split`."""
    return mutant.partition(".x")[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=list(MODULES), help=f"(default: {' '.join(MODULES)})")
    main(**vars(parser.parse_args()))
