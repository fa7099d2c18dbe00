"""Call the function of a job such that it leaves nothing behind for the next one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asgiref.sync import async_to_sync

from .forks import end_if_forked
from .timelimit import limited, within


def call(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    seconds: float | None,
    is_async: bool,
) -> Any:
    """
    Call the function, for so many seconds at most, and return its result.

    It returns in this process only: a process that the function has forked ends, whether it comes
    back by returning or by raising.
    """
    process = os.getpid()
    try:
        if is_async:
            result = async_to_sync(within)(seconds, func, args, kwargs)
        elif seconds is None:
            result = func(*args, **kwargs)
        else:
            result = limited(seconds, func, args, kwargs)
    except BaseException as error:
        end_if_forked(process, error)
        raise
    end_if_forked(process)
    return result
