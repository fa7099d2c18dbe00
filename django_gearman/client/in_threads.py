"""Waiting for a job in a thread."""

from __future__ import annotations

import math
import threading
from typing import Self

from ..backends.base import Update
from ..exceptions import BackendError, JobLost, ResultUnavailable
from ..jobs.context import running
from ..utils.clock import monotonic
from ..utils.waiting import deadline_after, seconds_until
from .described import JOB_CREATED, JOB_PENDING
from .lookout import Lookout, refuse_to_wait_for_itself
from .on_loop import DRAIN_SECONDS, AwaitedRequest
from .stored import is_stored, wait_for_record


class WaitingRequest(AwaitedRequest):
    """The part of a request that waits in threads, any number of them at once."""

    def wait(self, timeout: float | None = None) -> Self:
        """
        Wait up to `timeout` seconds (None: without limit) for the outcome, and return the request.

        Sets `state`, or `timed_out`. Raises ConnectionLost if the outcome cannot arrive any more,
        and ResultUnavailable for a job that has not been submitted. The outcome of the job itself
        is in `state`, `exception` and `result`.
        """
        return self.wait_until(deadline_after(timeout))

    def wait_until(self, deadline: float | None) -> Self:
        """Wait until the given monotonic time (None: without limit), like `wait`."""
        late = math.inf if deadline is None else deadline + DRAIN_SECONDS
        if self.background and self.state in (JOB_CREATED, JOB_PENDING) and is_stored(self):
            return self._wait_for_record(deadline)
        lookout = self._begin_waiting(deadline)
        while self._next_update(deadline, lookout) is not None:
            if self._turn is None or monotonic() >= late:
                break
        self.timed_out = self._turn is not None
        return self

    def _wait_for_record(self, deadline: float | None) -> Self:
        self.timed_out = not wait_for_record(self, deadline, self.state == JOB_PENDING)
        return self

    def _begin_waiting(self, deadline: float | None) -> Lookout:
        """Check that the job can be waited for."""
        if self._submission is None:
            self.check_submitted()
        if running.get() is not None and not self.may_wait and self._turn is not None:
            refuse_to_wait_for_itself([self], self.servers, seconds_until(deadline))
        return Lookout()

    def _next_update(self, deadline: float | None, lookout: Lookout) -> Update | None:
        """Wait for the caller's next update; return None if there is nothing to wait for."""
        self.timed_out = False
        while (turn := self._turn) is not None:
            update = taken = None
            if turn.acquire(blocking=False) or _acquire(turn, seconds_until(deadline)):
                try:
                    update = self._wait(deadline, lookout)
                    taken = self.take(update) if update is not None else None
                finally:
                    turn.release()
            if taken is not None:
                return taken
            if update is None and seconds_until(deadline) == 0.0:
                self.timed_out = self._turn is not None
                self.release()
                break
        return None

    def _wait(self, deadline: float | None, lookout: Lookout) -> Update | None:
        submission = self._submission
        if submission is None or self._turn is None:
            return None
        try:
            seconds = None if deadline is None else max(0.0, deadline - monotonic())
            return lookout.watch(submission, seconds, self)
        except JobLost as error:
            self.fail(error)
            return None
        except BackendError as error:
            self.lose(error)
            raise

    def check_submitted(self) -> None:
        """Raise ResultUnavailable unless the job was submitted here."""
        if self._submission is not None or self.complete or self.exception is not None:
            return
        why = "has not been submitted yet"
        if self.state == JOB_PENDING:
            why = "has not been submitted: its transaction has not committed"
        elif self.handle:
            why = "was submitted elsewhere: only its submitter can wait for it"
        raise ResultUnavailable(f"{self._name} {why}")

    @property
    def _name(self) -> str:
        return (
            f"job {self.task} ({self.handle or 'no handle'})" if self.task else f"job {self.handle}"
        )

    def release(self) -> None:
        """Note that the submitter may have stopped waiting for good."""
        if self._submission is not None:
            self._submission.release()


def _acquire(turn: threading.Lock, seconds: float | None) -> bool:
    """Wait until the turn of another thread ends, at most some seconds (None: without limit)."""
    return turn.acquire(timeout=-1 if seconds is None else seconds)
