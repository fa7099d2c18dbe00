"""A guard around tracing: if tracing fails, the job does not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from .records import get_logger, log

logger = get_logger("django_gearman.tracing")

_P = ParamSpec("_P")
_T = TypeVar("_T")

_logged: set[tuple[str, type]] = set()


def guarded(func: Callable[_P, _T]) -> Callable[_P, _T | None]:
    """
    Decorate a function to return None where it would raise.

    The first error of each kind is logged; there may be one for each job.
    """

    @wraps(func)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        try:
            return func(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - of the project's sampler, for example
            key = func.__qualname__, type(error)
            if key not in _logged:
                _logged.add(key)
                message = "jobs are not traced as they should be; this is logged once: %r"
                log(logger, logging.WARNING, message, error, exc_info=error)
            return None

    return call
