"""
A worker session with several slots: jobs that run at the same time, in threads or on a loop.

One thread reads and writes, the owner. Reports of other threads are gathered. The owner writes all of
them together, with the requests for the next jobs. If it sleeps, it wakes up for this. So there
is one writer, and while jobs are quick, many outcomes go out in one write.

If the functions change, each connection gets a successor, which registers the new ones at once. The
old one asks for nothing more, and ends after its jobs. It cannot just remove functions: the server
would give the jobs that run to other workers.

The session asks for as many jobs as there are free slots. A request without an answer is a promise,
so it counts as a job. Jobs are not moved to a quick lane, because the server would take back those of
the function that run.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ...exceptions import BackendError, ConnectionLost
from ...protocol.address import ServerAddress
from ...protocol.names import later_lane, own_handle
from ...utils.clock import monotonic
from ...utils.interrupts import undisturbed
from ...utils.records import get_logger, log
from ..base import AssignedJob, Outcome, Update
from ..remote import PATIENCE_SECONDS
from .delayed import sleeps_until_job
from .link import WorkerConnection
from .options import GearmandOptions
from .updates import encode_update
from .worker import EARLY_SECONDS, GearmandWorkerSession

logger = get_logger(__name__)

#: Bytes of gathered reports, above which a job waits until they are written.
MOST_BYTES = 1 << 20


class _Gathered:
    """The reports for one connection that wait for the next write."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.results = 0


