"""The command line of an entry point: parse, open the run, call, and turn a user's mistake into one line."""

import atexit
import errno
import gc
import os
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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

from workflow.errors import UserError
from workflow.parameters import AUTO, Parameter, parse
from workflow.runs import links
from workflow.runs.execution import Step, obtain, record
from workflow.runs.tracking import active_run, close_abandoned, console, opened, retry_while_unavailable, stopped, store

Work = Callable[[dict[str, Any]], None]
HELP = {"-h", "--help"}
LOGIN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
REFUSED = {  # what to do about the status with which a store refuses
    401: f"set {LOGIN}",
    403: f"ask for the permission to write there, or log in as somebody who has it ({LOGIN})",
    503: "its database does not answer; give the same command again when it does",
}


def command(description: str, parameters: Sequence[Parameter], work: Work) -> None:
    """Parse the command line and call `work` with what it gives, inside the run that `mlflow run` opened or a new one.

    Exit code 2 and one line on stderr for a user's mistake (1 for a result that differs), 130 for Ctrl-C, a traceback
    for a fault of ours.
    """
    if HELP.intersection(sys.argv):
        parse(description, parameters)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one flashing by for each small file
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # our links open the right view
    atexit.register(gc.freeze)  # or the interpreter looks through all that was imported before it ends: half a second
    sys.unraisablehook = interrupt_again
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        with opened(tracked_run_id()) as run:
            close_abandoned(run.info.experiment_id)
            work(parse(description, parameters))
    except BaseException as error:
        if stopped.is_set():
            console.print("interrupted")
            sys.exit(130)
        error = as_user_error(error) or error
        if not isinstance(error, UserError):
            raise
        console.print(f"[bold red]{error.heading}:[/bold red] {escape(str(error))}")
        sys.exit(error.exit_code)


def as_user_error(error: BaseException) -> UserError | None:
    """One line about a full disk or memory, or a store that wants a login, another one, or has lost its database.

    None for any other error.
    """
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return UserError(
            f"the disk is full: make room, or let TMPDIR name a folder that has more than {tempfile.gettempdir()}"
        )
    if isinstance(error, MemoryError):
        remedy = "take fewer columns, or rows (-P max_rows=… to learn from), or a larger computer"
        return UserError(f"the memory is full: {error or 'no more is left'}; {remedy}")
    status = error.get_http_status_code() if isinstance(error, MlflowException) else 0  # type: ignore[no-untyped-call]
    if status not in REFUSED:
        return None
    return UserError(f"tracking store {store()}: it refuses (status {status}); {REFUSED[status]}")


def stop(*_: Any) -> None:
    """End the work; an extension module in the middle of its import may turn this into an error of its own."""
    stopped.set()
    raise KeyboardInterrupt


def interrupt_again(ignored: Any) -> None:
    """Interrupt again where Python ignored it: in the callback of a weak reference, for one."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(ignored)


def run(
    step: Step, description: str, more: Sequence[Parameter] = (), within: Callable[[Work], Work] = lambda work: work
) -> None:
    """The whole script of a step that stands alone: its upstream runs are found or made first.

    It takes `more` parameters than its steps do if it works `within` what understands them.
    """
    chain = step.chain()
    run_ids = [
        Parameter(link.run_id_parameter, AUTO, f"run of {link.name} to build on; auto finds or makes one")
        for link in chain[1:]
    ]
    own_first = {p.name: p for link in reversed(chain) for p in link.parameters}

    def work(given: dict[str, Any]) -> None:
        upstream = obtain(step.upstream, given) if step.upstream else None
        parameters = step.resolve(given, upstream)
        tell = record(step, parameters, upstream, step.inputs(parameters))
        pages = tell() if tell else {}
        print_links({step.name: links.run_page(active_run()), **pages})
        print_proof()

    command(description, [*run_ids, *own_first.values(), *more], within(work))


def tracked_run_id() -> str | None:
    """The id of the run that `mlflow run` opened, if any, once the tracking store is known to answer.

    Raises UserError if the store is out of reach. A relative store is one when the project was started from
    another folder: `mlflow run` starts its command in the project's own.
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
        reason = str(error).splitlines()[0]
        remedy = advice if relative else "check MLFLOW_TRACKING_URI and that the server runs"
        raise UserError(f"tracking store {store()}: {reason}; {remedy}") from error
    return run_id


def tracker(description: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """A progress bar on stderr for an iterable of a known length; none where stderr is no terminal."""
    return lambda items, total: track(
        items, description, total, console=console, transient=True, disable=not console.is_terminal
    )


def print_table(table: Any, bold: Iterable[bool], title: str = "", right: Collection[str] = ()) -> None:
    """Print a frame of texts on stdout, with some lines in `bold` and the columns `right` flush right."""
    shown = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in table.columns:
        shown.add_column(heading, justify="right" if heading in right else "left", overflow="fold", max_width=50)
    for line, strong in zip(table.itertuples(index=False), bold, strict=True):
        shown.add_row(*line, style="bold" if strong else None)
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(shown)


def print_links(pages: Mapping[str, str]) -> None:
    """Say where to look: the command that starts the UI on a local store, and the address of each named page."""
    if not store().startswith("http"):
        console.print(f"Look at it: [bold]mlflow ui --backend-store-uri {shlex.quote(store())}[/bold]")
    width = max(map(len, pages))
    for name, page in pages.items():
        console.print(f"  {name:<{width}}  {links.absolute(page)}")


def print_proof() -> None:
    """Say how to make the active run's result again."""
    console.print(f"Prove it: [bold]mlflow run . -e reproduce -P run={active_run().info.run_id}[/bold]")
