"""The digest of all that decides a step's result: sources, packages, parameters and inputs."""

import ast
import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.markers import Marker

# A package stands in the fingerprint with all that it requires, because a new scipy can change what
# scikit-learn computes. MLflow stands alone: its web server and database layer cannot change a number.
ALONE = {"mlflow"}
# It computes on other computers what would come out here, and so decides nothing, though it may be installed.
ELSEWHERE = {"distributed"}
# To look them up takes a third of a second. Of kagglehub, because it need not be installed.
PROVIDERS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "kagglehub": "kagglehub"}
NOT_NAME = re.compile(r"[^\w.-]")


@cache
def imports(script: Path) -> tuple[dict[str, Path], frozenset[str]]:
    """The project files that `script` imports, however deep, by relative path; and the other packages.

    Found by reading the code, not by running it: a reused step must not pay for its imports. A file that
    shares a module's name (`report.html` beside `report.py`) belongs to the module.
    """
    root = script.resolve().parent
    modules: set[Path] = {script.resolve()}
    outside: set[str] = set()
    waiting = [*modules]
    while waiting:
        inside, others = imported(waiting.pop(), root)
        waiting += inside - modules
        modules |= inside
        outside |= others
    files = {
        file.relative_to(root).as_posix(): file for module in modules for file in module.parent.glob(f"{module.stem}.*")
    }
    return files, frozenset(outside - set(sys.stdlib_module_names))


@cache
def imported(file: Path, root: Path) -> tuple[frozenset[Path], frozenset[str]]:
    """The modules and packages under `root` that a file itself imports, and the names of those that are elsewhere."""
    inside: set[Path] = set()
    outside: set[str] = set()
    for name in imported_names(file):
        parts = name.split(".")  # whose last may be a function
        places = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
        found = {
            path for place in places for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()
        }
        inside |= found
        outside |= set() if found else {parts[0]}
    return frozenset(inside), frozenset(outside)


def imported_names(file: Path) -> set[str]:
    """`package.module` of `import package.module`, and `package.module.name` of `from package.module import name`."""
    names = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(script: Path) -> dict[str, str]:
    """SHA-256 of each project file that `script` imports, by path relative to the scripts' folder."""
    files, _ = imports(script)
    return {name: file_digest(file) for name, file in sorted(files.items())}


def packages(script: Path, modules: Iterable[str] = ()) -> dict[str, str]:
    """Exact versions of the distributions that `script` imports, and of those of `modules`, with all they require."""
    _, names = imports(script)
    return with_requirements([provider(name) for name in {*names, *modules} - ELSEWHERE], ALONE)


def supporting_packages(script: Path, modules: Iterable[str] = ()) -> dict[str, str]:
    """Exact versions of what else must be installed to run `script`, though no number rests on it."""
    known = packages(script, modules)
    every = with_requirements(list(known), set())
    return {name: version for name, version in every.items() if name not in known}


def with_requirements(names: list[str], alone: set[str]) -> dict[str, str]:
    """Versions of the distributions `names` and of what they require, except of what those in `alone` do."""
    found: dict[str, str] = {}
    while names:
        name = names.pop()
        if name not in found and (described := installed(name)):
            found[name], requirements = described
            names += () if name in alone else requirements
    return dict(sorted(found.items()))


@cache
def provider(module: str) -> str:
    """The distribution that provides an importable name: `sklearn` → `scikit-learn`."""
    if known := PROVIDERS.get(module) or (installed(module) and module):
        return normalised_name(known)
    return normalised_name(metadata.packages_distributions().get(module, [module])[0])


@cache
def installed(distribution: str) -> tuple[str, tuple[str, ...]] | None:
    """Version of an installed distribution, and what it requires here without extras; None if it is not installed."""
    try:
        found = metadata.metadata(distribution)
    except metadata.PackageNotFoundError:
        return None
    lines = found.get_all("Requires-Dist") or []
    return found["Version"], tuple(normalised_name(NOT_NAME.split(line)[0]) for line in lines if is_required(line))


def is_required(line: str) -> bool:
    """Whether a requirement holds in this environment, and without extras."""
    _, semicolon, marker = line.partition(";")
    return not semicolon or Marker(marker).evaluate({"extra": ""})


def normalised_name(name: str) -> str:
    """The name of a distribution as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and digests of all files in a folder."""
    if path.is_file():
        return file_digest(path)
    return digest({file.relative_to(path).as_posix(): file_digest(file) for file in files_in(path)})


def path_state(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of the last change of a file, or of all files in a folder: what differs after an edit."""
    stats = [(file.name, file.stat()) for file in ([path] if path.is_file() else files_in(path))]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def files_in(folder: Path) -> list[Path]:
    """All files in a folder and its subfolders, in the order of their names."""
    return sorted(file for file in folder.rglob("*") if file.is_file())


def digest(parts: Mapping[str, Any] | Iterable[Any]) -> str:
    """SHA-256 of the canonical JSON of `parts`."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def fingerprint(
    step: str,
    script: Path,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Any],
    modules: Iterable[str] = (),
) -> str:
    """Digest of all that decides the result of `step`.

    `inputs` holds the digests of the data the step reads: of files, or its upstream run's fingerprint. `modules` are
    those that it imports because a parameter says so.
    """
    return digest(
        {
            "step": step,
            "parameters": dict(parameters),
            "inputs": dict(inputs),
            "sources": sources(script),
            "packages": packages(script, modules),
            "python": platform.python_version(),
        }
    )
