"""No stage holds a file open, or mapped, when the folder that it is in is removed: Windows would refuse."""

import os
import tempfile
from pathlib import Path

import pytest

from workflow.parameters import PreprocessParams, TrainParams
from workflow.stages import preprocess, train


def held_in(folder: str) -> list[str]:
    """Return the files in a folder that this process holds open or mapped."""
    mapped = [line.partition("/")[2] for line in Path("/proc/self/maps").read_text().splitlines() if folder in line]
    opened = []
    for descriptor in Path("/proc/self/fd").iterdir():
        if descriptor.is_symlink() and os.readlink(descriptor).startswith(folder):
            opened.append(os.readlink(descriptor))
    return mapped + opened


@pytest.fixture
def watched(monkeypatch) -> list[str]:
    """Note what is held when a temporary folder is removed."""
    held, cleanup = [], tempfile.TemporaryDirectory.cleanup

    def noting(self) -> None:
        held.extend(held_in(self.name))
        cleanup(self)

    monkeypatch.setattr(tempfile.TemporaryDirectory, "cleanup", noting)
    return held


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not list open files")
def test_preprocess_and_train_hold_no_file_in_a_folder_that_is_removed(watched, small_data):
    with tempfile.TemporaryDirectory() as folder:
        inputs, files = preprocess.PreprocessInputs(small_data), (Path(folder, "train"), Path(folder, "test"))
        sets = preprocess.run(PreprocessParams(target="price"), inputs, *files)
        trained = train.run(TrainParams(model="linear", cv=2), train.TrainInputs(sets.training_set, sets.contract))
        assert trained.cv_scores
    assert watched == []
