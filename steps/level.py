"""One level of arithmetic on every x86-64 processor with AVX2: numpy's X86_V3 and OpenBLAS's Haswell. Import it first.

Left alone, numpy and OpenBLAS choose their loops by the processor, and the last bits of logarithms and matrix products
with them. Both look at the environment when they are loaded, so this must come before numpy.
"""

import os
import re
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


if processor_flags() >= NEEDED:
    os.environ.pop("NPY_DISABLE_CPU_FEATURES", None)  # numpy takes one or the other
    os.environ |= PINS
