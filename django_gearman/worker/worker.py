"""GearmanWorker: it requests a job, executes it, and repeats this until it is stopped."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
from collections.abc import Iterable, Mapping
from functools import partial

from django import db

from .. import environment
from ..backends import get_backend
from ..backends.base import AssignedJob, BaseBackend, WorkerSession
from ..exceptions import BackendError
from ..jobs.definition import JobDefinition
from ..jobs.functions import functions_of
from ..jobs.registry import registry
from ..signals import worker_started, worker_stopping
from ..utils.clock import monotonic
from ..utils.records import get_logger, log
from .execution import Submit, execute
from .forks import end_if_forked
from .loop import kept_loop
from .observer import NO_OBSERVER, WorkerObserver
from .reporting import fail_unknown, send
from .transactions import Blocks, end_blocks, open_blocks, opened_here

logger = get_logger(__name__)

#: Seconds without a job until database connections are closed, before their server does it.
RELEASE_SECONDS = 10.0
#: Seconds between heartbeats to the observer.
TELL_SECONDS = 0.1


class GearmanWorker:
    """
    A worker for the jobs of `queues` (all for None, or if one is "*"). It runs one job at a time,
    in the thread of `work`.

    `name` is the worker name in gearman_status, instead of the host's name. Before and after each
    job the worker closes broken and old database connections, as Django does for each web request.
    If there is no job, it closes all of them. `clean_connections=False` leaves them alone, for a
    worker inside a test. `prefetch` is how many jobs may be requested in advance (see
    `WorkerSession.prefetch`); None adapts it to the duration of the jobs.

    Raises ValueError, with the existing queues, if no job is in a queue.
    """

    def __init__(
        self,
        queues: Iterable[str] | None = None,
        *,
        name: str | None = None,
        clean_connections: bool = True,
        prefetch: int | None = 0,
    ) -> None:
        self.queues = [queues] if isinstance(queues, str) else None if queues is None else [*queues]
        self.jobs: list[JobDefinition] = registry.select(self.queues)
        self.name = name or socket.gethostname()
        self.prefetch = prefetch
        self.is_stopping = False
        self._clean_connections = clean_connections
        self._session: WorkerSession | None = None
        self._blocks: Blocks = {}
        self._process = 0
        self._withheld: frozenset[str] = frozenset()  # paused queues

    @property
    def client_id(self) -> str:
        """The worker's id on the job servers: its name, process and queues."""
        served = dict.fromkeys(job.queue for job in self.jobs if job.queue not in self._withheld)
        queues = ",".join(served)
        # Other tools split the line of a worker at its colons and spaces.
        name, queues = (re.sub(r"[^A-Za-z0-9._,-]", "-", each) for each in (self.name, queues))
        return f"{name}/{os.getpid()}/{queues}"[:127]

    def stop(self) -> None:
        """Finish the current job and leave `work`; from any thread, or from a signal handler."""
        self.is_stopping = True
        if self._session is not None:
            self._session.ask_no_more()

    def work(
        self,
        *,
        burst: bool = False,
        limit: int | None = None,
        backend: BaseBackend | None = None,
        observer: WorkerObserver = NO_OBSERVER,
    ) -> int:
        """
        Run jobs until `stop` is called, or until `limit` jobs have run, or with `burst` until none
        is left.

        Returns the number of runs. It includes jobs that another worker must run again because the
        connection was lost. If a job server is down, the worker waits. An error in a job never ends
        the work. `backend` replaces the backend of the settings. `observer` is informed of all of this.
        """
        with kept_loop():
            return self._work(burst, limit, backend, observer)

    def _work(
        self,
        burst: bool,
        limit: int | None,
        backend: BaseBackend | None,
        observer: WorkerObserver,
    ) -> int:
        self._process = os.getpid()
        self._blocks = open_blocks()  # for example of a test case around it; they are not its jobs'
        functions = functions_of(self.jobs)
        backend = environment.current().transport(backend or get_backend())
        prefetch = self.prefetch if limit is None else 0
        self._withheld = observer.withheld() or frozenset()
        session = self._register(backend, functions, prefetch, observer)
        run = partial(self._run, functions, session, backend.submit, observer)
        count = 0
        was_idle = True
        now = worked_at = monotonic()
        told_at = -math.inf
        try:
            send(worker_started, type(self), worker=self)
            while not self.is_stopping and count != limit and not observer.is_over(count):
                if (withheld := observer.withheld()) is not None:
                    self._withheld = withheld
                    session.close()  # jobs that it holds in advance are for other workers
                    session = self._register(backend, functions, prefetch, observer)
                    run = partial(self._run, functions, session, backend.submit, observer)
                wants_none = burst and session.is_known
                assigned = session.grab_job(0 if wants_none else session.idle_seconds)
                if now - told_at >= TELL_SECONDS and session.is_known:
                    observer.serving()
                    told_at = now
                if assigned is not None:
                    if was_idle:
                        self._clean()
                        was_idle = False
                    run(assigned)
                    count += 1
                    now = worked_at = monotonic()
                    continue
                if wants_none and session.is_known:
                    break
                was_idle = True
                now = monotonic()
                if now - worked_at >= RELEASE_SECONDS:
                    self._release()
                    worked_at = now
            session.ask_no_more()
            while session.holds_jobs and (assigned := session.grab_job(0)) is not None:
                run(assigned)
                count += 1
        except BaseException:
            observer.leaving()
            send(worker_stopping, type(self), worker=self)
            if not observer.ends_jobs:
                session.close()
            else:
                session.flush()  # of finished jobs; the current one stays
            raise
        observer.leaving()
        send(worker_stopping, type(self), worker=self)
        session.close()
        return count

    def _register(
        self,
        backend: BaseBackend,
        functions: Mapping[str, JobDefinition],
        prefetch: int | None,
        observer: WorkerObserver,
    ) -> WorkerSession:
        """Return a new session for the functions of all queues that are not paused."""
        names = [name for name, job in functions.items() if job.queue not in self._withheld]
        session: WorkerSession = backend.register(names, self.client_id)
        session.client_id, session.functions = self.client_id, frozenset(names)
        session.prefetch = prefetch
        self._session = session
        if self.is_stopping:
            session.ask_no_more()
        observer.registered(session)
        return session

    def _run(
        self,
        functions: Mapping[str, JobDefinition],
        session: WorkerSession,
        retry: Submit,
        observer: WorkerObserver,
        assigned: AssignedJob,
    ) -> None:
        job = functions.get(assigned.function)
        try:
            if job is None:
                fail_unknown(assigned, session)
                observer.reported("failed")
            else:
                execute(job, assigned, session, retry, observer)
        except BackendError as error:
            log(logger, logging.WARNING, "job %s: %s", assigned.handle, error)
            observer.lost(assigned)
        end_if_forked(self._process)
        observer.ended()  # after any other exception it is still current, and the crash is charged to it
        self._clean()

    def _clean(self) -> None:
        """Close broken and old database connections, and clear the queries kept for debugging."""
        if self._clean_connections:
            for alias in end_blocks(self._blocks):  # connections of the job were cleaned before
                message = (
                    "a receiver has left a transaction open, which was rolled back: database %r"
                )
                log(logger, logging.ERROR, message, alias)
            for connection in opened_here():
                connection.queries_log.clear()
                connection.close_if_unusable_or_obsolete()

    def _release(self) -> None:
        if self._clean_connections:
            db.connections.close_all()
