"""Work in processes that are forked from one that has imported what they need: Python's forkserver."""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from workflow.errors import UserError

AVAILABLE = sys.platform == "linux"  # libraries of macOS do not survive a fork, and Windows has none
SERVER: Any = multiprocessing.get_context("forkserver" if AVAILABLE else "spawn")


def start_server(modules: Sequence[str]) -> None:
    """Start the process that others are forked from, unless it runs; it imports `modules` in the background."""
    SERVER.set_forkserver_preload(list(modules))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # it knows no other way to our modules
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def iterate_in_forks(function: Callable[[Any], Any], items: Iterable[Any], n_processes: int) -> Iterator[Any]:
    """Yield `function(item)` for each item as it is done, each computed in a process of its own.

    Raises what the function raises, and UserError if a process dies; then, and when it is closed, the other processes
    get SIGTERM and are waited for.

    Args:
        function: a function of a module.
        items: given to processes in this order.
        n_processes: how many of them run at once.
    """
    waiting = deque(items)
    running: dict[Any, BaseProcess] = {}  # by the connection that receives the result
    try:
        while waiting or running:
            while waiting and len(running) < n_processes:
                ours, theirs = SERVER.Pipe(duplex=False)
                running[ours] = SERVER.Process(target=send_result, args=(function, waiting.popleft(), theirs))
                running[ours].start()
                theirs.close()  # or its end would not be noticed when the process dies
            for connection in wait(list(running)):
                yield received(connection, running)
    finally:
        started = [process for process in running.values() if process.pid]
        for process in started:
            process.terminate()
        for process in started:
            process.join()


def received(connection: Any, running: dict[Any, BaseProcess]) -> Any:
    """Return the result that a process sends, and take it off the running ones; raise the error that it sends."""
    try:
        is_result, value = connection.recv()
    except EOFError as error:
        remedy = "perhaps out of memory; pass -P max_rows=<n> to train on fewer rows"
        raise UserError(f"a worker process died, {remedy}") from error
    running.pop(connection).join()
    if not is_result:
        raise value
    return value


def send_result(function: Callable[[Any], Any], item: Any, connection: Connection) -> None:
    """Send whether `function(item)` succeeded, and its result or its error, which notes where it was raised."""
    os.setpgrp()  # Ctrl-C is for the parent, which sends SIGTERM: a second signal would interrupt what the first ends
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        result = True, function(item)
    except BaseException as error:
        if not isinstance(error, UserError):
            error.add_note(f"raised in another process:\n{traceback.format_exc()}")
        result = False, error
    with suppress(BrokenPipeError):  # the parent was killed
        connection.send(result)


def end_with_parent() -> None:
    """Send this process SIGTERM once its parent has ended: nobody would receive its result."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
