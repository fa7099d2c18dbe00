"""
The threads in which calls of async code wait for their jobs.

They are not the loop's default executor, which has few threads, and which name lookups of the loop
need. They are daemons, so the exit of a process does not wait for a job without a worker.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from .. import environment
from ..backends import close_backends
from ..exceptions import JobTimeout
from ..utils.clock import monotonic
from ..utils.waiting import abandoned, called_at

_R = TypeVar("_R")

#: Most calls that wait at the same time in one process; others wait for their turn.
MOST_THREADS = 64
_IDLE_SECONDS = 10.0  # until an idle thread ends

_Work = tuple["Future[Any]", Callable[[], Any]]


class Waiters:
    """A pool of threads named gearman-wait-1 and so on, started on demand."""

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._most = most
        self._calls: deque[_Work] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._names: set[int] = set()

    def submit(self, call: Callable[[], _R]) -> Future[_R]:
        future: Future[_R] = Future()
        with self._changed:
            self._calls.append((future, call))
            if self._idle < len(self._calls) and len(self._names) < self._most:
                number = next(n for n in range(1, self._most + 1) if n not in self._names)
                name = f"gearman-wait-{number}"
                threading.Thread(target=self._serve, args=[number], name=name, daemon=True).start()
                self._names.add(number)
            self._changed.notify()
        return future

    def _serve(self, number: int) -> None:
        while (work := self._next(number)) is not None:
            _run(*work)
            del work  # otherwise an idle thread would keep the last call's job
        close_backends()

    def _next(self, number: int) -> _Work | None:
        with self._changed:
            while not self._calls:
                self._idle += 1
                woken = self._changed.wait(_IDLE_SECONDS)
                self._idle -= 1
                if not woken and not self._calls:
                    self._names.discard(number)
                    return None
            return self._calls.popleft()


def _run(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        try:
            result = call()
        finally:
            for connection in connections.all(initialized_only=True):
                connection.close()  # for example from a receiver of job_submitted: no request ends here
    except StopIteration as error:  # no future accepts it
        future.set_exception(RuntimeError(f"the call raised {error!r}"))
    except BaseException as error:  # noqa: BLE001 - it is for who awaits the call
        future.set_exception(error)
    else:
        future.set_result(result)


_waiters = Waiters()


def _begin_anew() -> None:
    global _waiters
    _waiters = Waiters()


os.register_at_fork(after_in_child=_begin_anew)


async def wait_in_thread(what: str, call: Callable[[], _R], seconds: float | None) -> _R:
    """
    Return the result of `call` in a thread of the pool; raise JobTimeout if none was free for
    `seconds`.

    The time limit of `call` counts from now, too. After the await is cancelled, the call ends soon.
    """
    context, leave = copy_context(), threading.Event()
    context.run(abandoned.set, leave)
    context.run(called_at.set, monotonic())
    future = _waiters.submit(partial(context.run, call))
    awaited = asyncio.wrap_future(future)
    try:
        if seconds is not None:
            await asyncio.wait([awaited], timeout=seconds)
            if not awaited.done() and future.cancel():
                raise JobTimeout(
                    f"{what} was not submitted within {seconds:g} s: {MOST_THREADS} other calls of "
                    "this process are waiting for jobs; give them a time limit, or await fewer at once"
                )
        return await awaited
    finally:
        leave.set()  # after a cancellation, the thread has nothing to wait for
        awaited.cancel()


async def in_thread_of_queries(call: Callable[[], _R]) -> _R:
    """Return the result of `call` in the thread of Django's queries, which has the open transactions."""
    token = abandoned.set(leave := threading.Event())
    try:
        return await sync_to_async(call)()
    finally:
        leave.set()  # after a cancellation, the thread has nothing to wait for
        abandoned.reset(token)


async def wait_for_records(what: str, call: Callable[[], _R], seconds: float | None) -> _R:
    """
    Return the result of `call`, which waits for records of jobs; raise JobTimeout as `wait_in_thread`.

    In a test, the records are in its transaction, and `call` runs the jobs.
    """
    if environment.current().sees_submissions:
        return await in_thread_of_queries(call)
    return await wait_in_thread(what, call, seconds)
