"""A supervised worker process: its reports to the supervisor, and its exit."""

from __future__ import annotations

import logging
import math
import os
import random
import resource
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from .. import conf
from ..backends.base import LARGE_WORKLOAD, AssignedJob, WorkerSession
from ..supervisor import (
    Cell,
    Ended,
    Lease,
    Notice,
    Reported,
    Scoreboard,
    Stage,
    send_socket,
    wake_parent,
)
from ..utils.records import get_logger, log
from .cancelling import Cancelling
from .forks import WorkerForks
from .observer import WorkerObserver
from .pausing import PausedQueues
from .process_state import ProcessState
from .worker import GearmanWorker

logger = get_logger("django_gearman.jobs")

#: Seconds between JobTimeLimitExceeded and the kill of the process.
HARD_LIMIT_SECONDS = 5.0
#: Seconds for the report on a job without a timeout, signal receivers included.
REPORT_SECONDS = 60.0
#: Most runs of a quick function, each right after the other, until the process's state is restored.
MOST_UNRESTORED = 10
#: Seconds for receivers of `worker_stopping` and for closing connections; a server that hangs takes
#: ten.
STOP_SECONDS = 20.0

#: The states of `Ending`, for the supervisor.
ENDED = {
    "succeeded": Ended.DONE,
    "cancelled": Ended.DONE,  # by a user
    "failed": Ended.FAILED,
    "retried": Ended.RETRIED,
}

# The share by which limits are lowered at random, so that processes do not all exit together.
_SPLAY = 0.1


class Limits(NamedTuple):
    """Limits after which a process exits and is replaced; None for no limit."""

    max_jobs: int | None = None
    max_memory: float | None = None  # MB of resident memory
    max_lifetime: float | None = None  # seconds

    def splayed(self) -> Limits:
        """Return limits that are lowered at random."""
        jobs = self.max_jobs and max(1, round(self.max_jobs * _chance()))
        memory = self.max_memory and self.max_memory * _chance()
        return Limits(jobs, memory, self.max_lifetime and self.max_lifetime * _chance())


def _chance() -> float:
    return random.uniform(1 - _SPLAY, 1)


class CellObserver(WorkerObserver):
    """An observer that reports the jobs of one slot to the supervisor."""

    ends_jobs = True

    def __init__(self, process: SupervisedObserver, cell: Cell) -> None:
        self._process = process
        self._cell = cell
        self._current: AssignedJob | None = None

    def time_limit(self, timeout: float | None) -> float | None:
        return self._process.time_limit(timeout)

    def limited(self, assigned: AssignedJob, seconds: float | None) -> None:
        _take(self._cell, assigned, seconds)

    def began(self, assigned: AssignedJob, seconds: float | None) -> None:
        self._current = assigned
        self.limited(assigned, seconds)

    def returned(self) -> None:
        if self._current is not None and not self._process.has_channel():
            self._process.lost(self._current)  # who writes its outcome would not know whom to blame
        self._cell.report(REPORT_SECONDS, at_least=HARD_LIMIT_SECONDS)

    def resubmitted(self) -> None:
        self._cell.reported(Reported.NEXT)

    def reported(self, state: str) -> None:
        self._cell.end(ENDED[state])

    def lost(self, assigned: AssignedJob) -> None:
        self._process.lost(assigned)

    def ended(self) -> None:
        self._current = None
        self._cell.drop()


def _take(cell: Cell, assigned: AssignedJob, seconds: float | None) -> None:
    deadline = math.inf
    if seconds is not None:
        deadline = time.monotonic() + seconds + HARD_LIMIT_SECONDS
    cell.take(encode_task(assigned), deadline)


