"""The time limits of many waits on one event loop."""

from __future__ import annotations

import asyncio
import math

_TICKS = 1024  # in a second
_BITS = 9  # of a wait's ticks; the rest is rounded up


class Timers:
    """
    Wakes futures after some seconds. Waits that end at nearly the same time share a timer of the loop.

    A timer for each would cost as much as the rest of a wait. So a limit ends late by up to a
    256th of its length, or a tick, and never early.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ending: dict[int, set[asyncio.Future[None]]] = {}  # by the tick of their end
        # The last waits: their length, the time from which others of this length end later, and them.
        self._last: tuple[float, float, set[asyncio.Future[None]]] = 0.0, 0.0, set()

    def wake(
        self, waiter: asyncio.Future[None], seconds: float | None
    ) -> set[asyncio.Future[None]] | None:
        """
        Set the result of a future after some seconds (None: never).

        Remove it from the returned set when it is done.
        """
        if seconds is None or seconds == math.inf:
            return None
        now = self._loop.time()
        last, until, sharing = self._last
        if seconds != last or now >= until:
            sharing = self._share(now, seconds)
        sharing.add(waiter)
        return sharing

    def _share(self, now: float, seconds: float) -> set[asyncio.Future[None]]:
        rounded = max(int(seconds * _TICKS).bit_length() - _BITS, 0)
        tick = (int((now + seconds) * _TICKS) >> rounded) + 1 << rounded
        sharing = self._ending.get(tick)
        if sharing is None:
            sharing = self._ending[tick] = set()
            self._loop.call_at(tick / _TICKS, self._end, tick)
        self._last = seconds, tick / _TICKS - seconds, sharing
        return sharing

    def _end(self, tick: int) -> None:
        self._last = 0.0, 0.0, set()
        for waiter in self._ending.pop(tick):
            if not waiter.done():
                waiter.set_result(None)
