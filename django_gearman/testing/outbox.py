"""What was submitted in a test, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

from ..backends.base import Outcome, Update
from ..exceptions import ResultUnavailable
from ..registry import registry
from ..request import GearmanJob, JobRequest


class SubmittedJob:
    """
    One submission, as a test sees it: also a background one has a `result` here.

    `name`, `queue` (None for a job of another program), `background`, `priority`, `unique` and
    `run_after` are as the submitter gave them; `args` and `kwargs` as the job receives them, after
    the whole way through the serializer. `runs` is how often a worker of this test has begun it.
    """

    def __init__(self, request: JobRequest) -> None:
        options, call = request.options, request.serializer.loads_call(request.spec.workload)
        job = registry.find(request.job.task)
        self.request = request
        self.name: str = request.job.task
        self.queue: str | None = job.queue if job is not None else None
        self.args: list[Any] = list(call.args)
        self.kwargs: dict[str, Any] = dict(call.kwargs)
        self.background: bool = request.background
        self.priority: str | None = options.priority
        self.unique: str | bool | None = options.unique
        self.run_after = options.run_after
        self.run_at: float | None = request.spec.run_at
        self.submitted_at = time.time()
        self.runs = 0
        #: Whether the test, or a client that waited, has learnt of a failure.
        self.was_seen = False
        self._begin_waiting("")

    def __repr__(self) -> str:
        return f"<SubmittedJob {self.name} args={self.args!r} kwargs={self.kwargs!r}>"

    @property
    def handle(self) -> str:
        """What the job server calls the job; the last one of a job that ran again."""
        return self._waiting.handle

    @property
    def finished(self) -> bool:
        return self._waiting.complete

    @property
    def progress(self) -> list[tuple[int, int]]:
        """The (numerator, denominator) of each `set_status`, in order."""
        return list(self._waiting.status_updates)

    @property
    def data(self) -> list[Any]:
        """What the job sent with `send_data`, in order."""
        return list(self._waiting.data_updates)

    @property
    def warnings(self) -> list[Any]:
        """What the job sent with `send_warning`, in order."""
        return list(self._waiting.warning_updates)

    @property
    def exception(self) -> BaseException | None:
        """Why the job failed: what it raised, or a JobFailed if it did not run in this process."""
        self.was_seen = True
        return self._raised or self._waiting.exception

    @property
    def result(self) -> Any:
        """
        What the job returned, after the way through the serializer.

        Raises what the job raised, and ResultUnavailable when it has not run.
        """
        self.was_seen = True
        if self._raised is not None:
            raise self._raised.with_traceback(self._traceback)
        if not self.finished:
            raise ResultUnavailable(
                f"job {self.name} has not run: gearman_worker.run() runs what is queued, and "
                "gearman_worker.advance(minutes=...) makes delayed jobs due"
            )
        return self._waiting.result

    @property
    def failed_unseen(self) -> bool:
        return not self.was_seen and (self._raised or self._waiting.exception) is not None

    # What the outbox does to it

    def _begin_waiting(self, handle: str) -> None:
        """Become, once more, a client that waits for the job, whether one does or not."""
        request = self.request
        job = GearmanJob(self.name, request.unique, request.job.data, handle)
        spec = replace(request.spec, background=False, run_at=None)
        self._waiting = JobRequest(job, spec, request.serializer, request.options)
        self._raised: BaseException | None = None
        self._traceback: TracebackType | None = None

    def name_handle(self, handle: str) -> None:
        self._waiting.job.handle = handle

    def begin(self) -> None:
        self.runs += 1
        if self.finished:  # as nobody has heard, or it would not run again
            self._begin_waiting(self.handle)

    def take(self, handle: str, update: Update) -> None:
        asked_to_run_again = handle != self.handle and isinstance(update, Outcome)
        if not (self.finished or asked_to_run_again):
            self._waiting.take(update)

    def client_saw(self, handle: str, update: Update) -> None:
        """Note what a client was told; of a job that runs elsewhere, it is all there is to know."""
        if self.runs == 0:
            self.take(handle, update)
        if isinstance(update, Outcome):
            self.was_seen = True

    def failed_with(self, handle: str, error: BaseException) -> None:
        """Keep what the job raised, with its traceback, in place of what was told over the wire."""
        if handle == self.handle:
            self._raised, self._traceback = error, error.__traceback__

    def see(self) -> None:
        self.was_seen = True


class Outbox:
    """Every submission of a test, from all its threads, in their order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[int, SubmittedJob] = {}  # by the identity of their requests
        self._by_handle: dict[str, list[SubmittedJob]] = {}
        # What workers told that were quicker than the acknowledgement of the job.
        self._early: dict[str, list[Callable[[SubmittedJob], None]]] = {}

    def records(self) -> list[SubmittedJob]:
        with self._lock:
            return list(self._records.values())

    def add(self, request: JobRequest, handle: str) -> None:
        """Note that a job server has taken a job; again, when it was sent again."""
        with self._lock:
            record = self._records.get(id(request)) or SubmittedJob(request)
            self._records[id(request)] = record
            self._link(record, handle)

    def follow(self, handle: str, successor: str) -> None:
        """Note that a job is queued once more, under another handle."""
        with self._lock:
            for record in self._by_handle.get(handle, ()):
                self._link(record, successor)

    def _link(self, record: SubmittedJob, handle: str) -> None:
        record.name_handle(handle)
        self._by_handle.setdefault(handle, []).append(record)
        for event in self._early.pop(handle, ()):
            event(record)

    def of(self, handle: str) -> list[SubmittedJob]:
        """Return the submissions of a job: several, where their uniques were equal."""
        with self._lock:
            return list(self._by_handle.get(handle, ()))

    def tell(self, handle: str, event: Callable[[SubmittedJob], None]) -> None:
        """Tell something to the submissions of a job, as soon as they are known."""
        with self._lock:
            if handle not in self._by_handle:
                self._early.setdefault(handle, []).append(event)
            for record in self._by_handle.get(handle, ()):
                event(record)
