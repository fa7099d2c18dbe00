"""GearmanWorker: it requests a job, executes it, and repeats this until it is stopped."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from django import db

from .. import environment
from ..backends import get_backend
from ..backends.base import AssignedJob, BaseBackend, JobSpec, Submission, Update, WorkerSession
from ..exceptions import BackendError, ConnectionLost
from ..jobs.definition import JobDefinition
from ..jobs.functions import functions_of
from ..jobs.registry import registry
from ..signals import worker_started, worker_stopping
from ..utils.clock import monotonic
from ..utils.records import get_logger, log
from .alarm import kept_alarm
from .crew import Crew, Steps, locked
from .execution import Submit, execute
from .forks import end_if_forked
from .loop import KeptLoop, kept_loop
from .observer import NO_OBSERVER, WorkerObserver
from .reporting import fail_unknown, send
from .routing import MOST_THREADS
from .transactions import Blocks, end_blocks, open_blocks, opened_here

logger = get_logger(__name__)

#: Seconds without a job until database connections are closed, before their server does it.
RELEASE_SECONDS = 10.0
#: Seconds between heartbeats to the observer.
TELL_SECONDS = 0.1


class GearmanWorker:
    """
    A worker for the jobs of `queues` (all for None, or if one is "*"). It runs one job at a time,
    in the thread of `work`; or up to `threads` jobs, each in a separate thread, and `async def`
    jobs on an event loop.

    `name` is the worker name in gearman_status, instead of the host's name. Before and after each
    job the worker closes broken and old database connections, as Django does for each web request.
    If there is no job, it closes all of them. `clean_connections=False` leaves them alone, for a
    worker inside a test. `prefetch` is how many jobs may be requested in advance (see
    `WorkerSession.prefetch`); None adapts it to the duration of the jobs.

    Raises ValueError, with the existing queues, if no job is in a queue, and if `threads` is not from
    1 to MOST_THREADS.
    """

    def __init__(
        self,
        queues: Iterable[str] | None = None,
        *,
        name: str | None = None,
        clean_connections: bool = True,
        prefetch: int | None = 0,
        threads: int = 1,
    ) -> None:
        if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
            raise ValueError(
                f"threads is a whole number from 1 to {MOST_THREADS}, not {threads!r:.50}"
            )
        self.threads = threads
        self.queues = [queues] if isinstance(queues, str) else None if queues is None else [*queues]
        self.jobs: list[JobDefinition] = registry.select(self.queues)
        self.name = name or socket.gethostname()
        self.prefetch = prefetch
        self.is_stopping = False
        self._clean_connections = clean_connections
        self._session: WorkerSession = _NoSession()
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
        """Finish the current jobs and leave `work`; from any thread, or from a signal handler."""
        self.is_stopping = True
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
        with kept_loop() as loop, kept_alarm():
            return self._work(burst, limit, backend, observer, loop)

    def _work(
        self,
        burst: bool,
        limit: int | None,
        given: BaseBackend | None,
        observer: WorkerObserver,
        loop: KeptLoop,
    ) -> int:
        self._process = os.getpid()
        self._blocks = open_blocks()  # for example of a test case around it; they are not its jobs'
        functions = functions_of(self.jobs)
        backend = environment.current().transport(given or get_backend())
        if self.threads > 1 and not backend.supports_slots:
            raise BackendError(
                f"{type(given or get_backend()).__name__} runs one job at a time in a process, and not "
                f"{self.threads}; use one thread, and more processes"
            )
        prefetch = self.prefetch if limit is None else 0
        self._withheld = observer.withheld() or frozenset()
        register = partial(self._register, backend, functions, prefetch, observer)
        register()
        try:
            send(worker_started, type(self), worker=self)
            if self.threads == 1:
                count = self._serve(functions, register, backend.submit, observer, burst, limit)
            else:
                submit = locked(backend.submit) if given else _submit
                crew = self._crew(functions, observer, loop, submit)
                count = self._serve_many(crew, register, observer, burst, limit)
        except BaseException:
            observer.leaving()
            send(worker_stopping, type(self), worker=self)
            if not observer.ends_jobs:
                self._session.close()
            else:
                self._session.flush()  # of finished jobs; the current ones stay
            raise
        observer.leaving()
        send(worker_stopping, type(self), worker=self)
        self._session.close()
        return count

    def _serve(
        self,
        functions: Mapping[str, JobDefinition],
        register: Callable[[], WorkerSession],
        submit: Submit,
        observer: WorkerObserver,
        burst: bool,
        limit: int | None,
    ) -> int:
        """Run one job after the other."""
        session = self._session
        run = partial(self._run, functions, session, submit, observer)
        count = 0
        was_idle = True
        now = worked_at = monotonic()
        told_at = -math.inf
        while not self.is_stopping and count != limit and not observer.is_over(count):
            if (withheld := observer.withheld()) is not None:
                self._withheld = withheld
                session.close()  # jobs that it holds in advance are for other workers
                session = register()
                run = partial(self._run, functions, session, submit, observer)
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
        return count

    def _crew(
        self,
        functions: Mapping[str, JobDefinition],
        observer: WorkerObserver,
        loop: KeptLoop,
        submit: Submit,
    ) -> Crew:
        steps = Steps(partial(self._run, functions), self._lose, self._clean, self._release)
        return Crew(self.threads, steps, functions, observer, loop, submit)

    def _serve_many(
        self,
        crew: Crew,
        register: Callable[[], WorkerSession],
        observer: WorkerObserver,
        burst: bool,
        limit: int | None,
    ) -> int:
        """Run several jobs at a time."""
        count = 0
        told_at = -math.inf
        has_changed = False

        def is_over(number: int) -> bool:
            nonlocal has_changed
            if (withheld := observer.withheld()) is not None:
                self._withheld = withheld
                names, client_id = self._served(crew.functions), self.client_id
                has_changed = not self._session.serve(names, client_id)
                if not has_changed:
                    self._session.client_id = client_id
                    self._session.functions = frozenset(names)
            number += count
            done = self.is_stopping or number == limit or observer.is_over(number)
            return has_changed or done

        def tell(session: WorkerSession) -> None:
            nonlocal told_at
            now = monotonic()
            if now - told_at >= TELL_SECONDS and session.is_known:
                observer.serving()
                told_at = now

        try:
            while True:
                crew.session = session = self._session
                if limit is not None:
                    session.left = min(session.left, limit - count)
                has_changed = False
                count += crew.serve(is_over, burst, tell)
                if not has_changed or self.is_stopping:
                    break
                session.close()
                register()
        except BaseException:  # this process ends, and other workers get its jobs
            crew.close(wait=False)
            raise
        crew.close()
        return count

    def _served(self, functions: Mapping[str, JobDefinition]) -> list[str]:
        """Return those of these functions whose queues are not paused."""
        return [name for name, job in functions.items() if job.queue not in self._withheld]

    def _register(
        self,
        backend: BaseBackend,
        functions: Mapping[str, JobDefinition],
        prefetch: int | None,
        observer: WorkerObserver,
    ) -> WorkerSession:
        """Return a new session for the functions of all queues that are not paused."""
        slots = {} if self.threads == 1 else {"slots": self.threads}
        names = self._served(functions)
        session: WorkerSession = backend.register(names, self.client_id, **slots)
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
            self._lose(assigned, observer, error)
        if os.getpid() != self._process:
            end_if_forked(self._process)
        observer.ended()  # after any other exception it is still current, and the crash is charged to it
        self._clean()

    def _lose(self, assigned: AssignedJob, observer: WorkerObserver, error: BackendError) -> None:
        log(logger, logging.WARNING, "job %s: %s", assigned.handle, error)
        observer.lost(assigned)

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


def _submit(specs: Sequence[JobSpec]) -> list[Submission]:
    """Submit by the backend of this thread."""
    submissions: list[Submission] = environment.current().transport(get_backend()).submit(specs)
    return submissions


class _NoSession(WorkerSession):
    """The session of a worker that does not work yet."""

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        return None

    def send(self, job: AssignedJob, update: Update) -> None:
        raise ConnectionLost(f"job {job.handle} has no worker")

    def close(self) -> None:
        pass
