"""
Time limits: interrupts of a function that runs too long, in the main thread of a process.

An exception of a signal handler can strike between any two steps. Where it would leave work half
done, it is delayed until that work is done; see `interrupts`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.dispatch import Signal

from ..exceptions import JobTimeLimitExceeded
from ..utils.clock import monotonic
from ..utils.interrupts import Place, brief, cancel_query, opens, place_of
from .alarm import alarm
from .cancelling import cancellable, invoke
from .forks import end_if_forked

#: The longest delay for code that should end soon.
PATIENCE_SECONDS = 2.0
_AGAIN_SECONDS = 0.005  # until the next try

opens(BaseDatabaseWrapper.run_and_clear_commit_hooks)
opens(BaseDatabaseWrapper.on_commit)
brief(Signal.send_robust)  # which catches exceptions


class _Limit:
    """
    The time limit of one call.

    If an interrupt must be delayed, the calls of this thread are traced, and the first call after
    the protected place raises it. The timer also fires again, because there may be no further call.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self.has_cancelled = False  # a query
        self._is_armed = True
        self._is_watching = False
        self._shield: FrameType | None = None  # the protected place that delays the interrupt
        self._seconds = seconds
        self._patience_ends = 0.0

    def exceeded(self) -> JobTimeLimitExceeded:
        return JobTimeLimitExceeded(time_is_over(self._seconds))

    def disarm(self) -> None:
        self._is_armed = False
        self._unwatch()
        alarm.end(has_rung=self.is_over)

    def _unwatch(self) -> None:
        self._shield = None
        if self._is_watching:
            self._is_watching = False
            sys.setprofile(None)

    def strike(self, number: int, frame: FrameType | None) -> None:
        """Raise the interrupt, or schedule another try."""
        if not self._is_armed or frame is None:
            return
        if not self.is_over:
            self.is_over = True
            self._patience_ends = monotonic() + PATIENCE_SECONDS
        if frame.f_code is not limited.__code__:  # otherwise the function has just ended
            self._raise_or_wait(frame)
        if not self._is_watching and sys.getprofile() is None:
            self._is_watching = True
            sys.setprofile(self._watch)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    def _watch(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            if self._shield is None and self._is_armed and frame.f_code not in _OWN:
                self._raise_or_wait(frame)
        elif event == "return" and frame is self._shield:
            self._shield = None

    def _raise_or_wait(self, frame: FrameType) -> None:
        place, self._shield = place_of(frame, limited.__code__)
        is_patient = monotonic() < self._patience_ends
        if place is Place.ANYWHERE or (place is not Place.NEVER and not is_patient):
            self._unwatch()
            raise self.exceeded()
        if place is Place.IN_QUERY and not self.has_cancelled:
            self.has_cancelled = cancel_query(frame)

    def has_caused(self, error: BaseException) -> bool:
        """Return True if a database error seems to come from this interrupt."""
        if not self.is_over or not is_database_error(error):
            return False
        return self.has_cancelled or any(isinstance(e, JobTimeLimitExceeded) for e in chain(error))


def time_is_over(seconds: float) -> str:
    """Return the message of JobTimeLimitExceeded."""
    return f"the job exceeded its timeout of {seconds:g} s (its process is killed 5 s later)"


def is_database_error(error: BaseException) -> bool:
    return isinstance(error, Error) or type(error).__module__.partition(".")[0] == "psycopg"


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += [each.__cause__, each.__context__]


def limited(
    seconds: float, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """
    Call a function; raise JobTimeLimitExceeded in it after the limit. Uses SIGALRM.

    A database error that the interrupt causes is reported as JobTimeLimitExceeded.
    """
    limit = _Limit(seconds)
    try:
        alarm.begin(seconds, limit.strike)
        return invoke(func, args, kwargs)
    except BaseException as error:
        limit.disarm()
        if limit.has_caused(error):
            raise limit.exceeded() from error
        raise
    finally:
        limit.disarm()


_OWN = {limited.__code__, _Limit.disarm.__code__}


async def within(
    seconds: float | None,
    func: Callable[..., Coroutine[Any, Any, Any]],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """
    Await a coroutine function; raise JobTimeLimitExceeded in it after the limit.

    If the job is cancelled, its task is, and that ends in JobCancelled.
    """
    if seconds is None:
        return await _in_this_process(func, args, kwargs)
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await _in_this_process(func, args, kwargs)
    except Exception as error:
        if limit.expired() and _is_of_cancelling(error):
            raise _Limit(seconds).exceeded() from error
        raise


async def _in_this_process(
    func: Callable[..., Coroutine[Any, Any, Any]], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    process = os.getpid()
    try:
        result = await cancellable(func(*args, **kwargs))
    except BaseException as error:
        end_if_forked(process, error)
        raise
    end_if_forked(process)
    return result


def _is_of_cancelling(error: Exception) -> bool:
    """Return True if an error is the end of a timeout, or a database error about it."""
    if isinstance(error, TimeoutError):
        return True
    about = any(isinstance(each, asyncio.CancelledError) for each in chain(error))
    return isinstance(error, Error) and about
