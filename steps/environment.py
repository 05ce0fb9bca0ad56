"""Prepare the process of a script: check packages, fix the level of arithmetic, calm the garbage collector.

Import it first. By default, numpy and OpenBLAS choose their loops by the processor, and with them the last bits of
logarithms and matrix products. Both read environment variables when they are loaded. On every x86-64 processor with
AVX2, these are set to the level that all of those have: numpy's X86_V3 and OpenBLAS's Haswell.
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
    """Return the instruction sets of the processor; empty where the system does not list them."""
    try:
        information = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    flags = re.search(r"^flags\s*:\s*(.+)$", information, re.M)
    return set(flags[1].split()) if flags else set()


if find_spec("mlflow") is None:
    print(
        f"error: {sys.executable}, which `python` starts here, has no mlflow:"
        " activate the environment with it (. .venv/bin/activate), or install it (pip install uv && uv pip install -r"
        " requirements.txt)",
        file=sys.stderr,
    )
    sys.exit(2)
if os.name == "nt":  # whose terminals are UTF-8, but not its pipes
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
if sys.platform == "darwin":  # whose BLAS threadpoolctl does not know
    os.environ.setdefault("VECLIB_MAXIMUM_THREADS", "1")
if processor_flags() >= NEEDED:
    os.environ.pop("NPY_DISABLE_CPU_FEATURES", None)  # numpy accepts only one of both
    os.environ |= PINS
gc.set_threshold(100_000)  # imports make no garbage, and searching them for it takes half a second
