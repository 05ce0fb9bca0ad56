"""The digest of everything that decides a stage's result: parameters, inputs, source files and package versions."""

import ast
import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.markers import Marker

STEPS = Path(__file__).resolve().parents[2]
# A package counts with everything that it requires, because a new scipy can change what scikit-learn computes. MLflow
# counts alone: its web server and database layer cannot change a number.
WITHOUT_REQUIREMENTS = {"mlflow"}
# Dask computes elsewhere what would be computed here, and so decides nothing, though it may be installed.
IGNORED = {"distributed"}
# Looking these up takes a third of a second; kagglehub need not be installed.
KNOWN_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "kagglehub": "kagglehub"}
HOLDS_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)  # no expression holds an import
END_OF_NAME = re.compile(r"[^\w.-]")


@dataclass(frozen=True)
class Code:
    """The source that decides something: `modules` with all that they import, and single `files`, under `root`.

    Paths are relative to `root`. `files` bind a stage to its run; what they import decides only how that looks.
    """

    modules: tuple[str, ...]
    files: tuple[str, ...] = ()
    root: Path = STEPS

    def paths(self) -> dict[str, Path]:
        """Return the source files, by path relative to `root`."""
        found = {name: self.root / name for name in self.files}
        for module in self.modules:
            found |= imports(self.root / module, self.root)[0]
        return dict(sorted(found.items()))

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each source file, by path relative to `root`."""
        return {name: file_digest(path) for name, path in self.paths().items()}

    def packages(self, more: Iterable[str] = ()) -> dict[str, str]:
        """Return the versions of the distributions imported by the code, and by `more` modules, with requirements."""
        names = set(more)
        for module in self.modules:
            names |= imports(self.root / module, self.root)[1]
        for name in self.files:
            names |= direct_imports((self.root / name).resolve(), self.root.resolve())[1] - sys.stdlib_module_names
        return with_requirements([distribution_of(name) for name in names - IGNORED], WITHOUT_REQUIREMENTS)

    def fingerprint(self, more: Iterable[str] = ()) -> str:
        """Return the digest of the code and its packages."""
        return digest(self.ingredients(more))

    def ingredients(self, more: Iterable[str] = ()) -> dict[str, Any]:
        """Return what a fingerprint says of the code."""
        return {"sources": self.digests(), "packages": self.packages(more), "python": platform.python_version()}


def fingerprint(
    stage: str,
    code: Code,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, str],
    more: Iterable[str] = (),
) -> str:
    """Return the digest of everything that decides the result of a stage.

    Args:
        stage: name of the stage.
        code: its source.
        parameters: resolved values by name.
        inputs: digests of the files and artifacts that it reads.
        more: modules that it imports because a parameter names them.
    """
    decided = {"stage": stage, "parameters": dict(parameters), "inputs": dict(inputs)}
    return digest(decided | code.ingredients(more))


@cache
def imports(module: Path, root: Path) -> tuple[dict[str, Path], frozenset[str]]:
    """Return the project files that `module` imports, however deep, by relative path; and the other packages.

    The code is read, not run: a reused stage must not pay for its imports. Imports for type checking do not count. A
    file that shares a module's name, as `report.html` does with `report.py`, belongs to the module.
    """
    root = root.resolve()
    modules = {module.resolve()}
    outside: set[str] = set()
    waiting = [*modules]
    while waiting:
        inside, others = direct_imports(waiting.pop(), root)
        waiting += inside - modules
        modules |= inside
        outside |= others
    files = {file.relative_to(root).as_posix(): file for each in modules for file in each.parent.glob(f"{each.stem}.*")}
    return files, frozenset(outside - set(sys.stdlib_module_names))


@cache
def direct_imports(file: Path, root: Path) -> tuple[frozenset[Path], frozenset[str]]:
    """Return the modules and packages under `root` that a file itself imports, and the names of those outside."""
    inside: set[Path] = set()
    outside: set[str] = set()
    for name in imported_names(ast.parse(file.read_bytes())):
        parts = name.split(".")  # the last may be a function
        stems = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
        found = {path for stem in stems for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()}
        inside |= found
        outside |= set() if found else {parts[0]}
    return frozenset(inside), frozenset(outside)


def imported_names(tree: ast.AST) -> set[str]:
    """Return `a.b` of `import a.b`, and `a.b.name` of `from a.b import name`, of all imports in a syntax tree.

    Blocks under `if TYPE_CHECKING:` are skipped: they never run.
    """
    if isinstance(tree, ast.Import):
        return {alias.name for alias in tree.names}
    if isinstance(tree, ast.ImportFrom):
        return {f"{tree.module}.{alias.name}" for alias in tree.names}
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return set().union(*map(imported_names, tree.orelse))
    statements = (node for node in ast.iter_child_nodes(tree) if isinstance(node, HOLDS_STATEMENTS))
    return set().union(*map(imported_names, statements))


def supporting_packages(script: Path, known: Mapping[str, str], root: Path = STEPS) -> dict[str, str]:
    """Return the versions of what else must be installed to run `script`, beyond `known` packages."""
    _, names = imports(script, root)
    wanted = [*known, *(distribution_of(name) for name in names - IGNORED)]
    return {name: version for name, version in with_requirements(wanted, set()).items() if name not in known}


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those of the distributions `names` that are installed."""
    return {name: found[0] for name in sorted(names) if (found := installed(name))}


def with_requirements(names: list[str], alone: set[str]) -> dict[str, str]:
    """Return the versions of the distributions `names` and of what they require, except for those in `alone`."""
    found: dict[str, str] = {}
    while names:
        name = names.pop()
        if name not in found and (described := installed(name)):
            found[name], requirements = described
            names += () if name in alone else requirements
    return dict(sorted(found.items()))


@cache
def distribution_of(module: str) -> str:
    """Return the distribution that provides an importable name: `sklearn` → `scikit-learn`."""
    if known := KNOWN_DISTRIBUTIONS.get(module) or (installed(module) and module):
        return normalised_name(known)
    return normalised_name(metadata.packages_distributions().get(module, [module])[0])


@cache
def installed(distribution: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the version of a distribution and what it requires here without extras; None if it is not installed."""
    try:
        found = metadata.metadata(distribution)
    except metadata.PackageNotFoundError:
        return None
    lines = found.get_all("Requires-Dist") or []
    return found["Version"], tuple(normalised_name(END_OF_NAME.split(line)[0]) for line in lines if is_required(line))


def is_required(line: str) -> bool:
    """Return whether a requirement holds in this environment, without extras."""
    _, semicolon, marker = line.partition(";")
    return not semicolon or Marker(marker).evaluate({"extra": ""})


def normalised_name(name: str) -> str:
    """Return the name of a distribution as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of the names and digests of all files in a folder."""
    if path.is_file():
        return file_digest(path)
    return digest({file.relative_to(path).as_posix(): file_digest(file) for file in files_in(path)})


def path_state(path: Path) -> list[tuple[str, int, int]]:
    """Return name, size and modification time of a file, or of all files in a folder: an edit changes them."""
    stats = [(file.name, file.stat()) for file in ([path] if path.is_file() else files_in(path))]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, sorted by name, but not hidden ones, which systems leave."""
    inside = ((file, file.relative_to(folder).parts) for file in folder.rglob("*") if file.is_file())
    return sorted(file for file, parts in inside if not any(part.startswith(".") for part in parts))


def digest(value: Mapping[str, Any] | Iterable[Any]) -> str:
    """Return the SHA-256 of the canonical JSON of a value."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
