"""GearmanWorker: grab a job, execute it, and again, until told to stop."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterable
from functools import partial

from django import db

from .backends import get_backend
from .backends.base import AssignedJob, BaseBackend, WorkerSession
from .exceptions import BackendError
from .execution import Submit, execute, fail_unknown, functions_of
from .instrumentation import active
from .jobs import AnyJob
from .registry import registry

logger = logging.getLogger(__name__)

#: Seconds that an idle worker waits for a job before it looks whether it should stop.
IDLE_SECONDS = 0.2


class GearmanWorker:
    """
    Runs jobs of `queues` (None, or one named "*": of all), one at a time, in the thread of `work`.

    Around each job it drops database connections that are broken or too old, as Django does around
    each web request; `clean_connections=False` leaves them alone, for a worker inside a test.

    Raises ValueError, listing those there are, for a queue that no job has.
    """

    def __init__(
        self, queues: Iterable[str] | None = None, *, clean_connections: bool = True
    ) -> None:
        self.queues = [queues] if isinstance(queues, str) else None if queues is None else [*queues]
        self.jobs: list[AnyJob] = registry.select(self.queues)
        self._clean_connections = clean_connections
        self._stopping = False

    @property
    def client_id(self) -> str:
        """The name under which the job servers list this worker: host, process and queues."""
        queues = ",".join(dict.fromkeys(job.queue for job in self.jobs))
        name = f"{socket.gethostname()}:{os.getpid()}:{queues}"
        return re.sub(r"[^A-Za-z0-9._:,-]", "-", name)[:127]

    def stop(self) -> None:
        """Finish the job in hand and leave `work`; from any thread, or from a signal handler."""
        self._stopping = True

    def work(
        self,
        *,
        burst: bool = False,
        limit: int | None = None,
        backend: BaseBackend | None = None,
    ) -> int:
        """
        Run jobs until `stop` is called, or `limit` have run, or with `burst` until none is left.

        Returns how many ran, those included that another worker has to run again because the
        connection was lost. A job server that is down is waited for. An error in a job never ends
        the work. `backend` is another transport than that of the settings.
        """
        functions = functions_of(self.jobs)
        backend = backend or get_backend()
        instrumentation, names = active(), list(functions)
        instrumentation.admit(backend)
        make = partial(backend.register, names, self.client_id)
        session = instrumentation.register(backend, make, names)
        retry = partial(instrumentation.retry, backend.submit)
        count = 0
        try:
            while not self._stopping and count != limit:
                assigned = session.grab_job(0 if burst else IDLE_SECONDS)
                if assigned is None:
                    if burst:
                        break
                    continue
                self._run(functions.get(assigned.function), assigned, session, retry)
                count += 1
        finally:
            session.close()
        return count

    def _run(
        self,
        job: AnyJob | None,
        assigned: AssignedJob,
        session: WorkerSession,
        retry: Submit,
    ) -> None:
        self._clean()
        try:
            if job is None:
                fail_unknown(assigned, session)
            else:
                execute(job, assigned, session, retry)
        except BackendError as error:
            logger.warning("job %s: %s", assigned.handle, error)
        finally:
            self._clean()

    def _clean(self) -> None:
        if self._clean_connections:
            db.reset_queries()
            db.close_old_connections()
