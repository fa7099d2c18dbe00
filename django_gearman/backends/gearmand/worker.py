"""
A worker session with real job servers: it takes jobs from each in turn.

A session has one `WorkerConnection`, a link, for each job server. The session decides which server it
asks for the next job. They are two things because servers fail apart: the session serves the others
while one link is down, or waits for a server that hangs.

An unanswered GRAB_JOB is a promise: gearmand may have assigned a job already. If the session asked two
servers at once, it could get two jobs, and the second would wait here while other workers are idle. So
it asks one at a time. It asks the next one if a server has not answered within half a second.

A job belongs to the connection that it came over. When that breaks, gearmand gives the job to another
worker. The outcome must not go over a new connection: after a restart gearmand counts handles from 1
again, so the same handle may name another job. `send` raises ConnectionLost instead.

A session may get jobs ahead of their turn. For `prefetch` None see `prefetch.py`: the quick lane.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from ...exceptions import BackendError, ConnectionLost
from ...protocol.address import ServerAddress
from ...protocol.names import own_handle
from ...utils.clock import monotonic
from ...utils.interrupts import undisturbed
from ..base import AssignedJob, Outcome, Update, WorkComplete, WorkerSession
from ..remote import PATIENCE_SECONDS, JobsInHand
from .awaiting import ask_awaited
from .buffer import seconds_to_wait
from .delayed import POLL_SECONDS, DelayedConnection, sleeps_until_job
from .link import WorkerConnection
from .options import GearmandOptions
from .prefetch import RecentRuns
from .updates import encode_update
from .wakeup import WakeUp, Watched

_T = TypeVar("_T")

_LOOK_SECONDS = 0.005  # between checks of the other connections, while one has jobs
_TURN_SECONDS = 0.05  # of jobs from one connection, before another one takes its turn
_POLL_AFTER_SECONDS = 0.5  # until a new worker asks for delayed jobs
EARLY_SECONDS = 0.5  # by which a timer may shorten an idle worker's wait, to wake up once
_TEND_SECONDS = 5.0  # between checks of the timers, if none is known to be due


class GearmandWorkerSession(WorkerSession):
    """
    A worker of real job servers.

    gearmand 1.1 serves the jobs of the first of `functions` first, and 2.0 the functions in turn.
    """

    idle_seconds = POLL_SECONDS + 0.1  # so that one timer serves both

    def __init__(
        self,
        servers: Sequence[ServerAddress],
        functions: Sequence[str],
        client_id: str,
        options: GearmandOptions,
    ) -> None:
        self._links = deque(
            WorkerConnection(server, str(server), client_id, functions, options)
            for server in servers
        )
        self._lanes: dict[WorkerConnection, WorkerConnection] = {}  # the quick lanes
        self._delayed: dict[WorkerConnection, DelayedConnection] = {}  # for delayed jobs
        #: The time to open links for delayed jobs; infinity when each server has one.
        self._polls_at = monotonic() + _POLL_AFTER_SECONDS
        self._awaits_delayed = False
        self._wake_up = WakeUp()
        self._watched = Watched(self._wake_up)
        self._names = functions
        self._in_hand = JobsInHand[WorkerConnection]()
        self._recent, self._began = RecentRuns(), 0.0
        self._served: WorkerConnection | None = None  # the link of the last job
        self._function = ""  # of the last job
        self._turn_ends = 0.0  # the time to ask the other links
        self._look_at = self._tend_at = 0.0
        self._is_to_move = False
        self._is_arriving = False  # a large job, which was announced
        self._asks = True
        self._options = options

    @property
    def is_known(self) -> bool:
        return any(link.is_known for link in self._links)

    def ask_no_more(self) -> None:
        self._asks = False
        self._wake_up.wake()

    @property
    def holds_jobs(self) -> bool:
        return any(link.held or link.asked for link in self._links)

    # From the servers to the worker

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        if self._is_arriving:
            self._announce()
        if self._is_to_move:
            self._move()
        now = monotonic()
        self._awaits_delayed = timeout == 0
        served = self._served
        if served is not None and served.is_quick and served.held and now < self._look_at:
            return self._hand_out(served, now)
        deadline = math.inf if timeout is None else now + timeout
        # Woken by a timer, an idle worker returns early: it need not wake up again soon.
        early = deadline - (timeout == self.idle_seconds and EARLY_SECONDS)
        has_looked = now < self._look_at  # at data of all connections
        while True:
            if now >= self._tend_at:
                self._tend(now)
            ready, idle, is_asked = self._look(now)
            if ready is None:
                if idle is not None and self._asks:
                    if idle.is_delayed and now >= early and timeout != 0:
                        return None  # the request follows with the next call, which may sleep
                    number = 1 if idle.is_delayed else self.prefetch or 1
                    self._guard(idle, partial(idle.ask, number))
                    is_asked = timeout == 0 or not sleeps_until_job(idle, self._links)
                    self._tend_at = min(self._tend_at, idle.next_event)
                if not is_asked and (now >= early or not self._asks):
                    if timeout != 0 or not self._begin_polling(now):
                        return None
                    self._tend_at = 0.0  # a delayed job may be due
                    continue
                until = now + PATIENCE_SECONDS if is_asked else deadline
            elif has_looked:
                return self._hand_out(ready, now)
            else:
                until = now
            self._wait(until, now)
            now = monotonic()
            has_looked = True
            self._look_at = now + _LOOK_SECONDS

    def _look(self, now: float) -> tuple[WorkerConnection | None, WorkerConnection | None, bool]:
        """
        Return the link of the next job, the link to ask, and True if an answer may come at once.

        Jobs of quick functions come first, so that none waits behind another.
        """
        held = idle = None
        is_asked = is_lane_asked = False
        for link in self._links:
            if link.held:
                if link.is_quick:
                    return link, None, False
                held = held or link
            elif link.asked:
                if now - link.asked_since < PATIENCE_SECONDS:
                    is_asked = True
                    is_lane_asked = is_lane_asked or link.is_quick
            elif link.is_idle:
                idle = idle or link
        if held is not None:
            return (None if is_lane_asked else held), None, True
        if is_asked or idle is not None:
            return None, (None if is_asked else idle), is_asked
        is_soon = self._awaits_delayed or not self._watched  # otherwise the others may have jobs
        return None, None, is_soon and any(link.opens_first for link in self._links)

    def _tend(self, now: float) -> None:
        """Run the due timers of the links, and record the next time."""
        if now >= self._polls_at:
            self._begin_polling(now)
        for link in self._links:
            if link.is_wanted:
                self._guard(link, partial(link.tend, self.on_connect))
        events = [link.next_event for link in self._links if link.is_wanted]
        self._tend_at = min(now + _TEND_SECONDS, self._polls_at, *events)
        self._watched.watch(self._links)

    def _begin_polling(self, now: float) -> bool:
        """Add a link for delayed jobs to each server that has answered; return True if one is new."""
        number = len(self._links)
        self._polls_at = math.inf
        for link in [*self._links]:
            if not link.may_have_lanes or link in self._delayed:
                continue
            if not link.is_known:
                self._polls_at = now + _POLL_AFTER_SECONDS
                continue
            self._delayed[link] = lane = DelayedConnection(link, self._names)
            lane.may_poll = lambda: self.may_poll is None or self.may_poll()
            self._links.append(lane)
        return len(self._links) > number

    def _hand_out(self, link: WorkerConnection, now: float) -> AssignedJob:
        job = link.held.popleft()
        self._in_hand.take(job, link)
        self._began = now
        held = link.held
        self.is_followed = link.is_quick and bool(held) and held[0].function == job.function
        if job.function != self._function:  # it may take long, or end this process
            self._function = job.function
            self.flush()
        if link is not self._served:
            self._served, self._turn_ends = link, now + _TURN_SECONDS
        if len(self._links) > 1 and not link.held:
            self._links.remove(link)  # to the end: the others take their turn
            self._links.append(link)
        return job

    def _guard(self, link: WorkerConnection, action: Callable[[], _T]) -> _T | None:
        try:
            return action()
        except BackendError as error:
            self._lose(link, error)
            return None

    def _lose(self, link: WorkerConnection, error: BackendError) -> None:
        self._in_hand.lose(link)
        link.lose(error)
        self._tend_at = 0.0

    def _wait(self, until: float, now: float) -> None:
        """Wait for data of servers, up to the given time or to the next timer."""
        timeout = max(0.0, min(until, self._tend_at) - now)
        opening = [] if self._watched else [link for link in self._links if link.is_opening]
        if opening:
            opening[0].wait_opened(timeout)
            self._tend_at = 0.0
            return
        found = self._watched.wait(timeout)
        for lane in self._delayed.values():
            if lane.is_quiet:
                self._guard(lane, lane.hear)
        for link in found:
            self._guard(link, link.read)
            self._tend_at = min(self._tend_at, link.next_event)
            if link.arriving is not None or self._is_arriving:
                self._announce()

    def _announce(self) -> None:
        """Announce the large job that is arriving, again after each job that runs meanwhile."""
        arriving = [link.arriving for link in self._links if link.arriving is not None]
        self._is_arriving = bool(arriving)
        if self.on_arriving is not None:
            self.on_arriving(arriving[0] if arriving else None)

    # From the worker to the servers

    @undisturbed
    def send(self, job: AssignedJob, update: Update) -> None:
        link = self._in_hand.connection_of(job)
        packets = encode_update(own_handle(job.handle), update)
        now, latest = monotonic(), 0.0  # seconds that it may wait for other outcomes
        if isinstance(update, Outcome):
            self._in_hand.end(job)
            seconds = now - self._began
            if self.prefetch is None and self._recent.ran(job.function, seconds):
                self._is_to_move = True
            if link.held and type(update) is WorkComplete:
                latest = seconds_to_wait(seconds, link.is_quick, job.background)
            if not (latest and link.has_plenty) and (ahead := self._ahead(link, now)):
                packets = *packets, link.asking(ahead)
        try:
            if latest:
                link.hold(packets, now, latest)
            else:
                link.send(*packets)
        except ConnectionLost as error:
            self._lose(link, error)
            raise

    def flush(self) -> None:
        for link in self._links:
            self._guard(link, link.flush)

    def give_back(self, job: AssignedJob) -> bool:
        link = self._in_hand.find(job)
        if link is not None:
            reason = f"job {job.handle} is given back to job server {link.server}"
            self._lose(link, ConnectionLost(reason))
        return True  # otherwise it is no longer current anyway

    def is_awaited(self, job: AssignedJob) -> bool | None:
        link = self._in_hand.find(job)
        if link is None:
            return None
        return self._guard(link, partial(ask_awaited, job, link.ask_status))

    def _ahead(self, link: WorkerConnection, now: float) -> int:
        """Return the number of jobs to request together with an outcome."""
        most = self.prefetch
        if most is None:
            most = self._recent.window if link.is_quick else 1
        if not self._asks or not most or self._is_to_move:
            return 0
        for other in self._links:
            if other is not link and self._is_due(other, link, now):
                return 0
        link.flow = min(most, max(1, link.flow * 2))
        return max(0, link.flow - link.asked - len(link.held))

    def _is_due(self, other: WorkerConnection, link: WorkerConnection, now: float) -> bool:
        """Return True if another connection must take its turn first."""
        if not other.functions:
            return False
        if other.is_delayed:
            return bool(other.held) or other.is_idle
        if other.held or not link.is_quick:
            return True
        return other.is_idle and now >= self._turn_ends

    def _move(self) -> None:
        """Move each function to the connection for quick or slow ones; none of its jobs is current."""
        self._is_to_move, self._tend_at = False, 0.0
        for link in [each for each in self._links if not (each.is_quick or each.is_delayed)]:
            lane = self._lanes.get(link)
            if lane is None:
                self._lanes[link] = lane = link.quick_lane()
                self._links.append(lane)
                self._guard(lane, lane.open_at_once)
            quick = [name for name in link.functions if name in self._recent.quick]
            slow = [name for name in lane.functions if name not in self._recent.quick]
            for source, target, names in ((link, lane, quick), (lane, link, slow)):
                if names:
                    self._guard(source, partial(source.leave, names))
                    self._guard(target, partial(target.serve, names))

    def close(self) -> None:
        for link in self._links:
            if link.connection is not None:
                with contextlib.suppress(BackendError):  # closing at once can lose a result
                    link.flush()
                    link.connection.echo(self._options.reply_timeout)
            link.disconnect()
        self._in_hand.clear()
        self._wake_up.close()
