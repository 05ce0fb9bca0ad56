"""The entry points of the project: a script each in `steps/`, with the parameters that `MLproject` declares."""

import ast
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
NO_ENTRY_POINTS = {"environment"}


def scripts() -> dict[str, Path]:
    """Return the scripts of the entry points, by name."""
    return {path.stem: path for path in sorted(PROJECT.glob("steps/*.py")) if path.stem not in NO_ENTRY_POINTS}


def docstring_of(script: Path) -> str:
    """Return the docstring of a script."""
    return ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""


def declared_defaults(name: str) -> dict[str, Any]:
    """Return the parameters of an entry point, with their defaults; None where it has none."""
    declared = yaml.safe_load((PROJECT / "MLproject").read_text(encoding="utf-8"))["entry_points"][name]
    return {parameter: entry.get("default") for parameter, entry in declared["parameters"].items()}
