"""
Run jobs of the "eager" transport in the thread that submitted them.

The transport queues; this runs what is queued, as a worker does, through the same code.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from ..backends.base import AssignedJob, BaseBackend, WorkerSession, WorkFail
from ..backends.eager import EagerBackend
from ..environment import current
from ..exceptions import BackendError, ConnectionLost
from ..jobs.definition import JobDefinition
from ..jobs.functions import functions_of
from ..jobs.registry import registry
from ..utils.records import get_logger, log
from .execution import Submit, execute
from .failing import fail_unknown

logger = get_logger(__name__)

_functions: dict[str, JobDefinition] = {}  # of the jobs that were declared when it was made


def run_queued(backend: BaseBackend) -> int:
    """
    Run the jobs that are due, and those that they submit; return how many ran.

    In a running job these are the jobs that it waits for. A transport other than "eager" has none.
    """
    if not isinstance(backend, EagerBackend):
        return 0
    level = backend.free_level()
    transport = current().transport(level)
    worker = level.worker
    if worker is None:
        worker = level.worker = transport.register(None, "eager")
    count = 0
    level.is_running = True
    try:
        while level.server.has_work() and (assigned := worker.grab_job(0)) is not None:
            _run(assigned, worker, transport.submit)
            count += 1
    finally:
        level.is_running = False
    return count


def _run(assigned: AssignedJob, worker: WorkerSession, submit: Submit) -> None:
    job = _job_of(assigned.function)
    try:
        if job is None:
            fail_unknown(assigned, worker)
        else:
            execute(job, assigned, worker, submit)
    except BackendError as error:  # which only a test can make happen here
        log(logger, logging.WARNING, "job %s: %s", assigned.handle, error)
    except BaseException:  # an interrupt: nobody else would ever end the job
        with suppress(ConnectionLost):
            worker.send(assigned, WorkFail())
        raise


def _job_of(function: str) -> JobDefinition | None:
    global _functions
    job = _functions.get(function)
    if job is None or registry.find(job.name) is not job:
        _functions = functions_of(registry.jobs())
        job = _functions.get(function)
    return job
