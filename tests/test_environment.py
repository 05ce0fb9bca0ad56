"""Every script pins the level of arithmetic of numpy and OpenBLAS, and reports a missing environment."""

import ast
import os
import subprocess
import sys
import venv

import environment

import pytest
from conftest import PROJECT

SCRIPTS = [path for path in (PROJECT / "steps").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
CHOSEN = """
import environment
import numpy
from threadpoolctl import threadpool_info
found = numpy.show_config(mode="dicts")["SIMD Extensions"]["found"]
print(found, {library["architecture"] for library in threadpool_info()})
"""


@pytest.mark.skipif(
    not environment.processor_flags() >= environment.NEEDED, reason="needs a processor that is known to have AVX2"
)
@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"NPY_DISABLE_CPU_FEATURES": "X86_V3", "OPENBLAS_CORETYPE": "Nehalem"},
        {"NPY_ENABLE_CPU_FEATURES": "", "OPENBLAS_CORETYPE": "Prescott"},
    ],
)
def test_the_level_of_arithmetic_is_pinned_whatever_the_variables_say(choice):
    folder = str(PROJECT / "steps")
    done = subprocess.run(
        [sys.executable, "-c", CHOSEN], env=os.environ | choice, cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['X86_V3'] {'Haswell'}"
    assert done.stderr == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_imports_environment_before_any_other_package(script):
    imports = [
        node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports]
    others = [name for name in names if name.partition(".")[0] not in sys.stdlib_module_names]
    assert others[0] == "environment"


def test_a_python_without_mlflow_prints_what_to_do(tmp_path):
    venv.create(tmp_path, with_pip=False)
    words = [tmp_path / "bin/python", PROJECT / "steps/train.py", "--help"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}/bin/python, which `python` starts here, has no mlflow: activate")
    assert done.stderr.count("\n") == 1
