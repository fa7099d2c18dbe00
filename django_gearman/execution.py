"""
Run one assigned job and report its outcome: nothing else calls a job's function.

The worker and the eager transport come through here, so that a job meets the same bytes, the same
checks and the same errors in production, in development and in tests.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TypeAlias

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured

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
from .context import JobContext, running
from .exceptions import (
    ConnectionLost,
    JobAlreadyRegistered,
    JobNotRegistered,
    SerializationError,
    ServerUnavailable,
    SubmitUncertain,
)
from .instrumentation import active
from .jobs import AnyJob
from .records import get_logger
from .remote_error import dump_error
from .retries import RetryJob
from .serializers import Call, check_bytes, get_serializer
from .signals import job_failed, job_finished, job_retried, job_started
from .timelimit import time_limit, within
from .watch import NOBODY, Watch

logger = get_logger("django_gearman.jobs")

#: `BaseBackend.submit`
Submit: TypeAlias = Callable[[Sequence[JobSpec]], list[Submission]]


def functions_of(jobs: Iterable[AnyJob]) -> dict[str, AnyJob]:
    """
    Return the function on the wire of each job.

    Raises, before any of them runs: JobAlreadyRegistered if two share one, ImproperlyConfigured if
    a serializer is wrong, or cannot count a job's retries.
    """
    jobs = list(jobs)
    check_serializers(jobs)
    return name_functions(jobs)


def check_serializers(jobs: Iterable[AnyJob]) -> None:
    """Raise ImproperlyConfigured if a serializer is wrong, or cannot count a job's retries."""
    default = conf.serializer()
    get_serializer(default)
    for job in jobs:
        chosen = job.serializer or default
        serializer = get_serializer(chosen, f"serializer of job {job.name}")
        if job.retries and not serializer.carries_calls:
            raise ImproperlyConfigured(
                f"job {job.name} declares retries, but its serializer, {chosen!r}, carries no number "
                "of the attempt, so that they cannot be counted"
            )


def name_functions(jobs: Iterable[AnyJob]) -> dict[str, AnyJob]:
    """Return the function on the wire of each job; JobAlreadyRegistered if two share one."""
    functions: dict[str, AnyJob] = {}
    for job in jobs:
        function = conf.function_name(job.name)
        other = functions.setdefault(function, job)
        if other is not job:
            raise JobAlreadyRegistered(
                f"GEARMAN_JOB_NAME gives jobs {other.name} and {job.name} the same function, {function}"
            )
    return functions


def execute(
    job: AnyJob,
    assigned: AssignedJob,
    session: WorkerSession,
    submit: Submit,
    watch: Watch = NOBODY,
) -> Outcome:
    """
    Run the job, report on it and return the outcome.

    Whatever the function raises fails the job, SystemExit too; KeyboardInterrupt alone goes on, and
    leaves the job in hand. Raises BackendError when the outcome could not be reported, or the next
    attempt not be submitted: the server gives the job to another worker. `submit` takes a job that
    is to be run again.
    """
    seconds = watch.began(assigned, job.timeout)
    run = Run(job, assigned, session, submit)
    token = running.set(run)
    try:
        started = time.monotonic()
        if job_started.receivers:  # looking for those of a sender costs more than all around it
            job_started.send_robust(job, context=run.context)
        logs = logger.isEnabledFor(logging.INFO)
        if logs:
            logger.info("job %s (%s) started", job.name, assigned.handle, extra=run.log_fields)
        outcome: Outcome
        error: BaseException | None = None
        try:
            result = run.result(seconds)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001 - a job must never end its worker
            error = raised
        watch.returned()
        active().returned(run)
        if error is None:
            outcome = WorkComplete(result)
            session.send(assigned, outcome)
        else:
            outcome = run.fail(error)
        took = time.monotonic() - started
        if logs and error is None:
            done = "job %s (%s) finished in %.3f s"
            logger.info(done, job.name, assigned.handle, took, extra=run.log_fields)
        if job_finished.receivers:
            job_finished.send_robust(
                job, context=run.context, outcome=outcome, exception=error, seconds=took
            )
        return outcome
    finally:
        running.reset(token)


