"""The project's code as git knows it: the state that a run was made with, and a checkout of such a state."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
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


def checkout(code: CodeState, patch: bytes, project: Path, target: Path) -> Path:
    """Check out the recorded code in the empty folder `target` and return the project's folder in it.

    It comes from the repository of `project` or, if that does not have the commit, from the recorded remote. Raises
    UserError if neither has it, or if the patch does not apply.
    """
    git(target, "init", "--quiet")
    fetch(code, project, target)
    git(target, "checkout", "--quiet", "FETCH_HEAD")
    if patch:
        file = target / ".git" / PATCH
        file.write_bytes(patch)
        try:
            git(target, "apply", "--whitespace=nowarn", str(file))
        except GitError as error:
            raise UserError(f"{PATCH} does not apply to commit {code.commit}: {last_line(error)}") from error
    return target / (code.folder or "")


def fetch(code: CodeState, project: Path, target: Path) -> None:
    """Fetch the recorded commit into `target`. Raises UserError if it is not found."""
    reasons = []
    for source in filter(None, (repository(project), code.remote)):
        try:
            git(target, "fetch", "--quiet", "--no-tags", "--depth", "1", "--", source, str(code.commit))
            return
        except GitError as error:
            reasons.append(f"{source} says: {last_line(error)}")
    reason = "; ".join(reasons) or "there is no repository here, and the receipt names no remote"
    raise UserError(f"commit {code.commit} not found: {reason}; run reproduce in a clone that has it, or push it")


def last_line(error: subprocess.CalledProcessError) -> str:
    """Return the last line of git's error output."""
    return (error.stderr.decode(errors="replace").strip() or str(error)).splitlines()[-1]
