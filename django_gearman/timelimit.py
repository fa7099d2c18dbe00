"""Interrupt a function that runs for too long, in the main thread of a process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .exceptions import JobTimeLimitExceeded
from .forks import end_if_forked


def _exceeded(seconds: float) -> JobTimeLimitExceeded:
    return JobTimeLimitExceeded(
        f"the job runs for longer than its timeout of {seconds:g} s; it should end now"
    )


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise JobTimeLimitExceeded in the block when it lasts longer; SIGALRM is used for that."""
    armed = True

    def interrupt(number: int, frame: object) -> None:
        if armed:
            raise _exceeded(seconds)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def within(
    seconds: float | None,
    func: Callable[..., Coroutine[Any, Any, Any]],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Await a coroutine function; raise JobTimeLimitExceeded in it when it lasts longer."""
    limit = asyncio.timeout(seconds)
    process = os.getpid()
    try:
        async with limit:
            try:
                result = await func(*args, **kwargs)
            except BaseException as error:
                end_if_forked(process, error)
                raise
            end_if_forked(process)
            return result
    except TimeoutError as error:
        if seconds is not None and limit.expired():
            raise _exceeded(seconds) from error
        raise
