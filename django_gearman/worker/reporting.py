"""
Log records and signals about a run.

Nothing here raises, even if receivers, log handlers or the job's exceptions do: the outcome of a
job does not depend on them.
"""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from django.dispatch import Signal

from .. import signals
from ..backends.base import AssignedJob
from ..jobs.retries import RetryJob
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
    if job_started.receivers:
        send(job_started, run.job, context=run.job_context)
    if logger.isEnabledFor(logging.INFO):
        _log(run, logging.INFO, "job %s (%s) started")


def tell_ended(run: RunAttributes, ending: Ending) -> None:
    """Log, and signal, that the job has succeeded, has failed or will run again."""
    log_ended(run, ending)
    send_ended(run, ending)


def log_ended(run: RunAttributes, ending: Ending) -> None:
    error = ending.exception
    if error is None:
        if logger.isEnabledFor(logging.INFO):
            _log(run, logging.INFO, "job %s (%s) finished in %.3f s", ending.seconds)
    elif ending.handle:
        _log_retry(run, error, round(ending.delay, 3))
    else:
        message = "job %s (%s) failed in attempt %d, with arguments of digest %s: %r"
        about = run.call.attempt, run.digest, error
        _log(run, logging.ERROR, message, *about, error=error)


def send_ended(run: RunAttributes, ending: Ending) -> None:
    if ending.handle:
        about = {"handle": ending.handle, "delay": ending.delay, "exception": ending.exception}
        send(job_retried, run.job, context=run.job_context, **about)
    elif ending.exception is not None:
        send(job_failed, run.job, context=run.job_context, exception=ending.exception)


def _log_retry(run: RunAttributes, error: BaseException, delay: float) -> None:
    if issubclass(type(error), RetryJob):
        _log(run, logging.INFO, "job %s (%s) runs again in %g s", delay)
        return
    message = "job %s (%s) failed in attempt %d of %d, and runs again in %g s: %r"
    about = run.call.attempt, (run.job.retries or 0) + 1, delay, error
    _log(run, logging.WARNING, message, *about, error=error)


def tell_finished(run: RunAttributes, ending: Ending) -> None:
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


def tell_unknown(assigned: AssignedJob, error: Exception) -> None:
    message = "job %s (%s) failed: %r"
    log(logger, logging.ERROR, message, assigned.function, assigned.handle, error)


def _log(
    run: RunAttributes, level: int, message: str, *about: object, error: BaseException | None = None
) -> None:
    names = run.job.name, run.assigned.handle
    log(logger, level, message, *names, *about, exc_info=error, extra=run.log_fields)
