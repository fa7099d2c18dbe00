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
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
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

_OPENING_SECONDS = 0.05  # between looks at a connection that is being opened

_GRAB = encode(PacketType.GRAB_JOB_UNIQ)
_SLEEP = encode(PacketType.PRE_SLEEP)


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


class _Opening(threading.Thread):
    """A connection that is being opened, while the other servers are served."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        super().__init__(name="gearman-connect", daemon=True)
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._error: BaseException | None = None
        self._is_abandoned = False
        self.start()

    def run(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - it is raised by `result`
            self._error = error
            return
        with self._lock:
            self._connection = connection
            if self._is_abandoned:
                connection.close()

    @property
    def is_done(self) -> bool:
        return not self.is_alive()

    def result(self) -> Connection:
        if self._connection is None:
            raise self._error or ConnectionLost("no connection was opened")
        return self._connection

    def abandon(self) -> None:
        with self._lock:
            self._is_abandoned = True
            if self._connection is not None:
                self._connection.close()


class _Link:
    """The worker's connection to one server: down, opening, idle, grabbing or asleep."""

    def __init__(self, server: Server, greeting: bytes, options: SocketOptions) -> None:
        self.server = server
        self.connection: Connection | None = None
        self.is_known = False  # the server has answered since it was told what this worker serves
        self.grabbing_since = math.inf
        self.asleep_since = math.inf
        self.retry_at = 0.0
        self._failures = 0
        self._opening: _Opening | None = None
        self._greeting = greeting
        self._options = options

    @property
    def idle(self) -> bool:
        return self.connection is not None and self.grabbing_since == self.asleep_since == math.inf

    @property
    def next_event(self) -> float:
        """When `tend` has something to do again."""
        if self._opening is not None:
            return time.monotonic() + (0.0 if self._opening.is_done else _OPENING_SECONDS)
        if self.connection is None:
            return self.retry_at
        silent_at = max(self.grabbing_since, self.connection.heard_at) + self._options.reply_timeout
        return min(silent_at, self.asleep_since + REGRAB_SECONDS)

    @property
    def is_opening(self) -> bool:
        return self._opening is not None

    @property
    def opens_first(self) -> bool:
        """Whether it is not known yet if the server can be reached."""
        return self._opening is not None and not self._failures

    def tend(self, on_connect: Callable[[str, socket.socket], object] | None) -> None:
        """Do what time asks for: reconnect, give up a silent server, end a sleep."""
        if self._opening is None and self.next_event > time.monotonic():
            return
        if self._opening is not None and self._opening.is_done:
            opening, self._opening = self._opening, None
            self.connection = opening.result()
            if on_connect is not None and self.connection.plain_socket is not None:
                on_connect(str(self.server), self.connection.plain_socket)
            self.connection.send(self._greeting)
        elif self._opening is None and self.connection is None:
            self._opening = _Opening(partial(self._options.connect, self.server))
        elif self.asleep_since < math.inf:
            self.asleep_since = math.inf
        elif self.connection is not None:
            raise ConnectionLost(
                f"job server {self.server} has not answered for {self._options.reply_timeout:g} s"
            )

    def wait_opened(self, timeout: float) -> None:
        if self._opening is not None:
            self._opening.join(timeout)

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
                self.is_known = True
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
        if self._opening is not None:
            self._opening.abandon()
        if self.connection is not None:
            self.connection.close()
        self.connection = self._opening = None
        self.is_known = False
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

    @property
    def is_known(self) -> bool:
        return any(link.is_known for link in self._links)

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            for link in list(self._links):
                job = self._attend(link)
                if job is not None:
                    return job
            now = time.monotonic()
            asked = any(0 <= now - link.grabbing_since < PATIENCE_SECONDS for link in self._links)
            if all(link.connection is None for link in self._links):
                asked = any(link.opens_first for link in self._links)
            idle = next((link for link in self._links if link.idle), None)
            if idle is not None and not asked:
                self._guard(idle, idle.grab)
            elif asked or now < deadline:
                self._wait(deadline if not asked else now + PATIENCE_SECONDS)
            else:
                return None

    def _attend(self, link: _Link) -> AssignedJob | None:
        """Bring a connection up to date; return the job that came over it, if one did."""
        self._guard(link, lambda: link.tend(self.on_connect))
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
        timeout = max(0.0, until - time.monotonic())
        if connections:
            wait_readable(connections, timeout)
        elif opening := [link for link in self._links if link.is_opening]:
            opening[0].wait_opened(timeout)
        else:
            time.sleep(timeout)

    def send(self, job: AssignedJob, update: Update) -> None:
        held, link = self._in_hand.get(job.handle, (None, None))
        if held != job or link is None or link.connection is None:
            raise ConnectionLost(
                f"job {job.handle} is not in hand any more: the connection to its server was lost "
                "meanwhile, and the server gives the job to another worker"
            )
        packet = encode_update(to_bytes(job.handle.rpartition("//")[2]), update)
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
                with contextlib.suppress(BackendError):  # closing at once can lose a result
                    link.connection.echo(self._options.reply_timeout)
            link.disconnect()
        self._in_hand.clear()
