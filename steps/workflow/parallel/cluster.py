"""Fits, trials, explanations and predictions on the workers of a Dask cluster, instead of threads of this process.

Workers need the packages, and nothing of the project: its code is sent to them, and so is the data. What they compute
does not hang on how many there are, nor on when they come and go. Nothing of Dask is imported without the parameter.
"""

import hashlib
import io
import logging
import os
import platform
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment

from workflow.errors import UserError
from workflow.parameters import Parameter
from workflow.provenance import fingerprint
from workflow.runs import tracking

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
CLUSTER = Parameter(
    "cluster", "", "a Dask cluster to compute on: local starts one here, tcp://<host>:8786 uses that", decides=False
)
PATIENCE = 10  # seconds for a scheduler to answer
TRAIN = Path(__file__).with_name("train.py")  # whose packages a number rests on
PINNED = tuple(environment.PINS)
Work = Callable[[dict[str, Any]], None]


def on_cluster(work: Work) -> Work:
    """The work of an entry point that takes `CLUSTER`, with the cluster behind its threads, if one is named."""

    def connected_work(given: dict[str, Any]) -> None:
        address = given.pop(CLUSTER.name, "")
        if not address:
            work(given)
            return
        from workflow.parallel import executors

        with connected(address) as client, executors.use_executor(partial(each, client)):
            work(given)

    return connected_work


@contextmanager
def connected(address: str) -> "Iterator[Client]":
    """A client of the cluster at an address, whose workers have the project's code.

    Raises UserError if there is none, or if a worker is not as this process is.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UserError(f"cluster={address}: needs Dask; pip install -r requirements-cluster.txt") from error
    if address != LOCAL and "://" not in address:
        raise UserError(f"cluster={address}: neither {LOCAL} nor an address, like tcp://host:8786")
    for name in logging.root.manager.loggerDict:
        if name.startswith("distributed"):  # it tells of each lost connection with a traceback
            logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Sending large graph")  # a model or a chunk of rows, which must be sent
    with ExitStack() as stack:
        place: Any = address
        if address == LOCAL:
            place = stack.enter_context(LocalCluster(threads_per_worker=1, dashboard_address=None))  # type: ignore[no-untyped-call]
        try:
            client = stack.enter_context(Client(place, timeout=PATIENCE, set_as_default=False))  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise UserError(
                f"cluster={address}: no scheduler answers there; start one with `dask scheduler`"
            ) from error
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise UserError(f"cluster={address}: no worker has come; start one with `dask worker {address}`") from error
        prepare(client, address)
        tracking.console.print(f"computing on {address}, workers: {len(client.nthreads())}")
        yield client


def prepare(client: "Client", address: str) -> None:
    """Send the code to all workers, and to those that will come; UserError if one of them differs."""
    import cloudpickle
    from distributed import WorkerPlugin

    class Code(WorkerPlugin):
        """What a worker must be like, and the code."""

        name = "workflow-code"

        def __init__(self, expected: dict[str, str], digest: str, content: bytes) -> None:
            """As this process is; nothing of it may be needed there before the code is."""
            self.expected, self.digest, self.content = expected, digest, content

        def setup(self, worker: Any) -> None:
            """Raise RuntimeError if the worker differs; else let it import this project's code, and no other."""
            for name, there in surroundings(self.expected).items():
                if there != self.expected[name]:
                    raise RuntimeError(f"worker {worker.address}: {name} {there} there, {self.expected[name]} here")
            install(self.digest, self.content, worker.local_directory)

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        client.register_plugin(Code(surroundings(fingerprint.packages(TRAIN)), *archive()))
    except RuntimeError as error:
        raise UserError(f"cluster={address}: {error}") from error


def surroundings(names: Iterable[str]) -> dict[str, str]:
    """What decides the last bits of a number besides the code: versions, and what `environment` pins.

    `names` are of packages, or what this has returned elsewhere.
    """
    found = {"Python": platform.python_version()} | {name: os.environ.get(name, "not set") for name in PINNED}
    for name in set(names) - found.keys():
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return dict(sorted(found.items()))


@cache
def archive() -> tuple[str, bytes]:
    """The project's modules as a zip file, and its digest."""
    folder, content = Path(__file__).parent, io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for path in sorted(folder.rglob("*.py")):
            file.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix()), path.read_bytes())
    return hashlib.sha256(content.getvalue()).hexdigest(), content.getvalue()


def install(digest: str, content: bytes, folder: str) -> None:
    """Let this process import the modules in a zip file, and forget those of an earlier one."""
    place = Path(folder) / f"workflow-{digest}.zip"
    if str(place) in sys.path:
        return
    place.write_bytes(content)
    earlier = [entry for entry in sys.path if "workflow-" in entry and entry.endswith(".zip")]
    for name, module in list(sys.modules.items()):
        if any((getattr(module, "__file__", None) or "").startswith(entry) for entry in earlier):
            del sys.modules[name]
    sys.path[:] = [str(place), *(entry for entry in sys.path if entry not in earlier)]


def each(client: "Client", function: Callable[[Any], Any], items: Iterable[Any], ahead: int = 0) -> Iterator[Any]:
    """As `executors.iterate_in_threads`, by the workers of a cluster. Raises UserError if it fails."""
    import cloudpickle
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    from workflow.parallel import executors

    code, _ = archive()

    def call(content: bytes, item: Any) -> Any:  # stands here to be sent as it is: there is no such module there
        import cloudpickle
        from threadpoolctl import threadpool_limits

        from workflow.errors import UserError

        if not any(code in place for place in sys.path):
            raise UserError("cluster: another command has sent other code to its workers; run one after the other")
        threadpool_limits(1)  # for good: a worker's threads would lift each other's limit
        return cloudpickle.loads(content)(item)

    def enough() -> int:  # for as many as are there: workers come and go
        return ahead or executors.AHEAD * sum(client.nthreads().values())  # type: ignore[no-untyped-call]

    try:
        # The function holds the data. As the outcome of a task it is sent once, and again if the worker that has it
        # dies; as bytes, because the scheduler looks at what it hands on, and has no code of ours.
        sent = client.submit(bytes, cloudpickle.dumps(function), pure=False)
        futures = (client.submit(call, sent, item, pure=False).result for item in items)
        yield from executors.prefetch(futures, enough)
    except KilledWorker as error:
        raise UserError(f"cluster: {error}: perhaps its workers have too little memory") from error
    except (CancelledError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, CommClosedError) and client.status == "running":
            raise  # one of the work itself
        raise UserError(f"cluster: the scheduler is gone ({error}); give the same command again") from error
