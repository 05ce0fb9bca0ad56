"""The project's code as git knows it: the state that a run was made with, and a checkout of such a state."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workflow.errors import UserError
from workflow.provenance.receipt import CodeState
from workflow.secrets import without_secrets

PATCH = "uncommitted.patch"
HOOK_VARIABLES = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}  # set where git itself starts us
GitError = subprocess.CalledProcessError


def git(folder: Path, *words: str, **variables: str) -> bytes:
    """Run a git command and return its output. Raises CalledProcessError if it fails; never asks for a password."""
    environment = {name: value for name, value in os.environ.items() if name not in HOOK_VARIABLES}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"} | variables
    done = subprocess.run(["git", "-C", str(folder), *words], env=environment, capture_output=True, check=True)
    return done.stdout


def state(project: Path, sources: Iterable[str], files: Mapping[str, str]) -> tuple[CodeState, bytes]:
    """Return the state of the code in `project` and its uncommitted changes, a patch to the repository.

    Args:
        project: folder of the project.
        sources: files relative to `project` that the patch must hold even where git does not track them.
        files: digests of the files that decide the result, for the receipt.

    Outside a repository, commit, folder, remote and patch are None.
    """
    try:
        prefix, index, objects, commit = (
            git(project, "rev-parse", "--show-prefix", "--git-path", "index", "--git-path", "objects", "HEAD")
            .decode()
            .splitlines()
        )
    except (GitError, OSError):
        return CodeState(commit=None, folder=None, remote=None, patch=None, files=dict(files)), b""
    patch = uncommitted_changes(project, project / index, project / objects, sources)
    digest = hashlib.sha256(patch).hexdigest() if patch else None
    return CodeState(commit=commit, folder=prefix, remote=remote(project), patch=digest, files=dict(files)), patch


def uncommitted_changes(project: Path, index: Path, objects: Path, sources: Iterable[str]) -> bytes:
    """Return the changes in tracked files, and `sources` that are not tracked, as a patch."""
    with tempfile.TemporaryDirectory() as folder:
        # A copy of the index, and a folder of its own for new objects: the user's repository stays as it is. The copy
        # keeps the index's time, or git would take a file that was edited just now for unchanged.
        shutil.copy2(index, f"{folder}/index")
        aside = {
            "GIT_INDEX_FILE": f"{folder}/index",
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects.resolve()),
        }
        git(project, "add", "--update", ".", **aside)
        git(project, "add", "--force", "--", *sources, **aside)
        return git(project, "diff-index", "--cached", "-p", "--binary", "--full-index", "HEAD", "--", ".", **aside)


def remote(project: Path) -> str | None:
    """Return the URL of `origin`, without the password that it may hold."""
    try:
        return without_secrets(git(project, "remote", "get-url", "origin").decode().strip())
    except GitError:
        return None


def repository(project: Path) -> str | None:
    """Return the root of the repository that `project` is in, if any."""
    try:
        return git(project, "rev-parse", "--show-toplevel").decode().strip()
    except GitError:
        return None


@dataclass(frozen=True)
class Checkout:
    """A checkout of recorded code.

    Attributes:
        project: the project's folder in it.
        origin: the repository that it came from.
        git_folder: its `.git`, where a file changes nothing of the code.
    """

    project: Path
    origin: str
    git_folder: Path


def checkout(code: CodeState, patch: bytes, project: Path, target: Path, script: str, trust: str = "") -> Checkout:
    """Check out the recorded code in the empty folder `target`; nothing of it runs.

    It comes from the repository of `project` or, if that does not have the commit, from the recorded remote. Raises
    UserError if neither has it, if the remote is another than the project's and not the one to `trust`, if the patch
    does not apply, or if the `script`, relative to the project's folder, is not in the checkout.
    """
    git(target, "init", "--quiet")
    git(target, "config", "core.autocrlf", "false")  # set on Windows, it would change the recorded bytes
    origin = fetch(code, project, target, trust)
    git(target, "checkout", "--quiet", "FETCH_HEAD")
    if patch:
        file = target / ".git" / PATCH
        file.write_bytes(patch)
        try:
            git(target, "apply", "--whitespace=nowarn", str(file))
        except GitError as error:
            raise UserError(f"{PATCH} does not apply to commit {code.commit}: {last_line(error)}") from error
    inside = target / (code.folder or "")
    check_inside(target, inside / script, f"code.folder={code.folder}")
    for link in filter(Path.is_symlink, (inside / script).parent.rglob("*")):
        check_inside(target, link, f"{link.relative_to(target)} of commit {code.commit}")
    return Checkout(inside, origin, target / ".git")


def check_inside(target: Path, path: Path, name: str) -> None:
    """Raise UserError, which begins with `name`, if a path leads nowhere or out of the checkout in `target`."""
    found, root = path.resolve(), target.resolve()
    if not found.exists() or not found.is_relative_to(root) or found.is_relative_to(root / ".git"):
        raise UserError(f"{name}: leads to no file of the checkout; use a receipt and a commit that nobody edited")


def fetch(code: CodeState, project: Path, target: Path, trust: str) -> str:
    """Fetch the recorded commit into `target`, and return from where; UserError if it is not found or not trusted."""
    reasons = []
    for source in filter(None, (repository(project), code.remote)):
        if source == code.remote and not is_trusted(source, {remote(project), trust}):
            raise UserError(
                f"commit {code.commit} is not in this repository, and {source} is another project's: running it needs"
                f" -P trust={source}"
            )
        try:
            git(target, "fetch", "--quiet", "--no-tags", "--depth", "1", "--", source, str(code.commit))
            return source
        except GitError as error:
            reasons.append(f"{source} says: {last_line(error)}")
    reason = "; ".join(reasons) or "there is no repository here, and the receipt names no remote"
    raise UserError(f"commit {code.commit} not found: {reason}; run reproduce in a clone that has it, or push it")


def is_trusted(url: str, trusted: Iterable[str | None]) -> bool:
    """Return whether a repository's URL is among those `trusted`; a final `.git` or slash does not count."""

    def plain(url: str) -> str:
        return without_secrets(url).rstrip("/").removesuffix(".git").rstrip("/")

    return plain(url) in {plain(each) for each in trusted if each}


def last_line(error: subprocess.CalledProcessError) -> str:
    """Return the last line of git's error output."""
    return (error.stderr.decode(errors="replace").strip() or str(error)).splitlines()[-1]
