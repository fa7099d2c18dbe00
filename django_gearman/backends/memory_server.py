"""
A job server with gearmand's rules, inside this process, and what its clients and workers hold of it.

What gearmand 1.1.20 and 2.0.0 were measured to do, this does:

* jobs of a function are given out by priority, then in the order they came;
* jobs of different functions, too: priority holds across functions, as on 2.0, and among equals the
  first one submitted runs first. The servers differ here (1.1 serves one function after the other, 2.0
  each in turn), so that a test must not depend on it; this order is the one easiest to read;
* equal uniques of one function coalesce while the job is queued or running: it runs once, with the
  first workload, and each waiting client gets a copy of every update from then on;
* a job whose worker leaves is queued again, behind the others of its priority, under the same handle;
* a queued foreground job is dropped when its last client leaves;
* a finished job is unknown, like one that never was;
* a full queue refuses.

Where gearmand has a bug (see `backends.gearmand`), this does what gearmand means to do, and what the
real transports make of it.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

from ..exceptions import ConnectionLost, ResultUnavailable, ServerError
from ..protocol.names import from_wire_unique, wire_unique
from ..utils.clock import monotonic
from ..utils.waiting import seconds_until
from .base import (
    AssignedJob,
    FunctionStatus,
    JobSpec,
    JobStatus,
    Outcome,
    Priority,
    Submission,
    Update,
    WorkerSession,
    WorkerStatus,
    WorkStatus,
)

_BAND = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}
_handles = itertools.count(1)  # of all servers: a handle is of one job only


class _Job:
    """A job that the server knows: delayed, queued or running."""

    def __init__(self, handle: str, spec: JobSpec, unique: bytes) -> None:
        self.handle = handle
        self.spec = spec
        self.unique = unique
        self.clients: list[MemorySubmission] = []
        self.worker: MemoryWorkerSession | None = None
        self.progress = WorkStatus(0, 0)


class MemoryServer:
    """The state that backends of one name share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.offset = 0.0  # seconds by which its clock is ahead of the time of day
        self._lock = threading.RLock()  # guards everything here
        self.changed = threading.Condition(self._lock)  # tells of every change
        self._jobs: dict[str, _Job] = {}
        self._by_unique: dict[tuple[str, bytes], _Job] = {}
        self._queues: dict[str, list[tuple[int, int, _Job]]] = {}  # heaps, by function
        self._delayed: list[tuple[float, int, _Job]] = []  # a heap
        self._workers: list[MemoryWorkerSession] = []
        self._places = itertools.count(1)  # in the queues: later ones have higher numbers

    def now(self) -> float:
        return time.time() + self.offset

    def next_due(self) -> float:
        """Return in how many seconds the next of the delayed jobs is due; infinity if none is left."""
        with self._lock:
            return max(0.0, self._delayed[0][0] - self.now()) if self._delayed else math.inf

    def has_work(self) -> bool:
        return any(self._queues.values()) or self.next_due() == 0.0

    def advance(self, seconds: float) -> None:
        """Move the server's clock: jobs that were delayed by no more than this are due."""
        with self._lock:
            self.offset += seconds
            self.changed.notify_all()

    def submit(self, submission: MemorySubmission, spec: JobSpec, max_queued: int | None) -> None:
        unique = wire_unique(spec)
        with self._lock:
            job = self._by_unique.get((spec.function, unique))
            if job is None:
                if max_queued is not None and len(self._of(spec.function)) >= max_queued:
                    raise ServerError(
                        f"job server {self.name} refused: Job queue is full (QUEUE_ERROR)",
                        code="QUEUE_ERROR",
                        text="Job queue is full",
                    )
                job = self._add(spec, unique)
            if not spec.background:
                job.clients.append(submission)
            submission.handle = job.handle
            self.changed.notify_all()

    def _add(self, spec: JobSpec, unique: bytes) -> _Job:
        number = next(_handles)
        job = _Job(f"{self.name}//H:memory:{number}", spec, unique)
        self._jobs[job.handle] = job
        self._by_unique[spec.function, unique] = job
        if spec.run_at is None:
            self._enqueue(job)
        else:
            # Whoever submits reads the time of day, and means "so long from now".
            heapq.heappush(self._delayed, (spec.run_at + self.offset, number, job))
        return job

    def _enqueue(self, job: _Job) -> None:
        queue = self._queues.setdefault(job.spec.function, [])
        heapq.heappush(queue, (_BAND[job.spec.priority], next(self._places), job))

    def _forget(self, job: _Job) -> None:
        del self._jobs[job.handle]
        del self._by_unique[job.spec.function, job.unique]

    def _of(self, function: str) -> list[_Job]:
        return [job for job in self._jobs.values() if job.spec.function == function]

    def grab(
        self, worker: MemoryWorkerSession, functions: Iterable[str] | None, timeout: float | None
    ) -> AssignedJob | None:
        """Give the worker a job of these functions (None: of any), when there is one in time."""
        deadline = math.inf if timeout is None else monotonic() + timeout
        with self._lock:
            while (job := self._next(functions)) is None:
                due = self._delayed[0][0] - self.now() if self._delayed else math.inf
                patience = min(deadline - monotonic(), due)
                if deadline <= monotonic():
                    return None
                self.changed.wait(min(patience, threading.TIMEOUT_MAX))
            job.worker = worker
            worker.in_hand[job.handle] = job
            unique, background = from_wire_unique(job.unique)
            return AssignedJob(job.handle, job.spec.function, unique, job.spec.workload, background)

    def _next(self, functions: Iterable[str] | None) -> _Job | None:
        while self._delayed and self._delayed[0][0] <= self.now():
            self._enqueue(heapq.heappop(self._delayed)[2])
        names = self._queues if functions is None else functions
        while waiting := [queue for name in names if (queue := self._queues.get(name))]:
            job = heapq.heappop(min(waiting))[2]
            if job.handle in self._jobs:  # nobody waits for it any more otherwise
                return job
        return None

    def report(self, worker: MemoryWorkerSession, handle: str, update: Update) -> None:
        with self._lock:
            job = self._jobs.get(handle)
            if job is None or job.worker is not worker:
                raise ConnectionLost(
                    f"job {handle} is not in hand any more; another worker runs it"
                )
            if isinstance(update, WorkStatus):
                job.progress = update
            if isinstance(update, Outcome):
                del worker.in_hand[handle]
                self._forget(job)
            for client in job.clients:
                client.received.append(update)
            self.changed.notify_all()

    def enter(self, worker: MemoryWorkerSession) -> None:
        with self._lock:
            self._workers.append(worker)
            for function in worker.functions:
                self._queues.setdefault(function, [])

    def leave(self, worker: MemoryWorkerSession) -> None:
        """Queue what the worker had in hand again."""
        with self._lock:
            if worker in self._workers:
                self._workers.remove(worker)
            for handle in list(worker.in_hand):
                self.give_back(worker, handle)

    def give_back(self, worker: MemoryWorkerSession, handle: str) -> None:
        """Queue a job that the worker had in hand again."""
        with self._lock:
            job = worker.in_hand.pop(handle, None)
            if job is None:
                return
            job.worker, job.progress = None, WorkStatus(0, 0)
            if job.clients or job.spec.background:
                self._enqueue(job)
            else:
                self._forget(job)
            self.changed.notify_all()

    def hang_up(self, owner: object) -> None:
        """Drop the queued foreground jobs that nobody waits for any more."""
        with self._lock:
            for job in list(self._jobs.values()):
                for client in job.clients:
                    client.hung_up = client.hung_up or client.owner is owner
                job.clients = [client for client in job.clients if not client.hung_up]
                if not (job.clients or job.spec.background or job.worker):
                    self._forget(job)
            self.changed.notify_all()

    def status(self, handle: str) -> JobStatus:
        with self._lock:
            job = self._jobs.get(handle)
            if job is None:
                return JobStatus(known=False, running=False)
            progress = job.progress
            return JobStatus(True, job.worker is not None, progress.numerator, progress.denominator)

    def functions(self) -> list[FunctionStatus]:
        with self._lock:
            rows = []
            for function in sorted(
                {*self._queues, *(j.spec.function for j in self._jobs.values())}
            ):
                jobs = self._of(function)
                running = sum(job.worker is not None for job in jobs)
                workers = sum(function in worker.functions for worker in self._workers)
                rows.append(FunctionStatus(self.name, function, len(jobs), running, workers))
            return rows

    def workers(self) -> list[WorkerStatus]:
        with self._lock:
            return [
                WorkerStatus(
                    self.name, "127.0.0.1", worker.client_id, tuple(sorted(worker.functions))
                )
                for worker in self._workers
            ]


