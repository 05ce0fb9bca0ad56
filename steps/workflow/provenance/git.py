"""The project's code as git knows it: the state that a run was made with, and a checkout of such a state."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from workflow.errors import UserError
from workflow.runs.secrets import without_secrets

PATCH = "uncommitted.patch"
OF_A_HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}  # set where git itself starts us
REFUSED = subprocess.CalledProcessError


def git(folder: Path, *words: str, **variables: str) -> bytes:
    """What a git command prints. Raises CalledProcessError if it fails; never asks for a password."""
    environment = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"} | variables
    done = subprocess.run(["git", "-C", str(folder), *words], env=environment, capture_output=True, check=True)
    return done.stdout


def state(project: Path, sources: Iterable[str]) -> tuple[dict[str, str | None], bytes]:
    """What a receipt says of the code in `project` (all None outside a repository), and its uncommitted changes.

    They are a patch to the repository: what changed in the files that git knows, and those of `sources`, relative to
    `project`, that it does not know.
    """
    try:
        prefix, index, objects, commit = (
            git(project, "rev-parse", "--show-prefix", "--git-path", "index", "--git-path", "objects", "HEAD")
            .decode()
            .splitlines()
        )
    except (REFUSED, OSError):
        return dict.fromkeys(("commit", "folder", "remote", "patch")), b""
    with tempfile.TemporaryDirectory() as folder:
        # A copy of the index, and a folder of its own for new objects: the user's repository stays as it is. The copy
        # is as old as the index, or git would take a file that was edited just now for unchanged.
        shutil.copy2(project / index, f"{folder}/index")
        aside = {
            "GIT_INDEX_FILE": f"{folder}/index",
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((project / objects).resolve()),
        }
        git(project, "add", "--update", ".", **aside)
        git(project, "add", "--force", "--", *sources, **aside)
        patch = git(project, "diff-index", "--cached", "-p", "--binary", "--full-index", "HEAD", "--", ".", **aside)
    digest = hashlib.sha256(patch).hexdigest() if patch else None
    return {"commit": commit, "folder": prefix, "remote": remote(project), "patch": digest}, patch


def remote(project: Path) -> str | None:
    """Where the repository can be had from elsewhere, without the password that a URL may hold."""
    try:
        return without_secrets(git(project, "remote", "get-url", "origin").decode().strip())
    except REFUSED:
        return None


def repository(project: Path) -> str | None:
    """The root of the repository that `project` is in, if any."""
    try:
        return git(project, "rev-parse", "--show-toplevel").decode().strip()
    except REFUSED:
        return None


def checkout(code: Mapping[str, str], patch: bytes, project: Path, target: Path) -> Path:
    """The project as a receipt's `code` says, checked out in the empty folder `target`.

    From the repository of `project` or, if that does not have the commit, from the recorded remote. Raises UserError if
    neither has it, or if the patch does not fit.
    """
    commit = code["commit"]
    git(target, "init", "--quiet")
    reasons = []
    for place in filter(None, (repository(project), code["remote"])):
        try:
            git(target, "fetch", "--quiet", "--no-tags", "--depth", "1", "--", place, commit)
            break
        except REFUSED as error:
            reasons.append(f"{place} says: {last_line(error)}")
    else:
        reason = "; ".join(reasons) or "there is no repository here, and the receipt names no remote"
        raise UserError(f"commit {commit} cannot be had: {reason}; run reproduce in a clone that has it, or push it")
    git(target, "checkout", "--quiet", "FETCH_HEAD")
    if patch:
        file = target / ".git" / PATCH
        file.write_bytes(patch)
        try:
            git(target, "apply", "--whitespace=nowarn", str(file))
        except REFUSED as error:
            raise UserError(f"{PATCH} does not fit commit {commit}: {last_line(error)}") from error
    return target / code["folder"]


def last_line(error: subprocess.CalledProcessError) -> str:
    """The last line that git had to say."""
    return (error.stderr.decode(errors="replace").strip() or str(error)).splitlines()[-1]
