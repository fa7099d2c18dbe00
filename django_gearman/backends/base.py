"""
The transport contract: the interface of every backend.

A backend carries bytes. It knows functions, workloads, uniques and handles. It knows nothing of
clients, jobs, registries, serializers or settings. A new backend implements nine methods:

* `BaseBackend.submit` (which begins with `specs.check_specs`), `job_status`, `functions`,
  `workers`, `register`
* `Submission.next_update`
* `WorkerSession.grab_job`, `send`, `close`

A backend may also have an asynchronous half, `BaseBackend.on_loop`. Without it, `ado` and its
variants wait in threads.

Each wait has a time limit and returns None at its end. So the worker's loop, its stop flag and its
limits are written once, above the backends.

The values of the contract are those of `protocol.messages`; their names are here, too.

No exception of another library leaves a backend. It raises `BackendError` or `JobError` (see
`django_gearman.exceptions`), and ValueError or TypeError for mistakes of the caller.
"""

from __future__ import annotations

import math
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..exceptions import BackendError, ServerError
from ..protocol.address import ServerAddress
from ..protocol.messages import (
    AssignedJob,
    FunctionStatus,
    JobSpec,
    JobStatus,
    Outcome,
    Priority,
    ServerAnswer,
    SpecBatch,
    Update,
    WorkComplete,
    WorkData,
    WorkerStatus,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from .submitted import AwaitableSubmission, Submission, UnsentSubmission

__all__ = [
    "LARGE_WORKLOAD",
    "AssignedJob",
    "AwaitableSubmission",
    "BaseBackend",
    "FunctionStatus",
    "JobSpec",
    "JobStatus",
    "LoopBackend",
    "Outcome",
    "Priority",
    "ServerAnswer",
    "SpecBatch",
    "Submission",
    "UnsentSubmission",
    "Update",
    "WorkComplete",
    "WorkData",
    "WorkException",
    "WorkFail",
    "WorkStatus",
    "WorkWarning",
    "WorkerSession",
    "WorkerStatus",
    "refusal",
]

#: Size of a workload, in bytes, above which it may not fit into a worker's memory.
LARGE_WORKLOAD = 1 << 17


def refusal(server: object, code: str, text: str) -> ServerError:
    """Return the error that a server has answered with."""
    return ServerError(f"job server {server} refused: {text} ({code})", code=code, text=text)


class WorkerSession(ABC):
    """
    A worker's registration with the servers; closing it, or dying, gives its jobs to other workers.

    If a server is down, the session reconnects with growing delays, and registers again. Meanwhile
    `grab_job` returns None.
    """

    #: Called with a server's address and the socket of a new connection without TLS. The owner of a
    #: duplicate can end the worker's jobs if its process dies.
    on_connect: Callable[[str, socket.socket], object] | None = None
    #: Called with a job, still without its workload, when more than LARGE_WORKLOAD bytes are about to
    #: be read, because the process may die of that. Called with None when the workload is there.
    on_arriving: Callable[[AssignedJob | None], object] | None = None
    #: The number of jobs to request in advance: the server then assigns the next one while this one
    #: runs. None adapts it; a session that cannot prefetch uses 0.
    prefetch: int | None = 0
    #: The number of jobs that may be current at a time. If there are several, any thread may call
    #: `send`, `flush`, `give_back`, `is_awaited` and `wake`, and one thread the other methods.
    slots: int = 1
    #: The number of jobs that `grab_job` may still return; no more are requested.
    left: float = math.inf
    #: Seconds that an idle worker may wait in `grab_job` until it checks whether it should stop; longer
    #: if `ask_no_more` ends that wait.
    idle_seconds: float = 0.2
    #: Called before a request for delayed jobs; False leaves them to another worker.
    may_poll: Callable[[], bool] | None = None
    #: The next job is expected to follow at once: it is here, of the same quick function as the last.
    is_followed: bool = False
    #: The name of the worker on the servers, and the functions that it serves.
    client_id: str = ""
    functions: frozenset[str] = frozenset()

    def ask_no_more(self) -> None:  # noqa: B027 - what asks for nothing ahead has nothing to end
        """Make `grab_job` return requested jobs only, and request no more."""

    @property
    def holds_jobs(self) -> bool:
        """True if jobs are, or may be, assigned that `grab_job` has not returned."""
        return False

    @property
    def is_known(self) -> bool:
        """True if a server has registered this worker and has answered since."""
        return True

    def serve(self, functions: Sequence[str], client_id: str) -> bool:
        """
        Serve other functions, with another name, from now on; current jobs go on.

        Returns False if this is impossible: then the worker closes the session when its jobs have
        ended, and registers anew. Jobs that were requested in advance may still come.
        """
        return False

    @abstractmethod
    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        """Wait up to `timeout` seconds (None: without limit) for a job."""

    def attend(self, timeout: float) -> None:
        """
        Wait up to `timeout` seconds like `grab_job`, for a worker that has no free slot.

        It writes the reports of other threads meanwhile. Only a session with several slots needs it.
        """
        raise NotImplementedError(f"{type(self).__name__} has one slot")

    def wake(self) -> None:  # noqa: B027 - with one slot, nobody could call it
        """End the present wait in `grab_job` or `attend`, or the next one; from any thread."""

    @abstractmethod
    def send(self, job: AssignedJob, update: Update) -> None:
        """
        Report on a current job; an `Outcome` ends it.

        Raises `ConnectionLost` if the server has given the job to another worker.
        """

    def flush(self) -> None:  # noqa: B027 - what keeps nothing has nothing to write
        """
        Write everything that `send` has taken.

        A session may keep the results of quick background jobs for a few milliseconds, to write them
        together. If the process dies meanwhile, these jobs run again.
        """

    def give_back(self, job: AssignedJob) -> bool:
        """Leave a current job to another worker; return False if this is impossible."""
        return False

    def is_awaited(self, job: AssignedJob) -> bool | None:
        """
        Return True if a client waits for a current job; None if the server cannot say.

        Use it for a job whose `background` is None. It takes a moment.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Disconnect after the server has processed everything that was sent."""


class LoopBackend(ABC):
    """
    The asynchronous half of a backend, for one event loop.

    It starts no thread to wait. Any number of tasks may use it at once, and each may be cancelled.
    """

    @abstractmethod
    async def submit(
        self, specs: Sequence[JobSpec], until: float | None = None, *, acknowledged: bool = True
    ) -> list[AwaitableSubmission]:
        """
        Submit like `BaseBackend.submit`; `until` is the monotonic time that limits it, None the
        backend's own limit.

        If `acknowledged` is False, return when the jobs are sent. `handle` or `error` comes later,
        before the first update; `wait_update` raises the error.
        """

    async def submit_batch(self, specs: SpecBatch) -> Sequence[Submission]:
        """
        Submit like `BaseBackend.submit_batch`, but only background jobs; by default, `submit` does it.
        """
        return await self.submit([*specs])

    def send_now(self, spec: JobSpec) -> AwaitableSubmission | None:
        """
        Submit a job as with `acknowledged=False`, if that is possible without waiting; None if not.
        """
        return None

    @abstractmethod
    async def job_status(self, handle: str) -> JobStatus:
        """Ask the server that made the handle, like `BaseBackend.job_status`."""

    @abstractmethod
    async def functions(self, timeout: float) -> list[FunctionStatus]:
        """List the functions of each server, as `BaseBackend.functions` does."""


class BaseBackend(ABC):
    """
    A way to reach job servers; each thread has its own object.

    The constructor opens nothing. After a fork, the child connects anew.
    """

    #: The job server is inside this process, and no other process can reach it.
    local: bool = False
    #: Jobs run in the thread that submits them.
    runs_in_caller: bool = False
    #: The backend supports `JobSpec.run_at`.
    supports_delayed: bool = True
    #: `register` takes `slots`: a worker may have several jobs at a time.
    supports_slots: bool = False

    def __init__(self, servers: Sequence[ServerAddress], **options: Any) -> None:  # noqa: B027 - nothing to keep
        """
        Store the servers, and GEARMAN_OPTIONS as keyword arguments.

        A subclass names its options as keyword-only parameters, so an unknown option is a
        TypeError.
        """

    @abstractmethod
    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        """
        Submit a list of jobs, and return when each has a handle or an `error`, in order.

        Raises, before anything is sent: TypeError or ValueError for an invalid spec (see
        `backends.specs.check_specs`), `ServerUnavailable` if no server can be reached,
        `BackendError` if a spec has a delay and the transport has no delayed jobs.
        """

    def submit_batch(self, specs: SpecBatch) -> Sequence[Submission]:
        """
        Submit like `submit`, which it calls by default.

        A transport saves most of the work if it makes no spec, and a submission only when asked for
        it (`submitted.SubmissionBatch`).
        """
        return self.submit([*specs])

    @abstractmethod
    def job_status(self, handle: str) -> JobStatus:
        """Ask the server that made the handle; raise ValueError for an invalid handle."""

    @abstractmethod
    def functions(self) -> list[FunctionStatus]:
        """List the functions that each server knows, sorted by name."""

    @abstractmethod
    def workers(self) -> list[WorkerStatus]:
        """List the workers that are connected to each server."""

    @abstractmethod
    def register(
        self, functions: Sequence[str], client_id: str = "", slots: int = 1
    ) -> WorkerSession:
        """
        Register a worker for these functions, with the name `client_id`.

        `slots` is the number of jobs that it may have at a time. It is above 1 only if the backend
        has `supports_slots`; one without need not have the parameter.
        """

    def on_loop(self) -> LoopBackend | None:
        """Return the half for the running event loop; None if the transport has no such half."""
        return None

    def ping(self, timeout: float) -> Mapping[str, BackendError | None]:
        """Check that each server answers within `timeout` seconds; return the errors."""
        return {}

    def probe(self, timeout: float) -> Mapping[str, ServerAnswer]:
        """Ping each server, measure how soon it answers, and ask for its software."""
        return {name: ServerAnswer(error=error) for name, error in self.ping(timeout).items()}

    def close(self) -> None:  # noqa: B027 - what opens nothing has nothing to close
        """Close every connection; a later use opens new ones."""
