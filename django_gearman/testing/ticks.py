"""
Schedules in tests: they are due when a test moves the clock.

No database is asked. A test has one scheduler, whose clock never stops, so no tick can be made twice
or missed. Pauses are not looked at.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator

from django.apps import apps

from ..contrib.store.scheduler.declared import Scheduled, ticks_between

_APP = "django_gearman.contrib.store"
_ROUNDING = 1e-6  # seconds


class Ticks:
    """The ticks of all schedules in `seconds` from `start`, which is in seconds since the epoch."""

    def __init__(self, start: float, seconds: float) -> None:
        self._upcoming: Iterator[tuple[datetime.datetime, Scheduled]] = iter(())
        self._at = datetime.datetime.fromtimestamp(start, datetime.UTC)
        if apps.is_installed(_APP):
            end = self._at + datetime.timedelta(seconds=seconds)
            self._upcoming = ticks_between(self._at, end)
        self._next = next(self._upcoming, None)

    @property
    def seconds_until_next(self) -> float:
        if self._next is None:
            return math.inf
        return max(0.0, (self._next[0] - self._at).total_seconds())

    def advance(self, seconds: float) -> int:
        """Move the clock, and submit the jobs of the ticks that are due; return their number."""
        self._at += datetime.timedelta(seconds=seconds)
        submitted = 0
        while self._next is not None and self.seconds_until_next <= _ROUNDING:
            due, schedule = self._next
            self._next = next(self._upcoming, None)
            schedule.submit(due)
            submitted += 1
        return submitted
