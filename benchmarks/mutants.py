"""Find faults in the code that the fast tests do not notice: mutants by mutmut, each with one small change.

    pip install mutmut
    python benchmarks/mutants.py                                        # all of MODULES: hours on two cores
    python benchmarks/mutants.py workflow/evaluation/cross_validation   # one of them
    python benchmarks/mutants.py --digits 3 --at-least 0.92             # a tenth: those whose number ends in 3

Prints the surviving mutants as differences, but for those that only leave out `strict=True`, and at the end the share
that was killed in each module and in all. Exits with 1 if that is below `--at-least`.
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
        *("evaluation/cross_validation", "evaluation/metrics", "evaluation/paired", "evaluation/ranking"),  # score
        *("data/split", "evaluation/leakage"),  # split
        *("provenance/comparison", "data/row_differences", "evaluation/attribution"),  # compare
        *("provenance/receipt", "provenance/fingerprint", "provenance/verdict", "provenance/signatures"),  # verify
    )
)
TESTS = [
    f"tests/{folder}"
    for folder in ("data", "models", "evaluation", "reports", "parallel", "provenance", "runs", "stages")
]
PACKAGES_TEST = "test_exactly_the_packages_that_can_change_a_result_or_a_report_belong_to_it"
DESELECTED = (
    f"tests/provenance/test_fingerprint.py::{PACKAGES_TEST}",  # a mutated module imports mutmut, and so rich
    "tests/runs/test_metric_source.py",  # imports a module that an earlier run in the same process has imported
)
KILLED = {"killed", "timeout"}
CHECK = re.compile(r", strict=\w+")
CONFIGURATION = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = {modules}
also_copy = ["data", "docs", "receipts", "steps"]
pytest_add_cli_args = ["-m", "not slow", "-p", "no:xdist", "-p", "no:randomly", {deselected}]
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
    deselected = ", ".join(f'"--deselect", "{name}"' for name in DESELECTED)
    configuration = CONFIGURATION.format(modules=paths, tests=TESTS, deselected=deselected)
    (folder / "pyproject.toml").write_text(settings + configuration)


def main(modules: list[str], digits: str, at_least: float) -> None:
    """Run mutmut on a copy of the project, and print what became of the mutants."""
    mutmut = Path(sys.executable).with_name("mutmut")
    if not mutmut.exists():
        sys.exit("error: mutmut is not installed; pip install mutmut")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        copy_project(folder, modules)
        chosen = [f"*__mutmut_*{digit}" for digit in digits]
        if subprocess.run([mutmut, "run", "--max-children", "2", *chosen], cwd=folder).returncode:
            sys.exit("error: mutmut could not run the tests")
        listed = re.findall(r"^\s*(\S+): (.+)$", output_of(folder, mutmut, "results", "--all", "true"), re.M)
        mutants = {mutant: status for mutant, status in listed if not digits or mutant[-1] in digits}
        for mutant, status in list(mutants.items()):
            if status in KILLED:
                continue
            difference = output_of(folder, mutmut, "show", mutant)
            if is_equivalent(difference):
                del mutants[mutant]
            else:
                print(f"\n{status}: {mutant}\n{difference}")
    report(mutants, at_least)


def output_of(folder: Path, *words: str | Path) -> str:
    """Return what a command prints in a folder."""
    return subprocess.run(words, cwd=folder, capture_output=True, text=True).stdout


def is_equivalent(difference: str) -> bool:
    """Return whether a mutant only leaves out a check of ours: whether two sequences are equally long."""
    before, after = (
        [CHECK.sub("", line[1:]) for line in re.findall(rf"^{sign} .*$", difference, re.M)] for sign in (r"\-", r"\+")
    )
    return before == after


def report(mutants: dict[str, str], at_least: float) -> None:
    """Print the share of mutants that were killed; exit with an error if it is too small."""
    print(f"\n{'module':<40}{'mutants':>8}{'killed':>8}")
    total = Counter(map(module_of, mutants))
    killed = Counter(module_of(mutant) for mutant, status in mutants.items() if status in KILLED)
    for module, count in total.items():
        print(f"{module:<40}{count:>8}{killed[module] / count:>8.0%}")
    share = killed.total() / total.total()
    print(f"{'all':<40}{total.total():>8}{share:>8.1%}")
    if share < at_least:
        sys.exit(f"error: fewer than {at_least:.0%} of the mutants were killed")


def module_of(mutant: str) -> str:
    """Return the module of a mutant: `workflow.data.split`."""
    return mutant.partition(".x")[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=list(MODULES), help=f"(default: {' '.join(MODULES)})")
    parser.add_argument("--digits", default="", help="a sample: mutants whose number ends in one of these digits")
    parser.add_argument("--at-least", type=float, default=0, help="share that must be killed (default: %(default)s)")
    main(**vars(parser.parse_args()))
