"""Shared fixtures: a small data file, a tracking store, and `mlflow run` as a user types it."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import environment

import forked
import pandas as pd
import pytest
import servers
from hypothesis.internal.conjecture import engine
from mlflow import MlflowClient
from mlflow.entities import Run
from ports import free_port, wait_for

PROJECT = Path(__file__).resolve().parent.parent
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # keep the output of failed tests readable
engine.MAX_SHRINKING_SECONDS = 20  # report a failure within a minute: by default hypothesis shrinks for five


@dataclass
class Result:
    """The exit code of a command and everything it printed."""

    code: int
    output: str

    @property
    def error(self) -> str:
        """Return the one line that reports a user's mistake, without its heading."""
        lines = [line for line in self.output.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.output
        return lines[0].removeprefix("error: ")


NO_DATA = {"compare", "explain", "export", "history", "verify"}  # entry points that read no file
NO_DEFAULT_DATA = {"data", "preprocess_run_id", "run", "name"}  # with one of these, `data` is not added


class Workflow:
    """A project folder and a tracking store of its own."""

    def __init__(self, folder: Path, project: Path | str = PROJECT, data: Path | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.project, self.data = folder, project, data
        self.uri, self.experiment = f"sqlite:///{folder}/mlflow.db", "0"
        forked.make_store(folder / "mlflow.db", forked.empty_store(), folder / "mlruns")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `mlflow run` looks for Python there
        self.environment = os.environ | {
            "MLFLOW_TRACKING_URI": self.uri,
            "PATH": path,
            forked.ADDRESS: forked.listen(),
        }

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def run(self, entry_point: str, *arguments: str, **parameters: str) -> Result:
        """Run an entry point with `mlflow run`, from the workflow's own folder.

        Its script is forked from a process that has the imports, unless `forked.ADDRESS` is not in the environment.
        """
        if self.data and entry_point not in NO_DATA and not NO_DEFAULT_DATA & parameters.keys():
            parameters["data"] = str(self.data)
        words = [sys.executable, "-m", "mlflow", "run", str(self.project), "-e", entry_point, "--env-manager", "local"]
        for name, value in parameters.items():
            words += ["-P", f"{name}={value}"]
        fork = {"PATH": f"{forked.folder_of_python()}{os.pathsep}{self.environment['PATH']}"}
        return self.execute([*words, *arguments], **(fork if forked.ADDRESS in self.environment else {}))

    def step(self, name: str, /, **parameters: str) -> Result:
        """Run the script of a step as `mlflow run` would start it, but forked from a process that has the imports."""
        if self.data and name not in NO_DATA and not NO_DEFAULT_DATA & parameters.keys():
            parameters["data"] = str(self.data)
        words = [word for parameter, value in parameters.items() for word in (f"--{parameter}", str(value))]
        with tempfile.NamedTemporaryFile(mode="r") as output:
            script = Path(self.project) / f"steps/{name}.py"
            code = forked.run(script, words, self.environment, self.folder, Path(output.name))
            return Result(code, output.read())

    def execute(self, words: list[str], **variables: str) -> Result:
        """Run a command in the workflow's folder and environment."""
        variables = self.environment | variables
        done = subprocess.run(
            words, env=variables, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return Result(done.returncode, done.stdout)

    def runs(self, step: str | None = None) -> list[Run]:
        """Return all runs, or those of a step, the newest first."""
        query = f"tags.`workflow.step` = '{step}'" if step else ""
        return list(self.client.search_runs([self.experiment], query))

    def first(self, step: str) -> Run:
        """Return the oldest finished run of a step: in the fixture `workflow`, one of the first `main`."""
        return [run for run in self.runs(step) if run.info.status == "FINISHED"][-1]

    def last(self) -> Run:
        """Return the newest top-level run."""
        return next(run for run in self.runs() if "mlflow.parentRunId" not in run.data.tags)

    def artifacts(self, run: Run, path: str = "") -> Path:
        """Download an artifact of a run, or all of them; return the local path."""
        folder = self.folder / "artifacts" / run.info.run_id
        folder.mkdir(parents=True, exist_ok=True)
        return Path(self.client.download_artifacts(run.info.run_id, path, str(folder)))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` fills once for all workers of pytest-xdist."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "made").touch()
    return folder


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    """Return the first 900 rows of the bundled file, duplicates included, with the contract beside them."""

    def make(folder: Path) -> None:
        rows = pd.read_csv(PROJECT / "data/wines.csv", dtype=str, keep_default_na=False).head(900)
        rows.to_csv(folder / "small.csv", index=False)
        shutil.copy(PROJECT / "data/wines.yaml", folder / "small.yaml")

    return made_once(tmp_path_factory, "data", make) / "small.csv"


def copy_project(folder: Path) -> Path:
    """Copy the project as it is now, uncommitted changes included, to a folder that a test may edit."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    for name in filter(lambda name: (PROJECT / name).exists(), files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    return folder


def commit_all(project: Path) -> str:
    """Make a folder a repository, if it is none, commit all of it, and return the commit."""
    git(project, "init", "--quiet", "--initial-branch", "main")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "a state")
    return git(project, "rev-parse", "HEAD")


def own_workflow(factory: pytest.TempPathFactory, small_data: Path) -> "Workflow":
    """Return a workflow with a committed copy of the project, and of the small file, both to be edited."""
    folder, store = copy_project(factory.mktemp("project")), factory.mktemp("store")
    commit_all(folder)
    for name, source in (("wines.csv", small_data), ("wines.yaml", small_data.with_suffix(".yaml"))):
        shutil.copy(source, store / name)
    return Workflow(store, folder, store / "wines.csv")


def edit_json(path: Path, *keys: str, value: object) -> Path:
    """Replace a value in a JSON file."""
    document = part = json.loads(path.read_text())
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(json.dumps(document))
    return path


def git(folder: Path, *words: str) -> str:
    """Return the output of a git command."""
    author = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
    done = subprocess.run(["git", *author, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def workflow(tmp_path_factory, small_data) -> Workflow:
    """Return a workflow in which `main` ran once on the small file; tests may add runs, but change none."""

    def make(folder: Path) -> None:
        workflow = Workflow(folder, data=small_data)
        del workflow.environment[forked.ADDRESS]  # start Python as users do
        result = workflow.run("main")
        assert result.code == 0, result.output
        (folder / "output.txt").write_text(result.output)

    made = made_once(tmp_path_factory, "main", make)
    workflow = Workflow(tmp_path_factory.mktemp("workflow"), data=small_data)
    forked.make_store(workflow.folder / "mlflow.db", made / "mlflow.db", workflow.folder / "mlruns")
    workflow.first_output = (made / "output.txt").read_text()
    return workflow


def s3_client(variables: dict[str, str]):
    """Return a client of the S3 server of the fixture `bucket`."""
    import boto3

    credentials = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=variables["MLFLOW_S3_ENDPOINT_URL"], **credentials)


@pytest.fixture(scope="session")
def bucket(small_data):
    """Serve the small file at s3://wines/folder/small.csv; yield the environment variables to reach it."""
    port = free_port()
    server = subprocess.Popen(
        [Path(sys.executable).with_name("moto_server"), "-p", str(port)], stderr=subprocess.DEVNULL
    )
    wait_for(port)
    variables = {
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = s3_client(variables)
    client.create_bucket(Bucket="wines")
    client.upload_file(str(small_data), "wines", "folder/small.csv")
    yield variables
    server.terminate()
    server.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Start a tracking server with a PostgreSQL database; yield its address."""
    if not servers.has_postgres():
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path_factory.mktemp("postgres")
    with servers.postgres(folder) as (store, _), servers.tracking_server(store, folder / "artifacts") as address:
        yield address


@pytest.fixture(scope="session")
def on_server(server, tmp_path_factory, small_data):
    """Return a workflow whose `main` ran on the tracking server, with three models."""
    workflow = Workflow(tmp_path_factory.mktemp("client"), data=small_data)
    workflow.uri = workflow.environment["MLFLOW_TRACKING_URI"] = server
    result = workflow.run("main", models="linear,knn,dummy", shap_samples="3")
    assert result.code == 0, result.output
    workflow.first_output = result.output
    return workflow


LONGEST = ("test_reproduce.py", "test_ui.py", "test_project.py", "test_service.py", "test_verify.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest files first, so that short ones keep the other worker busy at the end."""
    items.sort(key=lambda item: (item.path.name not in LONGEST, not item.get_closest_marker("slow")))


@pytest.fixture(scope="session")
def namespace() -> list[str]:
    """Return the words that start a command in a PID namespace of its own, with this host's name, as in a container."""
    free = next(number for number in range(32_000, 1, -1) if not Path(f"/proc/{number}").exists())
    numbered = f'echo {free - 1} > /proc/sys/kernel/ns_last_pid; "$@"'  # an id that no process has outside
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", numbered, "sh"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no PID namespaces here: {error}")
    return words
