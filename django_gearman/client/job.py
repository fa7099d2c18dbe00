"""Job, a declared job: a function that can be called, and submitted."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from ..backends import use_backend
from ..jobs.definition import JobDefinition
from ..jobs.options import with_new_names
from ..serializers import Call
from ..utils.waiting import abandoned
from .client import GearmanClient
from .request import JobRequest
from .threads import wait_in_thread

_Called = ParamSpec("_Called")  # the function's signature for calls
_P = ParamSpec("_P")  # the signature for submissions: without the context
_R = TypeVar("_R")
_R2 = TypeVar("_R2")

_client = GearmanClient()  # for all jobs: each adds its own options


class Job(JobDefinition, Generic[_Called, _P, _R]):
    """
    A function declared as a job.

    Calling it runs the function in this process, unchanged. `do` and `do_background` submit it.
    """

    func: Callable[_Called, _R]

    if TYPE_CHECKING:

        def __call__(self, /, *args: _Called.args, **kwargs: _Called.kwargs) -> _R: ...

    def using(self, **options: Any) -> Job[_Called, _P, _R]:
        """
        Return a copy of the job that is submitted with these `Options`.

        They are priority, unique, wait, run_after, on_commit, on_commit_failure, serializer and
        resubmit. An option without effect on the call raises ValueError.
        """
        job = copy.copy(self)
        job.options = self.options.updated(**with_new_names(options, stacklevel=2))
        return job

    def do(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """
        Run the job on a worker and return its result.

        Raises JobFailed (JobRaised with the worker's exception), JobTimeout, JobLost, and the
        errors of `GearmanClient.submit_job`.
        """
        result: _R = _client.submit_call(self, Call(args, kwargs)).result
        return result

    def do_background(self, /, *args: _P.args, **kwargs: _P.kwargs) -> JobRequest:
        """Queue the job and return; raise the errors of `GearmanClient.submit_job`."""
        return _client.submit_call(self, Call(args, kwargs), background=True)

    def map(self, iterable: Iterable[Any], timeout: float | None = None) -> list[_R]:
        """
        Run the job for each item in parallel; return the results in the order of the items.

        Waits up to `timeout` seconds in all. If some fail, raises the error of the first of these
        once all have ended or the time is over.
        """
        if isinstance(iterable, (str, bytes)):
            raise TypeError(
                f"map takes an iterable of items, not one item: map([{iterable!r:.50}])"
            )
        calls = (Call((item,)) for item in iterable)
        return [request.result for request in _client.submit_calls(self, calls, wait=timeout)]

    async def ado(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run `do` without blocking the event loop."""
        return await self._wait(partial(self.do, *args, **kwargs), self.options.wait)

    async def ado_background(self, /, *args: _P.args, **kwargs: _P.kwargs) -> JobRequest:
        """Run `do_background` in the thread that has the transaction."""
        return await sync_to_async(self.do_background)(*args, **kwargs)

    async def amap(self, iterable: Iterable[Any], timeout: float | None = None) -> list[_R]:
        """Run `map` without blocking the event loop."""
        seconds = self.options.wait if timeout is None else timeout
        return await self._wait(partial(self.map, iterable, timeout), seconds)

    async def _wait(self, call: Callable[[], _R2], seconds: float | None) -> _R2:
        if not use_backend().runs_in_caller:
            return await wait_in_thread(f"job {self.name}", call, seconds)
        # With `eager`, the job must run in the thread that has the database connections.
        token = abandoned.set(leave := threading.Event())
        try:
            return await sync_to_async(call)()
        finally:
            leave.set()  # after a cancellation, the thread has nothing to wait for
            abandoned.reset(token)


class AsyncJob(Job[_Called, _P, _R]):
    """
    A coroutine function declared as a job.

    Calling it returns the coroutine; `do` and its variants return the coroutine's result on a
    worker.
    """

    if TYPE_CHECKING:

        def __call__(  # type: ignore[override]
            self, /, *args: _Called.args, **kwargs: _Called.kwargs
        ) -> Coroutine[Any, Any, _R]: ...

        def using(self, **options: Any) -> AsyncJob[_Called, _P, _R]: ...
