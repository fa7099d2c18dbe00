"""The context of a running job, and a look-up of the job that runs in this thread or task."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from ..backends.base import WorkerSession
from ..protocol.messages import AssignedJob, Update, WorkData, WorkStatus, WorkWarning
from ..serializers import Serializer, check_bytes
from ..utils.clock import monotonic
from ..utils.text import printable, quoted
from . import keeping
from .definition import JobDefinition
from .identity import Identity, identity_of

_MAX_PROGRESS = 2**32 - 1  # the limit of gearmand
_LOOK_SECONDS = 0.5  # between two looks at the store


class JobContext:
    """
    The context of a running job; a job declared with `takes_context=True` gets it first.

    `id` names the job, and is the same in all its attempts. `unique` is the submitter's; a job
    without one has its id instead. `enqueued_at` is the time of the submission, in seconds since
    the epoch by the submitter's clock, or None for a job of another program. `scheduled_for` is the
    time at which its schedule made it due, an aware datetime; None for a job of no schedule.
    `attempt` starts at 1. `context` is the dict of GEARMAN_CONTEXT_PROVIDER at the submission.
    """

    def __init__(
        self,
        job: JobDefinition,
        assigned: AssignedJob,
        session: WorkerSession,
        serializer: Serializer,
        attempt: int = 1,
        context: Mapping[str, Any] | None = None,
        identity: Identity | None = None,
    ) -> None:
        identity = identity or identity_of(assigned, attempt, context or {})
        self.id = identity.id
        self.enqueued_at = identity.enqueued_at
        self.scheduled_for = identity.scheduled_for
        self.name = job.name
        self.queue = job.queue
        self.handle = assigned.handle
        self.unique = identity.unique
        self.attempt = attempt
        self.context = dict(context or {})
        self._assigned = assigned
        self._session = session
        self._serializer = serializer
        self._is_cancelled = False
        self._look_at = 0.0

    @property
    def is_cancelled(self) -> bool:
        """
        True if a user has cancelled this job; a long loop can check it, and return.

        It looks into the database at most twice a second. Without the app
        `django_gearman.contrib.store`, and for a job without a record, it is False.
        """
        if keeping.keeper is not None and not self._is_cancelled and monotonic() >= self._look_at:
            self._is_cancelled = keeping.keeper.is_cancelled(self.id)
            self._look_at = monotonic() + _LOOK_SECONDS
        return self._is_cancelled

    def set_status(self, numerator: int, denominator: int) -> None:
        """Report progress, numerator of denominator. Both are whole numbers from 0 to 2**32 - 1."""
        for number in (numerator, denominator):
            if not isinstance(number, int) or isinstance(number, bool):
                raise TypeError(f"progress is told in whole numbers, not {quoted(number)}")
            if not 0 <= number <= _MAX_PROGRESS:
                raise ValueError(
                    f"progress goes from 0 to {_MAX_PROGRESS}; {quoted(number)} is outside"
                )
        self._send(WorkStatus(numerator, denominator))

    def send_data(self, value: Any) -> None:
        """Send a part of the result to the clients that wait; any value that can be a result."""
        self._send(WorkData(self._dumps(value)))

    def send_warning(self, value: Any) -> None:
        """Send a warning to the clients that wait; any value that can be a result."""
        self._send(WorkWarning(self._dumps(value)))

    def _dumps(self, value: Any) -> bytes:
        return check_bytes(self._serializer.dumps_update(value), self._serializer)

    def _send(self, update: Update) -> None:
        self._session.send(self._assigned, update)

    @property
    def log_fields(self) -> dict[str, Any]:
        """The fields of this job's log records."""
        return {
            "gearman_job": self.name,
            "gearman_id": self.id,
            "gearman_handle": printable(self.handle),
            "gearman_queue": self.queue,
            "gearman_attempt": self.attempt,
        }


class Running(Protocol):
    """A run of a job; its context is created at the first use."""

    @property
    def job_context(self) -> JobContext: ...

    @property
    def session(self) -> WorkerSession: ...


#: The run in this thread or task; only `execution` sets it.
running: ContextVar[Running | None] = ContextVar("running", default=None)


def current_job() -> JobContext | None:
    """Return the context of the job that runs here, or None outside of jobs."""
    run = running.get()
    return None if run is None else run.job_context
