"""
The transport contract: what every way of reaching a job server must be able to do.

A backend carries bytes. It knows functions, workloads, uniques and handles; it knows nothing of
clients, jobs, registries, serializers or settings. Whoever writes one implements nine methods:

* `BaseBackend.submit` (which begins with `specs.check_specs`), `job_status`, `functions`, `workers`,
  `register`
* `Submission.next_update`
* `WorkerSession.grab_job`, `send`, `close`

Waiting is always a bounded pull that answers None when the time is up, so that the worker's loop,
its stop flag and its limits can be written once, above.

The values that cross it are those of `protocol.messages`; their names are here, too.

No exception of a foreign library crosses this contract: a backend raises `BackendError` or
`JobError` (see `django_gearman.exceptions`), and the caller's own mistakes as ValueError or
TypeError.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..exceptions import BackendError, JobTimeout, ServerError
from ..protocol.address import ServerAddress
from ..protocol.messages import (
    AssignedJob,
    FunctionStatus,
    JobSpec,
    JobStatus,
    Outcome,
    Priority,
    Update,
    WorkComplete,
    WorkData,
    WorkerStatus,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from ..utils.clock import monotonic

__all__ = [
    "LARGE_WORKLOAD",
    "AssignedJob",
    "BaseBackend",
    "FunctionStatus",
    "JobSpec",
    "JobStatus",
    "Outcome",
    "Priority",
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

#: Bytes of a workload above which it may not fit into a worker's memory.
LARGE_WORKLOAD = 1 << 17


def refusal(server: object, code: str, text: str) -> ServerError:
    """Return the error that a server has answered with."""
    return ServerError(f"job server {server} refused: {text} ({code})", code=code, text=text)


class Submission(ABC):
    """
    A submitted job, as the submitter sees it.

    `handle` names it in `BaseBackend.job_status`, also from another process; "" with `error` set
    when the server refused it (`ServerError`) or never acknowledged it (`SubmitUncertain`).
    """

    handle: str = ""
    error: BackendError | None = None

    @abstractmethod
    def next_update(self, timeout: float | None = None) -> Update | None:
        """
        Wait up to `timeout` seconds (None: without limit) for the next update.

        Answers None when the time is up, and once the outcome has been handed out. Raises
        `ConnectionLost` when no update can come any more, `JobLost` when the server has forgotten
        the job, and `ResultUnavailable` for a background job, which sends none.
        """

    def release(self) -> None:  # noqa: B027 - what keeps nothing has nothing to forget
        """
        Note that a wait has ended in vain.

        The submitter may wait again. Once nobody holds the submission any more, its job may be
        forgotten: a queued one that nobody else waits for need not run.
        """

    def updates(self, timeout: float | None = None) -> Iterator[Update]:
        """Yield updates up to and including the outcome; JobTimeout after `timeout` seconds in all."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            remaining = None if deadline is None else max(0.0, deadline - monotonic())
            update = self.next_update(remaining)
            if update is None:
                raise JobTimeout(f"job {self.handle} has not finished within {timeout} s")
            yield update
            if isinstance(update, Outcome):
                return


class UnsentSubmission(Submission):
    """A job that was not sent, because of `error`."""

    def __init__(self, error: BackendError) -> None:
        self.error: BackendError = error

    def next_update(self, timeout: float | None = None) -> Update | None:
        raise self.error.with_traceback(None)  # or it would grow with each time


class WorkerSession(ABC):
    """
    A worker's standing with the server; closing it, or dying, gives the jobs in hand to others.

    A server that is down is the session's own affair: it reconnects, with a growing delay, and
    registers again, while `grab_job` answers None.
    """

    #: Called with a server's address and the socket, when one is opened to it that carries packets
    #: as they are: whoever holds a duplicate can end the worker's jobs should its process die.
    on_connect: Callable[[str, socket.socket], object] | None = None
    #: Called with a job whose workload, of more than LARGE_WORKLOAD bytes, is about to be read, and
    #: with None when it has been: the process may die of that, too. The job has no workload then.
    on_arriving: Callable[[AssignedJob | None], object] | None = None
    #: How many jobs may be asked for before `grab_job` is called for them: the next one is then
    #: assigned while this one runs. None has the session decide; one that cannot always takes 0.
    prefetch: int | None = 0
    #: What the servers list the worker as, and the functions that it serves.
    client_id: str = ""
    functions: frozenset[str] = frozenset()

    def ask_no_more(self) -> None:  # noqa: B027 - what asks for nothing ahead has nothing to end
        """Have `grab_job` hand out what was asked for already, and ask for nothing any more."""

    @property
    def holds_jobs(self) -> bool:
        """Whether there are, or may be, jobs assigned that `grab_job` has not handed out."""
        return False

    @property
    def is_known(self) -> bool:
        """Whether a server has this worker registered, and has answered it since."""
        return True

    @abstractmethod
    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        """Wait up to `timeout` seconds (None: without limit) for a job."""

    @abstractmethod
    def send(self, job: AssignedJob, update: Update) -> None:
        """
        Report on a job in hand; an `Outcome` ends it.

        Raises `ConnectionLost` when the job is no longer in hand: the server gives it to another
        worker.
        """

    def give_back(self, job: AssignedJob) -> bool:
        """Leave a job in hand to another worker; answer False where that cannot be done."""
        return False

    def is_awaited(self, job: AssignedJob) -> bool | None:
        """
        Return whether a client waits for a job in hand; None where the server cannot tell.

        It may be asked about a job whose `background` is None, and takes a moment.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Leave, once everything sent has been processed by the server."""


class BaseBackend(ABC):
    """
    A way to reach job servers; one object for each thread.

    Making one opens nothing. It survives a fork: in the child it connects anew.
    """

    #: The job server lives inside this process, where no other process can reach it.
    local: bool = False
    #: A job runs in the thread that submits it.
    runs_in_caller: bool = False
    #: `JobSpec.run_at` is honoured.
    supports_delayed: bool = True

    def __init__(self, servers: Sequence[ServerAddress], **options: Any) -> None:  # noqa: B027 - nothing to keep
        """
        Take the servers, and GEARMAN_OPTIONS as keyword arguments.

        A subclass names its options as keyword-only parameters; an unknown one is then refused.
        """

    @abstractmethod
    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        """
        Submit jobs, pipelined, and return when each has a handle or an `error`; order is kept.

        Raises, before anything is sent: TypeError or ValueError for a spec whose job cannot travel
        (see `backends.specs.check_specs`), `ServerUnavailable` when no server can be reached,
        `BackendError` when the transport has no delayed jobs and a spec asks for one.
        """

    @abstractmethod
    def job_status(self, handle: str) -> JobStatus:
        """Ask the server that made the handle; ValueError for a handle that is none of ours."""

    @abstractmethod
    def functions(self) -> list[FunctionStatus]:
        """List the functions that each server knows, sorted by name."""

    @abstractmethod
    def workers(self) -> list[WorkerStatus]:
        """List the workers that are connected to each server."""

    @abstractmethod
    def register(self, functions: Sequence[str], client_id: str = "") -> WorkerSession:
        """Become a worker for these functions, shown to administrators as `client_id`."""

    def ping(self, timeout: float) -> Mapping[str, BackendError | None]:
        """Ask each server for a sign of life within `timeout` seconds; return what went wrong."""
        return {}

    def close(self) -> None:  # noqa: B027 - what opens nothing has nothing to close
        """Close every connection; using the backend again opens new ones."""
