"""The queues of TASKS: each is one job on the job server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.signals import setting_changed

from ...exceptions import SerializationError
from ...jobs.definition import JobDefinition
from ...jobs.names import check_queue
from ...protocol.names import check_name
from ...serializers import Call
from ...worker.runs import Ending, RunAttributes
from .compat import Task
from .loading import Plan, plan_of
from .running import TaskRun, fail_unread
from .serializer import SERIALIZER
from .stored import is_stored

PREFIX = "django.tasks"
_MOST_PLANS = 1000


def _is_plain(key: tuple[Any, ...]) -> bool:
    path, priority, queue = key
    return type(path) is str and type(priority) is int and type(queue) is str


def _not_called(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("the tasks of a queue are run by their own definitions")


class TaskQueue(JobDefinition):
    """All tasks of one queue of a backend, as one job: so priority counts among them."""

    varies = True

    def __init__(self, alias: str, queue: str) -> None:
        super().__init__(
            _not_called,
            queue=queue,
            name=f"{PREFIX}:{alias}:{queue}",
            serializer=SERIALIZER,
            store_result=is_stored(),
        )
        self.alias = alias
        self._plans: dict[tuple[Any, ...], Plan] = {}

    @property
    def location(self) -> str:
        return f"TASKS[{self.alias!r}]"

    def check_call(self, call: Call) -> Call:
        return call

    def for_call(self, call: Call, run: Any = None) -> tuple[JobDefinition, Call]:
        if not call.header:
            raise SerializationError("the workload names no task")
        return TaskRun(self.alias, self._plan_of(call.header), call, run), call

    def _plan_of(self, header: Mapping[str, Any]) -> Plan:
        """Return the plan of a workload, which is usually known."""
        key = header.get("task"), header.get("priority"), header.get("queue_name")
        is_usual = header.get("run_after") is None and header.get("backend") == self.alias
        plan = self._plans.get(key) if is_usual and _is_plain(key) else None
        if plan is None or not plan.is_current():
            plan = plan_of(self.alias, self.queue, header)
            if is_usual and len(self._plans) < _MOST_PLANS:
                self._plans[key] = plan
        return plan

    def forget(self) -> None:
        """Load the tasks anew, as their backend has changed."""
        self._plans.clear()

    def on_ended(self, run: RunAttributes, ending: Ending) -> None:
        fail_unread(self.alias, run, ending)


def header_of(task: Task[..., Any], alias: str) -> dict[str, Any]:
    """Return the fields that the workloads of all calls of a task have."""
    return {
        "task": task.module_path,
        "priority": task.priority,
        "queue_name": task.queue_name,
        "backend": alias,
        "run_after": None if task.run_after is None else task.run_after.isoformat(),
    }


_made: dict[str, TaskQueue] = {}


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "TASKS":
        for queue in list(_made.values()):
            queue.forget()


setting_changed.connect(_forget, dispatch_uid=__name__)


def check_queue_name(alias: str, queue: str) -> None:
    """Raise ValueError for a name that cannot be that of a queue on the job server."""
    check_queue(queue)
    check_name(f"{PREFIX}:{alias}:{queue}", "job name")


def task_queue(alias: str, queue: str) -> TaskQueue:
    """Return the job of a queue; raise ValueError for a name that cannot be one on the job server."""
    name = f"{PREFIX}:{alias}:{queue}"
    found = _made.get(name)
    if found is None:
        check_queue_name(alias, queue)
        found = _made.setdefault(name, TaskQueue(alias, queue))
    return found


def known_queue(name: str) -> TaskQueue | None:
    """Return the queue with this job name, if this process has used it."""
    return _made.get(name)


def used_queues(alias: str) -> list[TaskQueue]:
    """Return the queues of a backend that this process has used."""
    return [queue for queue in list(_made.values()) if queue.alias == alias]
