"""The common parts of transports to real job servers."""

from __future__ import annotations

import hashlib
import logging
import math
import random
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from ..exceptions import (
    BackendError,
    ConnectionLost,
    InvalidBackend,
    JobLost,
    ResultUnavailable,
    ServerUnavailable,
    SubmitUncertain,
)
from ..protocol.names import plain_function, server_of
from ..protocol.packets import to_bytes
from ..utils.clock import monotonic
from ..utils.numbers import check_seconds
from ..utils.records import get_logger, log
from ..utils.waiting import seconds_until
from .base import (
    AssignedJob,
    FunctionStatus,
    JobSpec,
    JobStatus,
    Outcome,
    Submission,
    Update,
    WorkerStatus,
)
from .reach import Standing

logger = get_logger(__name__)

_T = TypeVar("_T")

#: Seconds that a worker waits for a server's answer before it asks the next one.
PATIENCE_SECONDS = 0.5

#: The servers that failed lately, by address, for all clients of this process.
servers_standing: Standing[str] = Standing()

#: The remedy if there is no server yet.
HOW_TO_START = "'python manage.py gearman_server' starts one"

_LONGEST_BACKOFF = 10.0
_BATCH_JOBS = 1000
_BATCH_BYTES = 1 << 20


def check_options(options: Mapping[str, object]) -> None:
    """Raise InvalidBackend for an option that is not a number of seconds above 0."""
    for name, value in options.items():
        try:
            check_seconds(value, f"GEARMAN_OPTIONS[{name!r}]")
        except (TypeError, ValueError) as error:
            raise InvalidBackend(str(error)) from None


def rank(unique: str, address: str) -> bytes:
    """Return the server's rank for a unique; it is the same in every process."""
    key = to_bytes(address)[-64:]
    return hashlib.blake2b(unique.encode(errors="surrogatepass"), key=key).digest()


def unavailable(purpose: str, reasons: Iterable[object]) -> ServerUnavailable:
    """Return the error with the reasons why no server could be reached."""
    summary = "; ".join(map(str, reasons))
    remedy = (
        f"Start a job server ({HOW_TO_START}), or correct GEARMAN_SERVERS. For development without "
        "a server, set GEARMAN_BACKEND = 'eager'"
    )
    if ": TLS: " in summary:
        remedy = "Does it speak TLS, and is 'tls' in GEARMAN_SERVERS right?"
    end = "" if summary.endswith("?") else "."
    return ServerUnavailable(f"no job server to {purpose}: {summary}{end} {remedy}")


def batches(items: Sequence[_T], sizes: Sequence[int]) -> Iterator[Sequence[_T]]:
    """
    Split a long list of jobs, by their sizes in bytes, into batches that are written before handles
    are read.
    """
    for start in range(0, len(items), _BATCH_JOBS):
        some, their_sizes = items[start : start + _BATCH_JOBS], sizes[start : start + _BATCH_JOBS]
        if sum(their_sizes) < _BATCH_BYTES:
            yield some
        else:
            yield from _split(some, their_sizes)


def _split(items: Sequence[_T], sizes: Sequence[int]) -> Iterator[list[_T]]:
    batch: list[_T] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        batch.append(item)
        total += size
        if total >= _BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def function_rows(
    answers: Iterable[tuple[str, str, int, int, int]],
) -> list[FunctionStatus]:
    """
    Return rows of (address, function, total, running, workers), each with its delayed jobs.

    A delayed job counts as such until a worker takes it, even if its time has come.
    """
    found: dict[tuple[str, str], FunctionStatus] = {}
    for address, name, total, running, workers in answers:
        function = plain_function(name)
        other = found.get((address, function), FunctionStatus(address, function, 0, 0, 0))
        found[address, function] = FunctionStatus(
            address,
            function,
            total + other.total,
            running + other.running,
            max(workers, other.workers),
            other.delayed + (max(0, total - running) if name != function else 0),
        )
    return sorted(found.values(), key=lambda row: (row.server, row.function))


def worker_rows(
    answers: Iterable[tuple[str, str, str, Iterable[str]]],
) -> list[WorkerStatus]:
    """
    Return rows of (address, ip, client id, functions), without clients, which serve no function.

    The connections of one worker are one row: our client ids, with two slashes, name its process.
    """
    rows: dict[object, WorkerStatus] = {}
    for address, ip, client_id, names in answers:
        functions = {plain_function(name) for name in names}
        key = (address, ip, client_id) if client_id.count("/") == 2 else object()
        if functions and (other := rows.get(key)) is not None:
            functions |= {*other.functions}
        if functions:
            rows[key] = WorkerStatus(address, ip, client_id, tuple(sorted(functions)))
    return [*rows.values()]


def uncertain(function: str, cause: BackendError) -> SubmitUncertain:
    """Return the error for a job whose connection broke before it was acknowledged."""
    error = SubmitUncertain(
        f"job {function} was sent but not acknowledged, so it may or may not be queued "
        f"({cause}); submit it again, or pass max_retries, if running it twice does no harm"
    )
    error.__cause__ = cause
    return error


