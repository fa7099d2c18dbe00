"""
JobRequest: a submitted job, as its submitter sees it. The attributes are those of python-gearman.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic

from ..backends.base import (
    AwaitableSubmission,
    JobSpec,
    JobStatus,
    Submission,
    Update,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from ..exceptions import (
    BackendError,
    JobError,
    JobRaised,
    JobTimeout,
    ResultUnavailable,
    SerializationError,
)
from ..jobs.definition import JobDefinition, R_co
from ..jobs.options import Options
from ..serializers import Call, Serializer
from ..serializers.failures import parse_error
from ..serializers.foreign import failure, text_of
from ..utils.clock import monotonic
from ..utils.text import printable
from ..utils.waiting import deadline_after
from .described import JOB_COMPLETE, JOB_CREATED, JOB_FAILED, JOB_PENDING, JOB_UNKNOWN
from .in_threads import WaitingRequest
from .lookout import Lookout
from .on_loop import Updates
from .threads import wait_for_records, wait_in_thread


class JobRequest(WaitingRequest, Generic[R_co]):
    """
    A submitted job.

    `state` is JOB_UNKNOWN (not sent yet, or the connection was lost), JOB_PENDING (to be sent when
    its transaction commits), JOB_CREATED (the server has it), JOB_COMPLETE or JOB_FAILED.
    `exception` is the reason if it failed or could not be sent. `timed_out` is True if the last
    wait ended without an outcome. `status` is its known progress. `data_updates` and
    `warning_updates` have the data that the job sent while it ran.
    """

    # Initial values: many requests never change them, so they are not set on each object.
    connection_attempts = 0
    _result: bytes = b""
    _raised: Mapping[str, str] | None = None
    _reason = ""  # of a failure, if that comes next

    def __init__(
        self,
        task: str,
        call: Call,
        spec: JobSpec,
        serializer: Serializer,
        options: Options,
        job_id: str = "",
        definition: JobDefinition[R_co] | None = None,
    ) -> None:
        self.id = job_id
        self.definition = definition
        self.task = task
        self.call = call
        self.spec = spec
        self.background = spec.background
        self.serializer = serializer
        self.options = options

    def __repr__(self) -> str:
        kind = "background" if self.background else "foreground"
        handle = printable(self.handle) or "without handle"
        return f"<JobRequest {self.task} {kind} {self.state} {handle}>"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the submission, for a copy in another process: only the submitter can wait."""
        kept = dict(vars(self))
        for name in ("_submission", "_turn", "servers", "definition"):
            kept.pop(name, None)
        return kept

    @property
    def result(self) -> R_co:
        """
        The return value of the job.

        Without one, raises JobFailed (JobRaised if the worker sent the exception), JobTimeout,
        JobLost or a BackendError. Raises ResultUnavailable for an unfinished job, and
        SerializationError if the worker's bytes are invalid. Waits for a background job whose
        result is stored, `wait` seconds; raises ResultUnavailable for other background jobs.
        """
        if self.background and self.state in (JOB_CREATED, JOB_PENDING):
            wait = self.options.wait
            self._wait_for_record(None if wait is None else monotonic() + wait)
        if self.exception is not None:
            raise self.exception.with_traceback(None)  # or its traceback would grow
        if self.state == JOB_COMPLETE:
            result: R_co = self.serializer.loads_result(self._result)
            return result
        if self.timed_out:
            raise JobTimeout(
                f"{self._name} has not finished in the time given; it may still be queued or running "
                "(gearman_status tells whether a worker serves it)"
            )
        raise ResultUnavailable(f"{self._name} has not finished; call wait() first")

    def __await__(self) -> Generator[Any, None, R_co]:
        """
        Await the outcome without limit, and return `result`, or raise its errors.

        `asyncio.timeout` limits the time; afterwards you may await the request again.
        """
        return self._outcome().__await__()

    async def _outcome(self) -> R_co:
        if self._turn is None and self._submission is None and not self.background:
            self.check_submitted()
            return self.result
        if isinstance(self._submission, AwaitableSubmission) and not self.background:
            await self.await_outcome(None)
            return self.result
        wait = wait_for_records if self.background else wait_in_thread
        return await wait(self._name, lambda: self.wait().result, None)

    def updates(self, timeout: float | None = None) -> Updates:
        """
        Yield WorkData, WorkWarning and WorkStatus as they come, and then the outcome, all decoded.

        It is for `for`, and for `async for` on an event loop. Stops without an outcome after
        `timeout` seconds, with `timed_out` set. A background job yields nothing.
        """
        is_on_loop = isinstance(self._submission, AwaitableSubmission)
        on_loop = self._updates_on_loop(timeout) if is_on_loop else None
        return Updates(self._updates(timeout), on_loop, self._name)

    def _updates(self, timeout: float | None) -> Generator[Update]:
        deadline = deadline_after(timeout)
        lookout = self._begin_waiting(deadline)
        while (update := self._next_update(deadline, lookout)) is not None:
            yield self._decoded(update)

    async def _updates_on_loop(self, timeout: float | None) -> AsyncGenerator[Update]:
        deadline, lookout = deadline_after(timeout), Lookout()
        while (update := await self.await_update(deadline, lookout)) is not None:
            yield self._decoded(update)

    def _decoded(self, update: Update) -> Update:
        if isinstance(update, WorkComplete):
            return WorkComplete(self._decode(update.data, self.serializer.loads_result))
        return update

    def take(self, update: Update) -> Update | None:
        """Record an update; return the caller's form of it, or None."""
        reason, self._reason = self._reason, ""
        match update:
            case WorkComplete(data):
                self.state, self._result = JOB_COMPLETE, data
            case WorkStatus(numerator, denominator):
                self.set_status(JobStatus(True, True, numerator, denominator))
                self.status_updates.append((numerator, denominator))
                return update
            case WorkData(data):
                decoded = replace(update, data=self._decode(data))
                self.data_updates.append(decoded.data)
                return decoded
            case WorkWarning(data):
                self._raised = parse_error(data)
                if self._raised:
                    return None  # our workers send the reason of the failure like this
                warning = replace(update, data=self._decode(data))
                self._reason = text_of(warning.data if type(warning.data) is str else data)
                self.warning_updates.append(warning.data)
                return warning
            case WorkException(data):
                self.fail(JobRaised(self._name, message=text_of(data)))
            case WorkFail():
                self.fail(failure(self._name, self._raised, reason))
        self._submission = self._turn = None  # nothing more will come
        return update

    def _decode(self, data: bytes, loads: Callable[[bytes], Any] | None = None) -> Any:
        try:
            return (loads or self.serializer.loads_update)(data)
        except SerializationError:
            return data  # from a worker in another language

    # Changes by the client

    def sent(self, submission: Submission, servers: Sequence[Any] | None) -> None:
        """Record that one of the servers (None: those of the settings) has the job, or refused it."""
        self.servers = servers
        self.connection_attempts += 1
        self._submission = submission
        if submission.error is not None:
            self.fail(submission.error)
            return
        self.handle = submission.handle
        if self._job is not None:
            self._job.handle = self.handle
        self.state, self.exception = JOB_CREATED, None
        if not self.background:
            self._turn = threading.Lock()

    def lose(self, error: BackendError) -> None:
        self.state, self.exception, self._turn = JOB_UNKNOWN, error, None

    def fail(self, error: JobError | BackendError) -> None:
        self.state, self.exception, self._turn = JOB_FAILED, error, None
