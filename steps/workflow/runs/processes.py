"""Which process does something, so that another can tell whether it still exists."""

import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PROC = Path("/proc")
MARK = re.compile(r"(?P<id>\d+)\.(?P<started>\d*)\.(?P<space>[0-9a-f]{12})")


def mark() -> str:
    """Return id, start and process space of this process: letters, digits and dots, for a tag or a file name."""
    return f"{os.getpid()}.{started(os.getpid())}.{space()}"


@cache
def space() -> str:
    """Return a digest of what the ids of processes are counted in: host, boot of its system, and PID namespace.

    Containers may share a host's name, and containers of one host its boot.
    """
    parts = [socket.gethostname()]
    try:
        parts += [(PROC / "sys/kernel/random/boot_id").read_text().strip(), os.readlink(PROC / "self/ns/pid")]
    except OSError:  # not Linux: no namespaces
        parts.append("")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def started(process: int) -> str:
    """Return when a process of this space was started, in clock ticks since boot; nothing where that is not known."""
    try:
        if os.readlink(PROC / "self") != str(os.getpid()):
            return ""  # it shows the processes of another namespace
        stat = (PROC / str(process) / "stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]  # the 22nd field; the name in the second may hold spaces


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let one process of this machine at a time do something in a folder; where that cannot be locked, all of them."""
    if fcntl is None or not folder.is_dir():
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # of a network file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # and the lock with it


def has_ended(mark: str) -> bool:
    """Return whether the process with a `mark` is known to have ended: one of another space never is."""
    parts = MARK.fullmatch(mark)
    if not parts or parts["space"] != space() or os.name == "nt":  # where signal 0 is Ctrl-C
        return False
    process = int(parts["id"])
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    now = started(process)
    return bool(now and parts["started"]) and now != parts["started"]  # another process has got its id since
