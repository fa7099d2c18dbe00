"""Workers of this process, overheard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from ..backends.base import AssignedJob, Outcome, Update, WorkerSession
from ..exceptions import ConnectionLost
from .faults import Faults
from .outbox import Outbox, SubmittedJob

_DOWN_SECONDS = 0.05  # until a worker looks again for a server that is down


class RecordingSession(WorkerSession):
    """
    Passes everything on to a session, tells the outbox of it, and suffers the faults in force.

    `functions` None serves any. A worker whose outcome is lost leaves, and another one takes its
    place, as far as the server can see.
    """

    def __init__(
        self,
        make: Callable[[], WorkerSession],
        functions: frozenset[str] | None,
        outbox: Outbox,
        faults: Faults,
    ) -> None:
        self._make = make
        self._session = make()
        self._functions = functions
        self._outbox = outbox
        self._faults = faults
        self._thread = threading.get_ident()
        self._is_open = True

    def is_of_this_thread(self) -> bool:
        return self._thread == threading.get_ident()

    def serves(self, function: str) -> bool:
        return self._is_open and (self._functions is None or function in self._functions)

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        self._thread = threading.get_ident()
        if self._faults.is_server_down:
            time.sleep(min(_DOWN_SECONDS, timeout or 0.0))
            return None
        job = self._session.grab_job(timeout)
        if job is not None:
            self._outbox.tell(job.handle, SubmittedJob.begin)
        return job

    def send(self, job: AssignedJob, update: Update) -> None:
        if isinstance(update, Outcome) and (reason := self._faults.loses(job)):
            self._session.close()
            self._session = self._make()
            raise ConnectionLost(
                f"the outcome of job {job.handle} was lost, and another worker runs it: {reason}"
            )
        # First, so that whoever waits for the job finds it here when he goes on.
        self._outbox.tell(job.handle, partial(SubmittedJob.take, handle=job.handle, update=update))
        self._session.send(job, update)

    def close(self) -> None:
        self._is_open = False
        self._session.close()
