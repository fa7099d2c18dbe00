"""A job submitted over a channel, and a question about one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ...exceptions import BackendError, ResultUnavailable
from ...protocol.names import own_handle
from ..base import JobSpec, JobStatus, Submission, Update
from ..remote import WaitingSubmission, uncertain
from .options import GearmandOptions


class StatusQuery:
    """A GET_STATUS without an answer."""

    status: JobStatus | None = None
    error: BackendError | None = None

    def answered(self) -> bool:
        return self.status is not None or self.error is not None

    def lose(self, cause: BackendError) -> None:
        self.error = cause


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

    def __init__(self, function: str) -> None:
        self._function = function

    def answered(self) -> bool:
        return bool(self.handle) or self.error is not None

    def lose(self, cause: BackendError) -> None:
        self.error = uncertain(self._function, cause)

    def next_update(self, timeout: float | None = None) -> Update | None:
        if self.error is not None:
            raise self.error.with_traceback(None)
        raise ResultUnavailable(f"background job {self.handle} sends no updates")


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
