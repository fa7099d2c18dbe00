from __future__ import annotations

import asyncio
import signal
import time

import pytest

from django_gearman.exceptions import JobTimeLimitExceeded
from django_gearman.worker.timelimit import limited, within


def test_a_loop_is_interrupted():
    def loop() -> None:
        while True:
            pass

    with pytest.raises(JobTimeLimitExceeded, match=r"timeout of 0\.05 s"):
        limited(0.05, loop, [], {})


def test_a_call_that_blocks_is_interrupted():
    started = time.monotonic()
    with pytest.raises(JobTimeLimitExceeded):
        limited(0.05, time.sleep, [60], {})
    assert time.monotonic() - started < 59


def test_a_function_that_ends_in_time_is_left_alone():
    before = signal.getsignal(signal.SIGALRM)
    assert limited(60, int, ["7"], {}) == 7

    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


def test_a_coroutine_is_interrupted():
    with pytest.raises(JobTimeLimitExceeded):
        asyncio.run(within(0.05, sleep, [60], {}))


@pytest.mark.parametrize("seconds", [60.0, None])
def test_a_coroutine_that_is_quick_enough_returns(seconds):
    assert asyncio.run(within(seconds, sleep, [], {"seconds": 0})) == "slept"


def test_a_timeout_of_the_coroutines_own_is_its_own():
    async def fail() -> None:
        raise TimeoutError("the other side")

    with pytest.raises(TimeoutError, match="the other side"):
        asyncio.run(within(60, fail, [], {}))
