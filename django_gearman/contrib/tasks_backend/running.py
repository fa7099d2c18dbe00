"""The run of a task by a worker."""

from __future__ import annotations

import inspect
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import ref

from django.utils import timezone

from ...jobs.definition import JobDefinition
from ...jobs.options import DEFAULT
from ...serializers import Call
from ...utils.records import format_error
from ...worker.reporting import send
from ...worker.runs import Ending, RunAttributes
from .compat import (
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_backends,
    task_finished,
    task_started,
)
from .loading import Plan, time_of
from .local import local_results
from .policy import TaskRetries
from .serializer import SERIALIZER, as_json
from .stored import recorded_result, task_error

if TYPE_CHECKING:
    from ..store.claims import Claim

_PLAIN = (str, int, bool, type(None))
_HOST = socket.gethostname()[:48]
_UNKNOWN_WORKER = "unknown"


class TaskRun(JobDefinition):
    """One run of a task, as the definition of the job that a worker runs."""

    takes_context = False
    is_late = False
    options = DEFAULT
    serializer = SERIALIZER
    store_result = True
    result_ttl = None
    sensitive = ()

    # It refers to its run only weakly, so that both are freed at once when the run has ended.
    def __init__(
        self, alias: str, plan: Plan, call: Call, run: RunAttributes | None = None
    ) -> None:
        # Not that of JobDefinition, which inspects the function's signature.
        self.task = plan.task
        self.alias = alias
        self.name = plan.path
        self.queue = plan.task.queue_name
        self.is_async = plan.is_async
        self.timeout = plan.policy.timeout
        self._plan = plan
        self._arrived = call
        self._run = None if run is None else ref(run)
        self._local = local_results(alias)
        self._result: TaskResult[Any] | None = None
        self._noted: BaseException | None = None
        self._has_started = False

    @property
    def func(self) -> Callable[..., Any]:  # type: ignore[override]
        return self._acall if self.is_async else self._call

    @property
    def retry_policy(self) -> TaskRetries:  # type: ignore[override]
        return TaskRetries.of(self._plan.policy, self._failed)

    @property
    def run(self) -> RunAttributes:
        run = None if self._run is None else self._run()
        if run is None:
            raise RuntimeError("the task is not run here")
        return run

    @property
    def signature(self) -> inspect.Signature:
        return _signature_of(self.task.func, self.task.takes_context)

    @property
    def columns(self) -> dict[str, Any]:  # type: ignore[override]
        return {
            "backend": self.alias,
            "priority": self.task.priority,
            "run_after": self.task.run_after,
            "enqueued_at": time_of(self._arrived.header.get("enqueued_at")),
        }

    @property
    def location(self) -> str:
        code = self.task.func.__code__
        return f"{self.name} ({code.co_filename}:{code.co_firstlineno})"

    # The call

    def _call(self, /, *args: Any, **kwargs: Any) -> Any:
        arguments = self._start(args)
        return None if arguments is None else _normalized(self.task.func(*arguments, **kwargs))

    async def _acall(self, /, *args: Any, **kwargs: Any) -> Any:
        arguments = self._start(args)
        if arguments is None:
            return None
        return _normalized(await self.task.func(*arguments, **kwargs))

    def _start(self, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Note that the task starts; return its positional arguments, None if it must not run."""
        run = self.run
        if self._local.is_cleared(run.id):
            return None
        claim: Claim | None = run.record
        result = self._result = self._result_of(run.id, run.attempt - 1)
        now = timezone.now()
        if claim is not None and claim.number:
            errors = [task_error(entry) for entry in claim.errors]
            _set(result, errors=errors, worker_ids=list(claim.worker_ids))
            _set(result, started_at=claim.started_at)
        else:
            result.worker_ids.append(worker_id())
        if result.started_at is None:
            object.__setattr__(result, "started_at", now)
        object.__setattr__(result, "status", TaskResultStatus.RUNNING)
        object.__setattr__(result, "last_attempted_at", now)
        self._has_started = True
        send(task_started, self._plan.backend, task_result=result)
        return (TaskContext(task_result=result), *args) if self.task.takes_context else args

    def _result_of(self, job_id: str, attempts: int) -> TaskResult[Any]:
        """Return the result after a number of attempts, as far as it is known here."""
        found = self._local.find(job_id)
        if found is not None:
            return found
        call = self._arrived
        return TaskResult(
            task=self.task,
            id=job_id,
            status=TaskResultStatus.READY,
            enqueued_at=time_of(call.header.get("enqueued_at")),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=list(call.args),
            kwargs=dict(call.kwargs),
            backend=self.alias,
            errors=[],
            worker_ids=[_UNKNOWN_WORKER] * attempts,
        )

    def _recorded(self) -> TaskResult[Any] | None:
        """Return the result of a task that was not called here, from its record, None without one."""
        run = self.run
        if self._local.find(run.id) is not None:
            return None
        return recorded_result(self.alias, run.id, self.task, self._arrived)

    def _unstarted(self) -> TaskResult[Any]:
        return self._result_of(self.run.id, self.run.attempt)

    # The ending

    def _failed(self, error: BaseException) -> TaskResult[Any]:
        """Note that this attempt has raised, and return the result with that."""
        if self._result is None:  # its process has died
            self._result = self._recorded() or self._unstarted()
        result = self._result
        if self._noted is not None and self._noted is not error:
            result.errors.pop()  # the later error has the earlier one as its context
        if self._noted is not error:
            result.errors.append(error_of(error))
            self._noted = error
        _set(result, status=TaskResultStatus.FAILED)
        return result

    def on_ended(self, run: RunAttributes, ending: Ending) -> None:
        if self._local.is_cleared(run.id):
            return
        error = ending.exception
        if self._result is None:  # it was not called: its process died, or a middleware answered
            self._result = self._recorded()
            self._noted = None if self._result is None else error  # it has the ending already
        result = self._result = self._result or self._unstarted()
        if error is not None:
            self._failed(error)
        if ending.handle:
            _set(result, status=TaskResultStatus.READY)
        elif self._has_started or error is not None:
            finish(self._plan.backend, result, ending)


@lru_cache(1000)
def _signature_of(func: Callable[..., Any], takes_context: bool) -> inspect.Signature:
    """Return the signature for those who enqueue the task."""
    signature = inspect.signature(func)
    parameters = [*signature.parameters.values()]
    return signature.replace(parameters=parameters[1:]) if takes_context else signature


def finish(sender: object, result: TaskResult[Any], ending: Ending) -> None:
    """Note the final outcome of a task, and send `task_finished`."""
    error = ending.exception
    _set(result, finished_at=timezone.now())
    if error is None:
        _set(result, _return_value=ending.result, status=TaskResultStatus.SUCCESSFUL)
        send(task_finished, sender, task_result=result)
        return
    _set(result, status=TaskResultStatus.FAILED)
    local_results(result.backend).failed(error)
    traceback = error.__traceback__
    try:
        raise error  # receivers find it in sys.exc_info(), as with Django's backends
    except BaseException:  # noqa: BLE001 - it is reported, not handled
        send(task_finished, sender, task_result=result)
    finally:
        with suppress(Exception):
            error.__traceback__ = traceback


def fail_unread(alias: str, run: RunAttributes, ending: Ending) -> None:
    """Note that a task has failed which could not be loaded, if its result is known here."""
    results, error = local_results(alias), ending.exception
    if error is None:
        return
    result = results.find(run.id)
    if result is None:
        results.failed(error)
        return
    result.errors.append(error_of(error))
    finish(type(task_backends[alias]), result, ending)


def error_of(error: BaseException) -> TaskError:
    kind = type(error)
    path = f"{kind.__module__}.{kind.__qualname__}"
    return TaskError(exception_class_path=path, traceback=format_error(error)[0])


def worker_id() -> str:
    """Return the id of this worker process, of at most 64 characters."""
    return f"{_HOST}/{os.getpid()}"


def _normalized(value: Any) -> Any:
    """Return a task's return value as JSON has it; raise TypeError or ValueError if it cannot."""
    return value if type(value) in _PLAIN else as_json(normalize_json(value))


def _set(result: TaskResult[Any], **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(result, name, value)
