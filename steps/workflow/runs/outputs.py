"""The file that a parameter names to be written: it appears whole, or not at all."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mlflow.exceptions import MlflowException

from workflow.errors import UserError
from workflow.runs import processes
from workflow.runs.sources import as_path, is_remote
from workflow.secrets import with_secrets


@contextmanager
def written(parameter: str, output: str, project: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary file of the same name, which becomes `output`, a path or a URI, when the block succeeds.

    A relative path is the project's. Raises UserError, before the block, for a file that exists, unless `overwrite`,
    and for a folder in which nothing can be written.
    """
    if is_remote(output):
        with uploaded(f"{parameter}={output}", output, overwrite) as file:
            yield file
        return
    path = project / as_path(output)
    if path.is_dir():
        raise UserError(f"{parameter}={output}: is a folder; name a file in it")
    check_absent(f"{parameter}={output}", path.exists(), overwrite)
    remove_abandoned(path)
    try:
        beside = tempfile.TemporaryDirectory(prefix=f".{path.name}-{processes.mark()}-", dir=path.parent)
    except OSError as error:
        raise UserError(f"{parameter}={output}: {error.strerror}; name a file in a folder of yours") from error
    with beside as folder:
        yield Path(folder) / path.name
        try:
            os.replace(Path(folder) / path.name, path)
        except PermissionError as error:  # on Windows, of a file that another program has open
            remedy = "close it where it is open, or choose another name"
            raise UserError(f"{parameter}={output}: cannot be replaced ({error.strerror}); {remedy}") from error


def check_absent(name: str, exists: bool, overwrite: bool) -> None:
    """Raise UserError, which begins with `name`, for an output that exists and must not be replaced."""
    if exists and not overwrite:
        raise UserError(f"{name}: exists already; choose another name, or pass -P overwrite=true")


def remove_abandoned(path: Path) -> None:
    """Remove what a killed process of this machine left of an output."""
    for folder in path.parent.glob(f".{glob.escape(path.name)}-*-*"):
        if processes.has_ended(folder.name.split("-")[-2]):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def uploaded(name: str, uri: str, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary file that is uploaded when the block succeeds, as `written` does; errors begin with `name`."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    parent, _, file = uri.rpartition("/")
    try:
        repository = get_artifact_repository(with_secrets(parent))
        existing = {PurePosixPath(each.path).name for each in repository.list_artifacts()}
    except (MlflowException, ImportError, OSError) as error:
        raise UserError(f"{name}: cannot be written: {' '.join(str(error).split())}") from error
    check_absent(name, file in existing, overwrite)
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / file
        repository.log_artifact(str(Path(folder) / file))  # type: ignore[no-untyped-call]
