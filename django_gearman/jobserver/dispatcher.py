"""
The dispatcher of a job server: it stores jobs, starts them in time, and notifies workers and
clients.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import cast

from ..protocol.packets import RESPONSE, PacketType, encode
from ..utils.records import get_logger
from .job_table import JobTable, QueueFull
from .journal import Journal
from .state import DELAYED, NEW, Client, Job, Offer, Worker

logger = get_logger(__name__)

_WAKE_AGAIN_SECONDS = 1.0  # until another worker is woken for a job that was not requested
_LONGEST_TIMER = 3600.0  # seconds; changes of the system clock make longer timers wrong
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_NOOP = encode(PacketType.NOOP, magic=RESPONSE)


class Recipient(ABC):
    """A connection, as the dispatcher sees it."""

    number: int
    address: str
    worker: Worker

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Add bytes to the next flush."""

    @abstractmethod
    def release(self) -> None:
        """Send the output that waited for an answer."""

    @abstractmethod
    def flush(self) -> None:
        """Write the pending output."""


class Slot:
    """The place of an answer that waits for the store."""

    __slots__ = ("data", "peer")

    def __init__(self, peer: Recipient) -> None:
        self.peer = peer
        self.data: bytes | None = None


class Dispatcher:
    """
    The jobs of a server, with their timers and notifications.

    The constructor opens the store, and raises JournalError if it cannot. `max_queued` is the limit
    for all jobs together; 0 means no limit.
    """

    def __init__(self, *, store: Path | None = None, max_queued: int = 0) -> None:
        self.table = JobTable(_handles())
        self.peers: dict[Recipient, None] = {}
        self.dirty: dict[Recipient, None] = {}  # peers with pending output
        self.storing: dict[Job, list[Slot]] = {}  # jobs, and the answers that wait for the store
        self.is_closing = False
        self.shutdown = asyncio.Event()
        self._max_queued = max_queued
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._again: asyncio.TimerHandle | None = None
        self._journal = None if store is None else Journal(store, self._written_in_thread)

    def start(self) -> None:
        """Load the stored jobs, in the event loop that will serve them."""
        self._loop = asyncio.get_running_loop()
        if self._journal is None:
            return
        for row, handle, offer in self._journal.load():
            job = self.table.submit(None, offer, handle)
            job.row = row
            self.table.enqueue(job, time.time())
        self._journal.start()
        self._set_timer()

    async def stop(self) -> None:
        """Write the remaining changes to the store, and close it."""
        self.is_closing = True
        for timer in (self._timer, self._again):
            if timer is not None:
                timer.cancel()
        if self._journal is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._journal.close)
            await asyncio.sleep(0)  # for the last answers

    # Jobs

    def submit(self, client: Client | None, offer: Offer) -> Job:
        """Accept a job, or raise QueueFull. The job is in `storing` until it is on disk."""
        if self._max_queued and len(self.table.jobs) >= self._max_queued:
            raise QueueFull(f"The server has {self._max_queued} jobs, its limit (--max-queued)")
        job = self.table.submit(client, offer)
        if job in self.storing:
            return job
        if self._journal is not None and offer.background and not job.row:
            self.storing[job] = []
            self._journal.add(job)
        elif job.state is NEW:
            self._enqueue(job)
        return job

    def _enqueue(self, job: Job) -> None:
        worker = self.table.enqueue(job, time.time())
        if worker is not None:
            self.wake([worker])
        elif job.state is DELAYED:
            self._set_timer()

    def _written_in_thread(self, jobs: Sequence[Job], error: str) -> None:
        self._loop.call_soon_threadsafe(self._written, jobs, error)

    def _written(self, jobs: Sequence[Job], error: str) -> None:
        """Acknowledge jobs that are on disk now, or refuse jobs that could not be stored."""
        answered: dict[Recipient, None] = {}
        refusal = encode(
            PacketType.ERROR,
            b"QUEUE_ERROR",
            f"The job could not be stored: {error}".encode(),
            magic=RESPONSE,
        )
        for job in jobs:
            for slot in self.storing.pop(job):
                slot.data = refusal if error else created(job)
                answered[slot.peer] = None
            if error:
                job.row, job.background = 0, False
            if job.state is NEW:
                if error:
                    self.table.end(job)
                else:
                    self._enqueue(job)
        for peer in answered:
            peer.release()
        self.flush()

    def grab(self, worker: Worker) -> Job | None:
        job = self.table.grab(worker)
        if job is not None and (timeout := worker.timeouts.get(job.function.name)):
            self._loop.call_later(timeout, self._expire, job, worker, job.retries)
        return job

    def _expire(self, job: Job, worker: Worker, retries: int) -> None:
        """Fail a job that has exceeded its worker's time limit."""
        if job.worker is worker and job.retries == retries:
            logger.warning("job %r ran into its timeout", job.handle)
            self.fail(job)
            self.flush()

    def fail(self, job: Job) -> None:
        """End a job, and send the failure to the clients that wait for it."""
        packet = encode(PacketType.WORK_FAIL, job.handle, magic=RESPONSE)
        for client in job.clients:
            cast("Recipient", client).send(packet)
        self.end(job)

    def end(self, job: Job) -> None:
        self.table.end(job)
        if job.row and self._journal is not None:
            self._journal.remove(job.row)

    def wake(self, workers: Iterable[Worker]) -> None:
        for worker in workers:
            cast("Recipient", worker.key).send(_NOOP)
            if self._again is None:
                self._again = self._loop.call_later(_WAKE_AGAIN_SECONDS, self._wake_again)

    def _wake_again(self) -> None:
        """Wake other workers for jobs that the woken workers have not requested."""
        self._again = None
        self.wake(self.table.wake_all())
        self.flush()

    def _set_timer(self) -> None:
        """Set the timer that wakes workers for delayed jobs."""
        due = self.table.next_due
        if due < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            delay = min(max(0.0, due - time.time()), _LONGEST_TIMER)
            self._timer = self._loop.call_later(delay, self._due)

    def _due(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self.wake(self.table.due(time.time()))
        self._set_timer()
        self.flush()

    # Peers

    def flush(self) -> None:
        """Write the pending output of all peers."""
        while self.dirty:
            dirty, self.dirty = self.dirty, {}
            for peer in dirty:
                peer.flush()

    def left(self, peer: Recipient) -> None:
        """Record that a connection has ended."""
        self.peers.pop(peer, None)
        self.table.hang_up(peer)
        if not self.is_closing:
            self.wake(self.table.leave(peer.worker))
            self.flush()


def created(job: Job) -> bytes:
    """Return the answer to a submission."""
    return encode(PacketType.JOB_CREATED, job.handle, magic=RESPONSE)


def _handles() -> Callable[[int], bytes]:
    """
    Return a handle factory; no other server, and no later run of this one, reuses its handles.
    """
    number, digits = time.time_ns() // 1_000_000, ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    prefix = f"H:{socket.gethostname()[:24]}.{digits}.{os.getpid():x}:".encode()
    return lambda n: b"%b%d" % (prefix, n)
