"""
A client's connection to one real job server, and the jobs submitted over it.

Requests are answered in their order, so the answers find their requests by counting. What workers
say of jobs comes in between and finds its submission by handle.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..connection import Connection, Server
from ..exceptions import (
    BackendError,
    ConnectionLost,
    JobLost,
    JobTimeout,
    ProtocolError,
    ResultUnavailable,
    ServerError,
    SubmitUncertain,
)
from ..protocol import Packet, PacketType, encode, encode_parts, to_bytes, to_text
from .base import (
    DELAYED,
    JobSpec,
    JobStatus,
    Outcome,
    Priority,
    Submission,
    Update,
    WorkComplete,
    WorkData,
    WorkException,
    WorkFail,
    WorkStatus,
    WorkWarning,
    wire_unique,
)

_SUBMIT = {
    (Priority.NORMAL, False): PacketType.SUBMIT_JOB,
    (Priority.NORMAL, True): PacketType.SUBMIT_JOB_BG,
    (Priority.HIGH, False): PacketType.SUBMIT_JOB_HIGH,
    (Priority.HIGH, True): PacketType.SUBMIT_JOB_HIGH_BG,
    (Priority.LOW, False): PacketType.SUBMIT_JOB_LOW,
    (Priority.LOW, True): PacketType.SUBMIT_JOB_LOW_BG,
}
_UPDATES: dict[PacketType, Callable[..., Update]] = {
    PacketType.WORK_DATA: WorkData,
    PacketType.WORK_WARNING: WorkWarning,
    PacketType.WORK_STATUS: lambda done, of: WorkStatus(_number(done), _number(of)),
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

    def connect(self, server: Server, within: float = math.inf) -> Connection:
        return Connection(
            server,
            connect_timeout=min(within, self.connect_timeout),
            send_timeout=self.send_timeout,
        )


def _number(text: bytes) -> int:
    """Read a progress number; what is no number counts as 0, as in gearmand itself."""
    return int(text) if text.isdigit() and len(text) < 20 else 0


def _encode_job(spec: JobSpec) -> tuple[bytes, bytes]:
    unique = wire_unique(spec)
    if spec.run_at is None:
        kind = _SUBMIT[spec.priority, spec.background]
        return encode_parts(kind, to_bytes(spec.function), unique, spec.workload)
    when = b"%d" % math.ceil(spec.run_at)
    function = to_bytes(spec.function + DELAYED)
    return encode_parts(PacketType.SUBMIT_JOB_EPOCH, function, unique, when, spec.workload)


class _StatusQuery:
    """A GET_STATUS on its way."""

    status: JobStatus | None = None
    error: BackendError | None = None

    @property
    def answered(self) -> bool:
        return self.status is not None or self.error is not None

    def lose(self, cause: BackendError) -> None:
        self.error = cause


class SocketSubmission(Submission):
    """A job submitted over a channel."""

    def __init__(self, channel: Channel, spec: JobSpec) -> None:
        self._channel = channel
        self._function = spec.function
        self.background = spec.background
        self._updates: deque[Update] = deque()
        self._finished = False
        self._heard = time.monotonic()

    @property
    def answered(self) -> bool:
        return bool(self.handle) or self.error is not None

    def lose(self, cause: BackendError) -> None:
        self.error = SubmitUncertain(
            f"job {self._function} was sent but not acknowledged, so it may or may not be queued "
            f"({cause}); submit it again, or pass max_retries, if running it twice does no harm"
        )
        self.error.__cause__ = cause

    def deliver(self, update: Update) -> None:
        self._updates.append(update)
        self._finished = isinstance(update, Outcome)
        self._heard = time.monotonic()

    def next_update(self, timeout: float | None = None) -> Update | None:
        if self.error is not None:
            raise self.error
        if self.background:
            raise ResultUnavailable(f"background job {self.handle} sends no updates")
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not self._has_news():
            check_at = self._heard + self._channel.options.status_interval
            if self._channel.wait(self._has_news, until=min(deadline, check_at)):
                continue
            if time.monotonic() >= deadline:
                return None
            self._check_known(deadline)
        return self._updates.popleft() if self._updates else None

    def _has_news(self) -> bool:
        return bool(self._updates) or self._finished

    def _check_known(self, deadline: float) -> None:
        """Ask whether the job still exists: gearmand forgets some without telling who waits."""
        try:
            status = self._channel.job_status(self.handle.rpartition("//")[2], until=deadline)
        except JobTimeout:
            return
        self._heard = time.monotonic()
        if not status.known and not self._has_news():
            self._finished = True
            raise JobLost(
                f"job server {self._channel.server} no longer knows job {self.handle}, and no "
                "worker reported on it; submit it again if running it twice does no harm"
            )


class Channel:
    """A client connection that any number of threads may wait on."""

    def __init__(self, server: Server, options: SocketOptions) -> None:
        self.server = server
        self.options = options
        self._connection = options.connect(server)
        self._unanswered: deque[SocketSubmission | _StatusQuery] = deque()
        self._running: dict[str, deque[SocketSubmission]] = {}
        self._lock = threading.Condition(threading.Lock())
        self._someone_reads = False
        self._broken: BackendError | None = None

    @property
    def broken(self) -> bool:
        return self._broken is not None

    def is_alive(self) -> bool:
        """Take in what has arrived, to learn whether the server has hung up."""
        with contextlib.suppress(BackendError):
            self.wait(lambda: False, until=time.monotonic())
        return self._broken is None

    def close(self) -> None:
        with self._lock:
            self._break(ConnectionLost(f"the connection to job server {self.server} was closed"))

    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        """Send jobs in one write, and wait until each is acknowledged or known never to be."""
        submissions = [SocketSubmission(self, spec) for spec in specs]
        chunks = [part for spec in specs for part in _encode_job(spec)]
        with contextlib.suppress(BackendError):  # which each submission has in its .error
            self._request(submissions, chunks)
            for submission in submissions:
                self._wait_answered(submission)
        return list[Submission](submissions)

    def job_status(self, handle: str, *, until: float = math.inf) -> JobStatus:
        """Ask for a job's status by the server's own handle; JobTimeout at `until`."""
        query = _StatusQuery()
        self._request([query], [encode(PacketType.GET_STATUS, to_bytes(handle))])
        self._wait_answered(query, until)
        if query.error is not None:
            raise query.error
        if query.status is None:
            raise JobTimeout(
                f"job server {self.server} has not told the status of {handle} in time"
            )
        return query.status

    def _request(
        self, slots: Sequence[SocketSubmission | _StatusQuery], chunks: Sequence[bytes]
    ) -> None:
        with self._lock:
            self._unanswered.extend(slots)
            try:
                if self._broken is not None:
                    raise self._broken
                self._connection.send(*chunks)
            except BackendError as error:
                self._break(error)
                raise

    def _wait_answered(
        self, slot: SocketSubmission | _StatusQuery, deadline: float = math.inf
    ) -> None:
        limit = time.monotonic() + self.options.reply_timeout
        if self.wait(lambda: slot.answered, until=min(limit, deadline)):
            return
        if time.monotonic() >= limit:
            error = ConnectionLost(
                f"job server {self.server} has not answered for {self.options.reply_timeout:g} s "
                "(GEARMAN_OPTIONS['reply_timeout'] sets the limit)"
            )
            with self._lock:
                self._break(error)
            raise error

    def wait(self, ready: Callable[[], bool], *, until: float) -> bool:
        """
        Take in packets until `ready()` or the given time of the monotonic clock; say which.

        One of the waiting threads reads, for all. Raises the BackendError that broke the channel.
        """
        with self._lock:
            while not ready():
                if self._broken is not None:
                    raise self._broken
                remaining = max(0.0, until - time.monotonic())
                if self._someone_reads:
                    self._lock.wait(None if remaining == math.inf else remaining)
                    if time.monotonic() >= until:
                        return ready()
                elif not self._read(remaining):
                    return ready()
            return True

    def _read(self, timeout: float) -> bool:
        """Receive one packet, without the lock, and hand it out; False when none came in time."""
        self._someone_reads = True
        self._lock.release()
        packet, error = None, None
        try:
            packet = self._connection.receive(None if timeout == math.inf else timeout)
        except BackendError as caught:
            error = caught
        finally:
            self._lock.acquire()
            self._someone_reads = False
            self._lock.notify_all()
        try:
            if error is not None:
                raise error
            if packet is not None:
                self._hand_out(packet)
        except BackendError as caught:
            self._break(caught)
            raise
        return packet is not None

    def _hand_out(self, packet: Packet) -> None:
        if packet.type in _UPDATES:
            # gearmand leaves a NUL behind the handle where it makes a WORK_FAIL of an exception
            handle, *arguments = packet.args
            self._deliver(to_text(handle.rstrip(b"\0")), _UPDATES[packet.type](*arguments))
            return
        if not self._unanswered:
            raise ProtocolError(f"job server {self.server} sent {packet} unasked")
        slot = self._unanswered.popleft()
        match packet.type, slot:
            case PacketType.JOB_CREATED, SocketSubmission():
                own_handle = to_text(packet.args[0])
                slot.handle = f"{self.server}//{own_handle}"
                if not slot.background:
                    self._running.setdefault(own_handle, deque()).append(slot)
            case PacketType.STATUS_RES, _StatusQuery():
                known, running, numerator, denominator = map(_number, packet.args[1:])
                slot.status = JobStatus(bool(known), bool(running), numerator, denominator)
            case PacketType.ERROR, _:
                code, text = map(to_text, packet.args)
                message = f"job server {self.server} refused: {text} ({code})"
                slot.error = ServerError(message, code=code, text=text)
            case _:
                raise ProtocolError(f"job server {self.server} answered a request with {packet}")

    def _deliver(self, handle: str, update: Update) -> None:
        """
        Hand an update to a submission of the job.

        Several submissions on this connection can share a job by its unique; then gearmand sends
        each packet once for each of them, one after another.
        """
        sharing = self._running.get(handle)
        if sharing is None:
            return  # of a job that ended already, as after an administrator's "cancel job"
        submission = sharing.popleft()
        submission.deliver(update)
        if not isinstance(update, Outcome):
            sharing.append(submission)
        elif not sharing:
            del self._running[handle]

    def _break(self, error: BackendError) -> None:
        """Give up the connection, and tell every request that is still open."""
        if self._broken is None:
            self._broken = error
            self._connection.close()
        while self._unanswered:
            self._unanswered.popleft().lose(error)
        self._running.clear()
        self._lock.notify_all()
