"""The policy of a task: how often it is tried, when it is tried again, and its time limit."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from django.utils.module_loading import import_string

from ...jobs.retries import RetryPolicy, exponential, validate_delay
from ...utils.numbers import check_number, check_seconds
from ...utils.text import quoted
from .compat import TaskResult

#: A function from the exception and the result of a failed attempt to the seconds until the next
#: attempt; None if there is none.
TaskBackoff: TypeAlias = (
    "Callable[[BaseException, TaskResult[Any]], float | datetime.timedelta | None]"
)

_MOST_ATTEMPTS = 2**31 - 1
#: The names of the policy in OPTIONS.
OPTIONS = ("MAX_ATTEMPTS", "BACKOFF", "TIMEOUT")


class Policy(NamedTuple):
    """
    The policy of a task; None where neither the task nor OPTIONS says anything.

    `max_attempts` counts the first one. `timeout` is in seconds.
    """

    max_attempts: int | None = None
    backoff: TaskBackoff | None = None
    timeout: float | None = None

    def over(self, default: Policy) -> Policy:
        """Return this policy, with the other's values where it has none."""
        return Policy(
            default.max_attempts if self.max_attempts is None else self.max_attempts,
            default.backoff if self.backoff is None else self.backoff,
            default.timeout if self.timeout is None else self.timeout,
        )


NO_POLICY = Policy()


def declared_policy(task: Any) -> Policy:
    """Return the policy that a task declares; a task of another class declares none."""
    return Policy(
        getattr(task, "max_attempts", None),
        getattr(task, "backoff", None),
        getattr(task, "timeout", None),
    )


def check_policy(policy: Policy, names: tuple[str, str, str], default: Policy = NO_POLICY) -> None:
    """
    Raise TypeError or ValueError for wrong values; `names` are the names of the values for the message.
    """
    attempts, backoff, timeout = policy
    attempts_name, backoff_name, timeout_name = names
    if attempts is not None:
        rule = f"{attempts_name} is a whole number of attempts above 0"
        check_number(attempts, rule, int)
        if not 1 <= attempts <= _MOST_ATTEMPTS:
            raise ValueError(f"{rule}, not {quoted(attempts)}")
    if backoff is not None:
        if not callable(backoff):
            raise TypeError(
                f"{backoff_name} is a function of the exception and the task's result, which returns "
                f"seconds or None, not {quoted(backoff)}"
            )
        if policy.over(default).max_attempts is None:
            raise ValueError(f"{backoff_name} has no effect without {attempts_name}")
    if timeout is not None:
        check_seconds(timeout, timeout_name)


def policy_of_options(options: Mapping[str, Any]) -> Policy:
    """
    Return the default policy in the OPTIONS of a backend; raise TypeError, ValueError or
    ImportError for wrong ones.
    """
    if not any(name in options for name in OPTIONS):
        return NO_POLICY
    attempts, backoff, timeout = (options.get(name) for name in OPTIONS)
    if isinstance(backoff, str):
        backoff = import_string(backoff)
    policy = Policy(attempts, backoff, timeout)
    check_policy(policy, OPTIONS)
    return policy


@dataclass(frozen=True)
class TaskRetries(RetryPolicy):
    """The retries of one run of a task; `failed` returns its result with the exception."""

    of_task: TaskBackoff | None = None
    failed: Callable[[BaseException], TaskResult[Any]] = field(kw_only=True)

    @classmethod
    def of(cls, policy: Policy, failed: Callable[[BaseException], TaskResult[Any]]) -> TaskRetries:
        retries = None if policy.max_attempts is None else policy.max_attempts - 1
        return cls(retries, _default_backoff, (Exception,), policy.backoff, failed=failed)

    def delay_after(self, attempt: int, error: BaseException | None = None) -> float | None:
        if self.of_task is None or error is None:
            return super().delay_after(attempt, error)
        seconds = self.of_task(error, self.failed(error))
        return None if seconds is None else validate_delay(seconds, "what backoff returns")


_default_backoff = exponential()
