"""A job submitted over a channel, and a question about one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from ...exceptions import BackendError, ResultUnavailable
from ...protocol.names import own_handle
from ...protocol.packets import to_text
from ..base import JobSpec, JobStatus, Submission, Update
from ..remote import WaitingSubmission, uncertain
from ..submitted import SubmissionBatch
from .options import GearmandOptions


class StatusQuery:
    """A GET_STATUS without an answer."""

    status: JobStatus | None = None
    error: BackendError | None = None

    def answered(self) -> bool:
        return self.status is not None or self.error is not None

    def refuse(self, error: BackendError) -> None:
        self.error = error

    lose = refuse


class ClientConnection(Protocol):
    """A client's connection, as a submission needs it."""

    @property
    def options(self) -> GearmandOptions: ...

    def ask_status(self, handle: bytes) -> StatusQuery: ...

    def wait(self, ready: Callable[[], bool], *, until: float) -> bool: ...

    def wait_answered(self, answered: Callable[[], bool], until: float) -> bool: ...

    def release(self, submission: GearmandSubmission) -> None: ...


class QueuedSubmission(Submission):
    """A background job of a batch."""

    def __init__(self, handle: str, error: BackendError | None) -> None:
        self.handle = handle
        self.error = error

    def next_update(self, timeout: float | None = None) -> Update | None:
        if self.error is not None:
            raise self.error.with_traceback(None)
        raise ResultUnavailable(f"background job {self.handle} sends no updates")


class QueuedJobs(SubmissionBatch[Submission]):
    """
    Background jobs of one function that were sent together.

    It keeps the server's own handles only, so that a job costs next to nothing until it is asked for.
    """

    def __init__(self, function: str, prefix: str, number: int) -> None:
        self._function = function
        self._prefix = prefix  # of the full handles
        self._number = number
        self.left = number  # without an answer
        self._handles: list[bytes] = []  # b"" of a refused job
        self._refused: dict[int, BackendError] = {}
        self._lost: BackendError | None = None  # the error of those without a handle

    def answered(self) -> bool:
        """Return True if each job has a handle or an error."""
        return not self.left or self._lost is not None

    def take(self, handles: Sequence[bytes]) -> int:
        """Record the next handles, as many as jobs are left; return that number."""
        taken = handles[: self.left]
        self.left -= len(taken)
        if self._lost is None:
            self._handles += taken
        return len(taken)

    def refuse(self, error: BackendError) -> None:
        """Record that the server refused the next job."""
        if self._lost is None:
            self._refused[len(self._handles)] = error
        self.take([b""])

    def lose(self, cause: BackendError) -> None:
        """Give up the jobs without an answer; later answers are ignored."""
        if self._lost is None:
            self._lost = uncertain(self._function, cause)

    @property
    def errors(self) -> Mapping[int, BackendError]:
        if self._lost is None:
            return self._refused
        return {
            **self._refused,
            **dict.fromkeys(range(len(self._handles), self._number), self._lost),
        }

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[Submission]:
        if self._refused or self._lost is not None:
            return super().__iter__()
        return (QueuedSubmission(self._prefix + to_text(each), None) for each in self._handles)

    def _make(self, place: int) -> Submission:
        if place >= len(self._handles):
            return QueuedSubmission("", self._lost)
        handle = self._handles[place]
        text = self._prefix + to_text(handle) if handle else ""
        return QueuedSubmission(text, self._refused.get(place))


class GearmandSubmission(WaitingSubmission):
    """A job submitted over a channel."""

    _query: StatusQuery | None = None

    def __init__(self, channel: ClientConnection, spec: JobSpec) -> None:
        super().__init__(spec)
        self._channel = channel

    @property
    def _status_interval(self) -> float:
        return self._channel.options.status_interval

    def answered(self) -> bool:
        return bool(self.handle) or self.error is not None

    def refuse(self, error: BackendError) -> None:
        self.error = error

    def release(self) -> None:
        self._channel.release(self)

    def _wait(self, ready: Callable[[], bool], until: float) -> bool:
        return self._channel.wait(ready, until=until)

    def _ask_known(self, until: float) -> JobStatus | None:
        if self._query is None:
            self._query = self._channel.ask_status(own_handle(self.handle))
        query = self._query
        self._channel.wait_answered(lambda: query.answered() or self.has_news(), until=until)
        if not query.answered():
            return None
        self._query = None
        if query.error is not None:
            raise query.error
        return query.status
