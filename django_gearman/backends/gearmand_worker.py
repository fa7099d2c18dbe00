"""
A worker's standing with real job servers: one connection to each, grabbed from in turn.

Each connection is idle, waits for the answer to a GRAB_JOB, or sleeps until the server's NOOP. At
most one GRAB is open at a time, so that no job is assigned here while another one runs; only when a
server does not answer at once is the next one asked meanwhile. A sleeper grabs again every second:
gearmand 1.1 wakes nobody when a delayed job comes due.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..connection import Connection, Server, wait_readable
from ..exceptions import BackendError, ConnectionLost
from ..protocol import Packet, PacketType, encode, encode_parts, to_bytes, to_text
from .base import (
    DELAYED,
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
    from_wire_unique,
)
from .gearmand_client import SocketOptions
from .real_servers import PATIENCE_SECONDS, REGRAB_SECONDS, backoff

logger = logging.getLogger(__name__)
_T = TypeVar("_T")

_CONNECT_SECONDS = 1.0  # for a server to come back, while another one serves

_GRAB = encode(PacketType.GRAB_JOB_UNIQ)
_SLEEP = encode(PacketType.PRE_SLEEP)


def _encode_update(handle: bytes, update: Update) -> tuple[bytes, ...]:
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


class _Link:
    """The worker's connection to one server: down, idle, grabbing or asleep."""

    def __init__(self, server: Server, greeting: bytes, options: SocketOptions) -> None:
        self.server = server
        self.connection: Connection | None = None
        self.grabbing_since = math.inf
        self.asleep_since = math.inf
        self.retry_at = 0.0
        self._failures = 0
        self._greeting = greeting
        self._options = options

    @property
    def idle(self) -> bool:
        return self.connection is not None and self.grabbing_since == self.asleep_since == math.inf

    @property
    def next_event(self) -> float:
        """When `tend` has something to do again."""
        if self.connection is None:
            return self.retry_at
        silent_at = max(self.grabbing_since, self.connection.heard_at) + self._options.reply_timeout
        return min(silent_at, self.asleep_since + REGRAB_SECONDS)

    def tend(self, connect_timeout: float) -> None:
        """Do what time asks for: reconnect, give up a silent server, end a sleep."""
        now = time.monotonic()
        if self.next_event > now:
            return
        if self.connection is None:
            self.connection = self._options.connect(self.server, connect_timeout)
            self.connection.send(self._greeting)
        elif self.asleep_since < math.inf:
            self.asleep_since = math.inf
        else:
            raise ConnectionLost(
                f"job server {self.server} has not answered for {self._options.reply_timeout:g} s"
            )

    def grab(self) -> None:
        if self.connection is not None:
            self.connection.send(_GRAB)
            self.grabbing_since = time.monotonic()

    def receive(self) -> Packet | None:
        """Take the next packet that has arrived, and note what it says of this connection."""
        packet = self.connection.receive(0) if self.connection is not None else None
        match packet:
            case Packet(PacketType.NO_JOB | PacketType.JOB_ASSIGN_UNIQ as answer):
                self.grabbing_since = math.inf
                if self._failures:  # only now: some jobs cost every worker its connection
                    logger.warning("job server %s is back", self.server)
                self._failures = 0
                if answer is PacketType.NO_JOB and self.connection is not None:
                    self.connection.send(_SLEEP)
                    self.asleep_since = time.monotonic()
            case Packet(PacketType.NOOP):
                self.asleep_since = math.inf
            case Packet(PacketType.ERROR, (code, text)):
                told = to_text(code), to_text(text)
                logger.warning("job server %s refused: %s (%s)", self.server, *reversed(told))
        return packet

    def disconnect(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self.grabbing_since = self.asleep_since = math.inf

    def lose(self, error: BackendError) -> None:
        """Drop the connection; say so once, and not again until it was back."""
        self.disconnect()
        if not self._failures:
            logger.warning("%s; trying again until it is back", error)
        self.retry_at = time.monotonic() + backoff(self._failures)
        self._failures = min(self._failures + 1, 10)


class SocketWorkerSession(WorkerSession):
    """A worker of real job servers; `functions` that come first are served first."""

    def __init__(
        self,
        servers: Sequence[Server],
        functions: Sequence[str],
        client_id: str,
        options: SocketOptions,
    ) -> None:
        greeting = [encode(PacketType.SET_CLIENT_ID, to_bytes(client_id))] if client_id else []
        # Of the functions with jobs waiting, gearmand 1.1 serves the one registered last.
        names = [*reversed(functions), *(name + DELAYED for name in reversed(functions))]
        greeting += [encode(PacketType.CAN_DO, to_bytes(name)) for name in names]
        self._links = deque(_Link(server, b"".join(greeting), options) for server in servers)
        self._in_hand: dict[str, tuple[AssignedJob, _Link]] = {}
        self._options = options

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            for link in list(self._links):
                job = self._attend(link)
                if job is not None:
                    return job
            now = time.monotonic()
            asked = any(0 <= now - link.grabbing_since < PATIENCE_SECONDS for link in self._links)
            idle = next((link for link in self._links if link.idle), None)
            if idle is not None and not asked:
                self._guard(idle, idle.grab)
            elif asked or now < deadline:
                self._wait(deadline if not asked else now + PATIENCE_SECONDS)
            else:
                return None

    def _attend(self, link: _Link) -> AssignedJob | None:
        """Bring a connection up to date; return the job that came over it, if one did."""
        # A server that cannot be reached must not keep the others waiting.
        others = any(o is not link and (o.connection or not o.retry_at) for o in self._links)
        self._guard(link, lambda: link.tend(_CONNECT_SECONDS if others else math.inf))
        while (packet := self._guard(link, link.receive)) is not None:
            if packet.type is PacketType.JOB_ASSIGN_UNIQ:
                return self._assigned(link, packet)
        return None

    def _assigned(self, link: _Link, packet: Packet) -> AssignedJob:
        handle, function, unique, workload = packet.args
        text, background = from_wire_unique(unique)
        job = AssignedJob(
            f"{link.server}//{to_text(handle)}",
            to_text(function).removesuffix(DELAYED),
            text,
            workload,
            background,
        )
        self._in_hand[job.handle] = job, link
        self._links.remove(link)  # to the end: the other servers have their turn
        self._links.append(link)
        return job

    def _guard(self, link: _Link, action: Callable[[], _T]) -> _T | None:
        try:
            return action()
        except BackendError as error:
            self._lose(link, error)
            return None

    def _lose(self, link: _Link, error: BackendError) -> None:
        self._in_hand = {
            handle: held for handle, held in self._in_hand.items() if held[1] is not link
        }
        link.lose(error)

    def _wait(self, until: float) -> None:
        until = min([until, *(link.next_event for link in self._links)])
        connections = [link.connection for link in self._links if link.connection is not None]
        wait_readable(connections, max(0.0, until - time.monotonic()))

    def send(self, job: AssignedJob, update: Update) -> None:
        held, link = self._in_hand.get(job.handle, (None, None))
        if held != job or link is None or link.connection is None:
            raise ConnectionLost(
                f"job {job.handle} is not in hand any more: the connection to its server was lost "
                "meanwhile, and the server gives the job to another worker"
            )
        packet = _encode_update(to_bytes(job.handle.rpartition("//")[2]), update)
        if isinstance(update, Outcome):
            del self._in_hand[job.handle]
        try:
            link.connection.send(*packet)
        except ConnectionLost as error:
            self._lose(link, error)
            raise

    def close(self) -> None:
        for link in self._links:
            if link.connection is not None:
                with contextlib.suppress(BackendError):
                    self._flush(link.connection)
                link.disconnect()
        self._in_hand.clear()

    def _flush(self, connection: Connection) -> None:
        """Wait until the server has processed what was sent; closing at once can lose a result."""
        deadline = time.monotonic() + self._options.reply_timeout
        connection.send(encode(PacketType.ECHO_REQ, b"bye"))
        while (packet := connection.receive(max(0.0, deadline - time.monotonic()))) is not None:
            if packet.type is PacketType.ECHO_RES:
                return
