"""The results of tasks in the tables of `django_gearman.contrib.store`, if that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import router

from ...serializers import Call
from .compat import Task, TaskError, TaskResult, TaskResultDoesNotExist, TaskResultStatus
from .loading import load_task
from .serializer import SERIALIZER

if TYPE_CHECKING:
    from ..store.models import JobRecord

STORE = "django_gearman.contrib.store"

_STATUSES = {
    "READY": TaskResultStatus.READY,
    "RUNNING": TaskResultStatus.RUNNING,
    "SUCCESSFUL": TaskResultStatus.SUCCESSFUL,
    "FAILED": TaskResultStatus.FAILED,
    "CANCELLED": TaskResultStatus.FAILED,
}


def is_stored() -> bool:
    """Return True if results are stored."""
    return apps.is_installed(STORE)


def stored_result(alias: str, result_id: str) -> TaskResult[Any]:
    """
    Return the result with this id, from its record.

    Raises TaskResultDoesNotExist for an unknown id, or one of another backend, and the errors of
    `load_task` if the code of the task is gone.
    """
    record = _record(alias, result_id)
    if record is None:
        raise TaskResultDoesNotExist(result_id)
    call = Call() if record.workload is None else SERIALIZER.loads_call(bytes(record.workload))
    header = {
        "task": record.name,
        "backend": alias,
        "queue_name": record.queue,
        "priority": record.priority,
        "run_after": call.header.get("run_after"),
    }
    return result_of(record, load_task(alias, record.queue, header), call)


def recorded_result(
    alias: str, result_id: str, task: Task[..., Any], call: Call
) -> TaskResult[Any] | None:
    """Return the result of a call of a task from its record, None without one."""
    if not is_stored():
        return None
    record = _record(alias, result_id)
    return None if record is None else result_of(record, task, call)


def result_of(record: JobRecord, task: Task[..., Any], call: Call) -> TaskResult[Any]:
    """Return the result of a task that has a record."""
    result: TaskResult[Any] = TaskResult(
        task=task,
        id=record.id,
        status=_STATUSES[record.status],
        enqueued_at=record.enqueued_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        last_attempted_at=record.last_attempted_at,
        args=list(call.args),
        kwargs=dict(call.kwargs),
        backend=record.backend,
        errors=[task_error(entry) for entry in record.errors],
        worker_ids=list(record.worker_ids),
    )
    if record.result is not None:
        value = SERIALIZER.loads_result(bytes(record.result))
        object.__setattr__(result, "_return_value", value)
    return result


def task_error(entry: dict[str, Any]) -> TaskError:
    """Return an entry of a record's errors as Django has it."""
    kind = entry["exception"]
    path = kind if "." in kind else f"builtins.{kind}"
    return TaskError(exception_class_path=path, traceback=entry["traceback"])


def _record(alias: str, result_id: object) -> JobRecord | None:
    from ..store.models import JobRecord  # noqa: PLC0415 - only if the app is installed
    from ..store.redaction import storable  # noqa: PLC0415

    rows = JobRecord.objects.using(router.db_for_write(JobRecord))
    return rows.filter(pk=storable(str(result_id)), backend=alias).first()
