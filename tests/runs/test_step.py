import subprocess
import sys

from conftest import PROJECT

SCRIPT = """
import signal, sys, time, weakref
from runs import step

class Thing:
    pass

sys.unraisablehook = step.interrupt_again
signal.signal(signal.SIGINT, step.stop)
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