class SupervisedObserver(WorkerObserver):
    """An observer that reports the worker's state to the supervisor, and checks the limits."""

    ends_jobs = True

    def __init__(
        self,
        scoreboard: Scoreboard,
        channel: socket.socket,
        limits: Limits,
        timeout: float | None,
        lease: Lease | None = None,
        notice: Notice | None = None,
    ) -> None:
        self.was_serving = False
        self._paused = PausedQueues(notice)
        self._lease = lease  # of asking for delayed jobs, which one idle process does for all
        self._scoreboard = scoreboard
        self._channel = channel
        self._channel_inode = os.fstat(channel.fileno()).st_ino
        self._limits = limits.splayed()
        self._session: WorkerSession | None = None
        self._begun = 0  # jobs
        self._timeout = timeout  # of jobs that declare none
        self._born = time.monotonic()
        self._state: ProcessState | None = None  # before the first job, but after worker_started
        self._left: list[str] = []
        self._function = self._handle = ""  # of the last job
        self._unrestored = 0  # runs since the state was restored
        self._most_unrestored = MOST_UNRESTORED

    def registered(self, session: WorkerSession) -> None:
        self._session = session
        session.on_connect = partial(send_socket, self._channel)
        session.on_arriving = self.arriving
        if session.slots > 1 and self._limits.max_jobs is not None:
            session.left = self._limits.max_jobs
        if self._lease is not None:
            session.may_poll = self._lease.take

    def of_slot(self, number: int) -> WorkerObserver:
        if self._state is None:
            self._state = ProcessState()
        return CellObserver(self, self._scoreboard.cell(number + 1))

    def full(self) -> None:
        if self._lease is not None:
            self._lease.give_up()

    def idle(self) -> None:
        left = [] if self._state is None else self._state.put_back()
        if left:
            message = "jobs have left changes to their process, which were undone: %s"
            log(logger, logging.WARNING, message, ", ".join(left))

    def withheld(self) -> frozenset[str] | None:
        return self._paused.names if self._paused.have_changed() else None

    def serving(self) -> None:
        self._restore_late()
        self._scoreboard.beat()
        if not self.was_serving:
            self.was_serving = True
            wake_parent(self._channel)

    def arriving(self, assigned: AssignedJob | None) -> None:
        if assigned is None:
            self._scoreboard.drop()
        else:
            self._scoreboard.take(encode_task(assigned, has_workload=False), math.inf)

    def time_limit(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else timeout

    def limited(self, assigned: AssignedJob, seconds: float | None) -> None:
        _take(self._scoreboard, assigned, seconds)

    def began(self, assigned: AssignedJob, seconds: float | None) -> None:
        if assigned.function != self._function:
            self._restore_late()
        _take(self._scoreboard, assigned, seconds)
        self._begun += 1
        if self._lease is not None and self._lease.is_held:
            self._lease.give_up()  # the job may take long
        self._function, self._handle = assigned.function, assigned.handle
        if self._state is None:
            self._state = ProcessState()
        if self._begun == self._limits.max_jobs and self._session is not None:
            self._session.ask_no_more()  # for example with the last outcome

    def returned(self) -> None:
        self._unrestored += 1
        is_followed = self._session is not None and self._session.is_followed
        if not is_followed or self._unrestored >= self._most_unrestored:
            self._restore()
        self._scoreboard.report(REPORT_SECONDS, at_least=HARD_LIMIT_SECONDS)

    def resubmitted(self) -> None:
        self._scoreboard.reported(Reported.NEXT)

    def reported(self, state: str) -> None:
        self._scoreboard.end(ENDED[state])

    def _restore(self) -> None:
        self._unrestored = 0
        if self._state is not None and (left := self._state.put_back()):
            self._left = left
            self._most_unrestored = 1  # from now on, after each job

    def _restore_late(self) -> None:
        """Restore the state if the job that was to follow the last one has not come."""
        if self._unrestored:
            self._restore()
            self._tell_left()

    def _tell_left(self) -> None:
        if self._left:
            message = "job %s (%s) has left changes to its process, which were undone: %s"
            names = self._function, self._handle
            log(logger, logging.WARNING, message, *names, ", ".join(self._left))
            self._left = []

    def has_channel(self) -> bool:
        """Return True if the channel is a socket; unlike fstat(), this keeps the interpreter's lock."""
        try:
            self._channel.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        except OSError:
            return False
        return True

    def lost(self, assigned: AssignedJob) -> None:
        with suppress(OSError):
            if os.fstat(self._channel.fileno()).st_ino == self._channel_inode:
                return
        raise RuntimeError(
            f"job {assigned.function} ({assigned.handle}) has closed files of its worker process, "
            "which cannot go on without; close only what the job has opened"
        )

    def ended(self) -> None:
        self._scoreboard.drop()
        self._tell_left()

    def leaving(self) -> None:
        self._restore_late()
        self._scoreboard.leave_within(STOP_SECONDS)

    def is_over(self, count: int) -> bool:
        jobs, memory, lifetime = self._limits
        is_over = (
            (jobs is not None and count >= jobs)
            or (lifetime is not None and time.monotonic() - self._born >= lifetime)
            or (memory is not None and resident_memory() >= memory)
        )
        if is_over:
            self._scoreboard.leave()
        return is_over


def resident_memory() -> float:
    """Return the memory of this process in MB: its present size, or its peak if that is unknown."""
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


_KINDS = {None: b"?", True: b"b", False: b"f"}


def encode_task(job: AssignedJob, *, has_workload: bool = True) -> bytes:
    """Encode a job for the scoreboard, without a workload that is missing or too large."""
    kept = has_workload and len(job.workload) <= LARGE_WORKLOAD
    kind = _KINDS[job.background] if kept else b"-"
    text = f"{job.handle}\0{job.function}\0{job.unique}\0"
    names = kind + text.encode("utf-8", "surrogateescape")
    return names + job.workload if kept else names


def decode_task(task: bytes) -> tuple[AssignedJob, bool]:
    """Return the job that `encode_task` wrote, and True if its workload is there."""
    handle, function, unique, workload = task[1:].split(b"\0", 3)
    names = b"\0".join((handle, function, unique)).decode(errors="surrogateescape")
    background = {kind: value for value, kind in _KINDS.items()}.get(task[:1])
    handle_text, function_text, unique_text = names.split("\0")
    job = AssignedJob(handle_text, function_text, unique_text, workload, background)
    return job, task[:1] != b"-"


def prepare_worker(
    limits: Limits,
    queues: list[str] | None,
    scoreboard: Scoreboard,
    channel: socket.socket,
    *,
    name: str | None,
    burst: bool,
    prefetch: int | None,
    threads: int = 1,
    lease: Lease | None = None,
    notice: Notice | None = None,
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Create the worker of this process; return the functions that run and stop it."""
    worker = GearmanWorker(queues, name=name, prefetch=prefetch, threads=threads)
    supervised = SupervisedObserver(scoreboard, channel, limits, conf.job_timeout(), lease, notice)

    def run() -> None:
        WorkerForks(channel.close, scoreboard.close).install()
        Cancelling(scoreboard).install()
        worker.work(burst=burst, observer=supervised)
        if burst and scoreboard.stage is not Stage.LEAVING:
            scoreboard.done()

    return run, worker.stop
