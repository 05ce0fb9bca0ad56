"""The frame of an entry point: parse, open the run, call, and turn a user's mistake into one line."""

import atexit
import errno
import gc
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from workflow.data.findings import Finding
from workflow.errors import UserError
from workflow.parallel.cluster import n_workers, using_cluster
from workflow.parameters import ClusterOption
from workflow.parsing import ParamsType, parse_command_line
from workflow.provenance.fingerprint import Code
from workflow.runs import links
from workflow.runs.tracking import (
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

NUMBER_CODE = Code(("workflow/stages/train.py",))  # whose packages decide numbers
HELP_OPTIONS = {"-h", "--help"}
SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] [^'\"()]+")
LOGIN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
REMEDIES = {  # by the status with which a store refuses
    401: f"set {LOGIN}",
    403: f"ask for the permission to write there, or log in as somebody who has it ({LOGIN})",
    503: "its database does not answer; give the same command again when it does",
}


def main(kind: type[ParamsType], description: str | None, run: Callable[[ParamsType], None]) -> None:
    """Parse the command line and call `run` with its parameters, in the run that `mlflow run` opened or a new one.

    Exits with 2 and one line on stderr for a user's mistake (1 for a result that differs), with 130 for Ctrl-C, and
    with a traceback for a fault of ours.
    """
    if HELP_OPTIONS.intersection(sys.argv):
        parse_command_line(kind, description or "")
    prepare_process()
    try:
        with opened(tracked_run_id()) as active:
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
    atexit.register(gc.freeze)  # or the interpreter looks through all imports before it ends: half a second
    sys.unraisablehook = interrupt_again
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def as_user_error(error: BaseException) -> UserError | None:
    """Return one line about a full disk or memory, or a store that refuses; None for any other error."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return UserError(f"the disk is full: free space or point TMPDIR at a larger disk than {tempfile.gettempdir()}")
    if isinstance(error, MemoryError):
        remedy = "use fewer columns, or rows (-P max_rows=… to train on), or a larger machine"
        return UserError(f"out of memory: {error or 'none is left'}; {remedy}")
    status = error.get_http_status_code() if isinstance(error, MlflowException) else 0  # type: ignore[no-untyped-call]
    if status not in REMEDIES:
        return None
    return UserError(f"tracking store {store()}: request refused (status {status}); {REMEDIES[status]}")


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
        if run_id:
            retry_while_unavailable(partial(mlflow.get_run, run_id))  # `mlflow run` has just opened it
        else:
            mlflow.MlflowClient().search_experiments(max_results=1)
    except Exception as error:  # each kind of store has its own
        if refused := as_user_error(error):
            raise refused from error
        caused = SYSTEM_ERROR.search(str(error))  # buried in the text of an HTTP client
        reason = caused[0] if caused else str(error).splitlines()[0]
        remedy = advice if relative else "check MLFLOW_TRACKING_URI and that the server runs"
        raise UserError(f"tracking store {store()}: {reason}; {remedy}") from error
    return run_id


def progress_bar(description: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """Return a progress bar on stderr for an iterable of a known length; none where stderr is no terminal."""
    return lambda items, total: track(
        items, description, total, console=console, transient=True, disable=not console.is_terminal
    )


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
