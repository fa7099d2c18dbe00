"""
"eager": memory that runs what is queued as soon as it is submitted, in the thread that submits.

Each thread has a server of its own, so that a job runs where its submitter's database connections
and transactions are. Delayed jobs are held back until a later submit finds them due.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from ..connection import Server
from ..exceptions import ConnectionLost
from ..execution import execute, fail_unknown, functions_of
from ..jobs import AnyJob
from ..registry import registry
from .base import JobSpec, Submission, WorkerSession, WorkFail
from .memory import MemoryBackend, MemoryServer, MemoryWorkerSession

logger = logging.getLogger(__name__)


class EagerBackend(MemoryBackend):
    """Runs each job before `submit` returns."""

    runs_in_caller = True

    def __init__(self, servers: Sequence[Server] = ()) -> None:
        self.server = MemoryServer("eager")
        self.max_queued = None
        self._worker = MemoryWorkerSession(self.server, None, "eager")
        self._functions: dict[str, AnyJob] = {}

    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        submissions = self.queue(specs)
        self.run_queued(self._worker)
        return submissions

    def queue(self, specs: Sequence[JobSpec]) -> list[Submission]:
        """Take jobs without running them."""
        return super().submit(specs)

    def run_queued(self, worker: WorkerSession) -> int:
        """Run the jobs that are due, and those that they submit; return how many ran here."""
        count = 0
        while (assigned := worker.grab_job(0)) is not None:
            job = self._job_of(assigned.function)
            try:
                if job is None:
                    fail_unknown(assigned, worker)
                else:  # a retry is queued, for the next turn of this loop
                    execute(job, assigned, worker, self.queue)
            except ConnectionLost as error:  # which only a test can make happen here
                logger.warning("job %s: %s", assigned.handle, error)
            except BaseException:  # an interrupt: nobody else would ever end the job
                with suppress(ConnectionLost):
                    worker.send(assigned, WorkFail())
                raise
            count += 1
        return count

    def _job_of(self, function: str) -> AnyJob | None:
        job = self._functions.get(function)
        if job is None or registry.find(job.name) is not job:
            jobs = [job for queue in registry.queues().values() for job in queue]
            self._functions = functions_of(jobs)
            job = self._functions.get(function)
        return job
