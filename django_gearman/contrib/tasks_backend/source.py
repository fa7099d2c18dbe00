"""The queues of TASKS, for the registry of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.module_loading import import_string

from ...jobs.registry import registry
from .backend import GearmanTaskBackend
from .compat import task_backends
from .queues import PREFIX, TaskQueue, known_queue, task_queue


def gearman_backends() -> Iterator[GearmanTaskBackend]:
    """Yield the backends of TASKS that are of this class."""
    settings: Any = task_backends.settings
    for alias, params in settings.items():
        if _is_ours(params):
            backend: Any = task_backends[alias]
            yield backend


def _is_ours(params: Any) -> bool:
    try:
        backend_class = import_string(params["BACKEND"])
    except (ImportError, KeyError, TypeError):
        return False  # Django reports it
    return isinstance(backend_class, type) and issubclass(backend_class, GearmanTaskBackend)


class TaskQueues:
    """The jobs of all queues."""

    def find(self, name: str) -> TaskQueue | None:
        found = known_queue(name)  # while the backend enqueues
        prefix, _, rest = name.partition(":")
        if found is not None or prefix != PREFIX:
            return found
        for backend in gearman_backends():
            alias, _, queue = rest.rpartition(":")
            if alias == backend.alias and (not backend.queues or queue in backend.queues):
                return task_queue(alias, queue)
        return None

    def jobs(self) -> list[TaskQueue]:
        return [job for backend in gearman_backends() for job in backend.queue_jobs()]

    def jobs_of(self, queue: str) -> list[TaskQueue]:
        if queue == "*":
            return []
        return [task_queue(each.alias, queue) for each in gearman_backends() if not each.queues]


registry.sources.append(TaskQueues())
