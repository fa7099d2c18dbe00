"""GearmanWorker: grab a job, execute it, and again, until told to stop."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
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
from .signals import worker_started, worker_stopping
from .watch import NOBODY, Watch

logger = logging.getLogger(__name__)

#: Seconds that an idle worker waits for a job before it looks whether it should stop.
IDLE_SECONDS = 0.2
#: Seconds without a job after which database connections are closed, before their server does it.
RELEASE_SECONDS = 10.0


class GearmanWorker:
    """
    Runs jobs of `queues` (None, or one named "*": of all), one at a time, in the thread of `work`.

    `name` is what administrators see beside the process id, in place of the host's name. Around each
    job it drops database connections that are broken or too old, as Django does around each web
    request, and when there is nothing to do all of them; `clean_connections=False` leaves them
    alone, for a worker inside a test.

    Raises ValueError, listing those there are, for a queue that no job has.
    """

    def __init__(
        self,
        queues: Iterable[str] | None = None,
        *,
        name: str | None = None,
        clean_connections: bool = True,
    ) -> None:
        self.queues = [queues] if isinstance(queues, str) else None if queues is None else [*queues]
        self.jobs: list[AnyJob] = registry.select(self.queues)
        self.name = name or socket.gethostname()
        self._clean_connections = clean_connections
        self.is_stopping = False

    @property
    def client_id(self) -> str:
        """What the job servers list this worker as: its name, process and queues."""
        queues = ",".join(dict.fromkeys(job.queue for job in self.jobs))
        return re.sub(r"[^A-Za-z0-9._:,-]", "-", f"{self.name}:{os.getpid()}:{queues}")[:127]

    def stop(self) -> None:
        """Finish the job in hand and leave `work`; from any thread, or from a signal handler."""
        self.is_stopping = True

    def work(
        self,
        *,
        burst: bool = False,
        limit: int | None = None,
        backend: BaseBackend | None = None,
        watch: Watch = NOBODY,
    ) -> int:
        """
        Run jobs until `stop` is called, or `limit` have run, or with `burst` until none is left.

        Returns how many ran, those included that another worker has to run again because the
        connection was lost. A job server that is down is waited for. An error in a job never ends
        the work. `backend` is another transport than that of the settings; `watch` is told what
        happens.
        """
        functions = functions_of(self.jobs)
        backend = backend or get_backend()
        instrumentation, names = active(), list(functions)
        instrumentation.admit(backend)
        make = partial(backend.register, names, self.client_id)
        session = instrumentation.register(backend, make, names)
        retry = partial(instrumentation.retry, backend.submit)
        count = 0
        worked_at = time.monotonic()
        watch.registered(session)
        worker_started.send_robust(type(self), worker=self)
        try:
            while not self.is_stopping and count != limit and not watch.is_over(count):
                assigned = session.grab_job(0 if burst else IDLE_SECONDS)
                if session.is_known:
                    watch.serving()
                if assigned is not None:
                    self._run(functions.get(assigned.function), assigned, session, retry, watch)
                    count += 1
                    worked_at = time.monotonic()
                elif burst:
                    break
                elif time.monotonic() - worked_at >= RELEASE_SECONDS:
                    self._release()
                    worked_at = time.monotonic()
        finally:
            worker_stopping.send_robust(type(self), worker=self)
            session.close()
        return count

    def _run(
        self,
        job: AnyJob | None,
        assigned: AssignedJob,
        session: WorkerSession,
        retry: Submit,
        watch: Watch,
    ) -> None:
        self._clean()
        try:
            if job is None:
                fail_unknown(assigned, session)
            else:
                execute(job, assigned, session, retry, watch)
        except BackendError as error:
            logger.warning("job %s: %s", assigned.handle, error)
        finally:
            watch.ended()
            self._clean()

    def _clean(self) -> None:
        if self._clean_connections:
            db.reset_queries()
            db.close_old_connections()

    def _release(self) -> None:
        if self._clean_connections:
            db.connections.close_all()
