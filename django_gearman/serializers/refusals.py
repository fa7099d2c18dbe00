"""The explanation why the JSON serializer refuses a value, with the path of the part."""

from __future__ import annotations

import datetime
import enum
import functools
import uuid
from contextlib import suppress
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import models
from django.utils.functional import LazyObject, Promise

from ..utils.text import quoted, repr_of
from .tags import CannotPack, distinct, write

_ADVICE = {
    enum.Enum: "pass its .value",
    models.Model: "pass its .pk, and load it in the job",
    models.QuerySet: "pass a list of primary keys",
    Promise: "pass str() of it",
    LazyObject: "pass a plain value instead, or its .pk",
}
_MEMBER = "a member"
# Their texts may query the database.
_SILENT = (models.Model, models.QuerySet, LazyObject)
# Subclasses come before their bases.
_PLAIN = (
    *(str, bytes, int, float, Decimal, uuid.UUID, datetime.datetime, datetime.date, datetime.time),
    *(datetime.timedelta, list, tuple, dict, set, frozenset),
)


def refusal(value: Any) -> str:
    """Return a message with the path of the part that cannot be written, and the reason."""
    error = _error(value)
    if isinstance(error, RecursionError):
        path, culprit = _too_deep(value)
    else:
        path, culprit = _find(value)
        error = _error(culprit)
    if len(path) > 200:
        path = f"{path[:100]}...{path[-100:]}"
    return f"cannot serialize {path or 'the value'}: {_why(culprit, error)}"


def _error(value: Any) -> Exception | None:
    try:
        write(value)
    except (CannotPack, ValueError, RecursionError) as error:
        return error
    return None


def _too_deep(value: Any) -> tuple[str, Any]:
    """
    Return the argument that is nested too deeply, or endlessly; a path inside it would not help.
    """
    path = ""
    for _ in range(2):  # in a call, an argument is two levels down
        for where, child in _children(value) or ():
            if isinstance(_error(child), RecursionError):
                path, value = _joined(path, where), child
                break
    return path, value


class _Place(NamedTuple):
    """A part of a value, with the part that contains it."""

    value: Any
    name: str = ""
    outer: _Place | None = None

    def path(self) -> str:
        names, place = [], self
        while place.outer is not None:
            names.append(place.name)
            place = place.outer
        return functools.reduce(_joined, reversed(names), "")


def _find(value: Any) -> tuple[str, Any]:
    """Return the path of the first part that cannot be written, and that part."""
    left = [_Place(value)]
    while left:
        place = left.pop()
        children = _children(place.value)
        if children is None:
            if _error(place.value) is not None:
                return place.path(), place.value
        else:
            left += [_Place(child, name, place) for name, child in children][::-1]
    return "", value


def _joined(path: str, name: str) -> str:
    if name == _MEMBER:
        return f"{_MEMBER} of {path}" if path else _MEMBER
    if not path and name.startswith("['"):
        return name[2:-2]
    return path + name


def _children(value: Any) -> list[tuple[str, Any]] | None:
    """Return the parts of a collection by name; None for a part that is itself at fault."""
    if type(value) is dict and all(type(key) is str and _error(key) is None for key in value):
        return [(f"[{repr_of(key, 40)}]", item) for key, item in value.items()]
    if type(value) in (list, tuple):
        return [(f"[{place}]", item) for place, item in enumerate(value)]
    if type(value) in (set, frozenset):
        with suppress(ValueError):
            return [(_MEMBER, item) for item in distinct(list(value))]
    return None


def _why(value: Any, error: Exception | None) -> str:
    kind = type(value)
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or contains itself"
    if kind is int:
        return f"an integer of {value.bit_length()} bits is too long for JSON ({error})"
    if kind in (set, frozenset):
        return f"a {kind.__name__} of {len(value)} members: {error}"
    if kind is str:
        return (
            f"{quoted(value)} has two surrogates in a row, which would come back as one character"
        )
    if kind is dict:
        for key in value:
            if type(key) is not str:
                a_kind = f", a {type(key).__qualname__}" if isinstance(key, str) else ""
                return f"the keys of a dict must be strings, not {quoted(key)}{a_kind}"
            if _error(key) is not None:
                return f"the key {_why(key, _error(key))}"
    name = f"{kind.__module__}.{kind.__qualname__}"
    hint = next((say for each, say in _ADVICE.items() if issubclass(kind, each)), "")
    if issubclass(kind, _SILENT):
        return f"it is a {name}; {hint}"
    return f"{quoted(value)} is a {name}; {hint or _hint(value)}"


def _hint(value: Any) -> str:
    kind = type(value)
    zone = value.tzinfo if issubclass(kind, (datetime.datetime, datetime.time)) else None
    if zone is not None and (kind in _PLAIN or kind.__module__ == "freezegun.api"):
        zone_kind = f"{type(zone).__module__}.{type(zone).__qualname__}"
        return (
            f"its time zone, a {zone_kind}, would not come back unchanged: pass a datetime in "
            "a zoneinfo.ZoneInfo, or its .astimezone(datetime.UTC); for a time use UTC or a "
            "fixed offset"
        )
    for plain in _PLAIN:
        if kind is not plain and issubclass(kind, plain):
            return f"it would come back as a plain {plain.__name__}: pass one"
    return 'JSON cannot bring it back (serializer="pickle" might)'
