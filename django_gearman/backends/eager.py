"""
"eager": memory that runs what is queued as soon as it is submitted, in the thread that submits.

Each thread has a server of its own, so that a job runs where its submitter's database connections
and transactions are. What a running job submits in the background runs when that job has finished;
what it waits for runs inside it, on a server one level further in, before the jobs that were queued
earlier. Delayed jobs are held back until a later submit finds them due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from ..exceptions import BackendError, ConnectionLost
from ..instrumentation import active
from ..jobs.definition import JobDefinition
from ..jobs.functions import functions_of
from ..jobs.registry import registry
from ..protocol.address import ServerAddress
from ..utils.records import get_logger, log
from ..worker.execution import Submit, execute, fail_unknown
from .base import AssignedJob, JobSpec, JobStatus, Submission, WorkerSession, WorkFail
from .memory import MemoryBackend
from .memory_server import MemoryServer, MemoryWorkerSession
from .specs import check_specs

logger = get_logger(__name__)


class EagerBackend(MemoryBackend):
    """Runs jobs before `submit` returns; in a running job, those only that it waits for."""

    runs_in_caller = True

    def __init__(self, servers: Sequence[ServerAddress] = ()) -> None:
        self.server = MemoryServer("eager")
        self.max_queued = None
        self._outermost = self
        self._inner: EagerBackend | None = None
        self._is_running = False
        self._worker: WorkerSession | None = None  # made when the first job runs, and
        self._retry: Submit  # with it
        self._functions: dict[str, JobDefinition] = {}

    def submit(
        self,
        specs: Sequence[JobSpec],
        queued: Callable[[list[Submission]], None] = lambda submissions: None,
    ) -> list[Submission]:
        """Submit jobs, and run them; `queued` is called in between."""
        check_specs(specs)
        level = self._level()
        inside = level._inside() if level._is_running else level
        submissions = [(level if spec.background else inside).queue(spec) for spec in specs]
        queued(submissions)
        if not inside._is_running:
            inside.run_queued()
        return submissions

    def _level(self) -> EagerBackend:
        """Return the innermost level at which a job is running, this one if none is."""
        level = self
        while level._inner is not None and level._inner._is_running:
            level = level._inner
        return level

    def levels(self) -> Iterator[EagerBackend]:
        """Yield this level and those inside it, each with a server of its own."""
        level: EagerBackend | None = self
        while level is not None:
            yield level
            level = level._inner

    def _inside(self) -> EagerBackend:
        """Return the level for what a job of this one waits for."""
        if self._inner is None:
            self._inner = EagerBackend()
            self._inner._outermost = self._outermost
        return self._inner

    def queue(self, spec: JobSpec) -> Submission:
        """Take a job without running it."""
        return MemoryBackend._take(self if spec.run_at is None else self._outermost, spec)

    def _queue_all(self, specs: Sequence[JobSpec]) -> list[Submission]:
        return [self.queue(spec) for spec in specs]

    def job_status(self, handle: str) -> JobStatus:
        status = super().job_status(handle)
        if not status.known and self._inner is not None:
            return self._inner.job_status(handle)
        return status

    def run_queued(self) -> int:
        """Run the jobs that are due, and those that they submit; return how many ran."""
        if self._worker is None:
            instrumentation = active()
            make = partial(MemoryWorkerSession, self.server, None, "eager")
            self._worker = instrumentation.register(self, make, None)
            self._retry = partial(instrumentation.retry, self._queue_all)
        count = 0
        self._is_running = True
        try:
            while self.server.has_work() and (assigned := self._worker.grab_job(0)) is not None:
                self._run(assigned, self._worker)
                count += 1
        finally:
            self._is_running = False
        return count

    def _run(self, assigned: AssignedJob, worker: WorkerSession) -> None:
        job = self._job_of(assigned.function)
        try:
            if job is None:
                fail_unknown(assigned, worker)
            else:
                execute(job, assigned, worker, self._retry)
        except BackendError as error:  # which only a test can make happen here
            log(logger, logging.WARNING, "job %s: %s", assigned.handle, error)
        except BaseException:  # an interrupt: nobody else would ever end the job
            with suppress(ConnectionLost):
                worker.send(assigned, WorkFail())
            raise

    def _job_of(self, function: str) -> JobDefinition | None:
        job = self._functions.get(function)
        if job is None or registry.find(job.name) is not job:
            self._functions = functions_of(registry.jobs())
            job = self._functions.get(function)
        return job
