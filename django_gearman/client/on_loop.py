"""Waiting for a job on an event loop: without a thread if the job was submitted there."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator, Iterator

from ..backends.base import AwaitableSubmission, Submission, Update
from ..exceptions import BackendError, JobError, JobLost
from ..utils.clock import monotonic
from .described import Described
from .lookout import Lookout
from .threads import wait_in_thread

#: Seconds for data that has already arrived at the deadline: a job may send endlessly.
DRAIN_SECONDS = 0.2


class AwaitedRequest(Described):
    """The part of a request that waits on an event loop."""

    _submission: Submission | None = None
    #: Present while more updates may come. One of the waiting threads holds it and takes the updates,
    #: so their order is kept.
    _turn: threading.Lock | None = None

    @abstractmethod
    def take(self, update: Update) -> Update | None:
        """Record an update; return the caller's form of it, or None."""

    @abstractmethod
    def fail(self, error: JobError | BackendError) -> None:
        """Record the end of the job."""

    @abstractmethod
    def lose(self, error: BackendError) -> None:
        """Record that the outcome cannot arrive."""

    @property
    def is_on_loop(self) -> bool:
        """True if tasks of its loop can await the outcome, without a thread."""
        return isinstance(self._submission, AwaitableSubmission) and not self.background

    def await_outcome(self, deadline: float | None) -> Awaitable[object]:
        """
        Await the outcome until the given monotonic time (None: without limit), like `wait_until`.
        """
        return self.await_update(deadline, to_the_end=True)

    async def await_update(
        self, deadline: float | None, lookout: Lookout | None = None, *, to_the_end: bool = False
    ) -> Update | None:
        """
        Await the caller's next update; return None if there is nothing to wait for.

        If `to_the_end`, await the outcome. This is not a method of its own, because each method that
        waits costs time and memory, and thousands of tasks may wait here.
        """
        submission, lookout = self._submission, lookout or Lookout()
        if not isinstance(submission, AwaitableSubmission):
            return None
        self.timed_out = False
        while self._turn is not None:
            seconds = None if deadline is None else max(0.0, deadline - monotonic())
            try:
                update = await submission.wait_update(lookout.seconds_on_loop(seconds))
            except JobLost as error:
                self.fail(error)
                return None
            except BackendError as error:
                if error is submission.error:
                    self.fail(error)  # it was refused, or not acknowledged
                else:
                    self.lose(error)
                raise
            except BaseException:  # nobody waits any more
                submission.release()
                raise
            finally:
                self.handle = submission.handle
            if update is not None:
                # The next line runs before any other task, so that each update is recorded in order.
                taken = self.take(update)
                if taken is None:
                    continue
                if not to_the_end:
                    return taken
                if deadline is not None and monotonic() >= deadline + DRAIN_SECONDS:
                    self.timed_out = self._turn is not None
                    return None
            elif deadline is not None and monotonic() >= deadline:
                submission.give_up()
                if submission.error is not None:
                    self.fail(submission.error)
                self.timed_out = self._turn is not None
                submission.release()
                return None
            else:
                await lookout.look_on_loop(self, seconds)
        return None


class Updates(Iterator[Update], AsyncIterator[Update]):
    """The updates of a job, for `for` in a thread and for `async for` on an event loop."""

    def __init__(
        self, synchronous: Generator[Update], on_loop: AsyncGenerator[Update] | None, what: str
    ) -> None:
        self._synchronous = synchronous
        self._on_loop = on_loop
        self._what = what

    def __next__(self) -> Update:
        return next(self._synchronous)

    def __aiter__(self) -> Updates:
        return self

    async def __anext__(self) -> Update:
        if self._on_loop is not None:
            return await anext(self._on_loop)
        update: Update | None = await wait_in_thread(self._what, self._next, None)
        if update is None:
            raise StopAsyncIteration
        return update

    def _next(self) -> Update | None:
        return next(self._synchronous, None)
