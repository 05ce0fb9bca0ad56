"""Readable differences of source files and of YAML documents."""

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def source_difference(one: Path, other: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the unified diff of each file in `names` that differs between two folders, by name."""
    found = {}
    for name in names:
        before, after = (text_lines(folder / name) for folder in (one, other))
        if before != after:
            found[name] = "\n".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm=""))
    return found


def text_lines(path: Path) -> list[str]:
    """Return the lines of a text file; none if it does not exist."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def changed_lines(diff: str) -> tuple[int, int]:
    """Return how many lines a unified diff adds, and how many it removes."""
    lines = diff.splitlines()[2:]
    return sum(line.startswith("+") for line in lines), sum(line.startswith("-") for line in lines)


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Return the values in nested mappings as JSON, by their paths: `columns.price.max`."""
    if not isinstance(value, dict):
        return {prefix: json.dumps(value, ensure_ascii=False, default=str)}
    return {
        path: text
        for name, inner in value.items()
        for path, text in flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }
