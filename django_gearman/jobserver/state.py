"""What a job table keeps of a job, of a function and of a worker."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

Client = Hashable

#: The priorities, as places in a function's queues.
HIGH, NORMAL, LOW = range(3)
UNLIMITED = (0, 0, 0)


class State(enum.Enum):
    """How far a job is."""

    NEW = "new"  # it has been taken, and waits for `enqueue`
    DELAYED = "delayed"
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


# A name of the module is found in a twentieth of the time that an Enum takes for one of its own.
NEW, DELAYED, QUEUED, RUNNING, ENDED = State


class Offer(NamedTuple):
    """A job that a client offers. `unique` b"" shares a job with nobody, b"-" with equal workloads."""

    function: bytes
    unique: bytes
    workload: bytes
    band: int = NORMAL
    background: bool = False
    run_at: float | None = None  # seconds since the epoch


class Job:
    """A job that the table knows."""

    __slots__ = (
        "background",
        "band",
        "clients",
        "function",
        "handle",
        "key",
        "place",
        "progress",
        "retries",
        "row",
        "run_at",
        "state",
        "unique",
        "worker",
        "workload",
    )

    def __init__(self, handle: bytes, offer: Offer, key: bytes, function: Function) -> None:
        self.handle = handle
        self.function = function
        self.unique = offer.unique
        self.key = key  # what it is shared by; b"" for nothing
        self.workload = offer.workload
        self.band = offer.band
        self.background = offer.background
        self.run_at = offer.run_at
        self.clients: tuple[Client, ...] = ()  # one may be there several times
        self.worker: Worker | None = None
        self.progress: tuple[int, int] | None = None
        self.retries = 0
        self.row = 0  # of the store, 0 where it is not stored
        self.place = 0
        self.state = NEW

    def is_before(self, other: Job) -> bool:
        return (self.band, self.place) < (other.band, other.place)

    @property
    def is_wanted(self) -> bool:
        return self.background or bool(self.clients)


class Function:
    """A function: its queues, by priority, and counts of its jobs and workers."""

    __slots__ = (
        "by_key",
        "limits",
        "name",
        "queued",
        "queues",
        "running",
        "sleepers",
        "total",
        "workers",
    )

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.queues: tuple[deque[Job], deque[Job], deque[Job]] = (deque(), deque(), deque())
        self.queued = [
            0,
            0,
            0,
        ]  # jobs that wait, by priority; the queues may hold dropped ones, too
        self.total = 0
        self.running = 0
        self.workers = 0
        self.by_key: dict[bytes, Job] = {}
        self.sleepers: dict[Worker, None] = {}  # the one that sleeps longest first
        self.limits = UNLIMITED

    def head(self) -> Job | None:
        """Return the job that is next, without those that were dropped."""
        for queue in self.queues:
            while queue:
                if queue[0].state is QUEUED:
                    return queue[0]
                queue.popleft()
        return None


class Worker:
    """A worker, as the table knows it. `key` is the caller's own name for it."""

    __slots__ = ("client_id", "functions", "in_hand", "is_asleep", "key", "serves_all", "timeouts")

    def __init__(self, key: object, *, serves_all: bool = False) -> None:
        self.key = key
        self.serves_all = serves_all  # every function, without naming it
        self.client_id = b""
        self.functions: dict[bytes, Function] = {}
        self.timeouts: dict[bytes, float] = {}  # seconds that a job of the function may run
        self.in_hand: dict[bytes, Job] = {}
        self.is_asleep = False
