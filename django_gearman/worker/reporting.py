"""
Log records and signals about a run, and the report of a failure to the clients.

Telling never raises, even if receivers, log handlers or the job's exceptions do: the outcome of a
job does not depend on them.
"""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from django.dispatch import Signal

from .. import conf, signals
from ..backends.base import AssignedJob, WorkerSession, WorkFail, WorkWarning
from ..exceptions import JobNotRegistered
from ..jobs import counting, keeping
from ..jobs.definition import JobDefinition
from ..jobs.retries import RetryJob
from ..serializers.failures import dump_error
from ..signals import job_failed, job_finished, job_retried, job_started
from ..utils.interrupts import brief
from ..utils.records import get_logger, log
from .runs import Ending, RunAttributes

logger = get_logger("django_gearman.jobs")


def raise_if_interrupted(error: BaseException) -> None:
    """
    Raise a KeyboardInterrupt again if it may come from the keyboard, because the user wants to
    stop.
    """
    if (
        issubclass(type(error), KeyboardInterrupt)  # isinstance would call code of the exception
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        raise error


@brief
def send(to: Signal, sender: object, **named: Any) -> None:
    """Call the receivers of a signal; log the errors of receivers."""
    if not to.receivers:  # finding the receivers of a sender is the most expensive part
        return
    try:
        to.send_robust(sender, **named)
    except BaseException as error:  # noqa: BLE001 - what is no Exception passes send_robust
        raise_if_interrupted(error)
        name = next((name for name, value in vars(signals).items() if value is to), "a signal")
        message = "a receiver of %s has raised %r; the receivers after it were not called"
        log(logger, logging.ERROR, message, name, error, exc_info=error)


def tell_started(run: RunAttributes) -> None:
    if counting.counter is not None:
        counting.counter.started(run)
    if job_started.receivers:
        send(job_started, run.job, context=run.job_context)
    if logger.isEnabledFor(logging.INFO):
        _log(run, logging.INFO, "started", "job %s (%s) started")


def tell_finished(run: RunAttributes, ending: Ending) -> None:
    """Count, log, and signal the end of a run in this worker."""
    if counting.counter is not None:
        counting.counter.ended(run, ending)
    if ending.exception is not None:
        tell_failed(run, ending)
    else:
        if logger.isEnabledFor(logging.INFO):
            message, seconds = "job %s (%s) finished in %.3f s", ending.seconds
            _log(run, logging.INFO, "succeeded", message, seconds, gearman_seconds=seconds)
        if run.job.on_ended is not None:
            run.job.on_ended(run, ending)
    if job_finished.receivers:
        send(
            job_finished,
            run.job,
            context=run.job_context,
            outcome=ending.outcome,
            exception=ending.exception,
            seconds=ending.seconds,
            state=ending.state,
        )


def tell_failed(run: RunAttributes, ending: Ending) -> None:
    """Log, and signal, that the job has failed or was cancelled, or that it runs again."""
    log_failed(run, ending)
    signal_failed(run, ending)


def log_failed(run: RunAttributes, ending: Ending) -> None:
    error = ending.exception
    if error is not None and ending.handle:
        _log_retry(run, error, round(ending.delay, 3))
    elif ending.state == "cancelled":
        _log(run, logging.WARNING, "cancelled", "job %s (%s) was cancelled: %s", error)
    else:
        message = "job %s (%s) failed in attempt %d, with arguments of digest %s: %r"
        about = run.call.attempt, run.digest, error
        _log(run, logging.ERROR, "failed", message, *about, error=error)


def signal_failed(run: RunAttributes, ending: Ending) -> None:
    if run.job.on_ended is not None:
        run.job.on_ended(run, ending)
    if ending.handle:
        about = {"handle": ending.handle, "delay": ending.delay, "exception": ending.exception}
        send(job_retried, run.job, context=run.job_context, **about)
    elif ending.state != "cancelled":
        send(job_failed, run.job, context=run.job_context, exception=ending.exception)


def tell_answered(run: RunAttributes, ending: Ending) -> None:
    """Log that an earlier run of the job had ended already."""
    if counting.counter is not None:  # its first run was not counted, or the server was restarted
        counting.counter.ended_unseen(run.job, ending.state)
    message = "job %s (%s) had ended before, and is not run again: its record says %s"
    level = logging.INFO if ending.state == "cancelled" else logging.WARNING  # by a user
    _log(run, level, ending.state, message, ending.state)


def _log_retry(run: RunAttributes, error: BaseException, delay: float) -> None:
    when = f"in {delay:g} s" if delay else "at once"
    if issubclass(type(error), RetryJob):
        message = "job %s (%s) runs again %s"
        _log(run, logging.INFO, "retried", message, when, gearman_delay=delay)
        return
    message = "job %s (%s) failed in attempt %d of %d, and runs again %s: %r"
    about = run.call.attempt, (run.job.retries or 0) + 1, when, error
    _log(run, logging.WARNING, "retried", message, *about, error=error, gearman_delay=delay)


def _log(
    run: RunAttributes,
    level: int,
    state: str,
    message: str,
    *about: object,
    error: BaseException | None = None,
    **more: float,
) -> None:
    """Log a message about a run; formatters may read its state, and the fields `more`."""
    names = run.job.name, run.assigned.handle
    extra = {**run.log_fields, "gearman_state": state, **more}
    log(logger, level, message, *names, *about, exc_info=error, extra=extra)


def fail_unknown(assigned: AssignedJob, session: WorkerSession) -> None:
    """Fail a job of a function that this process does not know, instead of keeping it forever."""
    error = JobNotRegistered(f"no job is declared for the function {assigned.function!r}")
    shows = conf.sends_traceback(to_own_client=False)
    report_unread(assigned, session, None, error, dump_error(error, with_traceback=shows))
    if counting.counter is not None:
        counting.counter.ended_unseen(None, "failed")
    message = "job %s (%s) failed: %r"
    log(logger, logging.ERROR, message, assigned.function, assigned.handle, error)


def report_unread(
    assigned: AssignedJob,
    session: WorkerSession,
    job: JobDefinition | None,
    error: Exception,
    reason: bytes,
) -> Ending | None:
    """
    Report the failure of a job whose workload is not read. If its record has an ending, report and
    return that instead.
    """
    keeper = keeping.keeper
    known: Ending | None = None if keeper is None else keeper.keep_unread(job, assigned, error)
    if known is not None and known.exception is None:
        session.send(assigned, known.outcome)
    else:
        report_failure(assigned, session, reason if known is None else known.reason)
    return known


def report_failure(assigned: AssignedJob, session: WorkerSession, reason: bytes) -> None:
    """Send the error and the failure of a job to the clients that wait for it."""
    session.send(assigned, WorkWarning(reason))
    session.send(assigned, WorkFail())
