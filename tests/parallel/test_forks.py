"""Forked processes: results come as they are done, and no process is left behind, whatever happens."""

import os
import time
from pathlib import Path

import forkable
import forked
import psutil
import pytest

from workflow.errors import UserError
from workflow.parallel import forks

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def server():
    """Start the process that others are forked from with the imports of the tests, not those of `main`."""
    forked.start_server()


def waiting(path: Path) -> psutil.Process:
    """Return the process that waits for `path`, once it does."""
    noted = path.with_suffix(".waits")
    for _ in range(500):
        if noted.exists() and (text := noted.read_text()):
            return psutil.Process(int(text))
        time.sleep(0.02)
    raise AssertionError(f"nothing waits for {path}")


def has_waiting_process(path: Path) -> bool:
    return psutil.pid_exists(int(path.with_suffix(".waits").read_text()))


def test_results_come_as_they_are_done_and_only_some_items_are_worked_on_at_once(tmp_path):
    slow, quick, last = (tmp_path / name for name in ("slow", "quick", "last"))
    quick.touch()
    results = forks.iterate_in_forks(forkable.wait_for, [slow, quick, last], 2)
    first = next(results)
    assert first == int(quick.with_suffix(".waits").read_text()) != os.getpid()
    assert not last.with_suffix(".waits").exists()
    last.touch()
    assert next(results) == int(last.with_suffix(".waits").read_text()) != first
    process = waiting(slow)
    slow.touch()
    assert list(results) == [process.pid]
    assert not process.is_running()


@pytest.mark.parametrize("name", ["fault", "mistake"])
def test_an_error_comes_back_when_the_other_processes_have_ended(tmp_path, name):
    path = tmp_path / name
    jobs = [(forkable.wait_for, path), (forkable.fail_beside, path)]
    with pytest.raises((ZeroDivisionError, UserError), match=f"a {name}") as error:
        list(forks.iterate_in_forks(forkable.call, jobs, 2))
    assert path.with_suffix(".ended").exists()
    assert not has_waiting_process(path)
    notes = getattr(error.value, "__notes__", [])
    if name == "mistake":
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith("raised in another process:\nTraceback")
        assert "in fail_beside" in note


def test_a_process_that_is_killed_is_one_line_and_the_others_end(tmp_path):
    path = tmp_path / "path"
    jobs = [(forkable.wait_for, path), (forkable.die_beside, path)]
    with pytest.raises(UserError) as error:
        list(forks.iterate_in_forks(forkable.call, jobs, 2))
    assert str(error.value).startswith("a worker process died, perhaps out of memory; pass -P max_rows=")
    assert "\n" not in str(error.value)
    assert path.with_suffix(".ended").exists()
    assert not has_waiting_process(path)


def test_closing_the_iterator_early_ends_its_processes(tmp_path):
    paths = [tmp_path / name for name in ("one", "two", "three")]
    paths[0].touch()
    results = forks.iterate_in_forks(forkable.wait_for, paths, 3)
    next(results)
    processes = [waiting(path) for path in paths[1:]]
    results.close()
    assert not any(process.is_running() for process in processes)
    assert all(path.with_suffix(".ended").exists() for path in paths[1:])
