"""The state of jobs, functions and workers in a job table."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

Client = Hashable

#: The priorities, as indexes of a function's queues.
HIGH, NORMAL, LOW = range(3)
UNLIMITED = (0, 0, 0)


class State(enum.Enum):
    """The state of a job."""

    NEW = "new"  # accepted, waiting for `enqueue`
    DELAYED = "delayed"
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


# Reading a global takes a twentieth of the time of an Enum's member.
NEW, DELAYED, QUEUED, RUNNING, ENDED = State


class Offer(NamedTuple):
    """A job that a client submits. `unique` b"" never merges, b"-" merges equal workloads."""

    function: bytes
    unique: bytes
    workload: bytes
    band: int = NORMAL
    background: bool = False
    run_at: float | None = None  # seconds since the epoch


class Job:
    """A job in the table."""

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
        self.key = key  # the key for merging; b"" for none
        self.workload = offer.workload
        self.band = offer.band
        self.background = offer.background
        self.run_at = offer.run_at
        self.clients: tuple[Client, ...] = ()  # a client may be there several times
        self.worker: Worker | None = None
        self.progress: tuple[int, int] | None = None
        self.retries = 0
        self.row = 0  # row in the store, 0 if it is not stored
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
        ]  # waiting jobs, by priority
        self.total = 0
        self.running = 0
        self.workers = 0
        self.by_key: dict[bytes, Job] = {}
        self.sleepers: dict[Worker, None] = {}  # longest sleeping first
        self.limits = UNLIMITED

    def head(self) -> Job | None:
        """Return the next job, without dropped ones."""
        for queue in self.queues:
            while queue:
                if queue[0].state is QUEUED:
                    return queue[0]
                queue.popleft()
        return None


class Worker:
    """A worker in the table. `key` is the caller's name for it."""

    __slots__ = ("client_id", "functions", "in_hand", "is_asleep", "key", "serves_all", "timeouts")

    def __init__(self, key: object, *, serves_all: bool = False) -> None:
        self.key = key
        self.serves_all = serves_all  # every function, without a list
        self.client_id = b""
        self.functions: dict[bytes, Function] = {}
        self.timeouts: dict[bytes, float] = {}  # time limit of a job of the function, in seconds
        self.in_hand: dict[bytes, Job] = {}
        self.is_asleep = False
