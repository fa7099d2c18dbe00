"""Isolation: a call of a job's function that leaves nothing behind for the next one."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.core.cache import BaseCache, caches
from django.core.signals import setting_changed

from ..utils.clock import monotonic
from ..utils.records import get_logger, log
from . import loop
from .alarm import alarm
from .cancelling import invoke
from .forks import end_if_forked
from .timelimit import limited, within
from .transactions import Blocks, end_blocks, open_blocks
from .watch import is_watched, watched

logger = get_logger("django_gearman.jobs")

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Thread(threading.local):
    """The initial context of a thread's runs: only its caches, which keep their connections."""

    context: Context | None = None


_thread = _Thread()
_PLAIN = {type(None), bool, int, float, str, bytes, list, tuple, dict}  # the usual results


def _forget_caches(setting: str, **named: Any) -> None:
    global _thread
    if setting == "CACHES":
        _thread = _Thread()


setting_changed.connect(_forget_caches, dispatch_uid=__name__)


def _first_context() -> Context:
    kept: dict[str, BaseCache] = {}
    for alias in caches:
        with suppress(Exception):  # it is misconfigured; its users get the error
            kept[alias] = caches[alias]
    context = Context()
    for alias, cache in kept.items():
        context.run(caches.__setitem__, alias, cache)
    _thread.context = context
    return context


def apart(func: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorate a function to run in a separate context."""

    @wraps(func)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        context = _thread.context or _first_context()
        return context.copy().run(func, *args, **kwargs)

    return run


def call(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    seconds: float | None = None,
    is_async: bool = False,
    names: tuple[str, str] = ("", ""),
) -> Any:
    """
    Call the function with a time limit in seconds, and return its result.

    `names`, of the job and its handle, are for the log.
    """
    process = os.getpid()
    blocks = open_blocks()
    if alarm.is_set and (seconds is None or is_async):
        alarm.stop_between()
    ends = None if seconds is None else monotonic() + seconds
    try:
        if is_async:
            result = loop.run(names, within, seconds, func, args, kwargs)
        elif is_watched():
            result = watched(seconds, func, args, kwargs)
        elif seconds is None:
            result = invoke(func, args, kwargs)
        else:
            result = limited(seconds, func, args, kwargs)
        # Otherwise it may come from a coroutine function that a plain one wraps.
        if type(result) not in _PLAIN and hasattr(type(result), "__await__"):
            remaining = None if ends is None else max(0.0, ends - monotonic())
            result = loop.run(names, within, remaining, _wait_for, [result], {})
    except BaseException as error:
        end_if_forked(process, error)
        raise
    else:
        if os.getpid() != process:
            end_if_forked(process)
        return result
    finally:
        for alias in end_blocks(blocks):
            tell_left_open(names, alias)


def end_transactions(names: tuple[str, str], before: Blocks) -> None:
    """Roll back the transactions that a job has left open in this thread."""
    for alias in end_blocks(before):
        tell_left_open(names, alias)


def tell_left_open(names: tuple[str, str], alias: str) -> None:
    message = "job %s (%s) has left a transaction open, which was rolled back: database %r"
    log(logger, logging.ERROR, message, *names, alias)


async def _wait_for(result: Any) -> Any:
    return await result
