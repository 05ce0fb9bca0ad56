"""What tests have other processes do: functions that these can import by name."""

import os
import signal
import sys
import time
from pathlib import Path

from workflow.errors import UserError


def wait_for(path: Path) -> int:
    """Note in a file beside `path` that this process waits for it, wait, and return the process's id.

    On SIGTERM, take a while to end, note that in another file, and exit.
    """

    def end(*_) -> None:
        time.sleep(0.2)
        path.with_suffix(".ended").touch()
        sys.exit()

    signal.signal(signal.SIGTERM, end)
    path.with_suffix(".waits").write_text(str(os.getpid()))
    wait_until_exists(path)
    return os.getpid()


def wait_until_exists(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def fail_beside(path: Path) -> None:
    """Raise an error as soon as another process waits for `path`; one of the user's if its name says so."""
    wait_until_exists(path.with_suffix(".waits"))
    raise UserError("a mistake") if path.name == "mistake" else ZeroDivisionError("a fault")


def die_beside(path: Path) -> None:
    """Be killed as soon as another process waits for `path`."""
    wait_until_exists(path.with_suffix(".waits"))
    os.kill(os.getpid(), signal.SIGKILL)


def call(job: tuple) -> object:
    """Call a function with an argument."""
    function, argument = job
    return function(argument)
