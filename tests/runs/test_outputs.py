import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workflow.errors import UserError
from workflow.runs.outputs import written

KILLED = """
import sys, time; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from workflow.runs.outputs import written
with written("output", sys.argv[2], Path("."), False) as path:
    path.write_text("half"); print("writing", flush=True); time.sleep(60)
"""
STEPS = Path(__file__).resolve().parent.parent.parent / "steps"


def test_an_output_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(IsADirectoryError), written("output", "out.csv", tmp_path, overwrite=False) as path:
        path.parent.write_text("half")
    assert not list(tmp_path.iterdir())
    with written("output", "out.csv", tmp_path, overwrite=False) as path:
        path.write_text("whole")
        assert not (tmp_path / "out.csv").exists()
    assert (tmp_path / "out.csv").read_text() == "whole"
    with pytest.raises(UserError, match="exists already"), written("output", "out.csv", tmp_path, overwrite=False):
        pass
    with written("output", f"file://{tmp_path}/out.csv", tmp_path, overwrite=True) as path:
        path.write_text("new")
    assert (tmp_path / "out.csv").read_text() == "new"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_files_of_a_killed_process_are_removed_and_those_of_a_living_one_are_not(tmp_path):
    output = tmp_path / "out.csv"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(STEPS), str(output)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    with written("output", str(output), tmp_path, overwrite=False) as path:
        path.write_text("whole")
    assert len(list(tmp_path.iterdir())) == 2  # the other process is still writing
    process.kill()
    process.wait()
    time.sleep(0.1)
    with written("output", str(output), tmp_path, overwrite=True) as path:
        path.write_text("again")
    assert os.listdir(tmp_path) == ["out.csv"]


def test_files_of_a_live_process_in_another_namespace_are_left_alone(tmp_path, namespace):
    output = tmp_path / "out.csv"
    words = [*namespace, sys.executable, "-c", KILLED, str(STEPS), str(output)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        try:
            with written("output", str(output), tmp_path, overwrite=False) as path:
                path.write_text("whole")
            assert len(list(tmp_path.glob(".out.csv-*/out.csv"))) == 1
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("no/out.csv", "No such file or directory"),
        (".", "a folder; name a file in it"),
        ("no://y/out.csv", "cannot be written"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path, output, words):
    with pytest.raises(UserError, match=words), written("output", output, tmp_path, overwrite=False):
        pass
