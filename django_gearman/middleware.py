"""
Middleware: code of the project around the submission and the run of jobs.

`GEARMAN_MIDDLEWARE` names the classes. They nest like Django's own: the first one is the outermost.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable
from copy import copy
from functools import partial
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

Submit = Callable[[list[Any]], None]
AsyncSubmit = Callable[[list[Any]], Awaitable[None]]
Proceed = Callable[[], Any]
AsyncProceed = Callable[[], Awaitable[Any]]


class Middleware:
    """
    A wrapper around submissions and runs of jobs. Override the methods that you need.

    One object serves all threads of a process. It is created when the first job is submitted or
    run.
    """

    def around_submit(self, requests: list[Any], submit: Submit) -> None:
        """
        Wrap the submission of `requests` (each a JobRequest), which `submit` carries out.

        Entries that you add to `request.context` before that are sent with the job. Afterwards each
        request has its `handle`, or its `exception`. You may submit some of the requests, or keep
        them and call `submit` later. An exception that leaves this method reaches the caller.
        """
        submit(requests)

    async def around_asubmit(self, requests: list[Any], submit: AsyncSubmit) -> None:
        """
        Wrap a submission on an event loop, which `await submit(requests)` carries out.

        It must not block. Override it beside `around_submit`: if you override that one alone, `ado()`
        and its variants submit in a thread, so that a process has few of them at the same time.
        """
        await submit(requests)

    def around_run(self, run: Any, proceed: Proceed) -> Any:
        """
        Wrap one run of a job, which `proceed` carries out; return its ending.

        `run` has the attributes id, job, name, queue, handle, attempt, args, kwargs and context.
        The ending has `state` ("succeeded", "retried", "cancelled" or "failed"), `result`,
        `exception` and `seconds`. It is not reported before you return it. To answer instead of the
        job, return `run.succeed(value)` and do not call `proceed`. An exception that leaves this
        method fails the job, like an exception of the job.
        """
        return proceed()

    async def around_arun(self, run: Any, proceed: AsyncProceed) -> Any:
        """
        Wrap one run of an `async def` job on the worker's event loop, which `await proceed()`
        carries out; return its ending.

        It must not block. Override it beside `around_run`: if you override that one alone, these
        jobs run in a thread each.
        """
        return await proceed()


class Chain(NamedTuple):
    """
    The methods of all middleware, outermost first; methods that are not overridden are left out.

    A middleware that has a method for event loops has its plain method, too.
    """

    around_submit: tuple[Callable[[list[Any], Submit], None], ...] = ()
    around_asubmit: tuple[Callable[[list[Any], AsyncSubmit], Awaitable[None]], ...] = ()
    around_run: tuple[Callable[[Any, Proceed], Any], ...] = ()
    around_arun: tuple[Callable[[Any, AsyncProceed], Awaitable[Any]], ...] = ()

    @property
    def submits_in_thread(self) -> bool:
        """True if a submission on an event loop cannot pass through all middleware there."""
        return len(self.around_asubmit) < len(self.around_submit)

    @property
    def runs_in_thread(self) -> bool:
        """True if a run on an event loop cannot pass through all middleware there."""
        return len(self.around_arun) < len(self.around_run)

    def submit(self, requests: list[Any], submit: Submit) -> None:
        """Submit requests through all middleware."""
        for around in reversed(self.around_submit):
            submit = partial(_submit, around, submit)
        submit(requests)

    async def asubmit(self, requests: list[Any], submit: AsyncSubmit) -> None:
        """Submit requests through all middleware, on an event loop."""
        for around in reversed(self.around_asubmit):
            submit = partial(_submit, around, submit)
        await submit(requests)

    def run(self, run: Any, proceed: Proceed) -> Any:
        """Run a job through all middleware, and return its ending."""
        for around in reversed(self.around_run):
            proceed = partial(around, run, proceed)
        return proceed()

    async def arun(self, run: Any, proceed: AsyncProceed) -> Any:
        """Run a job through all middleware on an event loop, and return its ending."""
        for around in reversed(self.around_arun):
            proceed = partial(around, run, proceed)
        return await proceed()


def _submit(around: Callable[[list[Any], Any], Any], submit: Any, requests: Iterable[Any]) -> Any:
    return around(list(requests), submit)


NONE = Chain()

#: The methods, and those for event loops that go with some of them.
_METHODS = ("around_submit", "around_asubmit", "around_run", "around_arun")
_ASYNC = {"around_asubmit": "around_submit", "around_arun": "around_run"}

#: The middleware that integrations have added; it is inside of that of the settings.
added: tuple[Middleware, ...] = ()
_built: tuple[Any, Chain] = None, NONE
_building = threading.Lock()


def add_middleware(middleware: Middleware) -> None:
    """Put a middleware inside of those of GEARMAN_MIDDLEWARE; an integration calls this once."""
    global added, _built
    with _building:
        added, _built = (*added, middleware), (None, NONE)


def chain_of(setting: Any) -> Chain:
    """
    Return the middleware of GEARMAN_MIDDLEWARE and the added ones, created at its first use.

    `setting` may be `added`, too, where GEARMAN_MIDDLEWARE is empty.
    """
    global _built
    if not setting and not added:
        return NONE
    made_of, chain = _built
    if made_of == setting:
        return chain
    with _building:
        if _built[0] != setting:
            _built = copy(setting), build_chain(setting)
        return _built[1]


def build_chain(setting: Any) -> Chain:
    """
    Create each middleware of GEARMAN_MIDDLEWARE; ImproperlyConfigured names the wrong element.
    """
    if not isinstance(setting, (list, tuple)):
        raise ImproperlyConfigured(
            f"GEARMAN_MIDDLEWARE is a list of dotted paths of classes, not {setting!r}"
        )
    own = () if setting is added else setting
    made = [_make(element, f"GEARMAN_MIDDLEWARE[{n}]") for n, element in enumerate(own)]
    made += added
    methods = {name: [getattr(m, name) for m in made if _overrides(m, name)] for name in _METHODS}
    return Chain(**{name: tuple(found) for name, found in methods.items()})


def _make(element: Any, source: str) -> Middleware:
    try:
        factory = import_string(element) if isinstance(element, str) else element
    except ImportError as error:
        raise ImproperlyConfigured(f"{source} is {element!r}: {error}") from error
    if not callable(factory):
        raise ImproperlyConfigured(
            f"{source} is {element!r}; it must be the dotted path of a class or a function that makes "
            "a middleware"
        )
    try:
        made = factory()
    except Exception as error:  # it is the project's code
        raise ImproperlyConfigured(f"{source} is {element!r}, which raised {error!r}") from error
    if not isinstance(made, Middleware):
        raise ImproperlyConfigured(
            f"{source} is {element!r}, which made {made!r:.200}; it must be a subclass of "
            "django_gearman.middleware.Middleware"
        )
    for name in _METHODS:
        is_async = inspect.iscoroutinefunction(getattr(made, name))
        if is_async != (name in _ASYNC):
            kind, remedy = ("a", "without") if is_async else ("no", "with")
            raise ImproperlyConfigured(
                f"{source} is {element!r}, whose {name} is {kind} coroutine function; write it "
                f"{remedy} async"
            )
    for name, plain in _ASYNC.items():
        if _overrides(made, name) and not _overrides(made, plain):
            raise ImproperlyConfigured(
                f"{source} is {element!r}, which has {name}; it needs {plain}, too, for code that "
                "is not on an event loop"
            )
    return made


def _overrides(middleware: Middleware, name: str) -> bool:
    method = getattr(middleware, name)
    return getattr(method, "__func__", method) is not getattr(Middleware, name)
