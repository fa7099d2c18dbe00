"""The submissions of a test, with their outcomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..backends.base import Outcome, Update, WorkException, WorkFail
from ..client.request import JobRequest
from ..exceptions import ResultUnavailable
from ..jobs.registry import registry
from ..jobs.retries import attempt_of
from ..serializers import Call
from .describe import describe_call


class SubmittedJob:
    """
    A submitted job, as a test sees it; a background job has a `result` here, too.

    `name`, `background`, `priority`, `unique` and `run_after` are those of the submission. `queue` is
    None for a job of another program. `args` (a list) and `kwargs` are the arguments as the job gets
    them, after the serializer. `id` is the same in all attempts of the job. `handle` is the job
    server's name for the attempt, and `request` the submitter's JobRequest. `runs` is how often a
    worker of this process has started the job. `finished` is True once an outcome was reported.
    """

    handle = ""
    runs = 0
    finished = False
    #: True if the test, or a client that waited, has seen a failure.
    was_seen = False
    _raised: BaseException | None = None
    _traceback: TracebackType | None = None

    def __init__(self, request: JobRequest, submitted_at: float, ahead: float) -> None:
        self.request = request
        #: The time of the submission, in seconds since the epoch.
        self.submitted_at = submitted_at
        #: The time to run, by the clock that `advance` moves.
        self.due_at = (request.spec.run_at or submitted_at) + ahead
        self._updates: list[Update] = []  # of the last run

    def __repr__(self) -> str:
        state = "finished" if self.finished else f"started {self.runs} times"
        return f"<SubmittedJob {self.name}({describe_call(self.call)}) queue={self.queue} {state}>"

    @property
    def id(self) -> str:
        return self.request.id

    @property
    def name(self) -> str:
        return self.request.job.task

    @property
    def queue(self) -> str | None:
        job = registry.find(self.name)
        return job.queue if job is not None else None

    @property
    def call(self) -> Call:
        """The arguments, unpacked anew each time, so that no code can change them."""
        return attempt_of(self.request.serializer.loads_call(self.request.spec.workload))

    @property
    def args(self) -> list[Any]:
        return list(self.call.args)

    @property
    def kwargs(self) -> dict[str, Any]:
        return dict(self.call.kwargs)

    @property
    def background(self) -> bool:
        return self.request.background

    @property
    def priority(self) -> str | None:
        return self.request.options.priority

    @property
    def unique(self) -> str | bool | None:
        return self.request.options.unique

    @property
    def run_after(self) -> Any:
        return self.request.options.run_after

    # The outcome

    @property
    def progress(self) -> list[tuple[int, int]]:
        """The (numerator, denominator) of each `set_status`, in order."""
        return list(self._told().status_updates)

    @property
    def data(self) -> list[Any]:
        """The values that the job sent with `send_data`, in order."""
        return list(self._told().data_updates)

    @property
    def warnings(self) -> list[Any]:
        """The values that the job sent with `send_warning`, in order."""
        return list(self._told().warning_updates)

    @property
    def exception(self) -> BaseException | None:
        """
        The error of the job: its exception, or a JobFailed if it did not run in this process.

        None if it succeeded, or has not run.
        """
        self.was_seen = True
        return self._raised if self._raised is not None else self._told().exception

    @property
    def result(self) -> Any:
        """
        The return value of the job, after the way through the serializer.

        Raises the job's exception, and ResultUnavailable if it has not run.
        """
        self.was_seen = True
        if self._raised is not None:
            raise self._raised.with_traceback(self._traceback)
        if self.finished:
            return self._told().result
        waits = "waits to run again" if self.runs else "has not run"
        raise ResultUnavailable(
            f"job {self.name} {waits}: gearman_worker.run() runs what is queued, and "
            "gearman_worker.advance(minutes=...) makes delayed jobs and retries due"
        )

    @property
    def raised(self) -> BaseException | None:
        """The job's exception; reading it does not mark the failure as seen."""
        return self._raised

    @property
    def failed(self) -> bool:
        outcome = self._updates[-1] if self.finished else None
        return self._raised is not None or isinstance(outcome, (WorkFail, WorkException))

    def _told(self) -> JobRequest:
        """Return the view of a client that waits for the job, even if none does."""
        request = self.request
        spec = request.spec._replace(background=False, run_at=None)
        client = JobRequest(self.name, request.call, spec, request.serializer, request.options)
        client.handle = self.handle
        for update in self._updates:
            client.take(update)
        return client

    # Changes by the outbox

    def begin(self) -> None:
        self.runs += 1
        # No client has seen the outcome of an earlier run; otherwise the job would not run again.
        self.finished, self._raised = False, None
        self._updates = []

    def take(self, handle: str, update: Update) -> None:
        asked_to_run_again = handle != self.handle and isinstance(update, Outcome)
        if not (self.finished or asked_to_run_again):
            self._updates.append(update)
            self.finished = isinstance(update, Outcome)

    def client_saw(self, handle: str, update: Update) -> None:
        """
        Record an update that a client got; for a job that runs elsewhere, nothing else is known.
        """
        if self.runs == 0:
            self.take(handle, update)
        if isinstance(update, Outcome):
            self.was_seen = True

    def fail(self, handle: str, error: BaseException) -> None:
        """Record the job's exception, with its traceback, in place of its text on the wire."""
        if handle == self.handle:
            self._raised, self._traceback = error, error.__traceback__

    def see(self) -> None:
        self.was_seen = True


