"""Workers of this process, overheard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..backends.base import AssignedJob, BaseBackend, Outcome, Update, WorkerSession
from ..exceptions import ConnectionLost
from ..jobs.context import running
from .outbox import SubmittedJob

if TYPE_CHECKING:
    from .harness import Harness

_IDLE_SECONDS = 0.05  # of a worker whose server is down, or whose test has ended
_REQUEUE_LOOKS = 1000  # at the status of a job that the server is about to give to another worker


class RecordingSession(WorkerSession):
    """
    Passes everything on to a session, tells the outbox of it, and suffers the faults in force.

    `functions` None serves any. A worker whose outcome is lost leaves, and another one takes its
    place, as far as the server can see. When the test ends, the worker does no more.
    """

    def __init__(
        self,
        harness: Harness,
        backend: BaseBackend,
        make: Callable[[], WorkerSession],
        functions: frozenset[str] | None,
    ) -> None:
        self._harness = harness
        self._backend = backend
        self._make = make
        self._functions = functions
        self._thread = threading.get_ident()
        self._session = make()
        self._has_left = False

    def is_of_this_thread(self) -> bool:
        return self._thread == threading.get_ident()

    def serves(self, function: str) -> bool:
        return self._functions is None or function in self._functions

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        self._thread = threading.get_ident()
        if self._harness.has_ended or self._harness.faults.is_server_down:
            self._leave_if_over()
            time.sleep(min(_IDLE_SECONDS, timeout or 0.0))
            return None
        job = self._session.grab_job(timeout)
        if job is not None:
            self._harness.runner.begun(job)
            self._harness.outbox.tell(job.handle, SubmittedJob.begin)
        return job

    def send(self, job: AssignedJob, update: Update) -> None:
        if isinstance(update, Outcome) and self._is_lost(job):
            self.lose(job)
            raise ConnectionLost(
                f"the outcome of job {job.handle} was lost, and another worker runs it, as "
                f"deliver_twice() or crash_worker_during() is in force for {job.function}"
            )
        # First, so that whoever waits for the job finds it here when he goes on.
        self._harness.outbox.tell(job.handle, SubmittedJob.take, job.handle, update)
        self._session.send(job, update)

    def _is_lost(self, job: AssignedJob) -> bool:
        faults, run = self._harness.faults, running.get()
        if not faults.all:
            return False
        is_of_stub = run is None or run.job_context.handle != job.handle  # which has no attempts
        return faults.loses(job) or (is_of_stub and faults.crashes(job, job.handle) > 0)

    def give_back(self, job: AssignedJob) -> bool:
        return self._session.give_back(job)

    def is_awaited(self, job: AssignedJob) -> bool | None:
        return self._session.is_awaited(job)

    def lose(self, job: AssignedJob) -> None:
        """Leave with a job in hand, and come again when the server has queued it."""
        self._session.close()
        for _ in range(_REQUEUE_LOOKS):
            if not self._backend.job_status(job.handle).running:
                break
            time.sleep(0.005)
        self._session = self._make()

    def _leave_if_over(self) -> None:
        if self._harness.has_ended and not self._has_left:
            self._has_left = True
            self._session.close()

    def close(self) -> None:
        self._harness.runner.sessions.discard(self)
        self._session.close()
