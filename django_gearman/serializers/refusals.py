"""Which part of a value the JSON serializer refuses, and why."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.db import models
from django.utils.functional import LazyObject, Promise

from ..text import printable, repr_of
from .tags import CannotPack, write

_ADVICE = {
    enum.Enum: "pass its .value",
    models.Model: "pass its .pk, and load it in the job",
    models.QuerySet: "pass a list of primary keys",
    Promise: "pass str() of it",
    LazyObject: "pass what it stands for, or its .pk",
}
# Their texts may ask the database.
_SILENT = (models.Model, models.QuerySet, LazyObject)
# Each before those it derives from.
_PLAIN = (
    *(str, bytes, int, float, Decimal, uuid.UUID, datetime.datetime, datetime.date, datetime.time),
    *(datetime.timedelta, list, tuple, dict, set, frozenset),
)


def refusal(value: Any) -> str:
    """Say which part of a value cannot be written, by its path, and why."""
    path, culprit = "", value
    error = _error(value)
    # A value that is nested too deeply, or without end, is named by the argument that it is in.
    depth = 0
    while not isinstance(error, RecursionError) or depth < 2:
        for where, child in _children(culprit, path):
            if (found := _error(child)) is not None:
                path, culprit, error, depth = where, child, found, depth + 1
                break
        else:
            break
    if len(path) > 200:
        path = f"{path[:100]}...{path[-100:]}"
    return f"cannot serialize {path or 'the value'}: {_why(culprit, error)}"


def _error(value: Any) -> Exception | None:
    try:
        write(value)
    except (CannotPack, ValueError, RecursionError) as error:
        return error
    return None


def _children(value: Any, path: str) -> Iterable[tuple[str, Any]]:
    if type(value) is dict and all(type(key) is str for key in value):
        for key, item in value.items():
            yield (f"{path}[{repr_of(key, 40)}]" if path else printable(key, 40)), item
    elif type(value) in (list, tuple):
        for place, item in enumerate(value):
            yield f"{path}[{place}]", item
    elif type(value) in (set, frozenset):
        for item in value:
            yield f"a member of {path}".removesuffix(" of "), item


def _why(value: Any, error: Exception | None) -> str:
    kind = type(value)
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or contains itself"
    if kind is int:
        return f"an integer of {value.bit_length()} bits is too long to be written ({error})"
    if kind is str:
        return (
            f"{repr_of(value, 100)} has two surrogates in a row, which would come back as one "
            "character"
        )
    if kind is dict:
        for key in value:
            if type(key) is not str:
                a_kind = f", a {type(key).__qualname__}" if isinstance(key, str) else ""
                return f"the keys of a dict must be strings, not {repr_of(key, 100)}{a_kind}"
            if _error(key) is not None:
                return f"the key {_why(key, _error(key))}"
    name = f"{kind.__module__}.{kind.__qualname__}"
    hint = next((say for each, say in _ADVICE.items() if issubclass(kind, each)), "")
    if issubclass(kind, _SILENT):
        return f"it is a {name}; {hint}"
    return f"{repr_of(value, 100)} is a {name}; {hint or _hint(value)}"


def _hint(value: Any) -> str:
    kind = type(value)
    zone = value.tzinfo if issubclass(kind, (datetime.datetime, datetime.time)) else None
    if zone is not None and (kind in _PLAIN or kind.__module__ == "freezegun.api"):
        zone_kind = f"{type(zone).__module__}.{type(zone).__qualname__}"
        return (
            f"its time zone, a {zone_kind}, would not come back as it was; a datetime may be in a "
            "zoneinfo.ZoneInfo (with a key) or at a fixed offset, a time at a fixed offset"
        )
    for plain in _PLAIN:
        if kind is not plain and issubclass(kind, plain):
            return f"it would come back as a plain {plain.__name__}: pass one"
    return 'JSON cannot bring it back (serializer="pickle" might)'
