"""
Places in the code that the time limit of a job must not interrupt; it is raised a moment later.

A function is marked at its definition, which costs nothing when it is called. The signal handler
looks at the active frames, from the innermost one outwards.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TypeVar

_F = TypeVar("_F", bound=Callable[..., object])

# Places where an exception would leave work half done, or would be lost.
_MODULES = {
    "django.db.transaction",
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    "logging",  # errors of a handler are swallowed
    "logging.handlers",
    "weakref",
}
_METHODS = {"__enter__", "__exit__", "__del__"}
_DRIVERS = {"psycopg", "psycopg_pool", "pymysql", "MySQLdb", "oracledb"}


class Place(enum.IntEnum):
    """
    The kind of place that an interrupt would hit; a higher number is a stronger reason to wait.
    """

    ANYWHERE = 0
    IN_QUERY = 1  # a query that the database can cancel
    BRIEF = 2  # code that normally ends soon
    NEVER = 3


_never: set[CodeType] = set()
_brief: set[CodeType] = set()
_between_waits: set[CodeType] = {threading.Condition.wait.__code__}
_waits: set[CodeType] = {threading.Condition.wait.__code__}
_opens: set[CodeType] = set()


def _mark(marked: set[CodeType]) -> Callable[[_F], _F]:
    def mark(func: _F) -> _F:
        marked.add(func.__code__)
        return func

    return mark


#: Decorator: never interrupt this function.
undisturbed = _mark(_never)
#: Decorator: do not interrupt this function unless it takes seconds.
brief = _mark(_brief)
#: Decorator: interrupt this function only while a function marked `waits` runs.
undisturbed_between_waits = _mark(_between_waits)
waits = _mark(_waits)
#: Decorator: this function calls code of the project; frames outside it do not count.
opens = _mark(_opens)


def place_of(frame: FrameType | None, boundary: CodeType) -> tuple[Place, FrameType | None]:
    """
    Return the kind of place of a frame and those outside it, up to the code `boundary`.

    Also return the outermost frame of that kind. When that frame has returned, check again.
    """
    place, shield = Place.ANYWHERE, None
    is_waiting = False
    while frame is not None and (code := frame.f_code) is not boundary:
        if code in _opens:
            break
        is_waiting = is_waiting or code in _waits
        here = _own(code, is_waiting) or _others(code, str(frame.f_globals.get("__name__")))
        if here:
            place, shield = max(place, here), frame
        frame = frame.f_back
    return place, shield


def _own(code: CodeType, is_waiting: bool) -> Place:
    """Return the kind of place of a marked function's frame."""
    if code in _never or (code in _between_waits and not is_waiting):
        return Place.NEVER
    return Place.BRIEF if code in _brief else Place.ANYWHERE


def _others(code: CodeType, module: str) -> Place:
    """Return the kind of place of a frame in other code."""
    if module.partition(".")[0] in _DRIVERS:
        return Place.IN_QUERY
    is_database = module.startswith("django.db.backends.") and module.endswith(".base")
    if is_database or module in _MODULES or code.co_name in _METHODS:
        return Place.BRIEF
    return Place.ANYWHERE


def cancel_query(frame: FrameType | None) -> bool:
    """
    Ask the database to cancel the query that one of these frames waits for; return True if there
    was one.
    """
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("psycopg."):
            connection = frame.f_locals.get("self")
            if connection is not None and hasattr(connection, "cancel_safe"):
                connection.cancel_safe(timeout=1.0)
                return True
        frame = frame.f_back
    return False