class MemorySubmission(Submission):
    """A job submitted to a memory server."""

    def __init__(self, server: MemoryServer, owner: object, spec: JobSpec) -> None:
        self.owner = owner
        self.received: deque[Update] = deque()
        self.hung_up = False
        self._server = server
        self._background = spec.background
        self._finished = False

    def next_update(self, timeout: float | None = None) -> Update | None:
        if self._background:
            raise ResultUnavailable(f"background job {self.handle} sends no updates")
        if self.received:
            return self._take_update()
        deadline = None if timeout is None else monotonic() + timeout
        with (changed := self._server.changed):
            while not (self.received or self._finished or self.hung_up):
                if (seconds := seconds_until(deadline)) == 0.0:
                    break
                changed.wait(seconds)
            if self.hung_up and not (self.received or self._finished):
                raise ConnectionLost(f"the connection of job {self.handle} was closed")
        return self._take_update()

    def _take_update(self) -> Update | None:
        try:
            update = self.received.popleft()
        except IndexError:  # the time is up, or another thread that waits was quicker
            return None
        self._finished = isinstance(update, Outcome)
        return update


class MemoryWorkerSession(WorkerSession):
    """A worker of a memory server; `functions` None serves any."""

    def __init__(
        self, server: MemoryServer, functions: Sequence[str] | None, client_id: str
    ) -> None:
        self.functions = frozenset(functions or ())
        self.client_id = client_id
        self.in_hand: dict[str, _Job] = {}
        self._server = server
        self._serves = None if functions is None else self.functions
        server.enter(self)

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        return self._server.grab(self, self._serves, timeout)

    def send(self, job: AssignedJob, update: Update) -> None:
        self._server.report(self, job.handle, update)

    def give_back(self, job: AssignedJob) -> bool:
        self._server.give_back(self, job.handle)
        return True

    def close(self) -> None:
        self._server.leave(self)
