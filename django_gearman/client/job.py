"""Job, a declared job: a function that can be called, and submitted."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from ..jobs.context import JobContext
from ..jobs.definition import JobDefinition, R_co
from ..serializers import Call
from .batch import JobBatch, call_with
from .client import GearmanClient
from .request import JobRequest
from .using import HasOptions

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    _P = ParamSpec("_P", default=...)  # the parameters of a submission: without the context
else:
    from typing import ParamSpec

    _P = ParamSpec("_P")

_Item_contra = TypeVar("_Item_contra", contravariant=True)
_Result_co = TypeVar("_Result_co", covariant=True)
_R = TypeVar("_R")
_T = TypeVar("_T")

#: What to write instead of the methods of Celery, Dramatiq, RQ and django.tasks.
_INSTEAD = {
    **dict.fromkeys(("delay", "enqueue", "send"), "do_background(...)"),
    **dict.fromkeys(("apply_async", "send_with_options"), "using(...).do_background(...)"),
    "delay_on_commit": "using(on_commit=True).do_background(...)",
    **dict.fromkeys(("aenqueue", "adelay"), "await ado_background(...)"),
    "apply": "do(...)",
}

_client = GearmanClient()  # for all jobs: each adds its own options


class _TakesItem(Protocol[_Item_contra, _Result_co]):
    """A job that one argument is enough for, for the type of `map`."""

    def do(self, item: _Item_contra, /) -> _Result_co: ...


class Job(HasOptions, JobDefinition[R_co], Generic[_P, R_co]):
    """
    A function declared as a job.

    Calling it runs the function in this process, unchanged. `do` and `do_background` submit it. For
    type checkers it is a `Job[[str, int], bool]`: by its parameters and its result.
    """

    if TYPE_CHECKING:

        def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> R_co: ...
    else:  # type checkers know that there are no other attributes

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError; for a name of other libraries, it suggests the one to use."""
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if (instead := _INSTEAD.get(name)) is not None:
                message += f"; to submit a job, write {instead}"
            raise AttributeError(message)

    def do(self, /, *args: _P.args, **kwargs: _P.kwargs) -> R_co:
        """
        Run the job on a worker and return its result.

        Raises JobFailed (JobRaised with the worker's exception), JobTimeout, JobLost, and the
        errors of `GearmanClient.submit_job`.
        """
        return _client.submit_call(self, Call(args, kwargs)).result

    def do_background(self, /, *args: _P.args, **kwargs: _P.kwargs) -> JobRequest[R_co]:
        """Queue the job and return; raise the errors of `GearmanClient.submit_job`."""
        return _client.submit_call(self, Call(args, kwargs), background=True)

    def map(
        self: _TakesItem[_T, _R], iterable: Iterable[_T], timeout: float | None = None
    ) -> list[_R]:
        """
        Run the job for each item in parallel; return the results in the order of the items.

        Waits up to `timeout` seconds in all. If some fail, raises the error of the first of these
        once all have ended or the time is over.
        """
        job = cast("Job[Any, _R]", self)
        return _client.map_items(job, _items("map", iterable), wait=timeout)

    def enqueue_many(self: _TakesItem[_T, _R], iterable: Iterable[_T]) -> JobBatch[_R]:
        """
        Queue a background job for each item, and return them as a sequence of requests.

        This is the quickest way to queue many jobs. All items are checked before the first job is
        sent. Raises SubmitUncertain, with the batch as `requests`, if a job was not acknowledged.
        `batch.refused` has the jobs that a job server has refused.
        """
        job = cast("Job[Any, _R]", self)
        return _client.enqueue(job, _items("enqueue_many", iterable))

    async def ado(self, /, *args: _P.args, **kwargs: _P.kwargs) -> R_co:
        """Run `do` without blocking the event loop."""
        return (await _client.asubmit_call(self, Call(args, kwargs))).result

    async def ado_background(self, /, *args: _P.args, **kwargs: _P.kwargs) -> JobRequest[R_co]:
        """
        Run `do_background` without blocking the event loop.

        If the job waits for a commit, this runs in the thread that has the transaction.
        """
        return await _client.asubmit_call(self, Call(args, kwargs), background=True)

    async def amap(
        self: _TakesItem[_T, _R], iterable: Iterable[_T], timeout: float | None = None
    ) -> list[_R]:
        """Run `map` without blocking the event loop."""
        job = cast("Job[Any, _R]", self)
        requests = await _client.asubmit_calls(job, _calls(iterable), wait=timeout)
        return [request.result for request in requests]

    async def aenqueue_many(self: _TakesItem[_T, _R], iterable: Iterable[_T]) -> JobBatch[_R]:
        """Run `enqueue_many` without blocking the event loop."""
        job = cast("Job[Any, _R]", self)
        return await _client.aenqueue(job, _items("aenqueue_many", iterable))


def _calls(iterable: Iterable[Any]) -> Iterator[Call]:
    """Return a call for each item of `amap`."""
    return map(call_with, _items("map", iterable))


def _items(method: str, iterable: Iterable[_T]) -> Iterable[_T]:
    if isinstance(iterable, (str, bytes)):
        given = f"{iterable!r:.50}"
        raise TypeError(f"{method} takes an iterable of items, not one item: {method}([{given}])")
    return iterable


class AsyncJob(Job[_P, R_co]):
    """
    A coroutine function declared as a job.

    Calling it returns the coroutine; `do` and its variants return the coroutine's result on a
    worker.
    """

    if TYPE_CHECKING:

        def __call__(  # type: ignore[override]
            self, /, *args: _P.args, **kwargs: _P.kwargs
        ) -> Coroutine[Any, Any, R_co]: ...


if TYPE_CHECKING:

    class ContextJob(Job[_P, R_co]):
        """A job whose function takes a context first, and whose submissions do not."""

        def __call__(  # type: ignore[override]
            self, context: JobContext, /, *args: _P.args, **kwargs: _P.kwargs
        ) -> R_co: ...

    class AsyncContextJob(ContextJob[_P, R_co]):
        """A coroutine function that takes a context first."""

        def __call__(  # type: ignore[override]
            self, context: JobContext, /, *args: _P.args, **kwargs: _P.kwargs
        ) -> Coroutine[Any, Any, R_co]: ...
