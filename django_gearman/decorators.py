"""@gearman_job: declare a function as a job."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from .jobs import Job, JobContext
from .registry import registry
from .serializers import Serializer

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Plain(Protocol):
    def __call__(self, func: Callable[_P, _R], /) -> Job[_P, _P, _R]: ...


class _WithContext(Protocol):
    def __call__(
        self, func: Callable[Concatenate[JobContext, _P], _R], /
    ) -> Job[Concatenate[JobContext, _P], _P, _R]: ...


@overload
def gearman_job(queue: Callable[_P, _R], /) -> Job[_P, _P, _R]: ...
@overload
def gearman_job(
    queue: str = "default",
    name: str | None = None,
    *,
    takes_context: Literal[False] = False,
    serializer: str | Serializer | None = None,
) -> _Plain: ...
@overload
def gearman_job(
    queue: str = "default",
    name: str | None = None,
    *,
    takes_context: Literal[True],
    serializer: str | Serializer | None = None,
) -> _WithContext: ...
def gearman_job(
    queue: Any = "default",
    name: str | None = None,
    *,
    takes_context: bool = False,
    serializer: str | Serializer | None = None,
) -> Any:
    """
    Declare a function as a job; write it bare, `@gearman_job`, or with arguments.

    `queue` is what a worker's -q selects by. `name` is what clients submit it by; by default the
    import path without the part `gearman_jobs`. With `takes_context` the function gets a
    `JobContext` as its first argument. `serializer` carries this job's arguments and results in
    place of GEARMAN_SERIALIZER.

    Raises JobAlreadyRegistered when another job has the name, TypeError or ValueError for a name,
    queue or function that cannot be used.
    """

    def declare(func: Callable[..., Any]) -> Job[..., ..., Any]:
        if not inspect.isroutine(func):
            raise TypeError(f"@gearman_job declares functions, not {func!r}")
        job: Job[..., ..., Any] = Job(
            func,
            queue="default" if callable(queue) else queue,
            name=name,
            takes_context=takes_context,
            serializer=serializer,
        )
        registry.add(job)
        return job

    return declare(queue) if callable(queue) else declare
