"""
A client's connection to one real job server on an event loop, for any number of tasks.

It is like `client.ClientConnection`: answers are matched by counting, and updates by handle. One
thread runs the loop, so there are no locks. What the tasks send in one turn of the loop goes out in
one write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from ...exceptions import BackendError, ConnectionLost, ProtocolError
from ...protocol.address import ServerAddress
from ...protocol.names import handle_prefix, own_handle
from ...protocol.packets import PacketReader, PacketType, encode, to_number, to_text
from ...utils.clock import monotonic
from ..base import JobSpec, JobStatus, SpecBatch, refusal
from ..remote import deliver_update, servers_standing
from .encoding import encode_job, encode_jobs
from .loop_submission import Dropped, LoopQueuedJobs, LoopSubmission
from .loop_timers import Timers
from .options import GearmandOptions
from .updates import JOB_CREATED, UPDATES

_LARGE = 1024  # bytes above which a packet may take longer
_GREETING = (
    encode(PacketType.OPTION_REQ, b"exceptions"),  # some servers do not answer it
    encode(PacketType.GET_STATUS, b"H:nobody:0"),  # every server answers it
)


class _Query:
    """A question about any job."""

    def __init__(self, answer: asyncio.Future[JobStatus]) -> None:
        self.answer = answer

    def tell(self, status: JobStatus) -> None:
        if not self.answer.done():  # the asker may have been cancelled
            self.answer.set_result(status)

    def lose(self, cause: BackendError) -> None:
        if not self.answer.done():
            self.answer.set_exception(cause)


class _Greeting(_Query):
    """The first question; its answer shows that the server is alive."""


class _Question:
    """A question about a job that has not been heard of for a while."""

    def __init__(self, submission: LoopSubmission) -> None:
        self.submission = submission

    def tell(self, status: JobStatus) -> None:
        self.submission.is_asked_about = False
        self.submission.learn(status)
        self.submission.wake()

    def lose(self, cause: BackendError) -> None:
        """Do nothing: the channel informs each of its jobs."""


_Request = LoopSubmission | LoopQueuedJobs | _Query | _Question


class LoopChannel(asyncio.Protocol):
    """A connection; `greet` must come first."""

    def __init__(self, server: ServerAddress, options: GearmandOptions) -> None:
        self.server = server
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.timers = Timers(self.loop)
        self.broken: BackendError | None = None
        #: Done when the connection has ended.
        self.ended = self.loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._prefix = handle_prefix(server)
        self._reader = PacketReader(source=f"job server {server}", joined=JOB_CREATED)
        self._unanswered: deque[_Request] = deque()
        self._running: dict[bytes, list[LoopSubmission | Dropped]] = {}
        self._asked_at = 0.0  # the time of the oldest request, or of the last answer
        self._chunks: list[bytes] = []  # to be written at the end of this turn
        self._resumed: asyncio.Future[None] | None = None  # while the server reads too slowly
        self._paused_at = 0.0
        self._watch: asyncio.TimerHandle | None = None

    # Requests

    async def greet(self) -> None:
        """Wait until the server has answered something."""
        greeting = _Greeting(self.loop.create_future())
        self._request([greeting], _GREETING)
        await greeting.answer

    async def job_status(self, handle: bytes) -> JobStatus:
        """Ask for a job's status by the server's own handle."""
        query = _Query(self.loop.create_future())
        self._request([query], [encode(PacketType.GET_STATUS, handle)])
        return await query.answer

    def send(self, specs: Sequence[JobSpec]) -> list[LoopSubmission]:
        """Send jobs at the end of this turn of the loop."""
        submissions = [LoopSubmission(self, spec) for spec in specs]
        self._request(submissions, [part for spec in specs for part in encode_job(spec)])
        return submissions

    def send_batch(self, specs: SpecBatch) -> LoopQueuedJobs:
        """Send background jobs at the end of this turn of the loop."""
        jobs = LoopQueuedJobs(specs.function, self._prefix, len(specs), self.loop)
        self._request([jobs], encode_jobs(specs))
        return jobs

    def send_one(self, spec: JobSpec) -> LoopSubmission:
        submission = LoopSubmission(self, spec)
        self._request([submission], encode_job(spec))
        return submission

    @property
    def is_paused(self) -> bool:
        """The server reads too slowly."""
        return self._resumed is not None

    async def writable(self) -> None:
        """Wait while the server reads too slowly."""
        while self._resumed is not None:
            await asyncio.shield(self._resumed)

    def _request(
        self,
        slots: Sequence[_Request],
        chunks: Sequence[bytes],
    ) -> None:
        if not self._unanswered:
            self._asked_at = monotonic()
        self._unanswered.extend(slots)
        if not self._chunks:
            self.loop.call_soon(self.flush)
        self._chunks += chunks
        if self._watch is None:
            self._look_again()

    def flush(self) -> None:
        """Write the data of this turn of the loop."""
        data, self._chunks = b"".join(self._chunks), []
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # Answers: the methods of asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has no common class

    def data_received(self, data: bytes) -> None:
        open_requests = len(self._unanswered)
        has_moved = self._reader.missing > _LARGE
        try:
            for kind, args in self._reader.feed(data):
                if kind is JOB_CREATED:
                    self._create(args)
                    has_moved = True
                else:
                    self._hand_out(kind, args)
        except ProtocolError as error:
            self.end(error)
        if has_moved or len(self._unanswered) < open_requests:
            self._asked_at = monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = exc or "it closed the connection"
        self.end(ConnectionLost(f"job server {self.server}: {reason}"))
        if not self.ended.done():
            self.ended.set_result(None)

    def pause_writing(self) -> None:
        self._resumed, self._paused_at = self.loop.create_future(), monotonic()

    def resume_writing(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    def _hand_out(self, kind: PacketType, args: Sequence[bytes]) -> None:
        if (update := UPDATES.get(kind)) is not None:
            # gearmand adds a NUL to the handle when it converts an exception to a WORK_FAIL
            deliver_update(self._running, args[0].rstrip(b"\0"), update(*args[1:]))
            return
        slot = self._unanswered[0] if self._unanswered else None
        if kind is PacketType.OPTION_RES or (
            kind is PacketType.ERROR and isinstance(slot, _Greeting)
        ):
            return  # the status follows
        if kind is PacketType.STATUS_RES and isinstance(slot, (_Query, _Question)):
            known, running, numerator, denominator = map(to_number, args[1:])
            slot.tell(JobStatus(bool(known), bool(running), numerator, denominator))
        elif kind is PacketType.ERROR and isinstance(slot, LoopSubmission):
            slot.error = slot.error or refusal(self.server, *map(to_text, args))
            slot.wake()
        elif kind is PacketType.ERROR and isinstance(slot, LoopQueuedJobs):
            slot.refuse(refusal(self.server, *map(to_text, args)))
            if slot.left:
                self._asked_at = monotonic()
                return
        else:
            raise ProtocolError(f"job server {self.server} sent {kind.name} unasked")
        self._unanswered.popleft()

    def _create(self, handles: Sequence[bytes]) -> None:
        """Give handles to the oldest requests."""
        place = 0
        while place < len(handles):
            slot = self._unanswered[0] if self._unanswered else None
            if isinstance(slot, LoopSubmission):
                self._create_one(slot, handles[place])
                place += 1
            elif isinstance(slot, LoopQueuedJobs):
                place += slot.take(handles[place:])
                if slot.left:
                    return
            else:
                raise ProtocolError(f"job server {self.server} sent {JOB_CREATED.name} unasked")
            self._unanswered.popleft()

    def _create_one(self, submission: LoopSubmission, handle: bytes) -> None:
        in_time = submission.error is None
        if in_time:
            submission.handle = self._prefix + to_text(handle)
        if not submission.spec.background:
            waiting: LoopSubmission | Dropped = submission
            if submission.is_released or not in_time:
                waiting = Dropped(submission if in_time else None, self._leave_soon)
                self._leave_soon()
            self._running.setdefault(handle, []).append(waiting)
        if submission.awaits_answer:
            submission.wake()

    # Time

    def _look_again(self) -> None:
        seconds = min(1.0, self.options.reply_timeout / 4, self.options.status_interval / 4)
        self._watch = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """End a connection whose server is silent; ask about jobs without news."""
        self._watch = None
        now, options = monotonic(), self.options
        if self._unanswered and now >= self._asked_at + options.reply_timeout:
            servers_standing.failed(str(self.server), options.reply_timeout)
            seconds = f"{options.reply_timeout:g} s"
            text = (
                f"has not answered for {seconds} (GEARMAN_OPTIONS['reply_timeout'] sets the limit)"
            )
            self.end(ConnectionLost(f"job server {self.server} {text}"), aborts=True)
        elif self._resumed is not None and now >= self._paused_at + options.send_timeout:
            text = f"it took no more bytes for {options.send_timeout:g} s"
            self.end(ConnectionLost(f"job server {self.server}: {text}"), aborts=True)
        else:
            self._ask_about_silent_jobs(now - options.status_interval)
            if self._unanswered or self._running:
                self._look_again()

    def _ask_about_silent_jobs(self, since: float) -> None:
        for handle, sharing in self._running.items():
            for each in sharing:
                if isinstance(each, Dropped) or each.is_asked_about or each.silent_since() > since:
                    continue
                each.is_asked_about = True
                self._request([_Question(each)], [encode(PacketType.GET_STATUS, handle)])

    # The end

    def release(self, submission: LoopSubmission) -> None:
        """Hold the submission no longer than its submitter does."""
        if not submission.handle:
            submission.is_released = True
            return
        sharing = self._running.get(own_handle(submission.handle), [])
        for place, each in enumerate(sharing):
            if each is submission:
                submission.is_released = True
                sharing[place] = Dropped(submission, self._leave_soon)

    def adopt(self, submission: LoopSubmission) -> None:
        """Undo `release`: its submitter waits again."""
        submission.is_released = False
        sharing = self._running.get(own_handle(submission.handle), [])
        for place, each in enumerate(sharing):
            if isinstance(each, Dropped) and each.submission is submission:
                sharing[place] = submission

    def _leave_soon(self) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the connection with it
            self.loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        """
        Close if only dropped jobs are left: a server drops queued jobs for which no client waits.
        """
        for sharing in list(self._running.values()):
            if not all(isinstance(each, Dropped) and each.is_dropped for each in sharing):
                return
        if self._running and not self._unanswered:
            self.close()

    def close(self) -> None:
        self.end(ConnectionLost(f"the connection to job server {self.server} was closed"))

    def end(self, error: BackendError, *, aborts: bool = False) -> None:
        """
        Close the connection, and fail every open request.

        Written data is sent first, and with TLS a close message, unless it `aborts`.
        """
        if self.broken is None:
            self.broken = error
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transport is not None:
            if aborts:
                self._transport.abort()
            else:
                self._transport.close()
        self._chunks.clear()
        while self._unanswered:
            self._unanswered.popleft().lose(error)
        for sharing in self._running.values():
            for each in sharing:
                submission = each.submission if isinstance(each, Dropped) else each
                if submission is not None:
                    submission.cut(error)
        self._running.clear()
        self.resume_writing()
