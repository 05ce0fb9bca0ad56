"""Fits, trials, explanations and predictions on the workers of a Dask cluster, instead of threads of this process.

Workers need the packages, and nothing of the project: its code is sent to them, and so is the data. Results do not
depend on how many there are, nor on when they come and go. Nothing of Dask is imported unless a cluster is named.
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

if TYPE_CHECKING:
    from distributed import Client

TIMEOUT_SECONDS = 10  # for a scheduler to answer
LOCAL_CLUSTER = "local"
STEPS = Path(__file__).resolve().parents[2]
PINNED_VARIABLES = tuple(environment.PINS)


@contextmanager
def using_cluster(address: str, packages: Callable[[], Iterable[str]]) -> "Iterator[Client | None]":
    """Compute on the cluster at an address within the context, or in this process if there is none.

    Workers must have the versions of `packages` that this process has.
    """
    if not address:
        yield None
        return
    from workflow.parallel import executors  # late: a run without a cluster need not import joblib

    with connected(address, packages()) as client, executors.use_executor(partial(map_on_cluster, client)):
        yield client


@contextmanager
def connected(address: str, packages: Iterable[str]) -> "Iterator[Client]":
    """Yield a client of the cluster at an address, whose workers have the project's code.

    Raises UserError if there is none, or if a worker differs from this process.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UserError(f"cluster={address}: needs Dask; pip install -r requirements-cluster.txt") from error
    if address != LOCAL_CLUSTER and "://" not in address:
        raise UserError(f"cluster={address}: expected {LOCAL_CLUSTER} or an address such as tcp://host:8786")
    quiet_dask()
    with ExitStack() as stack:
        scheduler: Any = address
        if address == LOCAL_CLUSTER:
            scheduler = stack.enter_context(LocalCluster(threads_per_worker=1, dashboard_address=None))  # type: ignore[no-untyped-call]
        try:
            client = stack.enter_context(Client(scheduler, timeout=TIMEOUT_SECONDS, set_as_default=False))  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise UserError(f"cluster={address}: no scheduler answers; start one with `dask scheduler`") from error
        try:
            client.wait_for_workers(1, timeout=TIMEOUT_SECONDS)
        except TimeoutError as error:
            raise UserError(f"cluster={address}: no workers; start one with `dask worker {address}`") from error
        prepare(client, address, packages)
        yield client


def n_workers(client: "Client") -> int:
    """Return how many workers a cluster has now."""
    return len(client.nthreads())  # type: ignore[no-untyped-call]


def quiet_dask() -> None:
    """Silence the tracebacks of lost connections, and the warning about what must be sent: a model, or rows."""
    for name in logging.root.manager.loggerDict:
        if name.startswith("distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Sending large graph")


def prepare(client: "Client", address: str, packages: Iterable[str]) -> None:
    """Send the code to all workers, and to those that will come; UserError if one of them differs."""
    import cloudpickle
    from distributed import WorkerPlugin

    class ProjectCode(WorkerPlugin):
        """What a worker must be like, and the code."""

        name = "workflow-code"

        def __init__(self, expected: dict[str, str], digest: str, content: bytes) -> None:
            """Hold what the worker needs; nothing of it may come from the project, which is not there yet."""
            self.expected, self.digest, self.content = expected, digest, content

        def setup(self, worker: Any) -> None:
            """Raise RuntimeError if the worker differs; else let it import this project's code, and no other."""
            for name, there in runtime_versions(self.expected).items():
                if there != self.expected[name]:
                    raise RuntimeError(f"worker {worker.address} has {name} {there}, expected {self.expected[name]}")
            load_code_zip(self.digest, self.content, worker.local_directory)

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        client.register_plugin(ProjectCode(runtime_versions(packages), *code_zip()))
    except RuntimeError as error:
        raise UserError(f"cluster={address}: {error}") from error


def runtime_versions(names: Iterable[str]) -> dict[str, str]:
    """Return what decides the last bits of a number besides the code: versions, and what `environment` pins.

    `names` are of packages, or the keys of what this returned elsewhere.
    """
    found = {"Python": platform.python_version()} | {name: os.environ.get(name, "not set") for name in PINNED_VARIABLES}
    for name in set(names) - found.keys():
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return dict(sorted(found.items()))


@cache
def code_zip() -> tuple[str, bytes]:
    """Return the digest of a zip file with the project's modules, and its bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for path in sorted(STEPS.rglob("*.py")):
            file.writestr(zipfile.ZipInfo(path.relative_to(STEPS).as_posix()), path.read_bytes())
    return hashlib.sha256(content.getvalue()).hexdigest(), content.getvalue()


def load_code_zip(digest: str, content: bytes, folder: str) -> None:
    """Let this process import the modules in a zip file, and forget those of an earlier one."""
    path = Path(folder) / f"workflow-{digest}.zip"
    if str(path) in sys.path:
        return
    path.write_bytes(content)
    earlier = [entry for entry in sys.path if "workflow-" in entry and entry.endswith(".zip")]
    for name, module in list(sys.modules.items()):
        if any((getattr(module, "__file__", None) or "").startswith(entry) for entry in earlier):
            del sys.modules[name]
    sys.path[:] = [str(path), *(entry for entry in sys.path if entry not in earlier)]


def map_on_cluster(
    client: "Client", function: Callable[[Any], Any], items: Iterable[Any], prefetched: int = 0
) -> Iterator[Any]:
    """Compute as `executors.iterate_in_threads`, by the workers of a cluster. Raises UserError if it fails."""
    import cloudpickle
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    from workflow.parallel import executors

    code, _ = code_zip()

    def call(content: bytes, item: Any) -> Any:  # defined here to be sent as it is: workers have no such module
        import cloudpickle
        from threadpoolctl import threadpool_limits

        from workflow.errors import UserError

        if not any(code in entry for entry in sys.path):
            raise UserError("cluster: another command has sent other code to its workers; run one after the other")
        threadpool_limits(1)  # for good: a worker's threads would lift each other's limit
        return cloudpickle.loads(content)(item)

    def in_flight() -> int:  # depends on how many workers there are: they come and go
        return prefetched or executors.PREFETCH_PER_CORE * sum(client.nthreads().values())  # type: ignore[no-untyped-call]

    try:
        # The function holds the data. As the result of a task it is sent once, and again if the worker that has it
        # dies; as bytes, because the scheduler looks at what it passes on, and has no code of ours.
        sent = client.submit(bytes, cloudpickle.dumps(function), pure=False)
        futures = (client.submit(call, sent, item, pure=False).result for item in items)
        yield from executors.prefetch(futures, in_flight)
    except KilledWorker as error:
        raise UserError(f"cluster: {error}: perhaps its workers have too little memory") from error
    except (CancelledError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, CommClosedError) and client.status == "running":
            raise  # an error of the work itself
        raise UserError(f"cluster: the scheduler is gone ({error}); give the same command again") from error