class Outbox:
    """Every submission of a test, from all its threads, in order."""

    def __init__(self) -> None:
        #: Seconds by which the clock of the test's job servers is ahead.
        self.ahead = 0.0
        self._lock = threading.Lock()
        self._records: dict[int, SubmittedJob] = {}  # by the identity of their requests
        self._by_handle: dict[str, list[SubmittedJob]] = {}
        # Updates that were faster than the acknowledgement of the job.
        self._early: dict[str, list[tuple[Callable[..., None], tuple[Any, ...]]]] = {}

    def now(self) -> float:
        return time.time() + self.ahead

    def records(self) -> list[SubmittedJob]:
        with self._lock:
            return list(self._records.values())

    def add(self, request: JobRequest, handle: str) -> SubmittedJob:
        """Record that a job server has accepted a job; again if it was sent again."""
        with self._lock:
            record = self._records.get(id(request))
            if record is None:
                record = SubmittedJob(request, time.time(), self.ahead)
                self._records[id(request)] = record
            self._link(record, handle)
        return record

    def follow(self, handle: str, successor: str, delay: float) -> None:
        """Record that a job is queued again, with another handle, to run after `delay` seconds."""
        with self._lock:
            for record in self._by_handle.get(handle, ()):
                record.due_at = self.now() + delay
                self._link(record, successor)

    def _link(self, record: SubmittedJob, handle: str) -> None:
        record.handle = handle
        sharing = self._by_handle.setdefault(handle, [])
        if sharing and sharing[0].request.unique != record.request.unique:
            sharing.clear()  # of a lost job: a restarted server reuses its handles
        sharing.append(record)
        if self._early:
            for event, arguments in self._early.pop(handle, ()):
                event(record, *arguments)

    def of(self, handle: str) -> list[SubmittedJob]:
        """Return the submissions of a job: several if their uniques were equal."""
        with self._lock:
            return list(self._by_handle.get(handle, ()))

    def tell(self, handle: str, event: Callable[..., None], *arguments: Any) -> None:
        """Call a method of the submissions of a job, as soon as they are known."""
        with self._lock:
            records = self._by_handle.get(handle)
            if records is None:
                self._early.setdefault(handle, []).append((event, arguments))
            else:
                for record in records:
                    event(record, *arguments)
