"""
"memory": a job server inside this process, which all its threads share.

`memory_server` is the server. This module has the sides of clients and workers.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence

from ..exceptions import ConnectionLost, ResultUnavailable, ServerError
from ..jobserver.state import Worker
from ..protocol.address import ServerAddress
from ..protocol.messages import (
    AssignedJob,
    FunctionStatus,
    JobSpec,
    JobStatus,
    Outcome,
    Update,
    WorkerStatus,
)
from ..protocol.names import split_handle
from ..protocol.packets import to_bytes
from ..utils.clock import monotonic
from ..utils.waiting import seconds_until
from .base import BaseBackend, Submission, UnsentSubmission, WorkerSession
from .memory_server import Inbox, MemoryServer
from .specs import check_specs


class MemorySubmission(Submission):
    """A job submitted to a memory server."""

    _is_released = False
    _finished = False

    def __init__(self, server: MemoryServer, owner: object, spec: JobSpec) -> None:
        self.inbox = None if spec.background else Inbox(owner)
        self._server = server

    def next_update(self, timeout: float | None = None) -> Update | None:
        inbox = self.inbox
        if inbox is None:
            raise ResultUnavailable(f"background job {self.handle} sends no updates")
        if not inbox.updates:
            self._wait(inbox, None if timeout is None else monotonic() + timeout)
        try:
            update = inbox.updates.popleft()
        except IndexError:  # the time is over, or another waiting thread was faster
            return None
        self._finished = isinstance(update, Outcome)
        return update

    def _wait(self, inbox: Inbox, deadline: float | None) -> None:
        with self._server.lock:
            while not (inbox.updates or self._finished or inbox.hung_up):
                if (seconds := seconds_until(deadline)) == 0.0:
                    break
                self._server.wait(seconds)
            if inbox.hung_up and not (inbox.updates or self._finished):
                raise ConnectionLost(f"the connection of job {self.handle} was closed")

    def release(self) -> None:
        if self.inbox is not None and not self._is_released:
            self._is_released = True
            # The collector may call it anywhere, also within the server: it only takes a note.
            weakref.finalize(self, self._server.abandoned.append, self.inbox).atexit = False


class MemoryWorkerSession(WorkerSession):
    """A worker of a memory server; `functions` None serves any."""

    def __init__(
        self, server: MemoryServer, functions: Sequence[str] | None, client_id: str
    ) -> None:
        self.functions = frozenset(functions or ())
        self.client_id = client_id
        self._server = server
        self._is_woken = False
        self._worker = Worker(self, serves_all=functions is None)
        self._worker.client_id = to_bytes(client_id)
        self._enter()

    def _enter(self) -> None:
        self._server.enter(self._worker, self.functions)
        self._has_left = False

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        if self._has_left:
            self._enter()  # again, like a worker whose connection was lost
        if self.left <= 0:
            return None
        job = self._server.grab(self._worker, timeout, self._take_wake)
        if job is not None:
            self.left -= 1
        return job

    def attend(self, timeout: float) -> None:
        self._server.wait_for(self._take_wake, timeout)

    def wake(self) -> None:
        with self._server.lock:
            self._is_woken = True
            self._server.changed.notify_all()

    def _take_wake(self) -> bool:
        is_woken, self._is_woken = self._is_woken, False
        return is_woken

    def send(self, job: AssignedJob, update: Update) -> None:
        self._server.report(self._worker, job.handle, update)

    def give_back(self, job: AssignedJob) -> bool:
        self._server.give_back(self._worker, job.handle)
        return True

    def close(self) -> None:
        self._has_left = True
        self._server.leave(self._worker)


_servers: dict[str, MemoryServer] = {}
_servers_lock = threading.Lock()


def forget_servers() -> None:
    """Make new backends start with new, empty servers."""
    with _servers_lock:
        _servers.clear()


class MemoryBackend(BaseBackend):
    """
    A job server inside this process, which all backends of this `name` share.

    `max_queued` limits the jobs of each function, as gearmand's `maxqueue` does; 0 or None does not.
    """

    local = True
    supports_slots = True

    def __init__(
        self,
        servers: Sequence[ServerAddress] = (),
        *,
        name: str = "memory",
        max_queued: int | None = None,
    ) -> None:
        with _servers_lock:
            self.server = _servers.setdefault(name, MemoryServer(name))
        self.max_queued = max_queued

    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        check_specs(specs)
        return [self.queue(spec) for spec in specs]

    def queue(self, spec: JobSpec) -> Submission:
        """Queue a checked job."""
        submission = MemorySubmission(self.server, self, spec)
        try:
            submission.handle = self.server.submit(submission.inbox, spec, self.max_queued)
            return submission
        except ServerError as error:
            return UnsentSubmission(error)

    def job_status(self, handle: str) -> JobStatus:
        _, own = split_handle(handle, [self.server.name])
        return self.server.status(own)

    def functions(self) -> list[FunctionStatus]:
        return self.server.functions()

    def workers(self) -> list[WorkerStatus]:
        return self.server.workers()

    def register(
        self, functions: Sequence[str], client_id: str = "", slots: int = 1
    ) -> MemoryWorkerSession:
        session = MemoryWorkerSession(self.server, functions, client_id)
        session.slots = slots
        return session

    def close(self) -> None:
        self.server.hang_up(self)
