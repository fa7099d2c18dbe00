"""
The rules of a job server: which worker gets which job, and which clients get its updates.

There is no lock, no clock and no I/O here. The caller serializes the calls, passes the time, and
sends the results. Clients are any hashable keys. The rules are those of gearmand 2.0:

* HIGH jobs of all functions of a worker go before NORMAL ones, and these before LOW; jobs of one
  priority keep their order;
* equal uniques of one function share a job while it waits or runs: it runs once, with the first
  workload, and each waiting client gets a copy of every update from then on;
* a job whose worker leaves is queued again, behind the others of its priority;
* a waiting foreground job is dropped when its last client leaves;
* a finished job is unknown, like one that never existed.

This code does not copy the bugs of gearmand.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from .state import DELAYED, ENDED, QUEUED, RUNNING, Client, Function, Job, Offer, Worker


class QueueFull(Exception):
    """The error if a function has reached its limit of jobs."""


class FunctionCounts(NamedTuple):
    """One line of a status: `total` counts the waiting, delayed and running jobs."""

    name: bytes
    total: int
    running: int
    workers: int
    queued: tuple[int, int, int]
    delayed: int = 0


class JobTable:
    """All jobs of a server. `make_handle` returns the handle of the n-th job."""

    def __init__(self, make_handle: Callable[[int], bytes]) -> None:
        self.jobs: dict[bytes, Job] = {}
        self.workers: dict[Worker, None] = {}
        self._functions: dict[bytes, Function] = {}
        self.ready: dict[bytes, Function] = {}  # functions with waiting jobs
        self.delayed: list[tuple[float, int, Job]] = []  # a heap
        self._waited_for: dict[Client, dict[bytes, Job]] = {}
        self._places = itertools.count(1)
        self._numbers = itertools.count(1)
        self._make_handle = make_handle

    # Submitting

    def submit(self, client: Client | None, offer: Offer, handle: bytes | None = None) -> Job:
        """
        Accept a job, or find the one that it merges with; `client` is None if no client waits.

        A new job is in State.NEW, and no worker gets it before `enqueue`. Raises QueueFull.
        """
        function = self._functions.get(offer.function) or self._function(offer.function)
        key = offer.unique
        if key == b"-":
            key = b"-" + offer.workload if offer.workload else b""
        job = function.by_key.get(key) if key else None
        if job is None:
            limit = function.limits[offer.band]
            if limit and function.total >= limit:
                raise QueueFull("Job queue is full")
            handle = handle or self._make_handle(next(self._numbers))
            job = self.jobs[handle] = Job(handle, offer, key, function)
            function.total += 1
            if key:
                function.by_key[key] = job
        elif offer.background:
            job.background = True  # it runs even if the clients leave
        if client is not None:
            job.clients = *job.clients, client
            self._waited_for.setdefault(client, {})[job.handle] = job
        return job

    def enqueue(self, job: Job, now: float = math.inf) -> Worker | None:
        """Queue a job for a worker, or for its time; return the worker to wake."""
        if job.run_at is not None and job.run_at > now:
            job.state = DELAYED
            heapq.heappush(self.delayed, (job.run_at, next(self._places), job))
            return None
        function = job.function
        job.state, job.place = QUEUED, next(self._places)
        function.queues[job.band].append(job)
        function.queued[job.band] += 1
        self.ready[function.name] = function
        return self.wake(function.name) if function.sleepers else None

    def wake(self, name: bytes) -> Worker | None:
        """Return a sleeping worker of the function, now awake, if a job waits: one for each job."""
        function = self._functions.get(name)
        if function is None or not function.sleepers or function.head() is None:
            return None
        worker = next(iter(function.sleepers))
        self._rise(worker)
        return worker

    def wake_all(self) -> list[Worker]:
        """Return a sleeping worker, now awake, of each function with waiting jobs."""
        woken = [self.wake(name) for name in list(self.ready)]
        return [worker for worker in woken if worker is not None]

    def due(self, now: float) -> list[Worker]:
        """Queue delayed jobs that are due; return the workers to wake."""
        woken = []
        while self.delayed and self.delayed[0][0] <= now:
            job = heapq.heappop(self.delayed)[2]
            if job.state is DELAYED:
                woken.append(self.enqueue(job))
        return [worker for worker in woken if worker is not None]

    @property
    def next_due(self) -> float:
        """
        The time of the next delayed job, in seconds since the epoch; infinity if there is none.
        """
        while self.delayed and self.delayed[0][2].state is not DELAYED:
            heapq.heappop(self.delayed)
        return self.delayed[0][0] if self.delayed else math.inf

    # Workers

    def join(self, worker: Worker) -> None:
        self.workers[worker] = None

    def can_do(self, worker: Worker, name: bytes, timeout: float = 0.0) -> None:
        """
        Record that a worker serves a function, and the seconds that a job may take (0: no limit).
        """
        self.workers[worker] = None
        if name not in worker.functions:
            worker.functions[name] = function = self._function(name)
            function.workers += 1
        worker.timeouts.pop(name, None)
        if timeout:
            worker.timeouts[name] = timeout

    def cant_do(self, worker: Worker, name: bytes) -> list[Worker]:
        """
        Record that a worker no longer serves a function; return the workers to wake for its jobs.
        """
        function = worker.functions.pop(name, None)
        if function is None:
            return []
        function.workers -= 1
        function.sleepers.pop(worker, None)
        held = [job for job in worker.in_hand.values() if job.function is function]
        return self.give_back(held) + self._wake_others([name])

    def sleep(self, worker: Worker) -> bool:
        """Let a worker sleep until it is woken; return False if a job waits for it instead."""
        self._rise(worker)
        if self._next_for(worker) is not None:
            return False
        worker.is_asleep = True
        for function in worker.functions.values():
            function.sleepers[worker] = None
        return True

    def _rise(self, worker: Worker) -> None:
        if worker.is_asleep:
            worker.is_asleep = False
            for function in worker.functions.values():
                function.sleepers.pop(worker, None)

    def grab(self, worker: Worker) -> Job | None:
        """Give a worker its next job."""
        if worker.is_asleep:
            self._rise(worker)
        job = self._next_for(worker)
        if job is None:
            return None
        function = job.function
        function.queues[job.band].popleft()
        self._unqueue(job)
        job.state, job.worker = RUNNING, worker
        function.running += 1
        worker.in_hand[job.handle] = job
        return job

    def _next_for(self, worker: Worker) -> Job | None:
        functions: Iterable[Function]
        if not self.ready:
            return None
        if worker.serves_all:
            functions = self.ready.values()
        elif len(self.ready) < len(worker.functions):
            functions = [each for name, each in self.ready.items() if name in worker.functions]
        else:
            functions = [each for name, each in worker.functions.items() if name in self.ready]
        found: Job | None = None
        for each in functions:
            job = each.head()
            if job is not None and (found is None or job.is_before(found)):
                found = job
        return found

    def _unqueue(self, job: Job) -> None:
        function = job.function
        function.queued[job.band] -= 1
        if not any(function.queued):
            self.ready.pop(function.name, None)
            if any(function.queues):  # they have only dropped jobs
                for queue in function.queues:
                    queue.clear()

    def leave(self, worker: Worker) -> list[Worker]:
        """Forget a worker, and queue its jobs again; return the workers to wake."""
        self._rise(worker)
        self.workers.pop(worker, None)
        for function in worker.functions.values():
            function.workers -= 1
        names = [*worker.functions]
        worker.functions.clear()
        held = [*worker.in_hand.values()]
        return self.give_back(held) + self._wake_others(names)

    def _wake_others(self, names: Iterable[bytes]) -> list[Worker]:
        """Wake another worker of each function if a woken worker will not request its job."""
        woken = [self.wake(name) for name in names]
        return [other for other in woken if other is not None]

    def give_back(self, jobs: Iterable[Job]) -> list[Worker]:
        """Queue running jobs again if a client still wants them; return the workers to wake."""
        woken = []
        for job in jobs:
            self._take_away(job)
            job.retries += 1
            if job.is_wanted:
                woken.append(self.enqueue(job))
            else:
                self._forget(job)
        return [worker for worker in woken if worker is not None]

    def _take_away(self, job: Job) -> None:
        if job.worker is not None:
            del job.worker.in_hand[job.handle]
            job.function.running -= 1
            job.worker = job.progress = None

    # Ends

    def end(self, job: Job) -> tuple[Client, ...]:
        """Forget a job; return the clients that wait for it."""
        clients = job.clients
        if job.state is RUNNING:
            self._take_away(job)
        self._forget(job)
        return clients

    def _forget(self, job: Job) -> None:
        function = job.function
        was_queued = job.state is QUEUED
        job.state = ENDED
        job.workload = b""  # queues may contain it for a while
        if was_queued:
            self._unqueue(job)
        function.total -= 1
        del self.jobs[job.handle]
        if job.key:
            del function.by_key[job.key]
        if job.clients:
            for client in job.clients:
                if (waiting := self._waited_for.get(client)) is not None:
                    waiting.pop(job.handle, None)
                    if not waiting:
                        del self._waited_for[client]
            job.clients = ()

    def hang_up(self, client: Client) -> None:
        """
        Record that a client no longer waits; drop jobs that no client wants and no worker runs.
        """
        for job in self._waited_for.pop(client, {}).values():
            job.clients = tuple(each for each in job.clients if each != client)
            if not job.is_wanted and job.state is not RUNNING:
                self._forget(job)

    # Administration

    def _function(self, name: bytes) -> Function:
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = Function(name)
        return function

    def create(self, name: bytes) -> None:
        self._function(name)

    def has_function(self, name: bytes) -> bool:
        return name in self._functions

    def drop(self, name: bytes) -> bool:
        """Forget a function without jobs and workers; return True if there was one."""
        function = self._functions.get(name)
        if function is None or function.total or function.workers:
            return False
        del self._functions[name]
        return True

    def limit(self, name: bytes, limits: tuple[int, int, int]) -> None:
        """Set the limit of a function's jobs, for HIGH, NORMAL and LOW ones; 0 for no limit."""
        self._function(name).limits = limits

    def counts(self) -> Iterator[FunctionCounts]:
        """Yield the counts of each function."""
        for name, each in self._functions.items():
            high, normal, low = each.queued
            delayed = each.total - each.running - high - normal - low  # and stored soon
            queued = high, normal + delayed, low
            yield FunctionCounts(name, each.total, each.running, each.workers, queued, delayed)

    def find_unique(self, unique: bytes, asker: Worker) -> Job | None:
        """Return a job by its unique, of any function: first one that the asking worker runs."""
        for job in asker.in_hand.values():
            if job.unique == unique:
                return job
        for function in self._functions.values():
            if (found := function.by_key.get(unique)) is not None:
                return found
        return None
