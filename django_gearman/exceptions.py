"""
Every error this library raises on purpose.

    GearmanError
    ├── BackendError                 the job server, or the way to it
    │   ├── ServerUnavailable        no job server could be reached; nothing was sent
    │   ├── ConnectionLost           the connection broke, or the server stopped answering
    │   ├── SubmitUncertain          sent, but never acknowledged: the job may or may not be queued
    │   ├── ServerError              the server answered with an error (.code, .text)
    │   └── ProtocolError            what the server sent is not Gearman's protocol
    ├── JobError                     one job, and what became of it
    │   ├── JobFailed                the worker reported a failure
    │   │   └── JobRaised            ... with an exception (.exception_type, .message, .traceback)
    │   ├── JobTimeout               not finished in the time given (also a TimeoutError)
    │   ├── JobLost                  the server no longer knows the job, and sent no outcome
    │   ├── JobTimeLimitExceeded     raised in a job that runs for longer than its timeout
    │   ├── WorkerDied               the worker process ended while it ran the job
    │   ├── WaitsForItself           a job would wait for one that only its own worker serves
    │   └── ResultUnavailable        there is no result to read
    ├── JobNotRegistered             no job of that name (also a LookupError)
    ├── JobAlreadyRegistered         two jobs of one name
    ├── NotSetUp                     Django, or this app, is not set up (an ImproperlyConfigured)
    └── SerializationError           a value that cannot travel (also a ValueError)

    InvalidBackend                   no backend can be made as settings stand (an ImproperlyConfigured)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .utils.text import printable, printable_lines


def revive(kind: type[BaseException], args: tuple[object, ...]) -> BaseException:
    """Make the exception that `GearmanError.__reduce__` has taken apart; its state is set next."""
    error = kind.__new__(kind, *args)
    error.args = args
    return error


_LONGEST = 100_000  # characters of a worker's words


class GearmanError(Exception):
    """
    Base of every error of this library. Each can be copied and pickled, whatever made it.

    Its text is one line, with escapes for control characters: what job servers and workers say is
    part of many errors, and errors are written into logs and terminals. `args` has it as it is.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), _LONGEST)

    def __reduce__(self) -> tuple[object, ...]:
        return revive, (type(self), self.args), dict(vars(self))


class BackendError(GearmanError):
    """The job server, or the way to it, failed."""


class ServerUnavailable(BackendError):
    """No job server could be reached; nothing was sent."""


class ConnectionLost(BackendError):
    """The connection to a job server broke, or the server stopped answering."""


class SubmitUncertain(BackendError):
    """
    A job was sent but not acknowledged: it may or may not be queued.

    Raised instead of sending it again, which could run it twice. If that does no harm, pass
    `max_retries`, or `using(resubmit=...)`. From `submit_multiple_jobs`, `requests` holds the request
    of every job of the call, those that were acknowledged included. Copied to another process, they
    are known by their handle; only the process that submitted them can wait for them.
    """

    def __init__(self, message: str, requests: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.requests = requests


class ServerError(BackendError):
    """The job server refused a request; `code` and `text` are its words."""

    def __init__(self, message: str, *, code: str = "", text: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.text = text


class ProtocolError(BackendError):
    """What arrived is not Gearman's protocol: is it a job server at all?"""


class JobError(GearmanError):
    """One job did not do what its caller asked for."""


class JobFailed(JobError):
    """The worker reported that the job failed."""


class JobRaised(JobFailed):
    """
    The job raised an exception on its worker.

    `exception_type` is the exception's dotted name, `message` its text and `traceback` the worker's
    traceback; each is "" where the worker, perhaps one in another language, did not tell it.
    """

    def __init__(
        self, job: str, *, exception_type: str = "", message: str = "", traceback: str = ""
    ) -> None:
        told = ": ".join(part for part in (exception_type, message) if part)
        super().__init__(f"{job} raised {told or 'an exception'}")
        self.exception_type = exception_type
        self.message = message
        self.traceback = traceback
        if traceback:
            lines = printable_lines(traceback.rstrip(), _LONGEST)
            self.add_note("\n".join(["On the worker:", *(f"  {line}" for line in lines)]))


class JobTimeout(JobError, TimeoutError):
    """The job did not finish in the time its caller gave it; it may still be queued or running."""


class JobLost(JobError):
    """The job server no longer knows the job, and sent no outcome."""


class JobTimeLimitExceeded(JobError):
    """
    A job runs for longer than its `timeout`, in a worker process, and should end at once.

    Raised inside the job, which may catch it to clean up. Five seconds later the process is killed.
    """


class WorkerDied(JobError):
    """The worker process ended while it ran the job: it crashed, or was killed."""


class WaitsForItself(JobError):
    """A job would wait for another one that only its own worker serves: for ever."""


class ResultUnavailable(JobError):
    """There is no result to read: the job is a background one, or has not finished."""


class JobNotRegistered(GearmanError, LookupError):
    """No job of that name is declared."""


class JobAlreadyRegistered(GearmanError):
    """Two jobs want the same name."""


class NotSetUp(GearmanError, ImproperlyConfigured):
    """Django has not loaded its apps, or `django_gearman` is not among them."""


class SerializationError(GearmanError, ValueError):
    """A value cannot be turned into bytes, or bytes cannot be turned into a value."""


class InvalidBackend(ImproperlyConfigured):
    """GEARMAN_BACKEND, GEARMAN_SERVERS, GEARMAN_OPTIONS or a client's host_list is wrong."""
