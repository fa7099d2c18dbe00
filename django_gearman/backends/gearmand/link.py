"""
A worker's link: its connection to one real job server, and the jobs that have come over it.

gearmand never says what state a connection is in, so the link keeps account. It counts the GRAB_JOBs
without an answer, because each may bring a job. After NO_JOB it sleeps until the server's NOOP.

Delayed jobs have a separate link: see `delayed.py`.

A connection counts as good only when the server has answered on it. A stopped gearmand still accepts
connections, and some jobs make it throw out every worker that asks for one. A link that took such a
connection for good would reconnect in a busy loop.
"""

from __future__ import annotations

import logging
import math
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ...exceptions import BackendError, ConnectionLost
from ...protocol.address import ServerAddress
from ...protocol.names import assigned_job, handle_prefix, quick_lane
from ...protocol.packets import Packet, PacketType, encode, to_bytes, to_number, to_text
from ...utils.clock import monotonic
from ...utils.records import get_logger, log
from ..base import LARGE_WORKLOAD, AssignedJob, refusal
from ..connection import Connection
from ..remote import Downtime
from .buffer import OutcomeBuffer
from .opening import Opening
from .options import GearmandOptions

logger = get_logger(__name__)

#: Seconds until a sleeping worker asks again, in case the server has not woken it. If it is awake for
#: something else a little earlier, it asks then.
WAKE_SECONDS = 10.0

_OPENING_AT_ONCE_SECONDS = 0.2  # limit of a worker's wait for a second connection

_GRAB = encode(PacketType.GRAB_JOB_UNIQ)
_SLEEP = encode(PacketType.PRE_SLEEP)
_ARE_YOU_THERE = encode(PacketType.GET_STATUS, b"H:nobody:0")  # every server answers this


