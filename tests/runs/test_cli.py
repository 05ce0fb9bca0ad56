import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from workflow.runs import cli, tracking

SCRIPT = """
import signal, sys, time, weakref
from workflow.runs import cli

class Thing:
    pass

sys.unraisablehook = cli.interrupt_again
signal.signal(signal.SIGINT, cli.stop)
thing = Thing()
watch = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
try:
    del thing
    time.sleep(60)
except KeyboardInterrupt:
    print("stopped")
"""


def test_an_interrupt_in_a_weak_reference_callback_still_stops_the_process():
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=PROJECT / "steps", capture_output=True, text=True, timeout=50)
    assert done.stdout == "stopped\n", done.stderr


def test_a_full_disk_is_reported_in_one_line():
    with pytest.raises(OSError, match="No space left") as full:
        Path("/dev/full").write_text("it")
    assert str(cli.as_user_error(full.value)).startswith(
        "the disk is full: free space or point TMPDIR at a larger disk than /"
    )
    assert cli.as_user_error(OSError("another")) is None


def test_exhausted_memory_is_reported_in_one_line():
    with pytest.raises(MemoryError) as exhausted:
        np.empty(2**55)
    line = str(cli.as_user_error(exhausted.value))
    assert line.startswith("out of memory: Unable to allocate 256. PiB")
    assert "-P max_rows=…" in line


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            "(sqlite3.OperationalError) attempt to write a readonly database",
            "it is read-only; make its file and folder",
        ),
        (
            "(psycopg2.errors.ReadOnlySqlTransaction) cannot execute INSERT in a read-only transaction",
            "it is read-only",
        ),
        ("(sqlite3.OperationalError) database or disk is full", "its disk is full; free space there"),
        ('could not extend file "base/1": No space left on device', "its disk is full; free space there"),
    ],
)
def test_a_store_that_cannot_be_written_to_is_said_at_once(monkeypatch, reason, words):
    error, calls = MlflowException(reason, TEMPORARILY_UNAVAILABLE), []
    monkeypatch.setattr(tracking.time, "sleep", lambda _: pytest.fail("it was tried again"))

    def fail():
        calls.append(1)
        raise error

    with pytest.raises(MlflowException):
        tracking.retry_while_unavailable(fail)
    line = str(cli.as_user_error(error))
    assert words in line
    assert "does not answer" not in line
    assert line.endswith("or choose another store by MLFLOW_TRACKING_URI")


def test_the_disk_that_is_full_is_the_one_that_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "ARTIFACT_FOLDERS", [f"{tmp_path}/artifacts"])
    monkeypatch.setattr(cli.tempfile, "gettempdir", lambda: f"{tmp_path}/temporary")
    full, target = os.strerror(errno.ENOSPC), f"{tmp_path}/artifacts/model/x"
    copied = OSError(errno.ENOSPC, full, f"{tmp_path}/temporary/x", None, target)
    for error in (copied, shutil.Error([("x", target, f"[Errno 28] {full}: 'x'")])):
        assert str(cli.as_user_error(error)).startswith(f"artifacts in {target}: the disk is full; ")
    assert "point TMPDIR at" in str(cli.as_user_error(OSError(errno.ENOSPC, full, f"{tmp_path}/temporary/x")))
    other = OSError(errno.EROFS, os.strerror(errno.EROFS), "/elsewhere/out.csv")
    assert str(cli.as_user_error(other)).startswith("/elsewhere/out.csv: the disk is read-only; ")
    monkeypatch.setattr(cli, "free_bytes", lambda folder: "artifacts" not in folder)  # an error without a path
    assert str(cli.as_user_error(OSError(errno.ENOSPC, full))).startswith(f"artifacts in {tmp_path}/artifacts: ")


@pytest.mark.slow
def test_several_processes_create_a_store_at_once(tmp_path, small_data):
    """MLflow's migrations do not lock a new SQLite store: without a lock of ours, all but one of these fail."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    words = [sys.executable, PROJECT / "steps/contract.py", "--data", small_data, "--target", "price"]
    started = [
        subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(3)
    ]
    errors = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], errors
