"""Options of a submission: the arguments of `using()` and their checks."""

from __future__ import annotations

import datetime
import difflib
import warnings
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from django.utils import timezone

from ..conf import ON_COMMIT_FAILURE
from ..protocol.messages import Priority
from ..serializers import Serializer
from ..utils.numbers import check_number
from ..utils.text import quoted

PRIORITY_NONE: Final = None
PRIORITY_LOW: Final = "LOW"
PRIORITY_HIGH: Final = "HIGH"

PriorityName = Literal["LOW", "HIGH"]

_PRIORITIES = {
    PRIORITY_NONE: Priority.NORMAL,
    PRIORITY_LOW: Priority.LOW,
    PRIORITY_HIGH: Priority.HIGH,
}


@dataclass(frozen=True)
class Options:
    """
    Options of a submission; None is the default of each.

    `priority` is PRIORITY_LOW or PRIORITY_HIGH. `unique` is a string, or True for "the same job
    with the same arguments": equal ones share one job. `wait` is the number of seconds to wait for
    a result. `run_after` delays a background job: a timedelta, or a datetime (a naive one is in the
    current time zone). `on_commit` holds a background job back until the transaction commits: True,
    or the alias of a database. `on_commit_failure` is "log" (the default) or "raise", if the job
    cannot be submitted at that time. `serializer` is for jobs of other programs; your own jobs
    declare theirs. `resubmit` is the number of times to submit again when a connection is lost,
    which may run the job more than once.
    """

    priority: str | None = None
    unique: str | bool | None = None
    wait: float | None = None
    run_after: datetime.datetime | datetime.timedelta | None = None
    on_commit: bool | str | None = None
    serializer: str | Serializer | None = None
    resubmit: int | None = None
    on_commit_failure: str | None = None

    def __post_init__(self) -> None:
        if self.unique is not None and not isinstance(self.unique, (str, bool)):
            raise TypeError(
                f"unique is a string, or True for 'same arguments', not {quoted(self.unique)}; "
                "write several arguments of a job as args=[...]"
            )
        if self.priority is not None and not isinstance(self.priority, str):
            raise TypeError(
                f"priority is PRIORITY_LOW, PRIORITY_HIGH or None, not {quoted(self.priority)}; "
                "write several arguments of a job as args=[...]"
            )
        if self.priority not in _PRIORITIES:
            raise ValueError(
                f"priority is PRIORITY_LOW ('LOW'), PRIORITY_HIGH ('HIGH') or None, "
                f"not {quoted(self.priority)}"
            )
        check_seconds_to_wait("wait", self.wait)
        check_times("resubmit", self.resubmit)
        if not isinstance(self.run_after, (datetime.datetime, datetime.timedelta, type(None))):
            raise TypeError(f"run_after is a datetime or a timedelta, not {quoted(self.run_after)}")
        if not isinstance(self.on_commit, (bool, str, type(None))):
            raise TypeError(
                f"on_commit is True or a database's alias, not {quoted(self.on_commit)}"
            )
        if self.on_commit_failure not in (None, *ON_COMMIT_FAILURE):
            raise ValueError(
                f"on_commit_failure is 'log' or 'raise', not {quoted(self.on_commit_failure)}"
            )

    def updated(self, **changes: Any) -> Options:
        """
        Return a copy with the changes that are not None; raise TypeError for an unknown option.
        """
        known = vars(self)
        if unknown := [name for name in changes if name not in known]:
            raise TypeError(_unknown(unknown[0], changes[unknown[0]], list(known)))
        changes = {name: value for name, value in changes.items() if value is not None}
        if not changes:
            return self
        if changes.get("unique") == "-":  # libgearman's value for it
            changes["unique"] = True
        return replace(self, **changes)

    def over(self, other: Options) -> Options:
        """Return these options, with the other's values in place of defaults."""
        return self if other == DEFAULT else other.updated(**vars(self))

    def check_foreground(self, waits: bool = True) -> None:
        """Raise ValueError for options without effect on a foreground job."""
        if self.wait is not None and not waits:
            raise ValueError(
                f"wait={self.wait:g} has no effect with wait_until_complete=False: pass the seconds to "
                "request.wait()"
            )
        for name in ("run_after", "on_commit", "on_commit_failure"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} is for background jobs, because no caller could wait for the result: "
                    "use do_background, or background=True"
                )

    def check_background(self, is_stored: bool = False) -> None:
        """Raise ValueError for options without effect on a background job."""
        if self.wait is not None and not is_stored:
            raise ValueError(
                f"wait={self.wait:g} has no effect on a background job, because no caller waits for its "
                "result: leave it out, or use do"
            )

    @property
    def delivery(self) -> tuple[Any, ...]:
        """The options that apply to a submission of many jobs as a whole."""
        return self.on_commit, self.on_commit_failure, self.resubmit, self.wait

    @property
    def changes_jobs(self) -> bool:
        """True if options change the jobs themselves, as the job server sees them."""
        return self.unique is not None or self.priority is not None or self.run_after is not None

    @property
    def queue_priority(self) -> Priority:
        return _PRIORITIES[self.priority]

    def run_at(self) -> float | None:
        """Return the time to run the job, in seconds since the epoch, or None for at once."""
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
            raise ValueError(f"run_after={quoted(self.run_after)}: {error}") from error


