"""
Run one assigned job and report its outcome: nothing else calls a job's function.

The worker and the eager transport come through here, so that a job meets the same bytes, the same
checks and the same errors in production, in development and in tests.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from asgiref.sync import async_to_sync

from . import conf
from .backends.base import (
    AssignedJob,
    JobSpec,
    Outcome,
    Submission,
    WorkComplete,
    WorkerSession,
    WorkFail,
    WorkWarning,
)
from .exceptions import JobAlreadyRegistered, JobNotRegistered, SerializationError
from .instrumentation import active
from .jobs import AnyJob, JobContext, RetryJob
from .remote_error import dump_error
from .serializers import Serializer, get_serializer
from .signals import job_finished, job_retried, job_started

logger = logging.getLogger(__name__)

#: `BaseBackend.submit`
Submit: TypeAlias = Callable[[Sequence[JobSpec]], list[Submission]]


def functions_of(jobs: Iterable[AnyJob]) -> dict[str, AnyJob]:
    """
    Return the function on the wire of each job.

    Raises, before any of them runs: JobAlreadyRegistered if two share one, ImproperlyConfigured if
    a serializer is wrong.
    """
    get_serializer(conf.serializer())
    functions: dict[str, AnyJob] = {}
    for job in jobs:
        if job.serializer is not None:
            get_serializer(job.serializer, f"serializer of job {job.name}")
        function = conf.function_name(job.name)
        other = functions.setdefault(function, job)
        if other is not job:
            raise JobAlreadyRegistered(
                f"GEARMAN_JOB_NAME gives jobs {other.name} and {job.name} the same function, {function}"
            )
    return functions


def execute(job: AnyJob, assigned: AssignedJob, session: WorkerSession, submit: Submit) -> Outcome:
    """
    Run the job, report on it and return the outcome.

    Whatever the function raises fails the job, SystemExit too; KeyboardInterrupt alone goes on, and
    leaves the job in hand. Raises ConnectionLost when the outcome could not be reported: the server
    gives the job to another worker. `submit` takes a job that is to be run again.
    """
    serializer = get_serializer(job.serializer or conf.serializer(), f"job {job.name}")
    context = JobContext(job, assigned, session, serializer)
    started = time.monotonic()
    job_started.send_robust(job, context=context)
    error: BaseException | None = None
    again: RetryJob | None = None
    outcome: Outcome
    try:
        outcome = WorkComplete(_run(job, assigned, context, serializer))
    except RetryJob as retry:
        again = retry
        outcome, error = _retry(job, context, assigned, serializer, submit, retry)
    except KeyboardInterrupt:
        raise
    except BaseException as raised:  # noqa: BLE001 - a job must never end its worker
        outcome, error = WorkFail(), raised
    _report(job.name, assigned, session, outcome, error)
    seconds = time.monotonic() - started
    job_finished.send_robust(
        job, context=context, outcome=outcome, exception=error or again, seconds=seconds
    )
    return outcome


def fail_unknown(assigned: AssignedJob, session: WorkerSession) -> None:
    """Fail a job of a function that this process does not know, instead of keeping it for ever."""
    error = JobNotRegistered(f"no job is declared for the function {assigned.function!r}")
    _report(assigned.function, assigned, session, WorkFail(), error)


def _report(
    name: str,
    assigned: AssignedJob,
    session: WorkerSession,
    outcome: Outcome,
    error: BaseException | None,
) -> None:
    if error is not None:
        active().job_failed(assigned.handle, error)
        logger.error("job %s (%s) failed: %r", name, assigned.handle, error, exc_info=error)
        session.send(assigned, WorkWarning(dump_error(error)))
    session.send(assigned, outcome)


def _run(job: AnyJob, assigned: AssignedJob, context: JobContext, serializer: Serializer) -> bytes:
    call = job.check_call(serializer.loads_call(assigned.workload))
    context.attempt = call.attempt
    args = (context, *call.args) if job.takes_context else call.args
    if job.is_async:
        result = async_to_sync(job.func)(*args, **call.kwargs)
    else:
        result = job.func(*args, **call.kwargs)
    try:
        return serializer.dumps(result)
    except SerializationError as error:
        raise SerializationError(f"the result of job {job.name}: {error}") from error


def _retry(
    job: AnyJob,
    context: JobContext,
    assigned: AssignedJob,
    serializer: Serializer,
    submit: Submit,
    retry: RetryJob,
) -> tuple[Outcome, BaseException | None]:
    """Submit the job again, before it ends here: a crash in between repeats it, and loses nothing."""
    if not assigned.background:
        return WorkFail(), retry
    try:
        call = serializer.loads_call(assigned.workload)
        again = serializer.dumps_call(replace(call, attempt=call.attempt + 1))
        run_at = time.time() + retry.delay if retry.delay > 0 else None
        spec = JobSpec(assigned.function, again, background=True, run_at=run_at)
        [submission] = submit([spec])
        if submission.error is not None:
            raise submission.error
    except Exception as error:  # noqa: BLE001 - whatever it is, the job has failed
        error.__context__ = retry
        return WorkFail(), error
    logger.info("job %s (%s) runs again in %g s", job.name, assigned.handle, retry.delay)
    job_retried.send_robust(job, context=context, handle=submission.handle, delay=retry.delay)
    return WorkComplete(serializer.dumps(None)), None
