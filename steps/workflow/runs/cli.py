"""The frame of an entry point: parse, open the run, call, and turn a user's mistake into one line."""

import atexit
import errno
import gc
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)
from rich.table import Table

from workflow.data.findings import Finding
from workflow.errors import UserError
from workflow.parallel.cluster import n_workers, using_cluster
from workflow.parameters import ClusterOption
from workflow.parsing import ParamsType, parse_command_line
from workflow.provenance.fingerprint import Code
from workflow.runs import links, processes
from workflow.runs.sources import as_path
from workflow.runs.tracking import (
    LASTING,
    RETRY_SECONDS,
    active_run,
    close_abandoned,
    console,
    opened,
    retry_while_unavailable,
    say,
    stopped,
    store,
    warn,
)

Follow = Callable[[str, str], None]  # takes the step that is done, and what is done next
NUMBER_CODE = Code(("workflow/stages/train.py",))  # whose packages decide numbers
HELP_OPTIONS = {"-h", "--help"}
SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] [^'\"()]+")
LOGIN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
DISK_FAULTS = {errno.ENOSPC: "full", errno.EDQUOT: "full for you (quota)", errno.EROFS: "read-only"}
ARTIFACT_FOLDERS: list[str] = []  # cache: where the runs of this process keep their artifacts, if on this machine
CREATING = re.compile(
    "already exists|duplicate column|Circular dependency|no such table|no such column|UNIQUE constraint"
)
REMEDIES = {  # by the status with which a store refuses
    401: f"set {LOGIN}",
    403: f"ask for the permission to write there, or log in as somebody who has it ({LOGIN})",
    503: "its database does not answer; give the same command again when it does",
}


def main(kind: type[ParamsType], description: str | None, run: Callable[[ParamsType], None]) -> None:
    """Parse the command line and call `run` with its parameters, in the run that `mlflow run` opened or a new one.

    Exits with 2 and one line on stderr for a user's mistake (1 for a result that differs, 3 for a model that is not
    promoted though the data has drifted), with 130 for Ctrl-C, and with a traceback for a fault of ours.
    """
    if HELP_OPTIONS.intersection(sys.argv):
        parse_command_line(kind, description or "")
    prepare_process()
    try:
        with opened(tracked_run_id()) as active:
            ARTIFACT_FOLDERS.extend(local_folder(active))
            close_abandoned(active.info.experiment_id)
            params = parse_command_line(kind, description or "")
            address = params.cluster if isinstance(params, ClusterOption) else ""
            with using_cluster(address, NUMBER_CODE.packages) as client:
                if client:
                    console.print(f"computing on {address}, workers: {n_workers(client)}")
                run(params)
    except BaseException as error:
        if stopped.is_set():
            console.print("interrupted")
            sys.exit(130)
        error = as_user_error(error) or error
        if not isinstance(error, UserError):
            raise
        console.print(f"[bold red]{error.heading}:[/bold red] {escape(str(error))}")
        sys.exit(error.exit_code)


def prepare_process() -> None:
    """Quiet MLflow, let Ctrl-C and SIGTERM end the work, and end the interpreter without a last garbage collection."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one flashing by for each small file
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # our links open the right view
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints a traceback before it raises
    atexit.register(gc.freeze)  # or the interpreter looks through all imports before it ends: half a second
    sys.unraisablehook = interrupt_again
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def as_user_error(error: BaseException) -> UserError | None:
    """Return one line about a full disk or memory, or a store that refuses; None for any other error."""
    if isinstance(error, OSError) and (reason := disk_fault(error)):
        return UserError(reason)
    if isinstance(error, MemoryError):
        remedy = "use fewer columns, or rows (-P max_rows=… to train on), or a larger machine"
        return UserError(f"out of memory: {error or 'none is left'}; {remedy}")
    status = error.get_http_status_code() if isinstance(error, MlflowException) else 0  # type: ignore[no-untyped-call]
    if status not in REMEDIES:
        return None
    if lasting := LASTING.search(str(error)):
        fault = "it is read-only" if lasting["read_only"] else "its disk is full"
        remedy = "make its file and folder writable" if lasting["read_only"] else "free space there"
        return UserError(f"tracking store {store()}: {fault}; {remedy}, or choose another store by MLFLOW_TRACKING_URI")
    return UserError(f"tracking store {store()}: request refused (status {status}); {REMEDIES[status]}")


def local_folder(run: Run) -> list[str]:
    """Return the folder with the artifacts of all runs of an experiment, if it is on this machine."""
    path = as_path(run.info.artifact_uri or "")
    return [str(folder) for folder in path.parents[1:2] if path.is_absolute()]


def disk_fault(error: OSError) -> str:
    """Return one line about a disk that is full or read-only, with what helps; nothing for any other error.

    Where the error names no path, the fullest of the disks that are written to is meant.
    """
    code = error.errno or next((code for code in DISK_FAULTS if os.strerror(code) in str(error)), None)
    if code not in DISK_FAULTS:
        return ""
    temporary, named = tempfile.gettempdir(), error.filename2 or error.filename
    if isinstance(error, shutil.Error):  # of copying a folder: source, target and reason of each file
        named = error.args[0][0][1]
    place = Path(str(named or min([temporary, *ARTIFACT_FOLDERS], key=free_bytes)))
    if any(place.is_relative_to(folder) for folder in ARTIFACT_FOLDERS):
        return f"artifacts in {place}: the disk is {DISK_FAULTS[code]}; mend that, or log to another store"
    if place.is_relative_to(temporary) and code != errno.EROFS:
        return f"the disk is full: free space or point TMPDIR at a larger disk than {temporary}"
    return f"{place}: the disk is {DISK_FAULTS[code]}; mend that, or choose another place"


def free_bytes(folder: str) -> int:
    """Return the free space of the disk that a folder is on, or will be."""
    return shutil.disk_usage(next(path for path in (Path(folder), *Path(folder).parents) if path.is_dir())).free


def stop(*_: Any) -> None:
    """End the work; an extension module in the middle of its import may turn this into an error of its own."""
    stopped.set()
    raise KeyboardInterrupt


def interrupt_again(ignored: Any) -> None:
    """Interrupt again where Python ignored it: in the callback of a weak reference, for example."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(ignored)


def tracked_run_id() -> str | None:
    """Return the id of the run that `mlflow run` opened, if any, once the tracking store is known to answer.

    Raises UserError if the store is out of reach. A relative store is, when the project was started from another
    folder: `mlflow run` starts its command in the project's own.
    """
    uri = mlflow.get_tracking_uri()
    run_id = os.environ.pop("MLFLOW_RUN_ID", None)  # or the next start_run would take it for a child
    path = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else uri
    relative = "://" not in path and not Path(path).is_absolute()
    advice = f"set MLFLOW_TRACKING_URI to an absolute one, e.g. {uri.replace(path, f'$PWD/{path}')}"
    if relative and run_id and not Path(path).exists():
        raise UserError(f"tracking store {uri}: a relative path means another place in {Path.cwd()}; {advice}")
    try:
        ask = partial(mlflow.get_run, run_id) if run_id else partial(mlflow.search_experiments, max_results=1)
        if path == uri:  # not a SQLite file
            retry_while_unavailable(ask)  # `mlflow run` has just opened it
        else:
            with processes.alone_in(Path(path).parent):
                open_file_store(ask)
    except Exception as error:  # each kind of store has its own
        if refused := as_user_error(error):
            raise refused from error
        caused = SYSTEM_ERROR.search(str(error))  # buried in the text of an HTTP client
        reason = caused[0] if caused else str(error).splitlines()[0]
        remedy = advice if relative else "check MLFLOW_TRACKING_URI and that the server runs"
        raise UserError(f"tracking store {store()}: {reason}; {remedy}") from error
    return run_id


def open_file_store(ask: Callable[[], Any]) -> None:
    """Ask a SQLite store for something, for some seconds again while another process creates its tables.

    MLflow's migrations do not lock the store. The caller does, but not `mlflow run` and `mlflow ui`.
    """
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            retry_while_unavailable(ask)
            return
        except Exception as error:
            if not CREATING.search(str(error)) or time.monotonic() > deadline:
                raise
        time.sleep(1)


def progress_bar(description: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """Return a progress bar on stderr for an iterable of a known length; none where stderr is no terminal."""
    return lambda items, total: track(
        items, description, total, console=console, transient=True, disable=not console.is_terminal
    )


def timed_progress() -> Progress:
    """Return a progress bar on stderr with the time left; nothing is shown where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def followed(doing: str, total: int) -> Iterator[Follow]:
    """Yield a function that marks a step as done and says what follows, in a progress bar on stderr with the time left.

    A step that is done twice counts once. There is no bar where stderr is no terminal.
    """
    done: set[str] = set()
    with timed_progress() as progress:
        bar = progress.add_task(doing, total=total)

        def follow(step: str, next_one: str) -> None:
            done.add(step)
            progress.update(bar, completed=len(done), description=next_one)

        yield follow


def require(example: str, **texts: str) -> None:
    """Raise UserError for the first parameter that is empty; `example` shows its value."""
    for name, text in texts.items():
        if not text:
            raise UserError(f"--{name} is required: -P {name}={example}")


def print_table(table: Any, bold: Iterable[bool], title: str = "", right: Collection[str] = ()) -> None:
    """Print a frame of texts on stdout, with some lines in `bold` and the columns `right` aligned right."""
    shown = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in table.columns:
        shown.add_column(heading, justify="right" if heading in right else "left", overflow="fold", max_width=50)
    for line, strong in zip(table.itertuples(index=False), bold, strict=True):
        shown.add_row(*line, style="bold" if strong else None)
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(shown)


def print_links(pages: Mapping[str, str]) -> None:
    """Print where to look: the command that starts the UI on a local store, and the address of each named page."""
    if not store().startswith("http"):
        console.print(f"Look at it: [bold]mlflow ui --backend-store-uri {shlex.quote(store())}[/bold]")
    width = max(map(len, pages))
    for name, page in pages.items():
        console.print(f"  {name:<{width}}  {links.absolute(page)}")


def print_findings(findings: Iterable[Finding]) -> None:
    """Print each finding, once in a process."""
    for finding in findings:
        (warn if finding.is_warning else say)(str(finding))


def print_proof() -> None:
    """Print how to make the active run's result again."""
    console.print(f"Prove it: [bold]mlflow run . -e reproduce -P run={active_run().info.run_id}[/bold]")


def print_run(stage: str) -> None:
    """Print where to look at the active run of a stage, and how to make its result again."""
    print_links({stage: links.run_page(active_run())})
    print_proof()
