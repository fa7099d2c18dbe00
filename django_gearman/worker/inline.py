"""Inline workers: they run jobs of the "eager" transport in the thread that submitted them."""

from __future__ import annotations

import logging
from contextlib import suppress

from .. import environment
from ..backends.base import AssignedJob, BaseBackend, WorkerSession, WorkFail
from ..backends.eager import EagerBackend
from ..exceptions import BackendError, ConnectionLost
from ..jobs.definition import JobDefinition
from ..jobs.functions import functions_of
from ..jobs.registry import registry
from ..utils.records import get_logger, log
from .execution import Submit, execute
from .reporting import fail_unknown

logger = get_logger(__name__)


def run_queued(backend: BaseBackend) -> int:
    """Run the jobs that are due, and those that they submit; return the number of runs."""
    if not isinstance(backend, EagerBackend):
        return 0
    level = backend.free_level()
    worker = level.worker
    if worker is None:
        worker = level.worker = _InlineWorker(level)
    count = 0
    level.is_running = True
    try:
        while level.server.has_work() and (assigned := worker.session.grab_job(0)) is not None:
            worker.run(assigned)
            count += 1
    finally:
        level.is_running = False
    return count


class _InlineWorker:
    """The worker of one level of the transport, for all jobs."""

    def __init__(self, level: EagerBackend) -> None:
        transport = environment.current().transport(level)
        self.session: WorkerSession = transport.register(None, "eager")
        self._submit: Submit = transport.submit
        self._functions: dict[str, JobDefinition] = {}  # of the jobs that were declared meanwhile

    def run(self, assigned: AssignedJob) -> None:
        job = self._functions.get(assigned.function)
        if job is None or registry.find(job.name) is not job:
            self._functions = functions_of(registry.jobs())
            job = self._functions.get(assigned.function)
        try:
            if job is None:
                fail_unknown(assigned, self.session)
            else:
                execute(job, assigned, self.session, self._submit)
        except BackendError as error:  # only a test can cause this here
            log(logger, logging.WARNING, "job %s: %s", assigned.handle, error)
        except BaseException:  # an interrupt: no other worker would end the job
            with suppress(ConnectionLost):
                self.session.send(assigned, WorkFail())
            raise
