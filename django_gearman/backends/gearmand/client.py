"""A client's connection to one real job server, and the jobs submitted over it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ...exceptions import BackendError, ConnectionLost
from ...protocol.address import ServerAddress
from ...protocol.names import own_handle
from ...protocol.packets import PacketType, encode
from ...utils.clock import monotonic
from ...utils.interrupts import brief, undisturbed, undisturbed_between_waits
from ..base import (
    JobSpec,
    JobStatus,
    SpecBatch,
    Submission,
)
from ..remote import servers_standing
from ..submitted import Joined
from .encoding import encode_job, encode_jobs
from .forgetting import Released, begin, forget_soon
from .open_requests import OpenRequests, Request
from .options import GearmandOptions
from .submission import GearmandSubmission, QueuedJobs, StatusQuery

_JOBS_A_WRITE = 200  # jobs encoded while the server handles the same number


class ClientConnection:
    """
    A client connection for any number of waiting threads, of which one reads for all.

    Any failure halfway, also an exception of a signal handler, breaks the channel. Answers are
    matched by counting, and a lost answer would give every later job the handle of another.
    """

    def __init__(
        self, server: ServerAddress, options: GearmandOptions, until: float = math.inf
    ) -> None:
        self.server = server
        self.options = options
        self._connection = options.connect(server, until)
        self._open = OpenRequests(server, self._late)
        self._asked_at = 0.0  # the time when the oldest was sent, or the one before it answered
        self._dropped: dict[bytes, str] = {}  # functions by handles, of abandoned jobs
        self._sending = threading.Lock()  # taken before the other one
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)  # for the threads that do not read themselves
        self._others_wait = 0
        self._someone_reads = False
        self.broken: BackendError | None = None

    def is_alive(self) -> bool:
        """Read the data that has arrived; return True unless the server has hung up."""
        if self._connection.inherited:
            return False  # and the lock may be held forever
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
            self._connection.close()  # this process's copy; the locks may be held forever
        else:
            self._break(ConnectionLost(f"the connection to job server {self.server} was closed"))

    @brief
    def submit(
        self,
        jobs: Sequence[JobSpec],
        until: float,
        *,
        is_strict: bool,
    ) -> Sequence[Submission]:
        """
        Send jobs, and wait until each is acknowledged or lost; return the sent ones.

        While the server handles some, the next ones are encoded. `until` limits all of this. Unless
        `is_strict`, the time for sending is added.
        """
        send_until = until if is_strict else math.inf
        slots: list[Any] = []  # GearmandSubmission, or QueuedJobs for a batch in the background
        with suppress(BackendError):  # each submission has it as its .error
            for start in range(0, len(jobs), _JOBS_A_WRITE):
                if self.broken or (start and not self.is_alive()):  # this reads answers, too
                    break
                if (began := monotonic()) >= until:
                    break
                some = jobs[start : start + _JOBS_A_WRITE]
                parts, new = encode_jobs(some), self._slots(some)
                slots += new
                if not self._request(new, parts, send_until):
                    del slots[-len(new) :]
                    break
                if not is_strict:
                    until += monotonic() - began
            if slots and not self.wait_answered(slots[-1].answered, until):
                self._give_up_waiting(slots)
        return Joined(slots) if slots and type(slots[0]) is QueuedJobs else slots

    @brief
    def submit_one(self, job: JobSpec, until: float, *, is_strict: bool) -> Submission | None:
        """Do what `submit` does, for one job and in fewer steps; return None if it was not sent."""
        if (began := monotonic()) >= until:
            return None
        slot = GearmandSubmission(self, job)
        try:
            if not self._request([slot], encode_job(job), until if is_strict else math.inf):
                return None
            if not is_strict:
                until += monotonic() - began
            if not self.wait_answered(slot.answered, until):
                self._give_up_waiting([slot])
        except BackendError:
            pass  # the submission has it as its .error
        return slot

    def _slots(self, specs: Sequence[JobSpec]) -> list[Any]:
        if type(specs) is SpecBatch:
            if specs.background:
                return [QueuedJobs(specs.function, self._open.prefix, len(specs))]
            spec = JobSpec(specs.function, b"")  # a submission looks at nothing else
            return [GearmandSubmission(self, spec) for _ in range(len(specs))]
        return [GearmandSubmission(self, spec) for spec in specs]

    def job_status(self, handle: bytes) -> JobStatus:
        """Ask for a job's status by the server's own handle."""
        query = self.ask_status(handle)
        self.wait_answered(query.answered)
        if query.status is None:
            raise query.error or ConnectionLost(f"job server {self.server} sent no status")
        return query.status

    def _give_up_waiting(self, slots: Sequence[GearmandSubmission | QueuedJobs]) -> None:
        """Fail the requests without an answer; a late answer is ignored."""
        servers_standing.slow(str(self.server))
        waited = monotonic() - self._asked_at
        error = ConnectionLost(f"job server {self.server} has not answered for {waited:.2g} s")
        with self._lock:
            for slot in slots:
                if not slot.answered():
                    slot.lose(error)

    def ask_status(self, handle: bytes) -> StatusQuery:
        query = StatusQuery()
        question = encode(PacketType.GET_STATUS, handle)
        if not self._request([query], [question]) and self.broken is not None:
            raise self.broken.with_traceback(None)
        return query

    @undisturbed
    def _request(
        self, slots: Sequence[Request], chunks: Sequence[bytes], until: float = math.inf
    ) -> bool:
        """Send a request; return False if the channel was already broken."""
        with self._sending:
            try:
                with self._lock:
                    if self.broken is not None:
                        return False
                    self._open.unanswered.extend(slots)
                self._send(chunks, until)
                with self._lock:
                    unanswered = self._open.unanswered
                    if unanswered and unanswered[0] is slots[0]:
                        self._asked_at = monotonic()  # only now: sending a large job takes time
            except BaseException as error:
                self._give_up(error)
                raise
        return True

    def _send(self, chunks: Sequence[bytes], until: float) -> None:
        """Send; if the connection breaks, read earlier acknowledgements."""
        try:
            self._connection.send(*chunks, until=until)
        except ConnectionLost:
            with suppress(BackendError), self._lock:
                self._take_in()
            raise

    def wait_answered(self, answered: Callable[[], bool], until: float = math.inf) -> bool:
        """Wait for an answer until the given time; raise ConnectionLost after a long silence."""
        while not self.wait(answered, until=min(self._silent_at, until)):
            if monotonic() >= self._silent_at:
                servers_standing.failed(str(self.server), self.options.reply_timeout)
                error = ConnectionLost(
                    f"job server {self.server} has not answered for {self.options.reply_timeout:g} s"
                    " (GEARMAN_OPTIONS['reply_timeout'] sets the limit)"
                )
                self._break(error)
                raise error
            if monotonic() >= until:
                return False
        return True

    @property
    def _silent_at(self) -> float:
        """
        The time when the server's silence becomes too long.

        Answers to earlier requests count as activity, and large incomplete packets; other packets
        do not.
        """
        return max(self._asked_at, self._connection.moved_at) + self.options.reply_timeout

    @undisturbed_between_waits
    def wait(self, ready: Callable[[], bool], *, until: float) -> bool:
        """
        Read packets until `ready()` or the given monotonic time; return `ready()`.

        It reads at least once. Raises the BackendError that broke the channel.
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

    @undisturbed_between_waits
    def _read(self, timeout: float) -> None:
        """Wait, without the lock, for data to arrive, and distribute it."""
        connection = self._connection
        self._someone_reads = True
        # With many requests one answer is always there, and preparing requests needs the CPU.
        soon = self._open.is_one
        self._lock.release()
        try:
            arrived = connection.has_news(timeout, soon=soon)
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
        if self._open.take(self._connection.take_in()):
            self._asked_at = monotonic()

    # Abandoned jobs

    def release(self, submission: GearmandSubmission) -> None:
        """Hold the submission no longer than its submitter does."""
        with self._lock:
            sharing = self._open.running.get(own_handle(submission.handle), [])
            for place, each in enumerate(sharing):
                if each is submission:
                    begin()
                    sharing[place] = Released(submission.spec.function, submission, self)

    def leave_dropped(self) -> dict[bytes, str] | None:
        """
        Close if only dropped jobs are left; return their functions by handles.

        Returns None if something else still needs the connection.
        """
        if self._connection.inherited:
            return {}
        with self._lock:
            running = self._open.running
            for handle, sharing in list(running.items()):
                released = [each for each in sharing if isinstance(each, Released)]
                if len(released) == len(sharing) and all(each.is_dropped for each in released):
                    del running[handle]
                    self._dropped[handle] = released[0].function
            if self.broken is None and self._dropped and (running or self._open.unanswered):
                return None
            dropped, self._dropped = self._dropped, {}
            if dropped:
                self.close()
        return dropped

    def _late(self, slot: GearmandSubmission) -> Released:
        """Return the stand-in for a job whose submitter has given up before the server answered."""
        begin()
        forget_soon(self)
        return Released(slot.spec.function, None, self)

    def _give_up(self, error: BaseException) -> None:
        """Close the connection after a failure halfway."""
        cause = error if isinstance(error, BackendError) else None
        self._break(cause or ConnectionLost(f"job server {self.server}: interrupted"))

    def _break(self, error: BackendError) -> None:
        """Close the connection, and fail every open request."""
        with self._lock:
            if self.broken is None:
                self.broken = error
                self._connection.close()
            self._open.lose(error)
            self._news.notify_all()