class Run:
    """One run of a job that a server has assigned."""

    def __init__(
        self, job: AnyJob, assigned: AssignedJob, session: WorkerSession, submit: Submit
    ) -> None:
        self.job = job
        self.assigned = assigned
        self.was_called = False
        self.session = session
        self._submit = submit
        self._serializer = get_serializer(job.serializer or conf.serializer(), f"job {job.name}")
        self._unreadable: Exception | None = None
        try:
            self.call = self._serializer.loads_call(assigned.workload)
            self._checked = job.check_call(self.call)
        except Exception as error:  # noqa: BLE001 - decoding may run code of the project's
            self._unreadable = error
            self.call = self._checked = Call()

    @cached_property
    def context(self) -> JobContext:
        about = self.call.attempt, self.call.context
        return JobContext(self.job, self.assigned, self.session, self._serializer, *about)

    @property
    def log_fields(self) -> dict[str, object]:
        return self.context.log_fields

    def result(self, seconds: float | None) -> bytes:
        """Call the function, for so many seconds at most; return its result as bytes, or raise."""
        if self._unreadable is not None:
            raise self._unreadable
        job, call = self.job, self._checked
        args = (self.context, *call.args) if job.takes_context else call.args
        self.was_called = True
        if job.is_async:
            result = async_to_sync(within)(seconds, job.func, args, call.kwargs)
        elif seconds is None:
            result = job.func(*args, **call.kwargs)
        else:
            with time_limit(seconds):
                result = job.func(*args, **call.kwargs)
        try:
            return check_bytes(self._serializer.dumps(result), self._serializer)
        except SerializationError as error:
            self.was_called = False  # the result would be the same again
            raise SerializationError(f"the result of job {job.name}: {error}") from error

    def fail(self, error: BaseException, *, died: bool = False) -> Outcome:
        """
        Report that the job has failed, or submit it again if it has attempts left.

        With `died` its process has: that costs an attempt, whatever `retry_on` says. Raises
        BackendError when no server takes the next attempt: this one is then left to another worker.
        """
        try:
            delay = self._delay_after(error, died)
            if delay is not None and self._is_awaited():
                delay = None
            if delay is not None:
                handle = self._submit_again(delay)
        except (ServerUnavailable, ConnectionLost, SubmitUncertain) as another:
            another.__context__ = error
            if self.session.give_back(self.assigned):
                raise
            error, delay = another, None
        except Exception as another:  # noqa: BLE001 - whatever it is, the job has failed
            another.__context__ = error
            error, delay = another, None
        if delay is None:
            self._report(error)
            return WorkFail()
        self._tell_retry(error, delay)
        job_retried.send_robust(
            self.job, context=self.context, handle=handle, delay=delay, exception=error
        )
        outcome = WorkComplete(b"")  # of a background job, for which nobody waits
        self.session.send(self.assigned, outcome)
        return outcome

    def _delay_after(self, error: BaseException, died: bool) -> float | None:
        """Return in how many seconds the job runs again, None if it does not."""
        policy, attempt = self.job.retry_policy, self.call.attempt
        if isinstance(error, RetryJob):
            if policy.retries is None:
                return error.delay or 0.0
            if policy.has_left(attempt):
                return policy.delay_after(attempt) if error.delay is None else error.delay
            return None
        if died or (self.was_called and isinstance(error, policy.retry_on)):
            return policy.delay_after(attempt) if policy.has_left(attempt) else None
        return None

    def _is_awaited(self) -> bool:
        """Whether a client may wait for the job, which must then see the error."""
        background = self.assigned.background
        if background is None:  # of another program, which does not say
            return self.session.is_awaited(self.assigned) is not False
        return not background

    def _submit_again(self, delay: float) -> str:
        """Queue the next attempt before this one ends: a crash in between loses nothing."""
        call = self._arrived()
        again = self._serializer.dumps_call(call._replace(attempt=call.attempt + 1))
        again = check_bytes(again, self._serializer)
        run_at = time.time() + delay if delay > 0 else None
        spec = JobSpec(self.assigned.function, again, background=True, run_at=run_at)
        [submission] = self._submit([spec])
        if submission.error is not None:
            raise submission.error
        return submission.handle

    def _arrived(self) -> Call:
        """Return the call as it arrived: the job may have changed what it was given."""
        return self._serializer.loads_call(self.assigned.workload)

    def _tell_retry(self, error: BaseException, delay: float) -> None:
        name, handle, extra = self.job.name, self.assigned.handle, self.log_fields
        delay = round(delay, 3)
        if isinstance(error, RetryJob):
            logger.info("job %s (%s) runs again in %g s", name, handle, delay, extra=extra)
            return
        logger.warning(
            "job %s (%s) failed in attempt %d of %d, and runs again in %g s: %r",
            *(name, handle, self.call.attempt, (self.job.retries or 0) + 1, delay, error),
            exc_info=error,
            extra=extra,
        )

    def _report(self, error: BaseException) -> None:
        active().job_failed(self.assigned.handle, error)
        logger.error(
            "job %s (%s) failed in attempt %d, with arguments of digest %s: %r",
            *(self.job.name, self.assigned.handle, self.call.attempt, self._digest(), error),
            exc_info=error,
            extra=self.log_fields,
        )
        job_failed.send_robust(self.job, context=self.context, exception=error)
        report_failure(self.assigned, self.session, error)

    def _digest(self) -> str:
        """Return what is the same for the same arguments, and does not give them away."""
        same = self.assigned.workload
        if not same:  # it was too large for the scoreboard
            return "unknown"
        with suppress(Exception):  # a worker must not die of what it tells
            call = self._arrived()
            same = self._serializer.dumps_call(Call(call.args, call.kwargs))
        return hashlib.blake2b(same, digest_size=8).hexdigest()


def fail_unknown(assigned: AssignedJob, session: WorkerSession) -> None:
    """Fail a job of a function that this process does not know, instead of keeping it for ever."""
    error = JobNotRegistered(f"no job is declared for the function {assigned.function!r}")
    active().job_failed(assigned.handle, error)
    logger.error("job %s (%s) failed: %r", assigned.function, assigned.handle, error)
    report_failure(assigned, session, error)


def report_failure(assigned: AssignedJob, session: WorkerSession, error: BaseException) -> None:
    """Tell whoever waits for a job why it failed, and that it did."""
    session.send(assigned, WorkWarning(dump_error(error)))
    session.send(assigned, WorkFail())