class HeardSubmission(Submission):
    """A job whose updates are delivered as they arrive."""

    _updates: deque[Update] | None = None  # until there is one
    _finished = False
    _lost: JobLost | None = None

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec
        self._heard = 0.0 if spec.background else monotonic()

    def lose(self, cause: BackendError) -> None:
        """Note that the connection broke before the job was acknowledged."""
        self.error = uncertain(self.spec.function, cause)

    def receive(self, update: Update) -> None:
        if self._updates is None:
            self._updates = deque()
        self._updates.append(update)
        self._finished = isinstance(update, Outcome)
        self._heard = monotonic()

    def has_news(self) -> bool:
        return bool(self._updates) or self._finished

    def learn(self, status: JobStatus) -> None:
        """Note the server's answer: gearmand forgets some jobs without telling their clients."""
        self._heard = monotonic()
        if not status.known and not self.has_news():
            self._lost = JobLost(
                f"job server {server_of(self.handle)} no longer knows job {self.handle}, "
                "and no worker reported on it; submit it again if running it twice does no harm"
            )


class WaitingSubmission(HeardSubmission):
    """A job for waiting threads; without news, its status is requested."""

    @property
    @abstractmethod
    def _status_interval(self) -> float:
        """The seconds without news of the job, before its status is requested."""

    @abstractmethod
    def _wait(self, ready: Callable[[], bool], until: float) -> bool:
        """Read packets until `ready()` or the given monotonic time; return `ready()`."""

    @abstractmethod
    def _ask_known(self, until: float) -> JobStatus | None:
        """Ask for the job's status; return None if news came first, or the time is over."""

    def next_update(self, timeout: float | None = None) -> Update | None:
        if self.error is not None:
            raise self.error.with_traceback(None)
        if self.spec.background:
            raise ResultUnavailable(f"background job {self.handle} sends no updates")
        deadline = math.inf if timeout is None else monotonic() + timeout
        while not self.has_news():
            if self._lost is not None:
                raise self._lost.with_traceback(None)
            check_at = self._heard + self._status_interval
            seconds = seconds_until(min(deadline, check_at))
            if self._wait(self.has_news, monotonic() + (seconds or 0.0)):
                break
            if monotonic() >= check_at:
                self._check_known(deadline)
            if seconds_until(deadline) == 0.0:
                break
        try:
            return self._updates.popleft() if self._updates else None
        except IndexError:  # the outcome was returned, or the time is over
            return None

    def _check_known(self, deadline: float) -> None:
        status = self._ask_known(deadline)
        if status is not None:  # otherwise the next call continues to wait for the answer
            self.learn(status)


def deliver_update(running: dict[_T, list[Any]], handle: _T, update: Update) -> None:
    """Pass an update to a submission of the job."""
    sharing = running.get(handle)
    if sharing is None:
        return  # of a finished job, for example after the admin command "cancel job"
    submission = sharing.pop(0)
    submission.receive(update)
    if not isinstance(update, Outcome):
        sharing.append(submission)
    elif not sharing:
        del running[handle]


class Downtime:
    """
    When a worker tries to reach a server again that it has lost: later and later.

    The log says once that the server is gone, and once that it is back, unless this is `quiet`.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.retry_at = 0.0
        self.failures = 0
        self._quiet = quiet

    def begin(self, error: BackendError) -> None:
        """Note that the server was lost, or could not be reached."""
        if not self.failures and not self._quiet:
            hint = f" ({HOW_TO_START})" if "refused" in str(error) else ""
            log(logger, logging.WARNING, "%s; trying again until it is back%s", error, hint)
        seconds = min(_LONGEST_BACKOFF, 0.1 * 2.0**self.failures) * random.uniform(0.5, 1.0)
        self.retry_at = monotonic() + seconds
        self.failures = min(self.failures + 1, 10)

    def end(self, server: object) -> None:
        """Note that the server has answered; a connection alone is not an answer: some jobs break it."""
        if self.failures and not self._quiet:
            log(logger, logging.WARNING, "job server %s is back", server)
        self.failures = 0


class JobsInHand(Generic[_T]):
    """The jobs that a worker of real servers runs, each with the connection that it came over."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[AssignedJob, _T]] = {}

    def take(self, job: AssignedJob, connection: _T) -> None:
        self._jobs[job.handle] = job, connection

    def find(self, job: AssignedJob) -> _T | None:
        """Return the connection of a current job, or None."""
        held, connection = self._jobs.get(job.handle, (None, None))
        return connection if held is job or held == job else None

    def connection_of(self, job: AssignedJob) -> _T:
        """Return the connection of a job; raise ConnectionLost if the job is no longer current."""
        held, connection = self._jobs.get(job.handle, (None, None))
        if connection is None or (held is not job and held != job):
            raise ConnectionLost(
                f"this worker no longer has job {job.handle}: the job has ended, or the connection to "
                "its server was lost, and the server gives the job to another worker"
            )
        return connection

    def __len__(self) -> int:
        return len(self._jobs)

    def connections(self) -> set[_T]:
        """Return the connections that jobs came over."""
        return {connection for _, connection in self._jobs.values()}

    def handles_of(self, connection: _T) -> list[str]:
        """Return the handles of the jobs that came over a connection."""
        return [handle for handle, held in self._jobs.items() if held[1] is connection]

    def functions_of(self, connection: _T) -> set[str]:
        """Return the functions of the jobs that came over a connection."""
        return {job.function for job, other in self._jobs.values() if other is connection}

    def end(self, job: AssignedJob) -> None:
        del self._jobs[job.handle]

    def lose(self, connection: _T) -> None:
        """Forget the jobs of a connection, which the server gives to others."""
        self._jobs = {
            handle: held for handle, held in self._jobs.items() if held[1] is not connection
        }

    def clear(self) -> None:
        self._jobs.clear()
