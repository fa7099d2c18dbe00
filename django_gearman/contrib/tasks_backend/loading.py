"""Tasks by their paths. Only a task is ever called, and only by its own path."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from inspect import iscoroutinefunction
from typing import Any, NamedTuple

from django.core.exceptions import SuspiciousOperation
from django.utils.dateparse import parse_datetime
from django.utils.module_loading import import_string

from ...utils.text import quoted
from .compat import InvalidTask, Task
from .policy import Policy, declared_policy

_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


class Plan(NamedTuple):
    """A loaded task, and the common properties of its runs."""

    path: str
    task: Task[..., Any]
    backend: type
    policy: Policy
    is_async: bool
    declared: Task[..., Any]

    def is_current(self) -> bool:
        """Return True if the path still leads to this task."""
        module, _, name = self.path.rpartition(".")
        return getattr(sys.modules.get(module), name, None) is self.declared


def plan_of(alias: str, queue: str, header: Mapping[str, Any]) -> Plan:
    """Load the task that a workload names; raise the errors of `load_task`."""
    task = load_task(alias, queue, header)
    backend: Any = task.get_backend()
    policy = declared_policy(task).over(backend.default_policy)
    path = task.module_path
    is_async = iscoroutinefunction(task.func)
    return Plan(path, task, type(backend), policy, is_async, import_string(path))


def load_task(alias: str, queue: str, header: Mapping[str, Any]) -> Task[..., Any]:
    """
    Return the task that a workload names, with the options that it was enqueued with.

    Raises SuspiciousOperation if the path leads to anything but a task, ImportError if it leads to
    nothing, and InvalidTask if the backend would not accept the task.
    """
    path = header.get("task")
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise SuspiciousOperation(f"{quoted(path)} is not the path of a task")
    meant = header.get("backend"), header.get("queue_name")
    if meant != (alias, queue):
        raise SuspiciousOperation(
            f"task {path} was enqueued for TASKS[{quoted(meant[0])}], queue {quoted(meant[1])}, but "
            f"arrived at TASKS[{alias!r}], queue {queue!r}"
        )
    if not isinstance(header.get("priority"), int):
        raise InvalidTask(
            f"priority of the task is {quoted(header.get('priority'))}, not a number."
        )
    try:
        found = import_string(path)
    except Exception as error:
        raise ImportError(f"task {path} cannot be imported: {error!r}") from error
    if not isinstance(found, Task):
        raise SuspiciousOperation(
            f"{path} is not a task, so it is not called: declare it with @task"
        )
    if found.module_path != path:
        raise SuspiciousOperation(
            f"{path} leads to the task {found.module_path}, which is run by that name only"
        )
    return _with_options(found, alias, header)


def _with_options(task: Task[..., Any], alias: str, header: Mapping[str, Any]) -> Task[..., Any]:
    queue, priority, run_after = (
        header.get("queue_name"),
        header.get("priority"),
        header.get("run_after"),
    )
    if (queue, priority, run_after, alias) == (task.queue_name, task.priority, None, task.backend):
        return task  # validated when it was declared
    when = None
    if run_after is not None and (when := time_of(run_after)) is None:
        raise InvalidTask(f"run_after of the task is {quoted(run_after)}, which is not a time.")
    return task.using(queue_name=queue, priority=priority, run_after=when, backend=alias)


def time_of(value: object) -> datetime.datetime | None:
    """Return a time in ISO 8601, or None for anything else."""
    with suppress(ValueError):
        return parse_datetime(value) if isinstance(value, str) else None
    return None
