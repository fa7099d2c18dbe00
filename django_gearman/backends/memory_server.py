"""
The job server of the memory transport.

The rules are those of `jobserver.job_table`. This module adds the lock and the clock. Real job
servers differ in the order of jobs of different functions, and no test should depend on it.
gearmand 1.1 serves one function after the other, and 2.0 each in turn. Here the job that was
submitted first runs first.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

from ..exceptions import ConnectionLost
from ..jobserver.job_table import JobTable, QueueFull
from ..jobserver.state import HIGH, LOW, NEW, NORMAL, UNLIMITED, Offer, Worker
from ..protocol.messages import (
    AssignedJob,
    FunctionStatus,
    JobSpec,
    JobStatus,
    Outcome,
    Priority,
    Update,
    WorkerStatus,
    WorkStatus,
)
from ..protocol.names import assigned_job, handle_prefix, own_handle, wire_unique
from ..protocol.packets import to_bytes, to_text
from ..utils.clock import monotonic
from .base import refusal

_BANDS = {Priority.HIGH: HIGH, Priority.NORMAL: NORMAL, Priority.LOW: LOW}
_numbers = itertools.count(1)  # for the handles of all servers


def _make_handle(_: int) -> bytes:
    return b"H:memory:%d" % next(_numbers)


class Inbox:
    """The updates for one submission; the server holds it, and not the submission."""

    __slots__ = ("hung_up", "owner", "updates")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.updates: deque[Update] = deque()
        self.hung_up = False


class MemoryServer:
    """A job server that backends of the same name share: its table behind a lock, and its clock."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.offset = 0.0  # seconds between its clock and the system time
        self.lock = threading.RLock()  # guards everything here
        self.changed = threading.Condition(self.lock)  # notified of every change
        self._waiting = 0
        self._table = JobTable(_make_handle)
        self._limits: dict[bytes, int | None] = {}
        self.abandoned: deque[Inbox] = deque()
        self._prefix = handle_prefix(name)

    def wait(self, seconds: float | None) -> None:
        """Wait for a change, without the lock that the caller holds."""
        self._waiting += 1
        try:
            self.changed.wait(seconds)
        finally:
            self._waiting -= 1

    def now(self) -> float:
        return time.time() + self.offset

    def next_due(self) -> float:
        """Return the seconds until the next delayed job is due; infinity if there is none."""
        with self.lock:
            return max(0.0, self._table.next_due - self.now())

    def has_work(self) -> bool:
        """Return True if a job waits for a worker."""
        if self._table.delayed:
            with self.lock:
                self._table.due(self.now())
        return bool(self._table.ready)

    def advance(self, seconds: float) -> None:
        """Move the server's clock: jobs with at most this delay become due."""
        with self.lock:
            self.offset += seconds
            if self._waiting:
                self.changed.notify_all()

    def submit(self, inbox: Inbox | None, spec: JobSpec, max_queued: int | None) -> str:
        """
        Accept a job, or merge it with an equal one; return its handle.

        A background job has no inbox.

        Raises ServerError if its function has too many.
        """
        # The submitter uses the system time, and means "this many seconds from now".
        run_at = None if spec.run_at is None else spec.run_at + self.offset
        function = to_bytes(spec.function)
        band, unique = _BANDS[spec.priority], wire_unique(spec)
        offer = Offer(function, unique, spec.workload, band, spec.background, run_at)
        with self.lock:
            if self.abandoned:
                self._drop_abandoned()
            if (max_queued or self._limits) and self._limits.get(function) != max_queued:
                self._limits[function] = max_queued
                self._table.limit(function, (max_queued,) * 3 if max_queued else UNLIMITED)
            try:
                job = self._table.submit(inbox, offer)
            except QueueFull as error:
                raise refusal(self.name, "QUEUE_ERROR", str(error)) from None
            if job.state is NEW:
                self._table.enqueue(job, 0.0 if run_at is None else self.now())
            if self._waiting:
                self.changed.notify_all()
            return self._prefix + job.handle.decode()

    def wait_for(self, is_over: Callable[[], bool], timeout: float) -> None:
        """Wait until `is_over` returns True after a change, at most `timeout` seconds."""
        deadline = monotonic() + timeout
        with self.lock:
            while not is_over() and (remaining := deadline - monotonic()) > 0:
                self.wait(remaining)

    def grab(
        self, worker: Worker, timeout: float | None, is_over: Callable[[], bool] = lambda: False
    ) -> AssignedJob | None:
        """
        Assign the worker a job of its functions, if there is one in time.

        The time ends early if `is_over` returns True after a change.
        """
        deadline = math.inf if timeout is None else monotonic() + timeout
        with self.lock:
            if self.abandoned:
                self._drop_abandoned()
            while True:
                if self._table.delayed:
                    self._table.due(self.now())
                job = self._table.grab(worker)
                if job is not None:
                    parts = job.handle, job.function.name, job.unique, job.workload
                    return assigned_job(self._prefix, *parts)
                remaining = deadline - monotonic()
                if remaining <= 0.0 or is_over():
                    return None
                self.wait(min(remaining, self.next_due(), threading.TIMEOUT_MAX))

    def report(self, worker: Worker, handle: str, update: Update) -> None:
        """Send a worker's update to the clients of a job."""
        with self.lock:
            job = worker.in_hand.get(own_handle(handle))
            if job is None:
                raise ConnectionLost(
                    f"this worker no longer has job {handle}: another worker runs it"
                )
            if isinstance(update, WorkStatus):
                job.progress = update.numerator, update.denominator
            for client in self._table.end(job) if isinstance(update, Outcome) else job.clients:
                cast("Inbox", client).updates.append(update)
            if self._waiting:
                self.changed.notify_all()

    def enter(self, worker: Worker, functions: Iterable[str]) -> None:
        with self.lock:
            self._table.join(worker)
            for function in functions:
                self._table.can_do(worker, to_bytes(function))

    def leave(self, worker: Worker) -> None:
        """Queue the worker's current jobs again."""
        with self.lock:
            self._table.leave(worker)
            if self._waiting:
                self.changed.notify_all()

    def give_back(self, worker: Worker, handle: str) -> None:
        """Queue a current job of the worker again."""
        with self.lock:
            job = worker.in_hand.get(own_handle(handle))
            if job is not None:
                self._table.give_back([job])
                if self._waiting:
                    self.changed.notify_all()

    def hang_up(self, owner: object) -> None:
        """Drop queued foreground jobs without a waiting client."""
        with self.lock:
            for job in list(self._table.jobs.values()):
                for inbox in cast("tuple[Inbox, ...]", job.clients):
                    if inbox.owner is owner:
                        inbox.hung_up = True
                        self._table.hang_up(inbox)
            if self._waiting:
                self.changed.notify_all()

    def _drop_abandoned(self) -> None:
        """Drop queued jobs whose submitters have timed out and gone, if no other client waits."""
        while self.abandoned:
            self._table.hang_up(self.abandoned.popleft())

    def status(self, handle: bytes) -> JobStatus:
        with self.lock:
            job = self._table.jobs.get(handle)
            if job is None:
                return JobStatus(known=False, running=False)
            return JobStatus(True, job.worker is not None, *(job.progress or (0, 0)))

    def functions(self) -> list[FunctionStatus]:
        with self.lock:
            self._drop_abandoned()
            rows = [
                FunctionStatus(self.name, to_text(name), total, running, workers, delayed)
                for name, total, running, workers, _, delayed in self._table.counts()
            ]
            return sorted(rows, key=lambda row: row.function)

    def workers(self) -> list[WorkerStatus]:
        with self.lock:
            return [
                WorkerStatus(
                    self.name,
                    "127.0.0.1",
                    to_text(worker.client_id),
                    tuple(sorted(map(to_text, worker.functions))),
                )
                for worker in self._table.workers
            ]
