"""
What the time limit of a job must not cut through: it is raised a moment later instead.

A function is marked where it is defined, which costs nothing when it is called. The handler of the
signal looks at the frames that are being executed, from the innermost one outwards.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TypeVar

_F = TypeVar("_F", bound=Callable[..., object])

# Where half of what was begun would be left behind, or where nobody would see what is raised.
_MODULES = {
    "django.db.transaction",
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    "logging",  # a handler that fails does so in silence
    "logging.handlers",
    "weakref",
}
_METHODS = {"__enter__", "__exit__", "__del__"}
_DRIVERS = {"psycopg", "psycopg_pool", "pymysql", "MySQLdb", "oracledb"}


class Place(enum.IntEnum):
    """Where an interrupt would strike: the higher, the more is to be said against it."""

    ANYWHERE = 0
    IN_QUERY = 1  # one that the database can be asked to end
    BRIEF = 2  # code that is soon done, if all is well
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


#: Decorates a function that is never interrupted.
undisturbed = _mark(_never)
#: ... which is not interrupted unless that takes seconds.
brief = _mark(_brief)
#: ... which is interrupted only while it `waits`, in a function that is marked so.
undisturbed_between_waits = _mark(_between_waits)
waits = _mark(_waits)
#: ... which calls code of the project's: what is further outside does not count.
opens = _mark(_opens)


def place_of(frame: FrameType | None, boundary: CodeType) -> tuple[Place, FrameType | None]:
    """
    Say what is being done in a frame and those outside it, up to the one with the code `boundary`.

    Return, too, the outermost frame for which it is so: when that is left, it is time to look again.
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
    """Say what is being done in a frame of a function that is marked."""
    if code in _never or (code in _between_waits and not is_waiting):
        return Place.NEVER
    return Place.BRIEF if code in _brief else Place.ANYWHERE


def _others(code: CodeType, module: str) -> Place:
    """Say what is being done in a frame of other people's code."""
    if module.partition(".")[0] in _DRIVERS:
        return Place.IN_QUERY
    is_database = module.startswith("django.db.backends.") and module.endswith(".base")
    if is_database or module in _MODULES or code.co_name in _METHODS:
        return Place.BRIEF
    return Place.ANYWHERE


def cancel_query(frame: FrameType | None) -> bool:
    """Ask the database to end the query that one of these frames waits for; return if there was one."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("psycopg."):
            connection = frame.f_locals.get("self")
            if connection is not None and hasattr(connection, "cancel_safe"):
                connection.cancel_safe(timeout=1.0)
                return True
        frame = frame.f_back
    return False
