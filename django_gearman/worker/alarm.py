"""
The alarm of a process: the signal and the timer of time limits, in its main thread.

Setting them for each job takes longer than a quick job. So a worker keeps its alarm from one job with
a limit to the next. If it rings before the time of the present job is over, it is set for the rest. A
job without a limit finds no alarm. A job may change the signal or the timer: then the alarm is set
again.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ..utils.clock import monotonic

Strike = Callable[[int, FrameType | None], object]

_TOLERANCE = 0.02  # seconds between the time of the timer and that of the clock
_LEAST = 1e-6  # seconds of a timer; 0 would stop it

getsignal: Callable[[int], Any] = _signal.getsignal  # that of `signal` makes an enum's member


class Alarm:
    """
    A signal handler and a timer, which call a function when the time is over.

    Only the main thread may call the methods, except `stop_between`.
    """

    def __init__(self) -> None:
        self.is_set = False
        #: The handler that it has replaced.
        self.before: Any = None
        self.is_kept = False
        self._handler = self._ring  # always the same object
        self._strike: Strike | None = None
        self._at = self._rings_at = math.inf

    def begin(self, seconds: float, strike: Strike) -> None:
        """Call `strike` with the signal's number and frame after `seconds`, and maybe again."""
        self._at = at = monotonic() + seconds
        self._strike = strike
        if self._rings_at > at or not self._is_intact():
            self.stop()
            self.before, self.is_set = signal.signal(signal.SIGALRM, self._handler), True
            self._set(seconds)

    def end(self, *, has_rung: bool) -> None:
        """Call it no more; `has_rung` says that `strike` was called."""
        self._strike = None
        if has_rung or not (self.is_kept and self._is_intact()):
            self.stop()

    def stop(self) -> None:
        """Put the signal back, and stop the timer."""
        if self.is_set:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self.before)
            self.is_set, self._rings_at = False, math.inf

    def stop_between(self) -> None:
        """Stop the alarm unless a job needs it; any thread may call this."""
        is_free = self.is_set and self._strike is None
        if is_free and threading.current_thread() is threading.main_thread():
            self.stop()

    def _set(self, seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, max(_LEAST, seconds))
        self._rings_at = self._at

    def _is_intact(self) -> bool:
        """Return True if the signal and the timer are still those of the alarm."""
        if not self.is_set or getsignal(signal.SIGALRM) is not self._handler:
            return False
        left = signal.getitimer(signal.ITIMER_REAL)[0]
        return left > 0 and abs(left - (self._rings_at - monotonic())) < _TOLERANCE

    def _ring(self, number: int, frame: FrameType | None) -> None:
        self._rings_at = math.inf
        if self._strike is None:
            return
        seconds = self._at - monotonic()
        if seconds > 0:
            self._set(seconds)
        else:
            self._strike(number, frame)


alarm = Alarm()


@contextmanager
def kept_alarm() -> Iterator[None]:
    """
    Keep the alarm from one function with a time limit to the next, until the block ends.

    In other threads than the main one, it does nothing: they have no alarm.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, alarm.is_kept = alarm.is_kept, True
    try:
        yield
    finally:
        alarm.is_kept = before
        alarm.stop_between()
