"""
The quick lane: how many jobs a worker holds beyond the one that it runs.

If a worker asks for one job at a time, each job costs a round trip to the server. For a job of 0.1 ms
that is most of the time. But a job that is held waits for the running one, even if another worker is
idle. So a worker holds only jobs of functions that were quick lately, and only as many as it runs in
50 ms.

These functions have a separate connection, the quick lane. A GRAB_JOB cannot name a function: over
a connection with all functions, a worker that asks for many quick jobs may get slow ones. And gearmand
takes back one held job only with all others of its function on that connection. So the worker moves
whole functions: to the quick lane while they are quick, and back after one slow run.
"""

from __future__ import annotations

#: A function is quick while none of its last runs took longer, in seconds.
QUICK_SECONDS = 0.005
#: Longest expected time of the held jobs, in seconds.
HELD_SECONDS = 0.05
#: Most jobs that are held: more gain nothing.
MOST_HELD = 100

_RUNS = 100  # runs that are remembered, up to twice as many
_FEWEST = 20  # runs after which a function may count as quick


class _History:
    """The durations of a function's last runs: the slowest of two batches, the older one first."""

    def __init__(self) -> None:
        self._is_known = False
        self._left = _FEWEST  # runs until something changes, unless one is slower than all before
        self._slowest_before = 0.0
        self._slowest_now = 0.0

    def add(self, seconds: float) -> bool:
        """Record a run; return True if this changed something."""
        self._left -= 1
        if self._left and seconds <= self._slowest_now:
            return False
        self._slowest_now = max(self._slowest_now, seconds)
        if not self._left:
            if self._is_known:
                self._slowest_before, self._slowest_now = self._slowest_now, 0.0
            self._is_known, self._left = True, _RUNS
        return True

    @property
    def slowest(self) -> float:
        return max(self._slowest_before, self._slowest_now)

    @property
    def is_quick(self) -> bool:
        return self._is_known and self.slowest < QUICK_SECONDS


class RecentRuns:
    """The durations of recent runs of each function, and which functions are quick."""

    def __init__(self) -> None:
        self.quick: set[str] = set()
        #: The number of quick jobs to request in advance.
        self.window = 1
        self._histories: dict[str, _History] = {}

    def ran(self, function: str, seconds: float) -> bool:
        """Record a run; return True if the function has become quick, or is no longer quick."""
        history = self._histories.get(function)
        if history is None:
            history = self._histories[function] = _History()
        if not history.add(seconds):
            return False
        has_changed = history.is_quick != (function in self.quick)
        if has_changed:
            self.quick ^= {function}
        slowest = max((self._histories[name].slowest for name in self.quick), default=HELD_SECONDS)
        self.window = max(1, min(MOST_HELD, int(HELD_SECONDS / max(slowest, 1e-6))))
        return has_changed
