import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT

from workflow.runs import cli

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


def test_an_interrupt_where_errors_are_ignored_is_not_lost():
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=PROJECT / "steps", capture_output=True, text=True, timeout=50)
    assert done.stdout == "stopped\n", done.stderr


def test_a_full_disk_is_one_line():
    with pytest.raises(OSError, match="No space left") as full:
        Path("/dev/full").write_text("it")
    assert str(cli.as_user_error(full.value)).startswith("the disk is full: make room, or let TMPDIR name a folder")
    assert cli.as_user_error(OSError("another")) is None


def test_a_full_memory_is_one_line():
    with pytest.raises(MemoryError) as full:
        np.empty(2**55)
    line = str(cli.as_user_error(full.value))
    assert line.startswith("the memory is full: Unable to allocate 256. PiB")
    assert "-P max_rows=…" in line
