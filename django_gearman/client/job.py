"""Job, a declared job: a function that can be called, and submitted."""

from __future__ import annotations

import copy
import datetime
import difflib
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar

from asgiref.sync import sync_to_async

from ..backends import get_backend_class
from ..conf import check_name, check_queue, check_seconds
from ..exceptions import SerializationError
from ..instrumentation import active
from ..jobs.options import DEFAULT, OLD_NAMES, Options, with_new_names
from ..jobs.registry import default_name
from ..jobs.retries import Backoff, RetryPolicy
from ..serializers import Call, Serializer
from ..utils.text import quoted
from ..utils.waiting import abandoned
from .client import GearmanClient
from .request import JobRequest
from .threads import wait_in_thread

_Called = ParamSpec("_Called")  # how the function is called here
_P = ParamSpec("_P")  # how the job is submitted: without the context
_R = TypeVar("_R")
_R2 = TypeVar("_R2")


class Job(Generic[_Called, _P, _R]):
    """
    A function declared as a job.

    Calling it runs the function, here and now, unchanged. `do` and `do_background` submit it.
    """

    def __init__(
        self,
        func: Callable[_Called, _R],
        *,
        queue: str = "default",
        name: str | None = None,
        takes_context: bool = False,
        serializer: str | Serializer | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        backoff: Backoff | float | datetime.timedelta | None = None,
        retry_on: type[BaseException] | Iterable[type[BaseException]] | None = None,
    ) -> None:
        if _is_method(func):
            raise TypeError(
                f"{_describe(func)} is a method, and a job has no object to be called on; declare a "
                "function, which finds its object itself"
            )
        functools.update_wrapper(self, func)  # first: it copies the function's own attributes too
        self.func = func
        self.name = check_name(
            name if name is not None else default_name(func.__module__, func.__name__), "job name"
        )
        self.queue = check_queue(queue)
        self.takes_context = takes_context
        self.serializer = serializer
        self.timeout = check_seconds(timeout, f"timeout of job {self.name}")
        self.retry_policy = RetryPolicy.read(self.name, retries, backoff, retry_on)
        if retries and serializer == "raw":
            raise ValueError(
                f'job {self.name}: serializer="raw" carries bytes, and no number of the attempt, '
                "so that retries cannot be counted"
            )
        self._client = GearmanClient()
        self._signature = inspect.signature(func)
        if takes_context:
            self._signature = self._without_context(self._signature)
        self._positional = _positional_counts(self._signature)
        self.is_async = inspect.iscoroutinefunction(func)

    def _without_context(self, signature: inspect.Signature) -> inspect.Signature:
        parameters = list(signature.parameters.values())
        kinds = [parameter.kind for parameter in parameters[:1]]
        if kinds == [inspect.Parameter.VAR_POSITIONAL]:
            return signature
        if not kinds or kinds[0] in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
            raise TypeError(f"{self.location} takes a context, so it needs a parameter for that")
        return signature.replace(parameters=parameters[1:])

    def __call__(self, /, *args: _Called.args, **kwargs: _Called.kwargs) -> _R:
        if self._client.options is not DEFAULT:
            raise TypeError(
                f"job {self.name} is called here, where the options of using() have no effect: write "
                ".do(...) or .do_background(...)"
            )
        return self.func(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Job {self.name} queue={self.queue}>"

    @property
    def location(self) -> str:
        """Where the function stands: "module.name (file:line)"."""
        return _describe(self.func)

    @property
    def options(self) -> Options:
        return self._client.options

    @property
    def retries(self) -> int | None:
        """How often a failed background job is tried again; None where that is not declared."""
        return self.retry_policy.retries

    def check_call(self, call: Call) -> Call:
        """
        Return the call as the function takes it; TypeError, with the signature, if it does not.

        A function without parameters is called without the lone None of `submit_job("name", None)`.
        """
        if not call.kwargs and len(call.args) in self._positional:
            return call  # what bind() would find, in a hundredth of the time
        try:
            self._signature.bind(*call.args, **call.kwargs)
        except TypeError as error:
            if list(call.args) == [None] and not call.kwargs and not self._signature.parameters:
                return call._replace(args=())
            told = self._unknown_arguments(call) or error
            raise TypeError(f"job {self.name}{self._signature}: {told}") from None
        return call

    def _unknown_arguments(self, call: Call) -> str:
        """Say which keyword arguments the function does not have, and what may have been meant."""
        known = self._signature.parameters
        unknown = [name for name in call.kwargs if name not in known]
        if not unknown or any(each.kind is each.VAR_KEYWORD for each in known.values()):
            return ""
        told = f"got an unexpected keyword argument {quoted(unknown[0])}"
        option = OLD_NAMES.get(unknown[0], unknown[0])
        if option in vars(self.options):
            return f"{told}; an option is given before: using({option}=...)"
        if len(unknown[0]) > 100:  # to look for close ones takes time by its length
            return told
        close = difflib.get_close_matches(unknown[0], known, n=1)
        return f"{told}; did you mean {close[0]!r}?" if close else told

    def arguments_of(self, call: Call) -> dict[str, Any]:
        """Return a call's arguments by the names of their parameters, with the defaults."""
        bound = self._signature.bind(*call.args, **call.kwargs)
        bound.apply_defaults()
        return bound.arguments

    def canonical_call(self, call: Call, serializer: Serializer) -> Call:
        """Return the one call that stands for all ways to write these arguments, for a unique."""
        given = self._signature.bind(*call.args, **call.kwargs).arguments
        defaults = {p.name: p.default for p in self._signature.parameters.values()}

        def is_default(name: str, value: Any) -> bool:
            default = defaults[name]
            if type(value) is not type(default):
                return False
            # Not by ==, for which 0.0 is -0.0, and [1] is [True]: the job can tell these apart.
            with suppress(SerializationError):
                return serializer.unique_key(Call([value])) == serializer.unique_key(
                    Call([default])
                )
            return False  # a default that no caller can pass

        return Call(
            (),
            {name: value for name, value in sorted(given.items()) if not is_default(name, value)},
        )

    def using(self, **options: Any) -> Job[_Called, _P, _R]:
        """
        Return a copy of the job that is submitted with these `Options`.

        They are priority, unique, wait, run_after, on_commit, on_commit_failure, serializer and
        resubmit; an option that has no effect on what is called is a ValueError.
        """
        job = copy.copy(self)
        job._client = self._client.having(with_new_names(options, stacklevel=2))
        return job

    def do(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """
        Run the job on a worker and return its result.

        Raises JobFailed (JobRaised with the worker's exception), JobTimeout, JobLost, and what
        `GearmanClient.submit_job` raises.
        """
        result: _R = self._client.submit_call(self, Call(args, kwargs)).result
        return result

    def do_background(self, /, *args: _P.args, **kwargs: _P.kwargs) -> JobRequest:
        """Queue the job and return; raises what `GearmanClient.submit_job` raises."""
        return self._client.submit_call(self, Call(args, kwargs), background=True)

    def map(self, iterable: Iterable[Any], timeout: float | None = None) -> list[_R]:
        """
        Run the job for each item, all at once; return the results in the order of the items.

        Waits up to `timeout` seconds in all. When some fail, raises the error of the first of these
        once all have ended or the time is up.
        """
        if isinstance(iterable, (str, bytes)):
            raise TypeError(
                f"map takes an iterable of items, not one item: map([{iterable!r:.50}])"
            )
        calls = (Call((item,)) for item in iterable)
        return [request.result for request in self._client.submit_calls(self, calls, wait=timeout)]

    async def ado(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Do what `do` does, without blocking the event loop."""
        return await self._wait(partial(self.do, *args, **kwargs), self.options.wait)

    async def ado_background(self, /, *args: _P.args, **kwargs: _P.kwargs) -> JobRequest:
        """Do what `do_background` does, in the thread that has the transaction."""
        return await sync_to_async(self.do_background)(*args, **kwargs)

    async def amap(self, iterable: Iterable[Any], timeout: float | None = None) -> list[_R]:
        """Do what `map` does, without blocking the event loop."""
        seconds = self.options.wait if timeout is None else timeout
        return await self._wait(partial(self.map, iterable, timeout), seconds)

    async def _wait(self, call: Callable[[], _R2], seconds: float | None) -> _R2:
        if not active().runs_in_caller(get_backend_class()):
            return await wait_in_thread(f"job {self.name}", call, seconds)
        # A job that runs in the calling thread wants the one that has the database connections.
        token = abandoned.set(leave := threading.Event())
        try:
            return await sync_to_async(call)()
        finally:
            leave.set()  # once cancelled, the thread has nothing to wait for
            abandoned.reset(token)


class AsyncJob(Job[_Called, _P, _R]):
    """
    A coroutine function declared as a job.

    Calling it gives the coroutine; `do` and its like give what that returns on a worker.
    """

    if TYPE_CHECKING:

        def __call__(  # type: ignore[override]
            self, /, *args: _Called.args, **kwargs: _Called.kwargs
        ) -> Coroutine[Any, Any, _R]: ...

        def using(self, **options: Any) -> AsyncJob[_Called, _P, _R]: ...


AnyJob: TypeAlias = Job[..., ..., Any]


def _positional_counts(signature: inspect.Signature) -> range:
    """Return how many positional arguments alone satisfy a signature without *args."""
    required = most = 0
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            required += parameter.default is parameter.empty
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            return range(0)
    return range(required, most + 1)


def _is_method(func: Callable[..., Any]) -> bool:
    is_in_class = "." in getattr(func, "__qualname__", "").rpartition("<locals>.")[2]
    return is_in_class and [*inspect.signature(func).parameters][:1] in (["self"], ["cls"])


def _describe(func: Callable[..., Any]) -> str:
    plain = inspect.unwrap(func)
    place = f"{func.__module__}.{func.__qualname__}"
    code = getattr(plain, "__code__", None)
    return f"{place} ({code.co_filename}:{code.co_firstlineno})" if code else place
