"""Django's backends for tests, for tasks that declare a policy."""

from __future__ import annotations

from typing import Any

from .compat import DummyBackend, ImmediateBackend, Task
from .declaring import GearmanTask, validate_policy


class GearmanDummyBackend(DummyBackend):
    """Django's DummyBackend, which also takes max_attempts, backoff and timeout; it runs no task."""

    task_class = GearmanTask

    def validate_task(self, task: Task[..., Any]) -> None:
        super().validate_task(task)
        validate_policy(task)


class GearmanImmediateBackend(ImmediateBackend):
    """
    Django's ImmediateBackend, which also takes max_attempts, backoff and timeout.

    It runs each task once, without time limit.
    """

    task_class = GearmanTask

    def validate_task(self, task: Task[..., Any]) -> None:
        super().validate_task(task)
        validate_policy(task)
