"""The results of tasks on a transport inside this process, for tests."""

from __future__ import annotations

import copy
import threading
from typing import Any
from weakref import WeakKeyDictionary

from django.core.signals import setting_changed

from ... import environment
from .compat import TaskResult

_MOST = 10_000  # results that are kept: a process with threads may run tasks for long


class LocalResults:
    """The results of one backend, the newest last; the worker changes them in place."""

    def __init__(self) -> None:
        #: The exceptions of failed tasks, while `run_all` is interested.
        self.raised: list[BaseException] | None = None
        self._by_id: dict[str, TaskResult[Any]] = {}
        self._cleared: set[str] = set()
        self._lock = threading.Lock()

    def add(self, result: TaskResult[Any]) -> None:
        with self._lock:
            self._by_id[result.id] = result
            while len(self._by_id) > _MOST:
                del self._by_id[next(iter(self._by_id))]

    def drop(self, result_id: str) -> None:
        with self._lock:
            self._by_id.pop(result_id, None)

    def find(self, result_id: str) -> TaskResult[Any] | None:
        return self._by_id.get(result_id)

    def copies(self) -> list[TaskResult[Any]]:
        with self._lock:
            return [copy_of(result) for result in self._by_id.values()]

    def clear(self) -> None:
        """Forget all results; the tasks that are still queued will not run."""
        with self._lock:
            self._cleared.update(self._by_id)
            self._by_id.clear()

    def is_cleared(self, result_id: str) -> bool:
        return result_id in self._cleared

    def failed(self, error: BaseException) -> None:
        if self.raised is not None:
            self.raised.append(error)


def copy_of(result: TaskResult[Any]) -> TaskResult[Any]:
    """Return a copy that later runs do not change."""
    return copy.deepcopy(result, {id(result.task): result.task})


# Each test has its own environment, so no test sees the results of another one.
_kept: WeakKeyDictionary[environment.Environment, dict[str, LocalResults]] = WeakKeyDictionary()
_lock = threading.Lock()


def local_results(alias: str) -> LocalResults:
    """Return the results of the backend with this alias."""
    by_alias = _kept.get(environment.current())
    results = None if by_alias is None else by_alias.get(alias)
    if results is None:
        with _lock:
            results = _kept.setdefault(environment.current(), {}).setdefault(alias, LocalResults())
    return results


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "TASKS":  # Django forgets the backends, with the results of its own ones
        with _lock:
            _kept.pop(environment.current(), None)


setting_changed.connect(_forget, dispatch_uid=__name__)
