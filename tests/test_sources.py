"""Data from the web, a bucket or another run, served by real local servers."""

import base64
import functools
import http.server
import socketserver
import threading

import pytest
from conftest import Result, Workflow

pytestmark = pytest.mark.slow


class Counting(http.server.SimpleHTTPRequestHandler):
    """A file server that remembers the requested paths."""

    requested: list[str] = []  # noqa: RUF012 - shared by all requests on purpose

    def do_GET(self) -> None:
        self.requested.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def web(small_data):
    """Serve the folder of the small file over HTTP; yield its address."""
    handler = functools.partial(Counting, directory=small_data.parent)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def preprocess(workflow: Workflow, data: str, **parameters: str) -> Result:
    return workflow.step("preprocess", **{"data": data, "target": "price"} | parameters)


def test_data_and_contract_are_downloaded_once(web, tmp_path):
    Counting.requested.clear()
    workflow = Workflow(tmp_path)
    result = preprocess(workflow, f"{web}/small.csv", contract=f"{web}/small.yaml")
    assert result.code == 0, result.output
    assert sorted(Counting.requested) == ["/small.csv", "/small.yaml"]
    run = workflow.last()
    assert run.data.metrics["rows_in"] == 900
    assert run.data.params["data"] == f"{web}/small.csv"


def test_the_same_content_at_another_address_is_reused(web, tmp_path, small_data):
    workflow = Workflow(tmp_path)
    assert preprocess(workflow, str(small_data)).code == 0
    remote = {"data": f"{web}/small.csv", "contract": f"{web}/small.yaml"}
    result = workflow.step("train", **remote, target="price", model="dummy")
    assert result.code == 0, result.output
    assert "preprocess             reused" in result.output


def test_data_is_read_from_a_bucket(bucket, tmp_path):
    workflow = Workflow(tmp_path)
    workflow.environment |= bucket
    result = preprocess(workflow, "s3://wines/folder/small.csv")
    assert result.code == 0, result.output
    assert workflow.last().data.metrics["rows_in"] == 900
    result = preprocess(workflow, "s3://wines/nothing.csv")
    assert "data=s3://wines/nothing.csv: cannot be read: " in result.error


def test_data_is_read_from_an_artifact_of_a_run(workflow, tmp_path):
    run = workflow.first("preprocess").info.run_id
    result = preprocess(workflow, f"runs:/{run}/train.parquet")
    assert result.code == 0, result.output
    assert workflow.last().data.metrics["rows_in"] == workflow.client.get_run(run).data.metrics["rows_train"]
    assert "cannot be read" in preprocess(workflow, f"runs:/{run}/nothing.csv").error


def test_data_is_read_from_a_file_uri_and_from_a_folder(tmp_path, small_data):
    workflow = Workflow(tmp_path / "store")
    assert preprocess(workflow, small_data.as_uri()).code == 0
    folder = tmp_path / "many"
    folder.mkdir()
    lines = small_data.read_text().splitlines(keepends=True)
    for part in range(3):
        (folder / f"{part}.csv").write_text("".join([lines[0], *lines[1 + 300 * part : 301 + 300 * part]]))
    result = preprocess(workflow, str(folder))
    assert result.code == 0, result.output
    assert workflow.last().data.metrics["rows_in"] == 900
    assert sorted(path.name for path in workflow.artifacts(workflow.last(), "inputs/many").iterdir()) == [
        "0.csv",
        "1.csv",
        "2.csv",
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("http://127.0.0.1:9/wines.csv", "cannot be read: "),
        (
            "kaggle:fedesoriano/spanish-wine-quality-dataset",
            "needs the package kagglehub, which is not installed: pip install",
        ),
        ("gs://wines/wines.csv", "needs the package google-cloud-storage, which is not installed: pip install"),
        ("carrier-pigeon://wines.csv", "unknown kind of source; expected a path, file://, https://"),
        ("file:///nowhere/wines.csv", "no such file"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_with_the_reason(tmp_path, data, words):
    workflow = Workflow(tmp_path)
    result = preprocess(workflow, data)
    assert result.code == 2
    assert words in result.error
    assert workflow.last().data.tags["workflow.error"] == result.error
    assert "Traceback" not in result.output


class Guarded(Counting):
    """A file server that requires a password or a signature."""

    def do_GET(self) -> None:
        password = "Basic " + base64.b64encode(b"anna:s3cr3t-word").decode()
        if self.headers.get("Authorization") == password or "sig=s3cr3t%2Fsignature" in self.path:
            super().do_GET()
        else:
            self.send_error(403, f"not with {self.path}")  # servers often repeat the requested path


@pytest.fixture
def guarded(small_data):
    """Serve the small file to clients that know a secret; yield host and port."""
    handler = functools.partial(Guarded, directory=small_data.parent)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def everything_logged(workflow: Workflow) -> str:
    """Return all that the newest run holds, its artifacts included, as one text."""
    run = workflow.last()
    files = [path for path in workflow.artifacts(run).rglob("*") if path.is_file() and path.suffix != ".patch"]
    return f"{run.to_dictionary()} {run.inputs.to_dictionary()} " + " ".join(
        path.read_bytes().decode("utf-8", "replace") for path in files
    )


@pytest.mark.parametrize(
    "secret", ["http://anna:s3cr3t-word@{}/small.csv", "http://{}/small.csv?v=1&sig=s3cr3t%2Fsignature"]
)
def test_a_secret_in_an_address_is_logged_nowhere(guarded, tmp_path, secret):
    workflow = Workflow(tmp_path)
    result = preprocess(workflow, secret.format(guarded))
    assert result.code == 0, result.output
    assert workflow.last().data.metrics["rows_in"] == 900
    assert "s3cr3t" not in result.output + everything_logged(workflow)
    wrong = preprocess(workflow, secret.format(guarded).replace("s3cr3t", "wr0ng"))
    assert "cannot be read: 403 Client Error" in wrong.error
    assert "wr0ng" not in wrong.output + everything_logged(workflow)


def test_a_variable_in_an_address_is_replaced_and_its_value_logged_nowhere(guarded, tmp_path):
    workflow = Workflow(tmp_path)
    workflow.environment["WINES_SIGNATURE"] = "s3cr3t%2Fsignature"
    source = f"http://{guarded}/small.csv?sig=$WINES_SIGNATURE"
    result = preprocess(workflow, source)
    assert result.code == 0, result.output
    assert workflow.last().data.params["data"] == source  # shows which variable to set
    assert "s3cr3t" not in result.output + everything_logged(workflow)


def test_a_password_is_read_from_netrc(guarded, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login anna password s3cr3t-word")
    (tmp_path / ".netrc").chmod(0o600)
    workflow = Workflow(tmp_path / "store")
    workflow.environment["NETRC"] = str(tmp_path / ".netrc")
    result = preprocess(workflow, f"http://{guarded}/small.csv")
    assert result.code == 0, result.output


def test_a_secret_that_mlflow_run_itself_logged_is_warned_of(guarded, tmp_path):
    workflow = Workflow(tmp_path)
    result = workflow.run("preprocess", data=f"http://{guarded}/small.csv?sig=s3cr3t%2Fsignature", target="price")
    assert result.code == 0, result.output
    assert "`mlflow run` logged the secret in data before this project could keep it out" in result.output


def test_a_missing_file_on_a_web_server_is_reported_with_its_status(web, tmp_path):
    assert "cannot be read: 404 Client Error" in preprocess(Workflow(tmp_path), f"{web}/nothing.csv").error
