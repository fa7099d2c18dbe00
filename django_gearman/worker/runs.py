"""A run of a job and its ending, as middleware sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..backends.base import AssignedJob, JobSpec, Outcome, WorkerSession
from ..exceptions import ConnectionLost, JobCancelled
from ..jobs.context import JobContext
from ..jobs.definition import JobDefinition
from ..jobs.identity import Identity, identity_of
from ..serializers import Call, Serializer


class RunLost(ConnectionLost):
    """Raised around a run whose worker dies: nothing is reported, and another worker has the job."""


class RunAttributes(ABC):
    """The running job and its submission, under the names of JobContext."""

    job: JobDefinition
    assigned: AssignedJob
    call: Call
    #: How it has failed, once that is about to be reported.
    ending: Ending | None = None
    #: The store's claim on the record of the job.
    record: Any = None
    may_have_record = False
    session: WorkerSession
    _serializer: Serializer
    #: The time at which it began, in seconds since the epoch, if jobs are counted.
    began_at = 0.0
    #: Interrupts the job if it does not run in the main thread; None if it does.
    interrupt: Callable[[], object] | None = None
    #: JobCancelled was raised in it.
    was_interrupted = False
    has_cancelled_query = False
    was_called = False
    _checked: Call
    _unreadable: BaseException | None = None
    _came_with: tuple[int, Mapping[str, Any]] = 1, Call().context  # the attempt, and the context
    _identity: Identity | None = None
    _context: JobContext | None = None

    # Not by cached_property: that of Python 3.11 takes a lock.

    @property
    def identity(self) -> Identity:
        """The identity of the job, the same in all its attempts."""
        if self._identity is None:
            self._identity = identity_of(self.assigned, *self._came_with)
        return self._identity

    @identity.setter
    def identity(self, known: Identity) -> None:
        self._identity = known

    @property
    def job_context(self) -> JobContext:
        """The context of the running job."""
        if self._context is None:
            about = self.call.attempt, self.call.context, self.identity
            context = JobContext(self.job, self.assigned, self.session, self._serializer, *about)
            self._context = context
        return self._context

    @property
    @abstractmethod
    def digest(self) -> str:
        """A digest of the arguments, which is the same for equal arguments."""

    def arguments(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments of the call that is about to be made; raise if they are unreadable."""
        self.was_called = False
        if self._unreadable is not None:
            raise self._unreadable
        call = self._checked
        args = (self.job_context, *call.args) if self.job.takes_context else call.args
        self.was_called = True
        return args, call.kwargs

    @property
    def id(self) -> str:
        return self.identity.id

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def queue(self) -> str:
        return self.job.queue

    @property
    def handle(self) -> str:
        return self.assigned.handle

    @property
    def attempt(self) -> int:
        return self.call.attempt

    @property
    def args(self) -> Sequence[Any]:
        """The arguments as the job gets them; none if they cannot be parsed."""
        return self._checked.args

    @property
    def kwargs(self) -> Mapping[str, Any]:
        return self._checked.kwargs

    @property
    def context(self) -> dict[str, Any]:
        """The submitter's context, as the job and its own submissions see it."""
        return self.job_context.context

    @property
    def log_fields(self) -> dict[str, object]:
        return self.job_context.log_fields


@dataclass(slots=True)
class Ending:
    """
    The ending of a run: a result, or an error.

    `again` is the next attempt, which runs `delay` seconds later, with the handle `handle` once it
    is queued. `reason` is the error for the client if the failure is final.
    """

    outcome: Outcome
    exception: BaseException | None = None
    seconds: float = 0.0
    result: object = None
    again: JobSpec | None = None
    delay: float = 0.0
    handle: str = ""
    reason: bytes = b""

    @property
    def state(self) -> str:
        """The state: "succeeded", "retried" (a next attempt follows), "cancelled" or "failed"."""
        if self.exception is None:
            return "succeeded"
        if issubclass(type(self.exception), JobCancelled):
            return "cancelled"
        return "failed" if self.again is None else "retried"
