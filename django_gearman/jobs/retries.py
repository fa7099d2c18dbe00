"""Retries of failed jobs: `@gearman_job(retries=...)` and RetryJob."""

from __future__ import annotations

import datetime
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..exceptions import revive
from ..protocol.messages import JobSpec, Priority
from ..serializers import Call
from ..utils.numbers import check_number
from ..utils.text import quoted
from .identity import RESERVED, without_reserved

#: A function from the number of the failed attempt, 1 for the first, to the seconds until the next.
Backoff: TypeAlias = Callable[[int], float]

_LONGEST = 10 * 366 * 86_400.0  # seconds; a longer delay would mean "never"
_MOST_ATTEMPTS = 2**31  # other numbers in a workload are not believed


class RetryJob(Exception):
    """
    The request of a background job to run again, with the same arguments; raise it in the job.

    `delay` is in seconds, or a timedelta. 0 means at once. None means the job's `backoff`, or at
    once if the job declares no `retries`. If the job declares `retries`, this counts as an attempt.
    In a foreground job it is a normal failure, and the client gets the error.
    """

    def __init__(self, delay: float | datetime.timedelta | None = None) -> None:
        self.delay = None if delay is None else validate_delay(delay, "RetryJob: delay")
        when = "after its backoff" if self.delay is None else f"in {self.delay:g} s"
        super().__init__(
            f"asked to run again {when}, as only a background job with attempts left can"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return revive, (type(self), self.args), dict(vars(self))


def validate_delay(value: Any, what: str) -> float:
    """Return a delay in seconds; raise TypeError or ValueError if the value is not one."""
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    check_number(value, f"{what} is a number of seconds or a timedelta")
    if not -math.inf < value <= _LONGEST:
        raise ValueError(f"{what} is a number of seconds, not {quoted(value)}")
    return max(0.0, float(value))


@dataclass(frozen=True)
class _Exponential:
    base: float
    factor: float
    max: float
    jitter: bool

    def __call__(self, attempt: int) -> float:
        try:
            seconds = min(self.base * float(self.factor) ** (attempt - 1), self.max)
        except OverflowError:
            seconds = self.max
        return seconds * random.uniform(0.5, 1.0) if self.jitter else seconds


def exponential(
    base: float = 1,
    factor: float = 2,
    max: float = 3600,  # noqa: A002 - as in every library that has this
    jitter: bool = True,
) -> Backoff:
    """
    Wait `base` seconds after the first failure, and `factor` times as long after each further one.

    The delay is at most `max` seconds. With `jitter`, each delay is shortened at random by up to
    half, so that jobs that failed together do not return together. Raises ValueError for numbers
    that give no delay.
    """
    for name, value, least in (("base", base, 0), ("factor", factor, 1), ("max", max, 0)):
        check_number(value, f"exponential: {name} is a number")
        if not least <= value < math.inf:
            raise ValueError(f"exponential: {name} is {least} or more, not {value!r}")
    return _Exponential(base, factor, min(max, _LONGEST), jitter)


@dataclass(frozen=True)
class RetryPolicy:
    """The retries of a job: how many (None: only by RetryJob), when, and after which exceptions."""

    retries: int | None
    backoff: Backoff
    retry_on: tuple[type[BaseException], ...]

    @classmethod
    def read(cls, job: str, retries: int | None, backoff: object, retry_on: object) -> RetryPolicy:
        """Validate the decorator's arguments; raise TypeError or ValueError for wrong ones."""
        if retries is None and (backoff is not None or retry_on is not None):
            raise ValueError(
                f"job {job}: backoff and retry_on have no effect without retries; write retries=N, too"
            )
        if retries is not None:
            rule = f"job {job}: retries is how often to try again"
            check_number(retries, rule, int)
            if retries < 0:
                raise ValueError(f"{rule}, 0 or more, not {retries}")
        kinds = retry_on if isinstance(retry_on, (tuple, list, set, frozenset)) else (retry_on,)
        kinds = (Exception,) if retry_on is None else tuple(kinds)
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TypeError(
                    f"job {job}: retry_on has classes of exceptions, like (OSError,), not {quoted(kind)}"
                )
        return cls(retries, _validate_backoff(backoff), kinds)

    def has_left(self, attempt: int) -> bool:
        """Return True if another attempt may follow this one."""
        return self.retries is not None and attempt <= self.retries

    def delay_after(self, attempt: int, error: BaseException | None = None) -> float | None:
        """
        Return the seconds until the attempt after this one, which raised `error`; None for no other.
        """
        return validate_delay(self.backoff(attempt), "what backoff returns")


def _validate_backoff(backoff: object) -> Backoff:
    if backoff is None:
        return exponential()
    if callable(backoff):
        return backoff
    seconds = validate_delay(backoff, "backoff")
    return lambda attempt: seconds


def attempt_of(arrived: Call) -> Call:
    """Return a call as the job sees it, with a valid number of the attempt."""
    if not (type(arrived.attempt) is int and 0 < arrived.attempt <= _MOST_ATTEMPTS):
        arrived = arrived._replace(attempt=1)
    if arrived.context and not RESERVED.isdisjoint(arrived.context):
        return arrived._replace(context=without_reserved(arrived.context))
    return arrived


def delayed(spec: JobSpec, seconds: float) -> JobSpec:
    """Return a delayed job. It has no priority, because gearmand's delayed jobs have none."""
    return spec._replace(run_at=time.time() + seconds, priority=Priority.NORMAL)
