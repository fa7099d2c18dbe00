"""
What the JSON serializer adds to JSON: tags for Python's types.

A value that JSON lacks becomes {"__gearman__": tag, "value": ...}. A dict that has that key of its
own becomes a tagged list of pairs, so that nothing is ever mistaken for a tag.
"""

from __future__ import annotations

import base64
import datetime
import enum
import json
import math
import uuid
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any

from django.db import models
from django.utils.safestring import SafeString, mark_safe

from .exceptions import SerializationError

TAG = "__gearman__"


class CannotPack(Exception):
    """There is something in the value that JSON cannot bring back."""


_KEYS = {str}
LONG = 1000  # characters: a text to be looked at as a whole
_ESCAPED = [*map(chr, range(32)), '"', "\\"]


def _write_string(value: str) -> str:
    # The encoder looks at each character; to look for each that it escapes is ten times as fast.
    is_long = len(value) > LONG and value.isascii()
    if is_long and not any(character in value for character in _ESCAPED):
        return f'"{value}"'
    return encode_basestring_ascii(value)


def read_string(data: bytes) -> str | None:
    """Read a long string without escapes, which takes the decoder ten times as long; None for others."""
    is_long = len(data) > LONG and data.startswith(b'"') and data.find(b'"', 1) == len(data) - 1
    if is_long and b"\\" not in data:
        with suppress(UnicodeDecodeError):
            return data[1:-1].decode()
    return None


#: What JSON has itself, and how it is written.
WRITERS: Mapping[type, Callable[[Any], str]] = {
    str: _write_string,
    int: int.__repr__,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): lambda value: "null",
}


def _pack_datetime(value: datetime.datetime) -> str:
    zone = value.tzinfo.key if isinstance(value.tzinfo, zoneinfo.ZoneInfo) else None
    return f"{value.isoformat()}[{zone}]" if zone else value.isoformat()  # as in RFC 9557


def _unpack_datetime(text: str) -> datetime.datetime:
    stamp, _, zone = text.rstrip("]").partition("[")
    value = datetime.datetime.fromisoformat(stamp)
    if not zone:
        return value
    for fold in (0, 1):  # which of the two hours, when the clock is turned back
        local = value.replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold)
        if local.utcoffset() == value.utcoffset():
            return local
    return value.astimezone(zoneinfo.ZoneInfo(zone))  # the zone's rules differ here


# tag: (type, value to JSON, JSON to value)
_TAGGED: Mapping[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "tuple": (tuple, lambda value: [pack(item) for item in value], tuple),
    "set": (set, lambda value: _pack_set(value), set),
    "frozenset": (frozenset, lambda value: _pack_set(value), frozenset),
    "float": (float, repr, float),
    "decimal": (Decimal, str, Decimal),
    "datetime": (datetime.datetime, _pack_datetime, _unpack_datetime),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
    "timedelta": (
        datetime.timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: datetime.timedelta(*parts),
    ),
    "uuid": (uuid.UUID, str, uuid.UUID),
    "bytes": (bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "safe": (SafeString, lambda value: value + "", mark_safe),
    "dict": (dict, lambda value: [[k, pack(v)] for k, v in value.items()], dict),
}
_TAG_OF = {kind: tag for tag, (kind, _, _) in _TAGGED.items()}


def pack(value: Any) -> Any:
    """Return what JSON can bring back of `value`."""
    kind = type(value)
    if kind in WRITERS or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [item if type(item) in WRITERS else pack(item) for item in value]
    if kind is dict:
        if not set(map(type, value)) <= _KEYS:
            raise CannotPack
        if TAG not in value:
            return {k: v if type(v) in WRITERS else pack(v) for k, v in value.items()}
    tag = _TAG_OF.get(kind)
    if tag is None:
        # freezegun's datetimes are a subclass, and say so only to isinstance
        dates = (datetime.datetime, datetime.date)
        tag = next((_TAG_OF[date] for date in dates if isinstance(value, date)), None)
    if tag is None or (kind is datetime.time and value.tzinfo and value.utcoffset() is None):
        raise CannotPack  # the latter: a time in a zone has no offset without its date
    return {TAG: tag, "value": _TAGGED[tag][1](value)}


def _pack_set(value: set[Any] | frozenset[Any]) -> list[Any]:
    """Sort by the bytes to be, so that equal sets make equal bytes."""
    return sorted(map(pack, value), key=json.dumps)


def unpack(value: dict[str, Any]) -> Any:
    """Undo `pack` for an object whose members are unpacked already."""
    tag = value.get(TAG)
    if not isinstance(tag, str) or tag not in _TAGGED or value.keys() != {TAG, "value"}:
        return value  # somebody else's
    try:
        return _TAGGED[tag][2](value["value"])
    except Exception as error:  # whatever a constructor makes of noise
        raise SerializationError(f"not a {tag}: {value['value']!r} ({error})") from error


def locate(value: Any, path: str = "") -> tuple[str, Any]:
    """Return the path of what cannot be packed, and that value."""
    children: Iterable[tuple[str, Any]] = ()
    if type(value) is dict and all(type(key) is str for key in value):
        children = ((f"{path}[{key!r}]" if path else key, item) for key, item in value.items())
    elif type(value) in (list, tuple):
        children = ((f"{path}[{place}]", item) for place, item in enumerate(value))
    elif type(value) in (set, frozenset):
        children = ((f"a member of {path}".removesuffix(" of "), item) for item in value)
    for where, child in children:
        try:
            pack(child)
        except CannotPack:
            return locate(child, where)
    return path or "the value", value


def explain(value: Any) -> str:
    if isinstance(value, dict) and type(value) is dict:
        keys = [key for key in value if type(key) is not str]
        return f"the keys of a dict must be strings, not {keys[0]!r}"
    advice = {
        enum.Enum: "pass its .value",
        models.Model: "pass its .pk, and load it in the job",
        models.QuerySet: "pass a list of primary keys",
    }
    hint = next((say for kind, say in advice.items() if isinstance(value, kind)), "")
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, (models.Model, models.QuerySet)):  # whose repr may ask the database
        return f"it is a {kind}; {hint}"
    return f"{_shown(value)} is a {kind}; " + (
        hint or 'JSON cannot bring it back (serializer="pickle" might)'
    )


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - it is the user's code
        return "a value"
    return text if len(text) <= 100 else f"{text[:100]}..."
