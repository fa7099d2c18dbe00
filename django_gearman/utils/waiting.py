"""Waiting: deadlines and pauses of the calling thread."""

from __future__ import annotations

import math
import threading
import time
from contextvars import ContextVar

from .clock import monotonic
from .numbers import check_number

#: Set when the waiting `await` of this context was cancelled.
abandoned: ContextVar[threading.Event | None] = ContextVar("abandoned", default=None)
#: The time of the call that this thread works on, if that was earlier.
called_at: ContextVar[float | None] = ContextVar("called_at", default=None)
#: The deadline of requests to the job servers; None leaves it to the backend.
submit_by: ContextVar[float | None] = ContextVar("submit_by", default=None)
_ABANDONED_SECONDS = 0.5  # between two checks of it


def deadline_after(seconds: float | None) -> float | None:
    """
    Return the monotonic time in these seconds; None is never, and less than 0 is over.

    Raises TypeError for what is no number, and ValueError for NaN, which no time is later than.
    """
    if seconds is None:
        return None
    check_number(seconds, "the time to wait is a number of seconds")
    if math.isnan(seconds):
        raise ValueError("the time to wait is a number of seconds, not nan")
    return monotonic() + seconds


def pause(seconds: float) -> bool:
    """Sleep, and return True unless the waiting call was cancelled."""
    leave = abandoned.get()
    if leave is None:
        time.sleep(seconds)
        return True
    return not leave.wait(seconds)


def seconds_until(deadline: float | None) -> float | None:
    """Return the seconds to wait before the next look at the clock; 0.0 after the deadline."""
    seconds = None
    if deadline is not None and deadline < math.inf:
        seconds = min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)
    leave = abandoned.get()
    if leave is None:
        return seconds
    longest = 0.0 if leave.is_set() else _ABANDONED_SECONDS
    return longest if seconds is None else min(seconds, longest)
