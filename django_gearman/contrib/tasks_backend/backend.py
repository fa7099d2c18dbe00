"""GearmanTaskBackend, the backend for `TASKS`."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS, transaction
from django.utils import timezone

from ... import conf
from ...backends import get_backend
from ...client.builder import Preparation
from ...client.delivery import deliver
from ...client.described import JOB_PENDING
from ...client.request import JobRequest
from ...exceptions import BackendError
from ...jobs.options import DEFAULT, PRIORITY_HIGH, PRIORITY_LOW, Options
from ...serializers import Call
from ...utils.text import quoted
from .checks import check_backend
from .compat import (
    BaseTaskBackend,
    InvalidTask,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
)
from .declaring import GearmanTask, validate_policy
from .in_tests import LocalTasks
from .local import copy_of, local_results
from .policy import Policy, policy_of_options
from .queues import TaskQueue, check_queue_name, header_of, task_queue, used_queues
from .serializer import as_json
from .stored import is_stored, stored_result

_HIGH, _LOW = DEFAULT.updated(priority=PRIORITY_HIGH), DEFAULT.updated(priority=PRIORITY_LOW)
_FLAT = {str, int, bool, float, type(None)}
_MOST_KNOWN = 1000  # tasks: `using()` makes new ones without end


class _Known(NamedTuple):
    """A valid task, and the common properties of its calls."""

    task: Task[..., Any]
    queue: TaskQueue
    options: Options
    header: dict[str, Any]


class GearmanTaskBackend(LocalTasks, BaseTaskBackend):
    """
    A backend of `TASKS` that runs tasks on Gearman; `gearman_worker` serves them.

    A priority above 0 is Gearman's HIGH, and one below 0 is LOW. Results are kept if
    `django_gearman.contrib.store` is installed, and on transports inside this process.

    OPTIONS has MAX_ATTEMPTS, BACKOFF and TIMEOUT for tasks that declare none. With OUTBOX (True, or
    the alias of a database), a task is kept in the database until a job server has it.
    """

    task_class = GearmanTask
    supports_defer = True
    supports_async_task = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        options = params.get("OPTIONS", {})
        super().__init__(alias, {**params, "OPTIONS": options if isinstance(options, dict) else {}})
        self.params = params
        #: True, or the alias of a database, if tasks go through the outbox.
        self.outbox: bool | str = self.options.get("OUTBOX", False)
        # By the identities of the tasks. Django makes another object when the settings change.
        self._known: dict[int, _Known] = {}

    @property
    def supports_get_result(self) -> bool:  # type: ignore[override]
        """True if results can be read."""
        return is_stored() or get_backend().local

    @cached_property
    def default_policy(self) -> Policy:
        """The policy in OPTIONS; raises TypeError, ValueError or ImportError if it is wrong."""
        return policy_of_options(self.options)

    def queue_jobs(self) -> list[TaskQueue]:
        """Return the jobs that serve the queues, those that are known for QUEUES: []."""
        if not self.queues:
            return used_queues(self.alias)
        return [task_queue(self.alias, queue) for queue in sorted(self.queues)]

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        return check_backend(self.alias, self.params)

    # Enqueuing

    def validate_task(self, task: Task[..., Any]) -> None:
        """Raise InvalidTask unless this backend can run the task."""
        when, priority = task.run_after, task.priority
        if when is not None and not isinstance(when, datetime.datetime):
            raise InvalidTask(
                f"run_after must be an aware datetime, like timezone.now() + timedelta(minutes=5), "
                f"not {quoted(when)}."
            )
        if not isinstance(priority, (int, float)) or priority != priority:
            raise InvalidTask("priority must be a whole number between -100 and 100.")
        if not isinstance(task.queue_name, str):
            raise InvalidTask(f"Queue {quoted(task.queue_name)} is not valid for backend.")
        super().validate_task(task)
        validate_policy(task, self.default_policy)
        try:
            check_queue_name(self.alias, task.queue_name)
        except ValueError as error:
            raise InvalidTask(
                f"Queue {task.queue_name!r} is not valid for backend: {error}."
            ) from None

    def enqueue(
        self, task: Task[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> TaskResult[Any]:
        """
        Queue a task, and return its result: READY, or final if it has run in this process.

        Raises InvalidTask for a wrong task, TypeError or ValueError for arguments that are not
        JSON, and ServerUnavailable, SubmitUncertain or another BackendError if no job server has
        it.
        """
        known = self._known.get(id(task))
        if known is None or known.task is not task:
            known = self._know(task)
        enqueued_at = timezone.now()
        result: TaskResult[Any] = TaskResult(
            task=task,
            id="",
            status=TaskResultStatus.READY,
            enqueued_at=enqueued_at,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=list(args),
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        if not _FLAT.issuperset(map(type, (*result.args, *result.kwargs.values()))):
            # Make the arguments those that the worker gets: JSON has only text as keys.
            object.__setattr__(result, "args", as_json(result.args))
            object.__setattr__(result, "kwargs", as_json(result.kwargs))
        header = {**known.header, "enqueued_at": enqueued_at.isoformat()}
        preparation = Preparation(known.options, background=True)
        call = Call(result.args, result.kwargs, header=header)
        request = preparation.request(known.queue, call)
        object.__setattr__(result, "id", request.id)
        if get_backend(None, preparation.settings.transport).local:
            return self._enqueue_here(result, request, preparation)
        self._send(request, preparation)
        task_enqueued.send_robust(type(self), task_result=result)
        return result

    def _know(self, task: Task[..., Any]) -> _Known:
        """Validate a task, and return the common properties of its calls."""
        self.validate_task(task)
        check_importable(task)
        queue = task_queue(self.alias, task.queue_name)
        options = _options_of(task)
        if self.outbox:
            options = options.updated(on_commit=self.outbox)
        known = _Known(task, queue, options, header_of(task, self.alias))
        if task.run_after is None and len(self._known) < _MOST_KNOWN:
            self._known[id(task)] = known
        return known

    def _send(self, request: JobRequest[Any], preparation: Preparation) -> None:
        settings = preparation.settings
        if self.outbox or settings.outbox is not False:
            # The record and the row of the outbox are written in one transaction.
            with transaction.atomic(using=self._outbox_alias()):
                deliver([request], None, settings, wait=False, durable=True)
        else:
            deliver([request], None, settings, wait=False)
        if isinstance(request.exception, BackendError):
            raise request.exception

    def _outbox_alias(self) -> str:
        own, general = self.outbox, conf.outbox()
        named = [each for each in (own, general) if isinstance(each, str)]
        return named[0] if named else DEFAULT_DB_ALIAS

    def _enqueue_here(
        self, result: TaskResult[Any], request: JobRequest[Any], preparation: Preparation
    ) -> TaskResult[Any]:
        """Queue a task on a transport inside this process, which may run it at once."""
        results = local_results(self.alias)
        results.add(result)
        task_enqueued.send_robust(type(self), task_result=result)
        try:
            self._send(request, preparation)
        except BaseException:
            if not request.handle and request.state != JOB_PENDING:
                results.drop(result.id)
            raise
        return copy_of(result)

    # Results

    def get_result(self, result_id: str) -> TaskResult[Any]:
        """
        Return the result with this id.

        Raises TaskResultDoesNotExist for an unknown id, and NotImplementedError if results are not
        kept.
        """
        found = local_results(self.alias).find(result_id)
        if found is not None:
            return copy_of(found)
        if is_stored():
            return stored_result(self.alias, result_id)
        if get_backend().local:
            raise TaskResultDoesNotExist(result_id)
        return super().get_result(result_id)


def check_importable(task: Task[..., Any]) -> None:
    """Raise InvalidTask for a task that no worker could find by its path."""
    func = task.func
    if func.__module__ == "__main__" and not get_backend().local:
        raise InvalidTask(
            f"a worker finds no task at {task.module_path}: it runs another program. Move the task to a "
            "module, and import it from there."
        )
    found = getattr(sys.modules.get(func.__module__), func.__qualname__, None)
    if not isinstance(found, Task) or found.func.__qualname__ != func.__qualname__:
        raise InvalidTask(
            f"a worker finds no task at {task.module_path}: decorate the function itself with @task, "
            "and keep its name."
        )


def _options_of(task: Task[..., Any]) -> Options:
    """Return the options of the job; a job that waits for its time has no priority."""
    if task.run_after is not None and task.run_after.timestamp() > time.time():
        return DEFAULT.updated(run_after=task.run_after)
    if task.priority:
        return _HIGH if task.priority > 0 else _LOW
    return DEFAULT
