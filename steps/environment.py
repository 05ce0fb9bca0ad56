"""The environment that a script needs: packages, one level of arithmetic, a calm garbage collector. Import it first.

Left alone, numpy and OpenBLAS choose their loops by the processor, and the last bits of logarithms and matrix products
with them. Both look at the environment when they are loaded. So this sets them, on every x86-64 processor with AVX2, to
the level that all of those have: numpy's X86_V3 and OpenBLAS's Haswell.
"""

import gc
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = {"avx2", "fma"}
PINS = {"NPY_ENABLE_CPU_FEATURES": "X86_V3", "OPENBLAS_CORETYPE": "Haswell"}


def processor_flags() -> set[str]:
    """What the processor says it can do; nothing where the system does not tell."""
    try:
        information = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    flags = re.search(r"^flags\s*:\s*(.+)$", information, re.M)
    return set(flags[1].split()) if flags else set()


if find_spec("mlflow") is None:
    print(
        f"error: {sys.executable}, which `python` starts here, has no mlflow:"
        " activate the environment that has it (. .venv/bin/activate), or pip install -r requirements.txt",
        file=sys.stderr,
    )
    sys.exit(2)
if processor_flags() >= NEEDED:
    os.environ.pop("NPY_DISABLE_CPU_FEATURES", None)  # numpy takes one or the other
    os.environ |= PINS
gc.set_threshold(100_000)  # what the imports make is no garbage, and to look through it takes half a second
