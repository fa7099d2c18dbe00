"""A submitted job as python-gearman describes it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..backends.base import JobSpec, JobStatus
from ..exceptions import BackendError, GearmanError
from ..jobs.definition import JobDefinition
from ..jobs.identity import without_reserved
from ..jobs.keeping import CancelAnswer, cancel
from ..jobs.options import Options
from ..serializers import Call

JOB_UNKNOWN = "UNKNOWN"
JOB_PENDING = "PENDING"
JOB_CREATED = "CREATED"
JOB_FAILED = "FAILED"
JOB_COMPLETE = "COMPLETE"


@dataclass
class GearmanJob:
    """
    The description of a submission: `data` is the call, as a dict with the keys "args" and
    "kwargs".
    """

    task: str
    unique: str
    data: dict[str, Any]
    handle: str = ""
    id: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "job_handle": self.handle,
            "unique": self.unique,
            "data": self.data,
        }


class Status(dict[str, Any]):
    """
    The progress of a job, as far as this process knows.

    The keys are python-gearman's, and each is an attribute, too. It is empty until something is
    known: no progress has come, and you have not called `GearmanClient.get_job_status`. Then
    `known` is None and the numbers are 0. `known` is False if the job server no longer has the job.
    `time_received` is in seconds since the epoch.
    """

    @property
    def handle(self) -> str:
        handle: str = self.get("handle", "")
        return handle

    @property
    def known(self) -> bool | None:
        return self.get("known")

    @property
    def running(self) -> bool:
        running: bool = self.get("running", False)
        return running

    @property
    def numerator(self) -> int:
        numerator: int = self.get("numerator", 0)
        return numerator

    @property
    def denominator(self) -> int:
        denominator: int = self.get("denominator", 0)
        return denominator

    @property
    def time_received(self) -> float | None:
        return self.get("time_received")


class Described:
    """The attributes of a submission, under python-gearman's names."""

    #: The id of the job in all its attempts; "" if only its handle is known.
    id = ""
    task: str
    spec: JobSpec
    options: Options
    background: bool
    call: Call
    #: The handle for `GearmanClient.get_job_status`, also from another process.
    handle = ""
    #: The job servers; None means those of the settings.
    servers: Sequence[Any] | None = None
    #: Known not to be for the worker of the job that waits for it.
    may_wait = False
    #: The declared job; None for a job of another program, and in a copy for another process.
    definition: JobDefinition[Any] | None = None
    state = JOB_UNKNOWN
    timed_out = False
    exception: GearmanError | None = None
    _job: GearmanJob | None = None  # created at its first use

    @property
    def job(self) -> GearmanJob:
        if self._job is None:
            data = {"args": [*self.call.args], "kwargs": {**self.call.kwargs}}
            self._job = GearmanJob(self.task, self.unique, data, self.handle, self.id)
        return self._job

    @property
    def gearman_job(self) -> GearmanJob:
        return self.job

    @property
    def complete(self) -> bool:
        """
        True if there is nothing to wait for: a background job is complete once it is queued.

        This is python-gearman's meaning. `finished` says if the job has run.
        """
        if self.background:
            return self.state in (JOB_CREATED, JOB_COMPLETE)
        return self.state in (JOB_COMPLETE, JOB_FAILED)

    @property
    def finished(self) -> bool:
        """
        True if the job is known to have ended, with success or not.

        For a background job, nothing is known until you call
        `GearmanClient.get_job_status(request)`. It has finished if its job server no longer has it.
        A retry is another job.
        """
        if self.state == JOB_FAILED:
            return not isinstance(self.exception, BackendError)  # otherwise it never began
        return self.state == JOB_COMPLETE or (
            self.state == JOB_CREATED and self.status.get("known") is False
        )

    @cached_property
    def context(self) -> dict[str, Any]:
        """The context of the job, which reads it as `current_job().context`."""
        return without_reserved(self.call.context)

    @property
    def priority(self) -> str | None:
        return self.options.priority

    @property
    def max_connection_attempts(self) -> int:
        return (self.options.resubmit or 0) + 1

    @property
    def unique(self) -> str:
        return self.spec.unique

    def cancel(self) -> CancelAnswer:
        """Cancel the job; see `GearmanClient.cancel`. Raises ValueError if its id is not known."""
        if not self.id:
            raise ValueError(f"{self!r} cannot be cancelled: only its handle is known, not its id")
        return cancel(self.id)

    # Created at the first use: a deque takes half a kilobyte.

    @cached_property
    def status(self) -> Status:
        return Status()

    @property
    def data_updates(self) -> deque[Any]:
        return self._kept("data_updates")

    @property
    def warning_updates(self) -> deque[Any]:
        return self._kept("warning_updates")

    @property
    def status_updates(self) -> deque[tuple[int, int]]:
        return self._kept("status_updates")

    def _kept(self, name: str) -> deque[Any]:
        kept: deque[Any] = vars(self).setdefault(name, deque())  # one for all threads
        return kept

    @property
    def server_status(self) -> Status:
        return self.status

    def set_status(self, status: JobStatus) -> None:
        self.status = Status(
            handle=self.handle,
            known=status.known,
            running=status.running,
            numerator=status.numerator,
            denominator=status.denominator,
            time_received=time.time(),
        )


def name_of(request: Described) -> str:
    """Return the name of the job, as its run has it: the path of a task of `django.tasks`."""
    job = request.definition
    return job.for_call(request.call)[0].name if job is not None and job.varies else request.task


def queue_of(request: Described) -> str:
    """Return the queue of the job; a job of another program has none, but a function."""
    return request.spec.function if request.definition is None else request.definition.queue
