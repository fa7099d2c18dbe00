"""How long to wait."""

from __future__ import annotations

import math
import threading
import time
from contextvars import ContextVar

from .clock import monotonic

#: Set once nobody wants what is waited for in this context: an `await` of it was cancelled.
abandoned: ContextVar[threading.Event | None] = ContextVar("abandoned", default=None)
#: When the call was made that this thread works on, where that was before.
called_at: ContextVar[float | None] = ContextVar("called_at", default=None)
#: When what is asked of the job servers has to be over; None leaves it to the transport.
submit_by: ContextVar[float | None] = ContextVar("submit_by", default=None)
_ABANDONED_SECONDS = 0.5  # between looks at it


def pause(seconds: float) -> bool:
    """Sleep, and return whether somebody still wants what comes after it."""
    leave = abandoned.get()
    if leave is None:
        time.sleep(seconds)
        return True
    return not leave.wait(seconds)


def seconds_until(deadline: float | None) -> float | None:
    """Return for how long to wait before the next look at the time; 0.0 when it is up."""
    seconds = None
    if deadline is not None and deadline < math.inf:
        seconds = min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)
    leave = abandoned.get()
    if leave is None:
        return seconds
    longest = 0.0 if leave.is_set() else _ABANDONED_SECONDS
    return longest if seconds is None else min(seconds, longest)
