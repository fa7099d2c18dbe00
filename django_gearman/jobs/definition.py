"""JobDefinition, the declaration of a job, for clients and workers."""

from __future__ import annotations

import datetime
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypedDict

from ..exceptions import SerializationError
from ..protocol.names import check_name
from ..serializers import BUILT_IN, Call, Serializer, get_serializer
from ..utils.numbers import check_seconds
from ..utils.text import quoted
from .names import check_queue, default_name
from .options import DEFAULT, OLD_NAMES, Options
from .retries import Backoff, RetryPolicy

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    #: The type of a job's result. A type without one, `Job` or `JobRequest`, means Any.
    R_co = TypeVar("R_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    R_co = TypeVar("R_co", covariant=True)


class Declared(TypedDict, total=False):
    """The arguments of `@gearman_job` that say how a job runs, for type checkers."""

    serializer: str | Serializer | None
    timeout: float | None
    retries: int | None
    backoff: Backoff | float | datetime.timedelta | None
    retry_on: type[BaseException] | Iterable[type[BaseException]] | None
    store_result: bool
    result_ttl: float | None
    sensitive: bool | Iterable[str]
    cron: str | None
    cron_timezone: str | None


class JobDefinition(Generic[R_co]):
    """
    A function declared as a job, with its name, queue, signature and options for running.

    `options` apply when the job is submitted.
    """

    #: True if `for_call` returns another definition.
    varies = False
    #: Columns of the job's record whose values its submission does not tell.
    columns: Mapping[str, Any] = MappingProxyType({})
    #: A function that gets each run of the job and its ending, when the ending is reported.
    on_ended: Callable[[Any, Any], None] | None = None
    #: For the store: record each job and its result, for this time, in seconds.
    store_result: bool = False
    result_ttl: float | None = None
    #: The parameters that records do not show; True keeps no arguments at all.
    sensitive: bool | tuple[str, ...] = ()
    #: For the scheduler: the times at which the job runs, and their time zone.
    cron: str | None = None
    cron_timezone: str | None = None
    #: The alias in TASKS of a task's backend; "" for other jobs.
    backend = ""
    _signature = inspect.Signature()

    def __init__(
        self,
        func: Callable[..., Any],
        *,
        queue: str = "default",
        name: str | None = None,
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
    ) -> None:
        if _is_method(func):
            raise TypeError(
                f"{_describe(func)} is a method, and a job has no object to be called on; declare a "
                "function, which finds its object itself"
            )
        if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
            raise TypeError(
                f"{_describe(func)} has `yield`, so a call of it runs none of its code; return a list, "
                "or send parts of the result with send_data() of the context"
            )
        functools.update_wrapper(self, func)  # first: it also copies attributes
        self.func = func
        self.options: Options = DEFAULT
        #: The job was declared after Django's start, in a module that workers do not load. The registry
        #: knows it.
        self.is_late = False
        self.name = check_name(
            name if name is not None else default_name(func.__module__, func.__name__), "job name"
        )
        self.queue = check_queue(queue)
        self.takes_context = takes_context
        self.serializer = serializer
        self.timeout = timeout
        if timeout is not None:
            self.timeout = check_seconds(timeout, f"timeout of job {self.name}")
        self.retry_policy = RetryPolicy.read(self.name, retries, backoff, retry_on)
        if retries and serializer == "raw":
            raise ValueError(
                f'job {self.name}: serializer="raw" carries bytes, and no number of the attempt, '
                "so that retries cannot be counted"
            )
        self._signature = inspect.signature(func)
        if takes_context:
            self._signature = self._without_context(self._signature)
        self._positional = _positional_counts(self._signature)
        self.store_result = store_result
        if not isinstance(store_result, bool):
            raise TypeError(
                f"store_result of job {self.name} is True or False, not {store_result!r}"
            )
        self.result_ttl = result_ttl
        if result_ttl is not None:
            self.result_ttl = check_seconds(result_ttl, f"result_ttl of job {self.name}")
        self.sensitive = self._check_sensitive(sensitive)
        for name, value in (("cron", cron), ("cron_timezone", cron_timezone)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} of job {self.name} is a string, not {quoted(value)}")
        if cron_timezone is not None and cron is None:
            raise ValueError(f"cron_timezone of job {self.name} has no effect without cron")
        self.cron, self.cron_timezone = cron, cron_timezone
        self.is_async = inspect.iscoroutinefunction(func)
        self._known_serializer: tuple[object, str, Serializer] = None, "", BUILT_IN["json"]

    def _without_context(self, signature: inspect.Signature) -> inspect.Signature:
        parameters = list(signature.parameters.values())
        kinds = [parameter.kind for parameter in parameters[:1]]
        if kinds == [inspect.Parameter.VAR_POSITIONAL]:
            return signature
        if not kinds or kinds[0] in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
            raise TypeError(f"{self.location} takes a context, so it needs a parameter for that")
        return signature.replace(parameters=parameters[1:])

    def _check_sensitive(self, value: Any) -> bool | tuple[str, ...]:
        if isinstance(value, bool):
            return value
        rule = f'sensitive of job {self.name} is True, or names of parameters like ("card",)'
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise TypeError(f"{rule}, not {quoted(value)}")
        names, known = tuple(value), self._signature.parameters
        takes_any = any(each.kind is each.VAR_KEYWORD for each in known.values())
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"{rule}, not {quoted(name)}")
            if name not in known and not takes_any:
                raise ValueError(
                    f"{rule}; the job has no parameter {quoted(name)}, it has "
                    f"{', '.join(known) or 'none'}"
                )
        return names

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if self.options is not DEFAULT:
            raise TypeError(
                f"job {self.name} is called here, where the options of using() have no effect: write "
                ".do(...) or .do_background(...)"
            )
        return self.func(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Job {self.name} queue={self.queue}>"

    @property
    def location(self) -> str:
        """The place of the function: "module.name (file:line)"."""
        return _describe(self.func)

    @property
    def source(self) -> tuple[str, int] | None:
        """The file and the line of the function; None if there is no Python code."""
        return _source_of(self.func)

    @property
    def signature(self) -> inspect.Signature:
        """The signature for submissions: without the context."""
        return self._signature

    @property
    def retries(self) -> int | None:
        """The number of retries of a failed background job; None if it is not declared."""
        return self.retry_policy.retries

    def serializer_over(self, default: object) -> Serializer:
        """Return the serializer that the job declares, or else the one of the settings."""
        return get_serializer(self.serializer or default, f"serializer of job {self.name}")

    def serializer_for(self, function: str, default: object) -> Serializer:
        """Return the serializer for the job's function on the job server."""
        spec = self.serializer or default
        known_spec, known_function, serializer = self._known_serializer
        if spec is not known_spec or function != known_function:
            chosen = self.serializer_over(default)
            serializer = chosen.for_function(function)
            if chosen is spec or spec in BUILT_IN:
                # Another class may depend on further settings when an object is made.
                self._known_serializer = spec, function, serializer
        return serializer

    def for_call(self, call: Call, run: Any = None) -> tuple[JobDefinition[Any], Call]:
        """
        Return the definition that runs a call, and its arguments; raise TypeError for wrong ones.

        `run` is the worker's run of it, None where it is submitted.
        """
        return self, self.check_call(call)

    def check_call(self, call: Call) -> Call:
        """
        Return the call for the function; raise TypeError, with the signature, if they do not match.

        A function without parameters is called without the lone None of `submit_job("name", None)`.
        """
        if not call.kwargs and len(call.args) in self._positional:
            return call  # what bind() would find, in a hundredth of the time
        try:
            self._signature.bind(*call.args, **call.kwargs)
        except TypeError as error:
            if list(call.args) == [None] and not call.kwargs and not self._signature.parameters:
                return call._replace(args=())
            reason = self._unknown_arguments(call) or error
            raise TypeError(f"job {self.name}{self._signature}: {reason}") from None
        return call

    @property
    def takes_one(self) -> bool:
        """True if every call with a single positional argument is right."""
        return 1 in self._positional

    def _unknown_arguments(self, call: Call) -> str:
        """Describe the unknown keyword arguments of a call, and suggest known ones."""
        known = self._signature.parameters
        unknown = [name for name in call.kwargs if name not in known]
        if not unknown or any(each.kind is each.VAR_KEYWORD for each in known.values()):
            return ""
        message = f"got an unexpected keyword argument {quoted(unknown[0])}"
        option = OLD_NAMES.get(unknown[0], unknown[0])
        if option in vars(self.options):
            return f"{message}; an option is given before: using({option}=...)"
        if len(unknown[0]) > 100:  # searching takes time
            return message
        close = difflib.get_close_matches(unknown[0], known, n=1)
        return f"{message}; did you mean {close[0]!r}?" if close else message

    def arguments_of(self, call: Call) -> dict[str, Any]:
        """Return a call's arguments by parameter name, with the defaults."""
        bound = self._signature.bind(*call.args, **call.kwargs)
        bound.apply_defaults()
        return bound.arguments

    def canonical_call(self, call: Call, serializer: Serializer) -> Call:
        """Return a single form for all calls with the same arguments, for a unique."""
        given = self._signature.bind(*call.args, **call.kwargs).arguments
        defaults = {p.name: p.default for p in self._signature.parameters.values()}

        def is_default(name: str, value: Any) -> bool:
            default = defaults[name]
            if type(value) is not type(default):
                return False
            # A comparison by == is not enough: 0.0 == -0.0, and [1] == [True].
            with suppress(SerializationError):
                return serializer.unique_key(Call([value])) == serializer.unique_key(
                    Call([default])
                )
            return False  # a default that no caller can pass

        return Call(
            (),
            {name: value for name, value in sorted(given.items()) if not is_default(name, value)},
        )


def _positional_counts(signature: inspect.Signature) -> range:
    """Return the possible numbers of positional arguments for a signature without *args."""
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


def _source_of(func: Callable[..., Any]) -> tuple[str, int] | None:
    code = getattr(inspect.unwrap(func), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else None


def _describe(func: Callable[..., Any]) -> str:
    place = f"{func.__module__}.{func.__qualname__}"
    source = _source_of(func)
    return f"{place} ({source[0]}:{source[1]})" if source else place
