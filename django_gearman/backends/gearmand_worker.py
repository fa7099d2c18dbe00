"""
A worker's standing with real job servers: it grabs from each in turn.

Unless it may prefetch, at most one GRAB_JOB is open at a time, so that no job is assigned here while
another one runs; only when a server does not answer at once is the next one asked meanwhile. With
`prefetch` the answer to a job goes out together with the GRAB_JOB for the next.

With `prefetch` None functions whose jobs are quick (see `prefetch.Pace`) move to a second connection,
the quick lane of their server. Over that, and never over the first one, several jobs are asked for
and held; and none of them is held while a job of another function runs.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from ..connection import wait_readable
from ..exceptions import BackendError, ConnectionLost
from ..protocol import PacketType, encode, encode_parts, to_bytes
from ..server import Server
from .base import (
    AssignedJob,
    Outcome,
    Update,
    WorkComplete,
    WorkData,
    WorkerSession,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from .gearmand_client import SocketOptions
from .gearmand_link import Link
from .prefetch import Pace
from .real_servers import PATIENCE_SECONDS

_T = TypeVar("_T")

_LOOK_SECONDS = 0.005  # between looks at the other connections, while one has jobs on end


def encode_update(handle: bytes, update: Update) -> tuple[bytes, ...]:
    """Return the packet, in parts, by which a worker reports on a job."""
    match update:
        case WorkStatus(numerator, denominator):
            numbers = b"%d" % numerator, b"%d" % denominator
            return (encode(PacketType.WORK_STATUS, handle, *numbers),)
        case WorkData(data):
            return encode_parts(PacketType.WORK_DATA, handle, data)
        case WorkWarning(data):
            return encode_parts(PacketType.WORK_WARNING, handle, data)
        case WorkComplete(data):
            return encode_parts(PacketType.WORK_COMPLETE, handle, data)
        case WorkException(data):
            return encode_parts(PacketType.WORK_EXCEPTION, handle, data)
        case WorkFail():
            return (encode(PacketType.WORK_FAIL, handle),)
    raise TypeError(f"{update!r} is no update of a job")


class SocketWorkerSession(WorkerSession):
    """A worker of real job servers; `functions` that come first are served first."""

    def __init__(
        self,
        servers: Sequence[Server],
        functions: Sequence[str],
        client_id: str,
        options: SocketOptions,
    ) -> None:
        self._links = deque(
            Link(server, str(server), client_id, functions, options) for server in servers
        )
        self._lanes: dict[Link, Link] = {}  # the quick lane of each, once there is one
        self._client_id = client_id
        self._in_hand: dict[str, tuple[AssignedJob, Link]] = {}
        self._pace = Pace()
        self._began = 0.0
        self._look_at = 0.0
        self._tend_at = 0.0
        self._is_to_move = False
        self._asks = True
        self._options = options

    @property
    def is_known(self) -> bool:
        return any(link.is_known for link in self._links)

    def ask_no_more(self) -> None:
        self._asks = False

    @property
    def holds_jobs(self) -> bool:
        return any(link.held or link.asked for link in self._links)

    # From the servers to the worker

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        if self._is_to_move:
            self._move()
        now = time.monotonic()
        if now < self._look_at:
            for link in self._lanes.values():
                if link.held:
                    return self._hand_out(link, now)
        deadline = math.inf if timeout is None else now + timeout
        if any(link.held for link in self._links):
            self._wait(now)  # which takes in what has arrived elsewhere
        while True:
            if now >= self._tend_at:
                for link in self._links:
                    if link.is_wanted:
                        self._guard(link, partial(link.tend, self.on_connect))
            if (ready := self._next_link(now)) is not None:
                self._look_at = now + _LOOK_SECONDS
                return self._hand_out(ready, now)
            asked = self._is_asked(now)
            idle = None if asked or not self._asks else self._idle_link()
            if idle is not None:
                self._guard(idle, partial(idle.ask, self.prefetch or 1))
            elif asked or now < deadline:
                self._wait(deadline if not asked else now + PATIENCE_SECONDS)
            else:
                return None
            now = time.monotonic()

    def _is_asked(self, now: float) -> bool:
        """Whether the answer of a server may come any moment."""
        is_connected = False
        for link in self._links:
            if now - link.asked_since < PATIENCE_SECONDS and link.asked:
                return True
            is_connected = is_connected or link.connection is not None
        return not is_connected and any(link.opens_first for link in self._links)

    def _idle_link(self) -> Link | None:
        """Return the one whose turn it is to be asked: none while a job waits that is assigned."""
        found = None
        for link in self._links:
            if link.held:
                return None
            if found is None and link.is_idle:
                found = link
        return found

    def _next_link(self, now: float) -> Link | None:
        """Return the one whose job is next: quick ones first, so that none is held behind another."""
        others = None
        is_lane_asked = False
        for link in self._links:
            if not link.is_quick:
                if others is None and link.held:
                    others = link
            elif link.held:
                return link
            elif link.asked and now - link.asked_since < PATIENCE_SECONDS:
                is_lane_asked = True
        return None if is_lane_asked else others

    def _hand_out(self, link: Link, now: float) -> AssignedJob:
        job = link.held.popleft()
        self._in_hand[job.handle] = job, link
        self._began = now
        if len(self._links) > 1 and not link.held:
            self._links.remove(link)  # to the end: the others have their turn
            self._links.append(link)
        return job

    def _guard(self, link: Link, action: Callable[[], _T]) -> _T | None:
        try:
            return action()
        except BackendError as error:
            self._lose(link, error)
            return None

    def _lose(self, link: Link, error: BackendError) -> None:
        self._in_hand = {
            handle: held for handle, held in self._in_hand.items() if held[1] is not link
        }
        link.lose(error)
        self._tend_at = 0.0

    def _wait(self, until: float) -> None:
        """Wait for what servers say, up to the given time or until something is to be done."""
        self._tend_at = min(link.next_event for link in self._links if link.is_wanted)
        timeout = max(0.0, min(until, self._tend_at) - time.monotonic())
        connected = {link.connection: link for link in self._links if link.connection is not None}
        opening = [link for link in self._links if link.is_opening]
        if connected:
            try:
                ready = wait_readable(list(connected), timeout)
            except ConnectionLost:  # one has been closed meanwhile; to read tells which
                ready = list(connected)
            for connection in ready:
                self._guard(connected[connection], connected[connection].read)
        elif opening:
            opening[0].wait_opened(timeout)
        else:
            time.sleep(timeout)

    # From the worker to the servers

    def send(self, job: AssignedJob, update: Update) -> None:
        held, link = self._in_hand.get(job.handle, (None, None))
        if (held is not job and held != job) or link is None or link.connection is None:
            raise ConnectionLost(
                f"job {job.handle} is not in hand any more: the connection to its server was lost "
                "meanwhile, and the server gives the job to another worker"
            )
        packets = encode_update(to_bytes(job.handle.rpartition("//")[2]), update)
        if isinstance(update, Outcome):
            del self._in_hand[job.handle]
            if ahead := self._ahead(job, link):
                packets = *packets, link.asking(ahead)
        try:
            link.connection.send(*packets)
        except ConnectionLost as error:
            self._lose(link, error)
            raise

    def give_back(self, job: AssignedJob) -> bool:
        held, link = self._in_hand.get(job.handle, (None, None))
        if held == job and link is not None:
            self._lose(
                link, ConnectionLost(f"job {job.handle} is given back to job server {link.server}")
            )
        return True  # otherwise it is no longer in hand anyway

    def _ahead(self, job: AssignedJob, link: Link) -> int:
        """Return how many jobs are to be asked for with the outcome of this one."""
        most = self.prefetch
        if most is None:
            if self._pace.ran(job.function, time.monotonic() - self._began):
                self._is_to_move = True
            most = self._pace.window() if link.is_quick else 1
        if not self._asks or not most or self._is_to_move:
            return 0
        if len(self._links) > 1:
            others = [each for each in self._links if each is not link and each.functions]
            if any(each.held for each in others) or (others and not link.is_quick):
                return 0  # the others have their turn
        link.flow = min(most, max(1, link.flow * 2))
        return max(0, link.flow - link.asked - len(link.held))

    def _move(self) -> None:
        """Have each function served over the connection for its pace; none of its jobs is in hand."""
        self._is_to_move = False
        self._tend_at = 0.0
        for link in [each for each in self._links if not each.is_quick]:
            lane = self._lanes.get(link)
            if lane is None:
                name = f"{link.name}#quick"
                lane = Link(link.server, name, self._client_id, [], self._options, is_quick=True)
                self._lanes[link] = lane
                self._links.append(lane)
                lane.open_at_once()
            quick = [name for name in link.functions if name in self._pace.quick]
            slow = [name for name in lane.functions if name not in self._pace.quick]
            for source, target, names in ((link, lane, quick), (lane, link, slow)):
                if names:
                    self._guard(source, partial(source.leave, names))
                    self._guard(target, partial(target.serve, names))

    def close(self) -> None:
        for link in self._links:
            if link.connection is not None:
                with contextlib.suppress(BackendError):  # closing at once can lose a result
                    link.connection.echo(self._options.reply_timeout)
            link.disconnect()
        self._in_hand.clear()
