"""The decorator @gearman_job, which declares a function as a job."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Callable, Coroutine, Iterable
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    Unpack,
    overload,
)

from .client.job import AsyncJob, Job
from .jobs.context import JobContext
from .jobs.definition import Declared, R_co
from .jobs.registry import registry
from .jobs.retries import Backoff, exponential
from .serializers import Serializer

if TYPE_CHECKING:
    from .client.job import AsyncContextJob, ContextJob

__all__ = ["exponential", "gearman_job"]

_P = ParamSpec("_P")


class _Plain(Protocol):
    @overload
    def __call__(self, func: Callable[_P, Coroutine[Any, Any, R_co]], /) -> AsyncJob[_P, R_co]: ...
    @overload
    def __call__(self, func: Callable[_P, R_co], /) -> Job[_P, R_co]: ...


class _WithContext(Protocol):
    @overload
    def __call__(
        self, func: Callable[Concatenate[JobContext, _P], Coroutine[Any, Any, R_co]], /
    ) -> AsyncContextJob[_P, R_co]: ...
    @overload
    def __call__(
        self, func: Callable[Concatenate[JobContext, _P], R_co], /
    ) -> ContextJob[_P, R_co]: ...


@overload
def gearman_job(queue: Callable[_P, Coroutine[Any, Any, R_co]], /) -> AsyncJob[_P, R_co]: ...
@overload
def gearman_job(queue: Callable[_P, R_co], /) -> Job[_P, R_co]: ...
@overload
def gearman_job(
    queue: str = "default",
    name: str | None = None,
    *,
    takes_context: Literal[False] = False,
    **declared: Unpack[Declared],
) -> _Plain: ...
@overload
def gearman_job(
    queue: str = "default",
    name: str | None = None,
    *,
    takes_context: Literal[True],
    **declared: Unpack[Declared],
) -> _WithContext: ...
def gearman_job(
    queue: Any = "default",
    name: str | None = None,
    *,
    takes_context: bool = False,
    serializer: str | Serializer | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    backoff: Backoff | float | datetime.timedelta | None = None,
    retry_on: type[BaseException] | Iterable[type[BaseException]] | None = None,
    store_result: bool = False,
    result_ttl: float | None = None,
    sensitive: bool | Iterable[str] = (),
    cron: str | None = None,
    cron_timezone: str | None = None,
) -> Any:
    """
    Declare a function as a job; write it bare, `@gearman_job`, or with arguments.

    A worker selects jobs by `queue` with -q. Clients submit the job by `name`; the default is the
    import path without the part `gearman_jobs`. With `takes_context` the function gets a
    `JobContext` as its first argument. `serializer` replaces GEARMAN_SERIALIZER for the arguments
    and results of this job.

    `timeout` is the time limit of a run in a worker process, in seconds. It replaces
    GEARMAN_JOB_TIMEOUT. After that time JobTimeLimitExceeded is raised in the job, and 5 seconds
    later the process is killed. To limit the wait of a caller, use `using(wait=...)`.

    A background job is submitted again, up to `retries` times, if it raises one of `retry_on`
    (default: any Exception) or its worker process dies. `backoff` is the delay: a number of
    seconds, or a function of the number of attempts so far, like the default `exponential()`.

    The rest is for the app `django_gearman.contrib.store`. With `store_result` it records the job
    and its result, for `result_ttl` seconds (default: GEARMAN_RESULT_TTL). `sensitive` names the
    parameters whose values records do not show; True keeps no arguments at all. `cron`, for example
    "0 3 * * *", runs the job at these times in `cron_timezone` (default: TIME_ZONE), without
    arguments.

    Raises JobAlreadyRegistered if another job has the name, and TypeError or ValueError for invalid
    arguments.
    """

    is_bare = callable(queue) or hasattr(queue, "__get__")  # a classmethod is not callable

    def declare(func: Callable[..., Any]) -> Job[..., Any]:
        if isinstance(func, classmethod):
            func = func.__func__
        if not inspect.isroutine(func):
            raise TypeError(f"@gearman_job can only declare functions, not {func!r}")
        job_class = AsyncJob if inspect.iscoroutinefunction(func) else Job
        job: Job[..., Any] = job_class(
            func,
            queue="default" if is_bare else queue,
            name=name,
            takes_context=takes_context,
            serializer=serializer,
            timeout=timeout,
            retries=retries,
            backoff=backoff,
            retry_on=retry_on,
            store_result=store_result,
            result_ttl=result_ttl,
            sensitive=sensitive,
            cron=cron,
            cron_timezone=cron_timezone,
        )
        registry.add(job)
        return job

    return declare(queue) if is_bare else declare
