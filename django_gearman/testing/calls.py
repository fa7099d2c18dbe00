"""The calls of the code under test in which jobs run, and the failures in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from ..client.request import JobRequest
from ..protocol.messages import AssignedJob
from ..utils.text import printable, repr_of
from .outbox import Outbox, SubmittedJob

_MOST_JOBS = 100_000  # in one call; more mean a job that submits itself


class _Thread(threading.local):
    """The current calls of a thread, the innermost last."""

    def __init__(self) -> None:
        self.calls: list[JobsInCall] = []


class JobsInCall:
    """
    A call of the code under test in which jobs may run, as a context manager.

    At its end it raises the exception of the first failed job: with `requests`, of the first of
    theirs. Other failures are left to the surrounding call, if there is one.
    """

    def __init__(
        self, calls: Calls, thread: _Thread, requests: Sequence[JobRequest] | None
    ) -> None:
        self.failed: list[tuple[str, BaseException]] = []
        self.count = 0  # of started jobs
        self._calls = calls
        self._thread = thread
        self._requests = requests

    def __enter__(self) -> Self:
        self._thread.calls.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.calls.pop()
        if not self.failed:
            return
        around = self._thread.calls[-1] if self._thread.calls else None
        others = []
        if around is not None and (error is not None or self._requests is not None):
            others = [each for each in self.failed if error is not None or not self._is_ours(each)]
            around.failed.extend(others)
        if error is None and self._calls.raise_failures:
            self._raise([f for f in self.failed if f not in others and not self._ran_again(f)])

    def _raise(self, failures: Sequence[tuple[str, BaseException]]) -> None:
        for handle, _ in failures:
            self._calls.outbox.tell(handle, SubmittedJob.see)
        if failures:
            (_, first), *more = failures
            for handle, error in more:
                first.add_note(
                    f"Another job has failed, too ({printable(handle)}): {repr_of(error)}"
                )
            raise first

    def _is_ours(self, failure: tuple[str, BaseException]) -> bool:
        records = self._calls.outbox.of(failure[0])
        return any(each.request in (self._requests or ()) for each in records)

    def _ran_again(self, failure: tuple[str, BaseException]) -> bool:
        records = self._calls.outbox.of(failure[0])
        return bool(records) and all(each.raised is not failure[1] for each in records)


class Calls:
    """The current calls of all threads; `raise_failures` is True if they raise."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.raise_failures = False
        self._thread = _Thread()

    def calling(self, requests: Sequence[JobRequest] | None = None) -> JobsInCall:
        """Return a context manager for a call in which jobs may run."""
        return JobsInCall(self, self._thread, requests)

    @contextmanager
    def apart(self) -> Iterator[JobsInCall]:
        """Keep failures in the block from the current call."""
        call = JobsInCall(self, self._thread, None)
        self._thread.calls.append(call)
        try:
            yield call
        finally:
            self._thread.calls.pop()

    def begun(self, job: AssignedJob) -> None:
        """Note that this thread starts a job; raise AssertionError after too many of them."""
        if not self._thread.calls:
            return
        call = self._thread.calls[-1]
        call.count += 1
        if call.count > _MOST_JOBS:
            raise AssertionError(
                f"{_MOST_JOBS} jobs have run in one call, and there is still another one, of "
                f"{job.function}: does it submit itself? gearman_worker.run(limit=...) ends in time"
            )

    def failed(self, handle: str, error: BaseException) -> None:
        if self._thread.calls:
            self._thread.calls[-1].failed.append((handle, error))
