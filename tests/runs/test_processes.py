import os
import subprocess
import sys

import mlflow
import pytest
from conftest import PROJECT, Workflow

from workflow.runs import processes, tracking
from workflow.runs.names import Tags

PRINT_MARK = "from workflow.runs import processes; print(processes.mark(), flush=True)"
LIVE_RUN = """
import sys, time, mlflow
from workflow.runs import tracking
mlflow.set_tracking_uri(sys.argv[1])
with tracking.opened():
    print(tracking.active_run().info.run_id, flush=True)
    time.sleep(60)
"""


def started(words: list[str], code: str, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "steps")}
    command = [*words, sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_process_has_ended_when_its_id_is_free_or_another_processs():
    number, start, space = processes.mark().split(".")
    assert number == str(os.getpid())
    assert not processes.has_ended(processes.mark())
    assert not processes.has_ended(f"{number}..{space}")  # where no start is known
    assert processes.has_ended(f"{number}.{int(start) - 1}.{space}")
    child = started([], PRINT_MARK)
    ended = child.communicate()[0].strip()
    assert processes.has_ended(ended)


@pytest.mark.parametrize("mark", ["", "12345", "host", "999999999.1.0123456789ab"])
def test_a_process_that_cannot_be_seen_from_here_is_not_said_to_have_ended(mark):
    assert not processes.has_ended(mark)


def test_a_process_of_another_namespace_is_in_another_space(namespace):
    other = started(namespace, PRINT_MARK).communicate()[0].strip()
    assert other.split(".")[2] != processes.space()
    assert not processes.has_ended(other)


def test_a_live_run_in_another_namespace_stays_running_and_a_killed_one_here_is_closed(tmp_path, namespace):
    uri, before = Workflow(tmp_path).uri, mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    live, killed = (started(words, LIVE_RUN, uri) for words in (namespace, []))
    try:
        run_ids = [each.stdout.readline().strip() for each in (live, killed)]
        killed.kill()
        killed.wait()
        with tracking.opened() as run:
            tracking.close_abandoned(run.info.experiment_id)
        found = [mlflow.get_run(run_id) for run_id in run_ids]
        assert [run.info.status for run in found] == ["RUNNING", "FAILED"]
        assert "its process ended without closing the run" in found[1].data.tags[Tags.ERROR]
    finally:
        live.kill()
        mlflow.set_tracking_uri(before)