class SlotsSession(GearmandWorkerSession):
    """A worker of real job servers with several jobs at a time."""

    def __init__(
        self,
        servers: Sequence[ServerAddress],
        functions: Sequence[str],
        client_id: str,
        options: GearmandOptions,
        slots: int,
    ) -> None:
        super().__init__(servers, functions, client_id, options)
        self.slots = slots
        for link in self._links:
            link.has_slots = True
        self._owner = threading.get_ident()
        self._lock = threading.RLock()  # around the running jobs, and what is gathered
        self._has_room = threading.Condition(self._lock)
        self._gathered: dict[WorkerConnection, _Gathered] = {}
        self._bytes = 0
        self._calls: deque[Callable[[], object]] = deque()  # for the owner
        self._returned: dict[str, WorkerConnection] = {}  # given back, by handle
        self._sleeps = self._is_woken = False
        self._retired: list[WorkerConnection] = []

    # The owner

    def serve(self, functions: Sequence[str], client_id: str) -> bool:
        with self._lock:
            running = {link: self._in_hand.functions_of(link) for link in self._links}
        self._write(monotonic(), asks=False)  # what has ended before is not among the running ones
        self._names = functions
        successors: dict[ServerAddress, WorkerConnection] = {}
        for link in [each for each in self._links if each.may_have_lanes]:
            if link.connection is None:
                link.client_id, link.functions = client_id, [*functions]
                successors[link.server] = link
                continue
            name = later_lane(str(link.server), {each.name for each in self._links})
            made = WorkerConnection(link.server, name, client_id, functions, self._options)
            made.has_slots = True
            successors[link.server] = made
            self._links.appendleft(made)
            self._guard(link, partial(link.retire, made, running[link]))
        for link in [each for each in self._links if each.is_delayed and each.successor is None]:
            self._guard(link, partial(link.retire, successors[link.server], running[link]))
        self._retired = [link for link in self._links if link.successor is not None]
        self._delayed.clear()
        self._polls_at, self._tend_at = monotonic(), 0.0
        return True

    def _end_retired(self) -> None:
        """End the connections that have a successor, and whose jobs have ended."""
        with self._lock:
            busy = {*self._in_hand.connections(), *self._gathered}
        for link in [*self._retired]:
            if link in busy or link.held or link.asked:
                continue
            if not link.is_ending and link.connection is not None:
                self._guard(link, link.end)
            if link.has_ended or link.connection is None:
                link.disconnect()
                self._links.remove(link)
                self._retired.remove(link)
                self._tend_at = 0.0

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        return self._serve(timeout, takes=True)

    def attend(self, timeout: float) -> None:
        self._serve(timeout, takes=False)

    def _serve(self, timeout: float | None, takes: bool) -> AssignedJob | None:
        self._owner = threading.get_ident()
        now = monotonic()
        self._awaits_delayed = timeout == 0 and takes
        deadline = math.inf if timeout is None else now + timeout
        early = deadline - (timeout == self.idle_seconds and EARLY_SECONDS)
        while True:
            if self._is_arriving:
                self._announce()
            while self._calls:
                self._calls.popleft()()
            if self._retired:
                self._end_retired()
            if now >= self._tend_at:
                self._tend(now)
            # Slots become free with outcomes: without any, a held job needs no request for others.
            is_quiet = takes and not (self._gathered or self._returned)
            if is_quiet and (job := self._take(now)) is not None:
                return job
            self._write(now)
            if takes and (job := self._take(now)) is not None:
                return job
            if self._is_woken:
                self._is_woken = False
                return None
            is_asked = takes and self._is_asked(now)
            if not is_asked and (now >= early or (takes and not self._asks)):
                if not (self._awaits_delayed and self._begin_polling(now)):
                    return None
                self._tend_at = 0.0  # a delayed job may be due
                continue
            self._sleep(now + PATIENCE_SECONDS if is_asked else deadline, now)
            now = monotonic()

    def _tend(self, now: float) -> None:
        with self._lock:
            busy = self._in_hand.connections()
        for link in self._links:
            link.is_busy = link in busy
        super()._tend(now)

    def _sleep(self, until: float, now: float) -> None:
        self._sleeps = True
        if self._gathered or self._calls or self._is_woken:  # since they were looked at
            until = now
        self._wait(until, now)
        self._sleeps = False

    def _is_asked(self, now: float) -> bool:
        """Return True if a job may come at once."""
        for link in self._links:
            if link.asked and not link.is_quiet and now - link.asked_since < PATIENCE_SECONDS:
                return True
        is_soon = self._awaits_delayed or not self._watched
        return is_soon and any(link.opens_first for link in self._links)

    def _take(self, now: float) -> AssignedJob | None:
        for link in self._links:
            if link.held and link not in self._returned.values():
                job = link.held.popleft()
                with self._lock:
                    self._in_hand.take(job, link)
                self.left -= 1
                return job
        return None

    def _write(self, now: float, *, asks: bool = True) -> None:
        """Write the gathered reports; with `asks`, request jobs for the free slots."""
        with self._lock:
            gathered, self._gathered, self._bytes = self._gathered, {}, 0
            self._has_room.notify_all()
            busy = len(self._in_hand)
        requests = self._requests(now, busy) if asks else {}
        for link in {**gathered, **requests}:
            mine = gathered.get(link) or _Gathered()
            try:
                number = requests.get(link, 0)
                link.send(*mine.packets, *([link.asking(number)] if number else []))
            except BackendError as error:
                self._lose(link, error)
                _tell_unsent(link, mine, error)
        if self._returned:
            self._give_back()
        if not (busy or self._awaits_delayed):
            for link in requests:
                if sleeps_until_job(link, self._links):
                    self._tend_at = min(self._tend_at, link.next_event)

    def _requests(self, now: float, busy: int) -> dict[WorkerConnection, int]:
        """Return the number of jobs to request from each server; the servers take their turns."""
        if not self._asks:
            return {}
        free: float = self.slots + (self.prefetch or 0) - busy
        free = min(free, self.left)
        returning = self._returned.values()
        silent = {link for link in self._links if now - link.asked_since >= PATIENCE_SECONDS}
        for link in self._links:
            free -= len(link.held) + (0 if link in silent else link.asked)
        requests: dict[WorkerConnection, int] = {}
        for link in [*self._links] if free > 0 else ():
            is_awake = link.connection is not None and link.asleep_since == math.inf
            is_asked = link in silent or (link.is_delayed and link.asked)
            if not is_awake or is_asked or link in returning or link.successor is not None:
                continue
            requests[link] = 1 if link.is_delayed else int(free)
            self._links.remove(link)  # to the end
            self._links.append(link)
            free -= requests[link]
            if free <= 0:
                break
        return requests

    def _lose(self, link: WorkerConnection, error: BackendError) -> None:
        with self._lock:
            super()._lose(link, error)
            lost = self._gathered.pop(link, None)
            self._returned = {
                handle: each for handle, each in self._returned.items() if each is not link
            }
        if lost is not None:
            _tell_unsent(link, lost, error)

    def _give_back(self) -> None:
        """
        Drop connections whose other jobs have ended: so the server gives away those given back.
        """
        for link in {*self._returned.values()}:
            with self._lock:
                current = self._in_hand.handles_of(link)
            if all(handle in self._returned for handle in current):
                names = ", ".join(current)
                reason = f"job {names} is given back to job server {link.server}"
                self._lose(link, ConnectionLost(reason))

    def close(self) -> None:
        self._write(monotonic(), asks=False)
        super().close()

    # Any thread

    def wake(self) -> None:
        self._is_woken = True
        self._wake_owner()

    def _wake_owner(self) -> None:
        if self._sleeps:
            self._sleeps = False
            self._wake_up.wake()

    @undisturbed
    def send(self, job: AssignedJob, update: Update) -> None:
        packets = encode_update(own_handle(job.handle), update)
        with self._lock:
            link = self._in_hand.connection_of(job)
            if self._bytes >= MOST_BYTES and threading.get_ident() != self._owner:
                self._wait_for_room(link)
                link = self._in_hand.connection_of(job)
            gathered = self._gathered.get(link)
            if gathered is None:
                gathered = self._gathered[link] = _Gathered()
            gathered.packets += packets
            self._bytes += sum(map(len, packets))
            if isinstance(update, Outcome):
                gathered.results += 1
                self._in_hand.end(job)
        self.flush()

    def _wait_for_room(self, link: WorkerConnection) -> None:
        """Wait until the owner has written; it needs less time, or loses the connection."""
        seconds = self._options.send_timeout + self._options.reply_timeout
        if not self._has_room.wait_for(lambda: self._bytes < MOST_BYTES, seconds):
            raise ConnectionLost(f"job server {link.server} took no data for {seconds:g} s")

    def flush(self) -> None:
        if threading.get_ident() == self._owner:
            self._write(monotonic(), asks=False)
        else:
            self._wake_owner()

    def give_back(self, job: AssignedJob) -> bool:
        with self._lock:
            link = self._in_hand.find(job)
            if link is not None:
                self._returned[job.handle] = link
        self._wake_owner()
        return True  # otherwise it is no longer current anyway

    def is_awaited(self, job: AssignedJob) -> bool | None:
        ask = partial(super().is_awaited, job)
        if threading.get_ident() == self._owner:
            return ask()
        answers: list[bool | None] = []
        has_answered = threading.Event()

        def call() -> None:
            try:
                self._write(monotonic(), asks=False)  # its progress comes first
                answers.append(ask())
            finally:
                has_answered.set()

        self._calls.append(call)
        self._wake_owner()
        has_answered.wait(self._options.send_timeout + self._options.reply_timeout)
        return answers[0] if answers else None


def _tell_unsent(link: WorkerConnection, lost: _Gathered, error: Any) -> None:
    if lost.results:
        message = "job server %s gives %d finished jobs to other workers: %s"
        log(logger, logging.WARNING, message, link.server, lost.results, error)
