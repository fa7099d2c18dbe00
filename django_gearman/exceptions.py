"""
The errors of this library.

    GearmanError
    ├── BackendError                 the job server, or the way to it
    │   ├── ServerUnavailable        no job server could be reached; nothing was sent
    │   ├── ConnectionLost           the connection broke, or the server stopped answering
    │   ├── SubmitUncertain          sent, but never acknowledged: the job may or may not be queued
    │   ├── ServerError              the server answered with an error (.code, .text)
    │   └── ProtocolError            what the server sent is not Gearman's protocol
    ├── JobError                     an error of one job
    │   ├── JobFailed                the worker reported a failure
    │   │   └── JobRaised            ... with an exception (.exception_type, .message, .traceback)
    │   ├── JobTimeout               not finished in the time given (also a TimeoutError)
    │   ├── JobLost                  the server no longer knows the job, and sent no outcome
    │   ├── JobTimeLimitExceeded     raised in a job that exceeds its timeout
    │   ├── WorkerDied               the worker process ended while it ran the job
    │   ├── WaitsForItself           a job would wait for one that only its own worker serves
    │   └── ResultUnavailable        there is no result to read
    ├── JobNotRegistered             no job of that name (also a LookupError)
    ├── JobAlreadyRegistered         two jobs of one name
    ├── NotSetUp                     Django, or this app, is not set up (an ImproperlyConfigured)
    └── SerializationError           a value that cannot travel (also a ValueError)

    JobCancelled                     raised in a job that is cancelled (a BaseException)
    InvalidBackend                   no backend can be made as settings stand (an ImproperlyConfigured)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .utils.text import printable, printable_lines


def revive(kind: type[BaseException], args: tuple[object, ...]) -> BaseException:
    """
    Rebuild the exception that `GearmanError.__reduce__` has taken apart; its state is set next.
    """
    error = kind.__new__(kind, *args)
    error.args = args
    return error


_LONGEST = 100_000  # characters of a worker's text


class GearmanError(Exception):
    """
    The base of every error of this library. Each error can be copied and pickled.

    The text of an error is one line, with escapes for control characters. Many errors quote job
    servers and workers, and errors are written into logs and terminals. `args` has the unchanged
    text.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), _LONGEST)

    def __reduce__(self) -> tuple[object, ...]:
        return revive, (type(self), self.args), dict(vars(self))


class BackendError(GearmanError):
    """A failure of the job server, or of the connection to it."""


class ServerUnavailable(BackendError):
    """The error if no job server can be reached; nothing was sent."""


class ConnectionLost(BackendError):
    """The error if the connection to a job server broke, or the server stopped answering."""


class SubmitUncertain(BackendError):
    """
    The error for a job that was sent but not acknowledged: it may or may not be queued.

    The library does not send such a job again, because it could run twice. If that does no harm,
    pass `max_retries`, or `using(resubmit=...)`. After `submit_multiple_jobs`, `requests` has the
    request of every job of the call, also of the acknowledged ones. In a copy for another process,
    they have only their handle; only the process that submitted them can wait for them.
    """

    def __init__(self, message: str, requests: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.requests = requests


class ServerError(BackendError):
    """The refusal of a request by the job server; `code` and `text` are the server's."""

    def __init__(self, message: str, *, code: str = "", text: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.text = text


class ProtocolError(BackendError):
    """
    The error for data that is not Gearman's protocol. Check that the address is a job server's.
    """


class JobError(GearmanError):
    """An error of one job."""


class JobFailed(JobError):
    """The failure of a job, as its worker reported it."""


class JobRaised(JobFailed):
    """
    An exception that the job raised on its worker.

    `exception_type` is the dotted name of the exception, `message` its text and `traceback` the
    worker's traceback. Each is "" if the worker, perhaps one in another language, did not send it.
    """

    def __init__(
        self, job: str, *, exception_type: str = "", message: str = "", traceback: str = ""
    ) -> None:
        reason = ": ".join(part for part in (exception_type, message) if part)
        super().__init__(f"{job} raised {reason or 'an exception'}")
        self.exception_type = exception_type
        self.message = message
        self.traceback = traceback
        if traceback:
            lines = printable_lines(traceback.rstrip(), _LONGEST)
            self.add_note("\n".join(["On the worker:", *(f"  {line}" for line in lines)]))


class JobTimeout(JobError, TimeoutError):
    """
    The error if a job does not finish in the caller's time; it may still be queued or running.
    """


class JobLost(JobError):
    """The error if the job server no longer knows the job, and sent no outcome."""


class JobTimeLimitExceeded(JobError):
    """
    The error in a job that exceeds its `timeout` in a worker process; the job should end at once.

    The job may catch it to clean up. Five seconds later the process is killed.
    """


class WorkerDied(JobError):
    """The error of a job whose worker process crashed, or was killed, while it ran the job."""


class WaitsForItself(JobError):
    """
    The error of a job that would wait forever for another one, which only its own worker serves.
    """


class ResultUnavailable(JobError):
    """The error if there is no result: the job is a background job, or has not finished."""


class JobNotRegistered(GearmanError, LookupError):
    """The error if no job of this name is declared."""


class JobAlreadyRegistered(GearmanError):
    """The error if two jobs have the same name."""


class NotSetUp(GearmanError, ImproperlyConfigured):
    """
    The error if Django has not loaded its apps, or INSTALLED_APPS lacks `django_gearman` or an
    optional app that a call needs.
    """


class SerializationError(GearmanError, ValueError):
    """The error if a value cannot be converted to bytes, or bytes to a value."""


class JobCancelled(BaseException):
    """
    The interruption of a job that was cancelled while it ran; the job should end at once.

    It is no Exception, so that `except Exception` does not catch it. The job may catch it to clean up,
    and should raise it again. Five seconds later the process is killed. The job is not retried. A job
    may raise it to cancel itself.
    """


class InvalidBackend(ImproperlyConfigured):
    """The error for an invalid GEARMAN_BACKEND, GEARMAN_SERVERS, GEARMAN_OPTIONS or host_list."""
