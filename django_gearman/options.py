"""How a job is to be submitted: what `using()` sets, and what is made of it."""

from __future__ import annotations

import datetime
import difflib
from dataclasses import dataclass, replace
from typing import Any

from django.utils import timezone

from .backends.base import Priority
from .conf import ON_COMMIT_FAILURE
from .serializers import Serializer

PRIORITY_NONE = None
PRIORITY_LOW = "LOW"
PRIORITY_HIGH = "HIGH"

_PRIORITIES = {
    PRIORITY_NONE: Priority.NORMAL,
    PRIORITY_LOW: Priority.LOW,
    PRIORITY_HIGH: Priority.HIGH,
}


@dataclass(frozen=True)
class Options:
    """
    How a job is to be submitted; None is the default of each.

    `priority` is PRIORITY_LOW or PRIORITY_HIGH. `unique` is a string, or True for "the same job with
    the same arguments": equal ones share one job. `timeout` is how many seconds to wait for a
    result. `run_after` delays a background job: a timedelta, or a datetime (a naive one is in the
    current time zone). `on_commit` holds a background job back until the transaction commits: True,
    or the alias of a database. `on_commit_failure` says what happens if it cannot be submitted then:
    "log" (the default) or "raise". `serializer` is for jobs of other programs; one's own jobs declare
    theirs. `max_retries` is how often to submit again when a connection is lost, which may run the
    job more than once.
    """

    priority: str | None = None
    unique: str | bool | None = None
    timeout: float | None = None
    run_after: datetime.datetime | datetime.timedelta | None = None
    on_commit: bool | str | None = None
    serializer: str | Serializer | None = None
    max_retries: int | None = None
    on_commit_failure: str | None = None

    def __post_init__(self) -> None:
        if self.unique is not None and not isinstance(self.unique, (str, bool)):
            raise TypeError(
                f"unique is a string, or True for 'same arguments', not {self.unique!r}; "
                "write several arguments of a job as args=[...]"
            )
        if self.priority is not None and not isinstance(self.priority, str):
            raise TypeError(
                f"priority is PRIORITY_LOW, PRIORITY_HIGH or None, not {self.priority!r}; "
                "write several arguments of a job as args=[...]"
            )
        if self.priority not in _PRIORITIES:
            raise ValueError(
                f"priority is PRIORITY_LOW ('LOW'), PRIORITY_HIGH ('HIGH') or None, "
                f"not {self.priority!r}"
            )
        _check_number("timeout", self.timeout, (int, float), "a number of seconds")
        _check_number("max_retries", self.max_retries, int, "a whole number")
        if not isinstance(self.run_after, (datetime.datetime, datetime.timedelta, type(None))):
            raise TypeError(f"run_after is a datetime or a timedelta, not {self.run_after!r}")
        if not isinstance(self.on_commit, (bool, str, type(None))):
            raise TypeError(f"on_commit is True or a database's alias, not {self.on_commit!r}")
        if self.on_commit_failure not in (None, *ON_COMMIT_FAILURE):
            raise ValueError(
                f"on_commit_failure is 'log' or 'raise', not {self.on_commit_failure!r}"
            )

    def updated(self, **changes: Any) -> Options:
        """Return a copy with the changes that are not None; TypeError for an unknown option."""
        changes = {name: value for name, value in changes.items() if value is not None}
        if not changes:
            return self
        known = vars(self)
        if unknown := [name for name in changes if name not in known]:
            close = difflib.get_close_matches(unknown[0], known, n=1)
            raise TypeError(
                f"{unknown[0]!r} is not an option; "
                + (f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}")
            )
        if changes.get("unique") == "-":  # libgearman's way to say it
            changes["unique"] = True
        return replace(self, **changes)

    def over(self, other: Options) -> Options:
        """Return these options, and the other's where these have the default."""
        return self if other == DEFAULT else other.updated(**vars(self))

    def check_foreground(self) -> None:
        """Raise ValueError for what only a background job can do."""
        for name in ("run_after", "on_commit", "on_commit_failure"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} is for background jobs, because nobody could wait for the result: "
                    "use do_background, or background=True"
                )

    @property
    def delivery(self) -> tuple[Any, ...]:
        """What one submission of many jobs can have only once."""
        return self.on_commit, self.on_commit_failure, self.max_retries, self.timeout

    @property
    def queue_priority(self) -> Priority:
        return _PRIORITIES[self.priority]

    def run_at(self) -> float | None:
        """Return when the job is to run, in seconds since the epoch, or None for at once."""
        if self.run_after is None:
            return None
        if self.priority is not None:
            raise ValueError(
                "run_after and priority together: Gearman's delayed jobs have no priority"
            )
        when, now = self.run_after, timezone.now()
        try:
            if isinstance(when, datetime.timedelta):
                when = now + when
            elif timezone.is_naive(when) and timezone.is_aware(now):
                when = timezone.make_aware(when)
            return when.timestamp()
        except (OverflowError, ValueError) as error:
            raise ValueError(f"run_after={self.run_after!r}: {error}") from error


def _check_number(name: str, value: float | None, kinds: Any, what: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name} is {what}, not {value!r}")
    if not value >= 0:  # this way round for NaN
        raise ValueError(f"{name} is {what}, 0 or more, not {value!r}")


#: Where nothing was said.
DEFAULT = Options()
