"""A job submitted on an event loop."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from ...exceptions import BackendError, ConnectionLost, ResultUnavailable
from ...utils.clock import monotonic
from ..base import AwaitableSubmission, JobSpec, Update
from ..remote import HeardSubmission
from .loop_timers import Timers
from .submission import QueuedJobs


class ClientConnection(Protocol):
    """A client's connection, as a submission needs it."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def timers(self) -> Timers: ...

    def release(self, submission: LoopSubmission) -> None: ...

    def adopt(self, submission: LoopSubmission) -> None: ...


class LoopSubmission(HeardSubmission, AwaitableSubmission):
    """A job submitted over a channel; any number of tasks may await it."""

    #: A question about it has no answer yet.
    is_asked_about = False
    #: Its submitter has stopped waiting.
    is_released = False
    #: A task waits for the server's answer. Others need not be woken for it: they wait for updates.
    awaits_answer = False
    _broken: BackendError | None = None
    _waiters: tuple[asyncio.Future[None], ...] = ()

    def __init__(self, channel: ClientConnection, spec: JobSpec) -> None:
        super().__init__(spec)
        self._channel = channel

    def answered(self) -> bool:
        return bool(self.handle) or self.error is not None

    def silent_since(self) -> float:
        """Return the time of the last news of the job."""
        return self._heard

    def wake(self) -> None:
        """Let the tasks look again: something has changed."""
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def receive(self, update: Update) -> None:
        super().receive(update)
        self.wake()

    def lose(self, cause: BackendError) -> None:
        if self.error is None:  # otherwise it was given up before
            super().lose(cause)
        self.wake()

    def give_up(self) -> None:
        if not self.answered():
            self.lose(ConnectionLost("the job server has not answered in the time given"))

    def cut(self, error: BackendError) -> None:
        """Note that no more updates can arrive."""
        self._broken = error
        self.wake()

    def release(self) -> None:
        self._channel.release(self)

    async def acknowledged(self, until: float) -> bool:
        """Wait until the server has answered, up to a monotonic time; return True if it has."""
        self.awaits_answer = True
        while not self.answered():
            remaining = None if until == math.inf else until - monotonic()
            if remaining is not None and remaining <= 0.0:
                return False
            self._waiters += (waiter := self._channel.loop.create_future(),)
            sharing = self._channel.timers.wake(waiter, remaining)
            try:
                await waiter
            finally:
                self._forget(waiter, sharing)
        return True

    async def wait_update(self, timeout: float | None = None) -> Update | None:
        deadline = None if timeout is None else monotonic() + timeout
        if self.is_released:
            self._channel.adopt(self)
        while not self._updates:
            if not self._finished and (error := self.error or self._lost or self._broken):
                raise error.with_traceback(None)
            if self.spec.background:
                raise ResultUnavailable(f"background job {self.handle} sends no updates")
            if self._finished or (timeout is not None and timeout <= 0.0):
                return None
            if asyncio.get_running_loop() is not self._channel.loop:
                return await asyncio.wrap_future(self._on_its_loop(timeout))
            # In place of a method that waits, since thousands of tasks may wait here.
            self._waiters += (waiter := self._channel.loop.create_future(),)
            sharing = self._channel.timers.wake(waiter, timeout)
            try:
                await waiter
            finally:
                self._forget(waiter, sharing)
            if deadline is not None:
                timeout = deadline - monotonic()
        return self._updates.popleft()

    def next_update(self, timeout: float | None = None) -> Update | None:
        """Wait in another thread than the loop's."""
        loop = self._channel.loop
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is loop:
            raise ResultUnavailable(
                f"job {self.handle} was submitted on the event loop that runs here, which must not "
                "be blocked: write `await request`, or `async for update in request.updates()`"
            )
        return self._on_its_loop(timeout).result()

    def _on_its_loop(self, timeout: float | None) -> Future[Update | None]:
        """Wait on the loop of the submission, for another loop or thread."""
        loop = self._channel.loop
        if not loop.is_running():
            raise ConnectionLost(
                f"job {self.handle} was submitted on an event loop that has ended, and the "
                "connection with it"
            )
        return asyncio.run_coroutine_threadsafe(self.wait_update(timeout), loop)

    def _forget(
        self, waiter: asyncio.Future[None], sharing: set[asyncio.Future[None]] | None
    ) -> None:
        if sharing is not None:
            sharing.discard(waiter)
        if waiter in self._waiters:
            self._waiters = tuple(each for each in self._waiters if each is not waiter)


class LoopQueuedJobs(QueuedJobs):
    """Background jobs of one function that were sent together on an event loop."""

    def __init__(
        self, function: str, prefix: str, number: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(function, prefix, number)
        #: Done when each job has a handle or an error.
        self.done = loop.create_future()

    def take(self, handles: Sequence[bytes]) -> int:
        taken = super().take(handles)
        self._look()
        return taken

    def lose(self, cause: BackendError) -> None:
        super().lose(cause)
        self._look()

    def _look(self) -> None:
        if self.answered() and not self.done.done():
            self.done.set_result(None)


class Dropped:
    """
    A stand-in for a submission whose wait ended without an outcome.

    It passes the updates on while the submitter may wait again. `on_drop` is called, in any
    thread, when no reference to the submission is left.
    """

    def __init__(
        self, submission: LoopSubmission | None, on_drop: Callable[[], object] | None = None
    ) -> None:
        self._on_drop = on_drop
        self._submission = None if submission is None else weakref.ref(submission, self._drop)

    @property
    def submission(self) -> LoopSubmission | None:
        """The submission, if the submitter still has it."""
        return None if self._submission is None else self._submission()

    @property
    def is_dropped(self) -> bool:
        return self.submission is None

    def receive(self, update: Update) -> None:
        if (submission := self.submission) is not None:
            submission.receive(update)

    def _drop(self, _: object) -> None:
        if self._on_drop is not None:
            self._on_drop()
