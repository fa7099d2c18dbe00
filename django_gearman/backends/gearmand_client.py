"""
A client's connection to one real job server, and the jobs submitted over it.

Requests are answered in their order, so the answers find their requests by counting. What workers
say of jobs comes in between and finds its submission by handle.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..clock import monotonic
from ..connection import Connection
from ..exceptions import (
    BackendError,
    ConnectionLost,
    ProtocolError,
    ServerError,
)
from ..protocol import Packet, PacketType, encode, to_bytes, to_number, to_text
from ..server import Server
from .base import (
    JobSpec,
    JobStatus,
    Submission,
    Update,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
)
from .real_servers import WaitingSubmission, deliver_update

_JOBS_A_WRITE = 50  # so many are encoded while the server works on as many
_UPDATES: dict[PacketType, Callable[..., Update]] = {
    PacketType.WORK_DATA: WorkData,
    PacketType.WORK_WARNING: WorkWarning,
    PacketType.WORK_STATUS: lambda done, of: WorkStatus(to_number(done), to_number(of)),
    PacketType.WORK_COMPLETE: WorkComplete,
    PacketType.WORK_EXCEPTION: WorkException,
    PacketType.WORK_FAIL: WorkFail,
}


@dataclass(frozen=True)
class SocketOptions:
    """
    The time limits of connections to real job servers, in seconds.

    `reply_timeout` is how long the server may be silent with a request open; `status_interval` how
    long a waiting client hears nothing of its job before it asks whether the job still exists;
    `down_time` how long a server that could not be reached is passed over.
    """

    connect_timeout: float = 5.0
    send_timeout: float = 30.0
    reply_timeout: float = 10.0
    status_interval: float = 5.0
    down_time: float = 10.0

    def connect(self, server: Server) -> Connection:
        return Connection(
            server, connect_timeout=self.connect_timeout, send_timeout=self.send_timeout
        )


class _StatusQuery:
    """A GET_STATUS on its way."""

    status: JobStatus | None = None
    error: BackendError | None = None

    def answered(self) -> bool:
        return self.status is not None or self.error is not None

    def lose(self, cause: BackendError) -> None:
        self.error = cause


class SocketSubmission(WaitingSubmission):
    """A job submitted over a channel."""

    _query: _StatusQuery | None = None

    def __init__(self, channel: Channel, spec: JobSpec) -> None:
        super().__init__(spec)
        self._channel = channel

    @property
    def _status_interval(self) -> float:
        return self._channel.options.status_interval

    def answered(self) -> bool:
        return bool(self.handle) or self.error is not None

    def _wait(self, ready: Callable[[], bool], until: float) -> bool:
        return self._channel.wait(ready, until=until)

    def _ask_known(self, until: float) -> JobStatus | None:
        if self._query is None:
            self._query = self._channel.ask_status(self.handle.rpartition("//")[2])
        query = self._query
        self._channel.wait_answered(lambda: query.answered() or self.has_news(), until=until)
        if not query.answered():
            return None
        self._query = None
        if query.error is not None:
            raise query.error
        return query.status


_Request = SocketSubmission | _StatusQuery


class Channel:
    """
    A client connection that any number of threads may wait on, of which one reads for all.

    Whatever goes wrong halfway, be it an exception out of a signal handler, breaks the channel:
    answers are found by counting, and one lost would give every later job the handle of another.
    """

    def __init__(self, server: Server, options: SocketOptions) -> None:
        self.server = server
        self.options = options
        self._prefix = f"{server}//"
        self._connection = options.connect(server)
        self._unanswered: deque[_Request] = deque()
        self._asked_at = 0.0  # when the oldest of them had been sent
        self._running: dict[str, deque[SocketSubmission]] = {}
        self._sending = threading.Lock()  # taken before the other one
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)  # for the threads that do not read themselves
        self._others_wait = 0
        self._someone_reads = False
        self.broken: BackendError | None = None

    def is_alive(self) -> bool:
        """Take in what has arrived, to learn whether the server has hung up."""
        if self._connection.inherited:
            return False  # and the lock may be held for ever
        try:
            with self._lock:
                if self.broken is None and (self._someone_reads or not self._connection.has_news()):
                    return True
            self.wait(lambda: False, until=0.0)
        except BackendError:
            return False
        return self.broken is None

    def close(self) -> None:
        if self._connection.inherited:
            self._connection.close()  # this process's copy; the locks may be held for ever
        else:
            self._break(ConnectionLost(f"the connection to job server {self.server} was closed"))

    def submit(
        self, jobs: Sequence[JobSpec], encode: Callable[[JobSpec], tuple[bytes, bytes]]
    ) -> list[Submission]:
        """
        Send jobs, and wait until each is acknowledged or known never to be; return those sent.

        While the server works on some, the next are encoded.
        """
        submissions: list[SocketSubmission] = []
        with suppress(BackendError):  # each submission has it as its .error
            for start in range(0, len(jobs), _JOBS_A_WRITE):
                if self.broken or (start and not self.is_alive()):  # that takes in answers, too
                    break
                some = jobs[start : start + _JOBS_A_WRITE]
                parts = [part for spec in some for part in encode(spec)]
                slots = [SocketSubmission(self, spec) for spec in some]
                submissions += slots
                self._request(slots, parts)
            if submissions:
                self.wait_answered(submissions[-1].answered)
        return list[Submission](submissions)

    def job_status(self, handle: str) -> JobStatus:
        """Ask for a job's status by the server's own handle."""
        query = self.ask_status(handle)
        self.wait_answered(query.answered)
        if query.status is None:
            raise query.error or ConnectionLost(f"job server {self.server} told no status")
        return query.status

    def ask_status(self, handle: str) -> _StatusQuery:
        self._request([query := _StatusQuery()], [encode(PacketType.GET_STATUS, to_bytes(handle))])
        return query

    def _request(self, slots: Sequence[_Request], chunks: Sequence[bytes]) -> None:
        with self._sending:
            try:
                with self._lock:
                    self._unanswered.extend(slots)
                    if self.broken is not None:
                        raise self.broken.with_traceback(None)
                self._send(chunks)
                with self._lock:
                    if self._unanswered and self._unanswered[0] is slots[0]:
                        self._asked_at = monotonic()  # only now: a large job takes its time
            except BaseException as error:
                self._give_up(error)
                raise

    def _send(self, chunks: Sequence[bytes]) -> None:
        """Send; if the connection breaks, take in what had been acknowledged before."""
        try:
            self._connection.send(*chunks)
        except ConnectionLost:
            with suppress(BackendError), self._lock:
                self._take_in()
            raise

    def wait_answered(self, answered: Callable[[], bool], until: float = math.inf) -> None:
        """Wait for an answer until the given time; ConnectionLost when the server falls silent."""
        while not self.wait(answered, until=min(self._silent_at, until)):
            if monotonic() >= self._silent_at:
                error = ConnectionLost(
                    f"job server {self.server} has not answered for {self.options.reply_timeout:g} s"
                    " (GEARMAN_OPTIONS['reply_timeout'] sets the limit)"
                )
                self._break(error)
                raise error
            if monotonic() >= until:
                return

    @property
    def _silent_at(self) -> float:
        """When the server, with a request open, will have sent nothing for too long."""
        return max(self._asked_at, self._connection.heard_at) + self.options.reply_timeout

    def wait(self, ready: Callable[[], bool], *, until: float) -> bool:
        """
        Take in packets until `ready()` or the given time of the monotonic clock; return `ready()`.

        Looks at least once at what has arrived. Raises the BackendError that broke the channel.
        """
        self._connection.check_process()  # before the lock, which a fork may have left locked
        late = False
        with self._lock:
            while not ready():
                if self.broken is not None:
                    raise self.broken.with_traceback(None)
                if late:
                    return False
                remaining = until - monotonic()
                if remaining <= 0.0:
                    remaining, late = 0.0, True
                if self._someone_reads:
                    self._others_wait += 1
                    self._news.wait(min(remaining, threading.TIMEOUT_MAX))
                    self._others_wait -= 1
                else:
                    self._read(remaining)
            return True

    def _read(self, timeout: float) -> None:
        """Wait, without the lock, for something to arrive, and hand it out."""
        connection = self._connection
        self._someone_reads = True
        self._lock.release()
        try:
            # Of many answers one is always there; and who prepares them, needs the processor.
            waits_for_one = len(self._unanswered) + len(self._running) == 1
            arrived = connection.has_news(timeout, soon=waits_for_one)
        finally:
            self._lock.acquire()
            self._someone_reads = False
            if self._others_wait:
                self._news.notify_all()
        if not arrived or self.broken is not None:
            return
        try:
            self._take_in()
        except BaseException as error:
            self._give_up(error)
            raise

    def _take_in(self) -> None:
        for packet in self._connection.take_in():
            self._hand_out(packet)

    def _hand_out(self, packet: Packet) -> None:
        kind, args = packet
        if (update := _UPDATES.get(kind)) is not None:
            # gearmand leaves a NUL behind the handle where it makes a WORK_FAIL of an exception
            deliver_update(self._running, to_text(args[0].rstrip(b"\0")), update(*args[1:]))
            return
        if not self._unanswered:
            raise ProtocolError(f"job server {self.server} sent {kind.name} unasked")
        slot = self._unanswered[0]
        if kind is PacketType.JOB_CREATED and isinstance(slot, SocketSubmission):
            own_handle = to_text(args[0])
            slot.handle = self._prefix + own_handle
            if not slot.spec.background:
                self._running.setdefault(own_handle, deque()).append(slot)
        elif kind is PacketType.STATUS_RES and isinstance(slot, _StatusQuery):
            known, running, numerator, denominator = map(to_number, args[1:])
            slot.status = JobStatus(bool(known), bool(running), numerator, denominator)
        elif kind is PacketType.ERROR:
            code, text = map(to_text, args)
            message = f"job server {self.server} refused: {text} ({code})"
            slot.error = ServerError(message, code=code, text=text)
        else:
            raise ProtocolError(f"job server {self.server} gave {kind.name} as answer")
        self._unanswered.popleft()

    def _give_up(self, error: BaseException) -> None:
        """Give up the connection because of whatever has gone wrong halfway."""
        cause = error if isinstance(error, BackendError) else None
        self._break(cause or ConnectionLost(f"job server {self.server}: interrupted"))

    def _break(self, error: BackendError) -> None:
        """Give up the connection, and tell every request that is still open."""
        with self._lock:
            if self.broken is None:
                self.broken = error
                self._connection.close()
            while self._unanswered:
                self._unanswered.popleft().lose(error)
            self._running.clear()
            self._news.notify_all()
