"""The tasks that declare a policy, and a decorator that takes it on every Django."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .compat import InvalidTask, Task, task_backends
from .policy import NO_POLICY, Policy, TaskBackoff, check_policy, declared_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class GearmanTask(Task):  # type: ignore[type-arg] # Django's own takes no parameters
    """
    A task with a policy.

    The task is run up to `max_attempts` times (1 or more) if it raises an exception or its worker
    process dies. `backoff` returns the seconds until the next attempt; it gets the exception and
    the `TaskResult`, and returns None to give up. `timeout` is the time limit of an attempt in
    seconds. `using()` cannot change these.
    """

    max_attempts: int | None = None
    backoff: TaskBackoff | None = None
    timeout: float | None = None


def validate_policy(task: Any, default: Policy = NO_POLICY) -> None:
    """Raise InvalidTask if the policy of a task is wrong."""
    policy = declared_policy(task)
    if policy == NO_POLICY:
        return
    try:
        check_policy(policy, ("max_attempts", "backoff", "timeout"), default)
    except (TypeError, ValueError) as error:
        raise InvalidTask(f"{error}.") from None


def task(
    function: Callable[..., Any] | None = None,
    *,
    priority: int = 0,
    queue_name: str = "default",
    backend: str = "default",
    takes_context: bool = False,
    **policy: Any,
) -> Any:
    """
    Declare a function as a task: Django's `@task`, which also takes a policy on Django 6.0.

    `policy` is max_attempts, backoff and timeout. Raises InvalidTask for a task that the backend
    cannot run, and TypeError for an unknown argument.
    """
    if "run_after" in policy:
        raise TypeError(
            "run_after cannot be defined statically with the @task decorator. "
            "Use .using(run_after=...) to set it dynamically."
        )

    def declare(function: Callable[..., Any]) -> Task[..., Any]:
        return task_backends[backend].task_class(
            func=function,
            priority=priority,
            queue_name=queue_name,
            backend=backend,
            takes_context=takes_context,
            run_after=None,
            **policy,
        )

    return declare(function) if function is not None else declare
