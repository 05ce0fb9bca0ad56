"""The files that a parameter names: on this machine, on the web, in a bucket, in another run, on Kaggle."""

import atexit
import os
import re
import shutil
import tempfile
from functools import cache
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import mlflow
from mlflow.exceptions import MlflowException

from workflow.errors import UserError
from workflow.runs import integrity
from workflow.secrets import censored, with_secrets

KAGGLE = "kaggle:"
REMOTE = re.compile(r"kaggle:|(?!file:)[A-Za-z][A-Za-z0-9+.-]+:/")  # one letter is a drive of Windows
MAX_FILES = 10_000
EXTRA_PACKAGES = {"s3": "boto3", "gs": "google-cloud-storage", "kaggle": "kagglehub"}
FORMS = "a path, file://, https://, s3://, gs://, runs:/<id>/<path>, mlflow-artifacts:/ or kaggle:<owner>/<dataset>"


def local_copy(parameter: str, source: str, project: Path) -> Path:
    """Return the file or folder that `parameter` names, downloaded if it is remote; relative paths are the project's.

    Raises UserError if it does not exist or cannot be downloaded.
    """
    if not source:
        raise UserError(f"--{parameter} is required: expected {FORMS}")
    if is_remote(source):
        try:
            return download(source)
        except UserError as error:
            raise UserError(f"{parameter}={source}: {error}") from error
    path = project / as_path(source)
    if path.is_dir() and len(list(islice(path.rglob("*"), MAX_FILES))) == MAX_FILES:
        raise UserError(f"{parameter}={source}: a folder of {MAX_FILES:,} files or more; name the one with the table")
    if path.exists():
        check_kind(path, f"{parameter}={source}")
        return path
    inside = not Path(source).is_absolute() and not source.startswith("file:")
    hint = f' in the project folder; for a file of yours: -P {parameter}="$PWD/{source}"' if inside else ""
    raise UserError(f"{parameter}={source}: no such file{hint}")


def check_kind(path: Path, name: str) -> None:
    """Raise UserError, which begins with `name`, for a device, a pipe or a socket, which may be read without end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{name}: a device, a pipe or a socket, not a file or folder; save what it holds to a file")


def is_remote(source: str) -> bool:
    """Return whether a source must be downloaded: a URI of any kind but file."""
    return bool(REMOTE.match(source))


def as_path(source: str) -> Path:
    """Return the path of a source on this machine."""
    return Path(url2pathname(urlsplit(source).path) if source.startswith("file:") else source).expanduser()


def read_bytes(uri: str) -> bytes:
    """Read a file at a path or a URI; UserError if that is impossible."""
    try:
        path = download(uri) if is_remote(uri) else as_path(uri)
        check_kind(path, "it")
        return path.read_bytes()
    except (UserError, OSError) as error:
        raise UserError(f"{uri}: {error}") from error


@cache
def download(source: str) -> Path:
    """Return a local copy of a remote source, downloaded once per process; UserError if that is impossible."""
    scheme = source.partition(":")[0]
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        if scheme == "kaggle":
            return download_from_kaggle(source.removeprefix(KAGGLE))
        if scheme in ("http", "https"):
            return download_from_web(source, folder)
        copy = Path(mlflow.artifacts.download_artifacts(with_secrets(source), dst_path=str(folder)))
    except ImportError as error:
        package = EXTRA_PACKAGES.get(scheme, error.name)
        raise UserError(f"needs the package {package}, which is not installed: pip install {package}") from error
    except Exception as error:  # each store has errors of its own, and all of them mean that it cannot be read
        if isinstance(error, MlflowException) and "Could not find a registered artifact repository" in str(error):
            raise UserError(f"unknown kind of source; expected {FORMS}") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot be read: {censored(reason)}") from None  # its own text may hold a secret
    if scheme == "runs" and copy.is_file():
        run_id, _, path = source.removeprefix("runs:/").lstrip("/").partition("/")
        integrity.verify_copy(mlflow.get_run(run_id), path, copy)
    return copy


def download_from_web(source: str, folder: Path) -> Path:
    """Download a file over HTTP; a password may be in ~/.netrc."""
    import requests

    path = folder / (Path(unquote(urlsplit(source).path)).name or "data")
    with requests.get(with_secrets(source), stream=True, timeout=60) as response, open(path, "wb") as file:
        response.raise_for_status()
        for chunk in response.iter_content(2**20):
            file.write(chunk)
    return path


def download_from_kaggle(name: str) -> Path:
    """Download a file of a Kaggle dataset, `<owner>/<dataset>/<file>`, or all of it, `<owner>/<dataset>`."""
    import kagglehub

    owner, dataset, *file = name.split("/", 2)
    os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")
    return Path(kagglehub.dataset_download(f"{owner}/{dataset}", path=file[0] if file else None))
