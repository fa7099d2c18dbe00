"""Time limits of many waits on one event loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from django_gearman.backends.gearmand.loop_timers import Timers


class Clock:
    """A loop whose time stands still; it keeps what is to be called."""

    def __init__(self) -> None:
        self.now = 1000.3
        self.calls: list[tuple[float, Callable[..., None], Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[..., None], *args: Any) -> None:
        self.calls.append((when, call, args))

    def pass_time(self) -> None:
        """Make all calls."""
        for _, call, args in self.calls:
            call(*args)
        self.calls.clear()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timers(clock) -> Timers:
    return Timers(clock)


@pytest.fixture
def make_future():
    loop = asyncio.new_event_loop()
    yield loop.create_future
    loop.close()


def test_waits_that_end_at_nearly_the_same_time_share_a_timer(clock, timers, make_future):
    waiters = [make_future() for _ in range(100)]
    for waiter in waiters:
        timers.wake(waiter, 3.0)
        clock.now += 0.0001

    assert len(clock.calls) <= 3

    clock.pass_time()

    assert all(waiter.done() for waiter in waiters)


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.3, 1.0, 3.0, 59.9, 3600.0, 1e7])
def test_a_limit_is_never_early_and_a_little_late(clock, timers, make_future, seconds):
    ends: dict[int, float] = {}  # by the identity of the waits that share a timer

    for _ in range(500):  # some begin just before others get a later timer
        sharing = timers.wake(make_future(), seconds)
        for when, _, _ in clock.calls[len(ends) :]:
            ends[id(sharing)] = when
        late = ends[id(sharing)] - (clock.now + seconds)
        assert 0 <= late <= max(seconds / 256, 1 / 1024)
        clock.now += seconds / 20_000


def test_a_wait_without_a_limit_needs_no_timer(clock, timers, make_future):
    assert timers.wake(make_future(), None) is None
    assert timers.wake(make_future(), math.inf) is None
    assert clock.calls == []


def test_a_wait_that_has_ended_is_left_alone(clock, timers, make_future):
    left, cancelled, waiting = make_future(), make_future(), make_future()
    sharing = timers.wake(left, 3.0)
    for each in (cancelled, waiting):
        assert timers.wake(each, 3.0) is sharing
    sharing.discard(left)
    cancelled.cancel()

    clock.pass_time()

    assert (left.done(), cancelled.cancelled(), waiting.done()) == (False, True, True)


def test_later_waits_have_a_timer_of_their_own(clock, timers, make_future):
    timers.wake(make_future(), 3.0)
    clock.pass_time()
    later = make_future()
    timers.wake(later, 3.0)
    clock.pass_time()

    assert later.done()