#: Former names of the options of `using()`, which still work.
OLD_NAMES = {"timeout": "wait", "max_retries": "resubmit"}
#: Names of these options in other libraries.
_MEANT = {
    "poll_timeout": "wait",
    "countdown": "run_after",
    "delay": "run_after",
    "eta": "run_after",
    "uniq": "unique",
}
_DECLARED = (
    *("queue", "name", "takes_context", "retries", "backoff", "retry_on"),
    *("store_result", "result_ttl", "sensitive"),
)


def with_new_names(options: dict[str, Any], stacklevel: int) -> dict[str, Any]:
    """
    Return the arguments of `using()` by their present names; an old name is a DeprecationWarning.
    """
    if not OLD_NAMES.keys() & options.keys():
        return options
    renamed = dict(options)
    for old, new in OLD_NAMES.items():
        if old not in renamed:
            continue
        if new in renamed:
            raise TypeError(f"{old} is the old name of {new}; pass {new} only")
        text = f"using({old}=...) is now using({new}=...)"
        if old == "timeout":
            text += "; the time limit of a run is declared: @gearman_job(timeout=...)"
        warnings.warn(text, DeprecationWarning, stacklevel=stacklevel + 1)
        renamed[new] = renamed.pop(old)
    return renamed


def _unknown(name: str, value: object, known: list[str]) -> str:
    message = f"{name!r} is not an option of using()"
    if name in _DECLARED:
        message += f"; it is declared on the job: @gearman_job({name}={value!r})"
        if name == "retries":
            message += ". To submit again when a connection is lost: using(resubmit=...)"
        return message
    close = [_MEANT[name]] if name in _MEANT else difflib.get_close_matches(name, known, n=1)
    return f"{message}; " + (
        f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
    )


def check_seconds_to_wait(name: str, value: float | None) -> None:
    """Raise TypeError or ValueError unless the value is a number of seconds to wait."""
    _check_count(value, f"{name} is a number of seconds", (int, float))


def check_times(name: str, value: int | None) -> None:
    """Raise TypeError or ValueError unless the value is a number of times."""
    _check_count(value, f"{name} is a whole number", int)


def _check_count(value: float | None, rule: str, kinds: Any) -> None:
    if value is None:
        return
    check_number(value, rule, kinds)
    if not value >= 0:  # this way round for NaN
        raise ValueError(f"{rule}, 0 or more, not {quoted(value)}")


#: The default options.
DEFAULT = Options()