class WorkerConnection:
    """
    A link that is down, opening, idle, waiting for a job, or asleep until the server's NOOP.

    `held` are the assigned jobs that have not begun. `functions` may change while none of their
    jobs is current: the server gives held jobs to other workers.
    """

    is_delayed = False
    sleep_seconds, early_seconds = WAKE_SECONDS, 1.5

    def __init__(
        self,
        server: ServerAddress,
        name: str,
        client_id: str,
        functions: Iterable[str],
        options: GearmandOptions,
        *,
        is_quick: bool = False,
    ) -> None:
        self.is_quick = is_quick
        self.is_busy = (
            False  # with jobs of a worker with slots, so that its silence does not cost them
        )
        self.has_slots = False  # the worker may have several jobs, and sleep while some are held
        #: The link that asks for jobs in place of this one, which ends after its jobs.
        self.successor: WorkerConnection | None = None
        self.is_ending = self.has_ended = False
        self.is_quiet = False  # asked, and its answer wakes the worker only if that is a job
        self.server = server
        self.name = name  # of its socket, for the supervisor
        self._prefix = handle_prefix(server)
        self.functions = list(functions)
        self.connection: Connection | None = None
        self.is_known = False  # the server has answered since the last registration
        self.held: deque[AssignedJob] = deque()
        self.arriving: AssignedJob | None = None  # a large job that has arrived in part
        self.asked = 0  # GRAB_JOBs without an answer
        #: The number of jobs in the last request together with an outcome: more while jobs are
        #: waiting, and 0 after there were none.
        self.flow = 0
        self.asked_since = math.inf
        self.asleep_since = math.inf  # the time of the last NO_JOB; infinity after NOOP
        self._downtime = Downtime(
            quiet=is_quick or self.is_delayed
        )  # the other connection reports it
        self._statuses: list[tuple[bytes, ...] | None] = []  # answers to GET_STATUS_UNIQUE
        self._opening: Opening | None = None
        self.client_id = client_id
        self.options = options
        self._buffer = OutcomeBuffer(self._write)
        self.send = self._buffer.send
        self.hold = self._buffer.hold
        self.flush = self._buffer.flush

    def quick_lane(self) -> WorkerConnection:
        """Return another link to the server, for quick jobs."""
        name = quick_lane(self.name)
        return WorkerConnection(self.server, name, self.client_id, (), self.options, is_quick=True)

    @property
    def is_wanted(self) -> bool:
        """True if there should be a connection: a quick lane without functions needs none."""
        if self.successor is not None:
            return self.connection is not None
        return bool(self.functions) or not self.is_quick

    @property
    def may_have_lanes(self) -> bool:
        return not (self.is_quick or self.is_delayed or self.successor is not None)

    @property
    def is_idle(self) -> bool:
        """True if it can request a job and has not done so."""
        return self.connection is not None and not self.asked and self.asleep_since == math.inf

    @property
    def has_plenty(self) -> bool:
        """True if more than half of the jobs of a quick lane are here, or are under way."""
        return self.is_quick and len(self.held) + self.asked > self.flow // 2

    @property
    def next_event(self) -> float:
        """The time of the next call of `tend`."""
        if self._opening is not None:
            return self._opening.next_look
        if self.connection is None:
            return self._downtime.retry_at
        silent_at = max(self.asked_since, self.connection.moved_at) + self.options.reply_timeout
        if self.is_busy:
            silent_at = math.inf
        return min(silent_at, self.asleep_since + self.sleep_seconds)

    @property
    def is_opening(self) -> bool:
        return self._opening is not None

    @property
    def opens_first(self) -> bool:
        """True until it is known if the server can be reached."""
        return self._opening is not None and not self._downtime.failures

    def tend(self, on_connect: Callable[[str, socket.socket], object] | None) -> None:
        """Run the timers that are due: reconnect, drop silent servers, wake up."""
        early = self.early_seconds if self.asleep_since < math.inf else 0.0
        if self._opening is None and self.next_event > monotonic() + early:
            return
        if self._opening is not None:
            if self._opening.is_done:
                opening, self._opening = self._opening, None
                self.connection = opening.result()
                if on_connect is not None and self.connection.plain_socket is not None:
                    on_connect(self.name, self.connection.plain_socket)
                self.send(self._greeting())
        elif self.connection is None:
            self._open()
        elif self.asleep_since < math.inf:
            self._wake()
        else:
            raise ConnectionLost(
                f"job server {self.server} has not answered for {self.options.reply_timeout:g} s"
            )

    def _fall_asleep(self) -> None:
        self.send(_SLEEP)
        self.asleep_since = monotonic()

    def _wake(self) -> None:
        """Request a job again."""
        self.asleep_since = math.inf

    def open_at_once(self) -> None:
        """Open the connection to a server that has just answered elsewhere; this takes a moment."""
        self._open()
        self.wait_opened(_OPENING_AT_ONCE_SECONDS)

    def _open(self) -> None:
        try:
            self._opening = Opening(lambda: self.options.connect(self.server))
        except RuntimeError as error:  # the system has no more threads
            raise ConnectionLost(f"job server {self.server}: {error}") from error

    def wait_opened(self, timeout: float) -> None:
        if self._opening is not None:
            self._opening.join(timeout)

    def _greeting(self) -> bytes:
        name = (
            [encode(PacketType.SET_CLIENT_ID, to_bytes(self.client_id))] if self.client_id else []
        )
        return b"".join(name) + self._packets(PacketType.CAN_DO, self.functions)

    def _write(self, *packets: bytes) -> None:
        if self.connection is None:
            raise ConnectionLost(f"the connection to job server {self.server} was lost")
        self.connection.send(*packets)

    # Functions

    def _packets(self, kind: PacketType, functions: Sequence[str]) -> bytes:
        """
        Return packets that register or remove functions.

        Of the functions with waiting jobs, gearmand 1.1 serves the one that was registered last, and
        2.0 serves each in turn. So the first one comes last.
        """
        return b"".join(encode(kind, to_bytes(name)) for name in reversed(functions))

    def serve(self, functions: list[str]) -> None:
        """Add these functions."""
        self.functions += functions
        if self.connection is not None:
            self.send(self._packets(PacketType.CAN_DO, functions))
            self.asleep_since = math.inf  # no NOOP comes for jobs that are already queued

    def leave(self, functions: list[str]) -> None:
        """Remove these functions; other workers get their held jobs."""
        self.functions = [name for name in self.functions if name not in functions]
        self.held = deque(job for job in self.held if job.function not in functions)
        if self.connection is not None:
            self.send(self._packets(PacketType.CANT_DO, functions))

    def retire(self, successor: WorkerConnection, running: Iterable[str]) -> None:
        """
        Request no more jobs; `running` are the functions of those that run.

        Only these stay registered: the server would give their jobs to other workers.
        """
        self.successor = successor
        self._downtime = Downtime(quiet=True)
        self.leave([name for name in self.functions if name not in running])

    def end(self) -> None:
        """Ask for a last answer, after which the server has read everything that was sent."""
        self.is_ending, self.asked_since = True, monotonic()
        self.send(_ARE_YOU_THERE)

    # Jobs

    def asking(self, number: int) -> bytes:
        """Return packets that request this number of jobs; send them at once."""
        if not self.asked:
            self.asked_since = monotonic()
        self.asked += number
        self.asleep_since = math.inf
        return _GRAB * number

    def ask(self, number: int) -> None:
        self.send(self.asking(number))

    def read(self) -> None:
        """Read data that has arrived."""
        connection = self.connection
        if connection is None:
            return
        for kind, args in connection.take_in():
            if kind is PacketType.JOB_ASSIGN_UNIQ:
                self._answered()
                self.asleep_since = math.inf
                self._assigned(*args)
            elif kind is PacketType.NO_JOB:
                self._answered()
                self.flow = 0
                if not self.asked and (self.has_slots or not self.held):
                    self._fall_asleep()
                elif self.has_slots:
                    self.asleep_since = monotonic()  # the other answers will hardly bring a job
            elif kind is PacketType.NOOP:
                awake: WorkerConnection | None = self
                while awake is not None:  # one NOOP may be for all connections of this client id
                    awake.asleep_since = math.inf
                    awake = awake.successor
            elif kind is PacketType.STATUS_RES:
                self.has_ended = self.is_ending
            elif kind is PacketType.STATUS_RES_UNIQUE:
                self._statuses.append(args)
            elif kind is PacketType.ERROR:
                self._statuses.append(None)
                code, text = map(to_text, args)
                log(logger, logging.WARNING, "%s", refusal(self.server, code, text))
        head = connection.arriving(LARGE_WORKLOAD)
        self.arriving = None if head is None else self._announced(*head)

    def _announced(self, packet: Packet, size: int) -> AssignedJob | None:
        if packet.type is not PacketType.JOB_ASSIGN_UNIQ or size <= LARGE_WORKLOAD:
            return None
        handle, function, unique = packet.args
        return assigned_job(self._prefix, handle, function, unique, b"")

    def _answered(self) -> None:
        self.asked = max(0, self.asked - 1)
        self.asked_since = monotonic() if self.asked else math.inf
        if not self.is_known:
            self.is_known = True
            self._downtime.end(self.server)

    def _assigned(self, handle: bytes, function: bytes, unique: bytes, workload: bytes) -> None:
        job = assigned_job(self._prefix, handle, function, unique, workload)
        if job.function in self.functions:
            self.held.append(job)
        # Otherwise the job was under way when its function was removed: another worker has it now.

    def ask_status(self, packets: bytes) -> list[tuple[int, int]]:
        """
        Send packets that end with a GET_STATUS_UNIQUE; return the answer as `awaiting.Ask` does.
        """
        if self.connection is None:
            return []
        self._statuses.clear()
        self.send(packets)
        deadline = monotonic() + self.options.reply_timeout
        while not self._statuses:
            if not self.connection.has_news(max(0.0, deadline - monotonic())):
                raise ConnectionLost(
                    f"job server {self.server} has not answered for "
                    f"{self.options.reply_timeout:g} s"
                )
            self.read()
        answer = self._statuses[-1]
        return [] if answer is None else [(to_number(answer[5]), to_number(answer[4]))]

    def disconnect(self) -> None:
        if self._opening is not None:
            self._opening.abandon()
        if self.connection is not None:
            self.connection.close()
        self.connection = self._opening = self.arriving = None
        self.is_known = self.is_quiet = False
        self.asked = 0
        self.asked_since = self.asleep_since = math.inf
        self.held.clear()
        self._buffer.clear()

    def lose(self, error: BackendError) -> None:
        """Drop the connection; log it once until it was back."""
        if unsent := self._buffer.clear():
            message = "job server %s gives %d finished jobs to other workers: %s"
            log(logger, logging.WARNING, message, self.server, unsent, error)
        self.disconnect()
        self._downtime.begin(error)
