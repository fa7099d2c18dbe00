"""When a failed job runs again: what `@gearman_job(retries=...)` declares, and RetryJob."""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..exceptions import revive
from ..utils.numbers import check_number
from ..utils.text import quoted

#: From the number of the attempt that failed, 1 for the first, to the seconds until the next.
Backoff: TypeAlias = Callable[[int], float]

_LONGEST = 10 * 366 * 86_400.0  # seconds; whoever says more means "never", which is no delay


class RetryJob(Exception):
    """
    Raise it in a background job to run the job again, with the same arguments.

    `delay` is how long from now: seconds or a timedelta; 0 is at once, None what the job's `backoff`
    says (at once for a job that declares no `retries`). It counts as an attempt where the job
    declares how many there are. In a foreground job it is a failure like any other: the client that
    waits decides.
    """

    def __init__(self, delay: float | datetime.timedelta | None = None) -> None:
        self.delay = None if delay is None else read_delay(delay, "RetryJob: delay")
        when = "after its backoff" if self.delay is None else f"in {self.delay:g} s"
        super().__init__(
            f"asked to run again {when}, as only a background job with attempts left can"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return revive, (type(self), self.args), dict(vars(self))


def read_delay(value: Any, what: str) -> float:
    """Return a delay in seconds; TypeError or ValueError if it is none."""
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

    Never more than `max` seconds. With `jitter` each delay is cut by a random part, up to half of
    it, so that jobs which failed together do not come back together. Raises ValueError for numbers
    that make no delay.
    """
    for name, value, least in (("base", base, 0), ("factor", factor, 1), ("max", max, 0)):
        check_number(value, f"exponential: {name} is a number")
        if not least <= value < math.inf:
            raise ValueError(f"exponential: {name} is {least} or more, not {value!r}")
    return _Exponential(base, factor, min(max, _LONGEST), jitter)


@dataclass(frozen=True)
class RetryPolicy:
    """How often a job is tried again (None: not, unless it raises RetryJob), when, and after what."""

    retries: int | None
    backoff: Backoff
    retry_on: tuple[type[BaseException], ...]

    @classmethod
    def read(cls, job: str, retries: int | None, backoff: object, retry_on: object) -> RetryPolicy:
        """Make one of the decorator's arguments; TypeError or ValueError for wrong ones."""
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
        return cls(retries, _read_backoff(backoff), kinds)

    def has_left(self, attempt: int) -> bool:
        """Whether there is another attempt after this one."""
        return self.retries is not None and attempt <= self.retries

    def delay_after(self, attempt: int) -> float:
        """Return the seconds until the attempt after this one."""
        return read_delay(self.backoff(attempt), "what backoff returns")


def _read_backoff(backoff: object) -> Backoff:
    if backoff is None:
        return exponential()
    if callable(backoff):
        return backoff
    seconds = read_delay(backoff, "backoff")
    return lambda attempt: seconds
