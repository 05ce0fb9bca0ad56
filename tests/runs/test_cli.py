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
