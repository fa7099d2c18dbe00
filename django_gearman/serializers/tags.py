"""
The tags for Python types that JSON lacks.

Such a value becomes {"__gearman__": tag, "value": ...}. A dict that has that key itself becomes a
tagged list of pairs, so no value is mistaken for a tag.

A value is written only if it comes back unchanged, with its type. So types are compared exactly,
and an object of a subclass is refused. Dates of freezegun are the exception: they stand for plain
dates while a test runs.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import re
import uuid
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from itertools import chain
from json.encoder import encode_basestring_ascii
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from ..exceptions import SerializationError
from ..utils.text import repr_of, str_of

TAG = "__gearman__"


class CannotPack(Exception):
    """The error for a value that would not come back from JSON unchanged."""


_KEYS = {str}
LONG = 1000  # characters: a longer text is searched as a whole
_ESCAPED = [*map(chr, range(32)), '"', "\\"]
# Two characters in Python, which every JSON parser reads as one.
_SPLIT_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")
_to_json = json.JSONEncoder(separators=(",", ":")).encode


def is_plain(text: str) -> bool:
    """
    Return True if JSON escapes nothing in a text.

    The encoder tests each character. Searching for each character that it escapes is ten times
    faster, if the text is long.
    """
    return text.isascii() and not any(character in text for character in _ESCAPED)


def _write_string(value: str) -> str:
    if len(value) > LONG and is_plain(value):
        return f'"{value}"'
    if value.isascii():
        return encode_basestring_ascii(value)
    text = encode_basestring_ascii(value)
    if "\\ud" in text and _SPLIT_PAIR.search(value):
        raise CannotPack
    return text


def parse_string(data: bytes) -> str | None:
    """
    Parse a string without escapes; return None for other data.

    For one of more than LONG characters, this is ten times faster than the decoder.
    """
    is_one = data.startswith(b'"') and data.find(b'"', 1) == len(data) - 1
    if is_one and b"\\" not in data:
        with suppress(UnicodeDecodeError):
            return data[1:-1].decode()
    return None


#: The types that JSON has, and their writers.
WRITERS: Mapping[type, Callable[[Any], str]] = {
    str: _write_string,
    int: int.__repr__,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): lambda value: "null",
}


def write(value: Any) -> str:
    """
    Return a value as JSON; raise CannotPack, ValueError or RecursionError if this is impossible.
    """
    if (write_plain := WRITERS.get(type(value))) is not None:  # the usual case of a result
        return write_plain(value)
    packed = pack(value)
    text = _to_json(packed)
    if "\\ud" in text and any(map(_SPLIT_PAIR.search, _strings_in(packed))):
        raise CannotPack
    return text


def _strings_in(packed: Any) -> Iterable[str]:
    left = [packed]
    while left:
        value = left.pop()
        if type(value) is str:
            yield value
        elif type(value) is list:
            left.extend(value)
        elif type(value) is dict:
            left.extend(chain(value, value.values()))


# Dates and times. A letter that ISO 8601 leaves open carries `fold`: "2026-10-25t02:30:00", and
# "T02:30:00" for a time. Readers that ignore it still read the rest.


def _plain(kind: type) -> Any:
    """Return the original class of datetime, also while freezegun replaces it."""
    return next(base for base in kind.__mro__ if base.__module__ == "datetime")


# They are in a table, because freezegun replaces these classes in each module that has them by
# name.
_PLAIN = {"date": _plain(datetime.date), "datetime": _plain(datetime.datetime)}
_LONGEST_ZONE = 500  # characters: a longer key would cost a long search for files
_FREEZEGUN = "freezegun.api"
_FAKES = {"FakeDate": "date", "FakeDatetime": "datetime"}


def _pack_datetime(value: datetime.datetime) -> str:
    text = value.isoformat()
    if value.fold:
        text = f"{text[:10]}t{text[11:]}"
    zone = value.tzinfo
    if zone is None or zone is datetime.UTC:
        return text
    if type(value).__module__ == _FREEZEGUN and type(zone).__name__ == "tzlocal":
        # The type that freezegun's astimezone() returns instead of a fixed offset.
        zone = datetime.timezone(value.utcoffset() or datetime.timedelta(), value.tzname() or "")
    if type(zone) is zoneinfo.ZoneInfo and _can_be_found(zone):
        return f"{text}[{zone.key}]"  # the format of RFC 9557
    return text + _name_of(zone)


def _can_be_found(zone: zoneinfo.ZoneInfo) -> bool:
    """Return True if the key of a zone loads it, and not only a file that this process has read."""
    try:
        return zoneinfo.ZoneInfo(zone.key) is zone or bool(zone.__reduce__())
    except Exception:  # noqa: BLE001 - a zone may have any text, or none, for a key
        return False


def _name_of(zone: datetime.tzinfo) -> str:
    """
    Return the part of a zone that its offset lacks; raise CannotPack if the zone has more than
    that.
    """
    if type(zone) is not datetime.timezone:
        raise CannotPack
    offset = zone.utcoffset(None)
    if offset and abs(offset) < datetime.timedelta(seconds=1):
        raise CannotPack  # fromisoformat reads it as UTC
    name = zone.tzname(None)
    if len(name) > _LONGEST_ZONE - len("name=]"):
        raise CannotPack
    return "" if name == datetime.timezone(offset).tzname(None) else f"[name={name}]"


def _unpack_datetime(text: str) -> datetime.datetime:
    stamp, _, zone = text.partition("[")
    value: datetime.datetime = _PLAIN["datetime"].fromisoformat(stamp)
    fold = int(stamp[10:11] == "t")
    if not (zone or fold):  # the usual case
        return value
    if len(zone) > _LONGEST_ZONE:
        raise ValueError("the name of its zone is too long")
    if not zone.startswith("name=") and (key := zone.rstrip("]")):
        return _in_zone(value, fold, zoneinfo.ZoneInfo(key))
    return value.replace(tzinfo=_named(value, zone), fold=fold)


def _in_zone(value: datetime.datetime, fold: int, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    local = value.replace(tzinfo=zone, fold=fold)
    if value.tzinfo is None or local.utcoffset() == value.utcoffset():
        return local
    other = value.replace(
        tzinfo=zone, fold=1 - fold
    )  # the second of two equal hours, when the clock is turned back
    if other.utcoffset() == value.utcoffset():
        return other
    return value.astimezone(zone)  # the rules of the zone differ here


def _named(value: datetime.datetime | datetime.time, zone: str) -> datetime.tzinfo | None:
    offset = value.utcoffset()
    if offset is None or not zone.startswith("name="):
        return value.tzinfo
    return datetime.timezone(offset, zone.removeprefix("name=").removesuffix("]"))


def _pack_time(value: datetime.time) -> str:
    # A zone with a name has no offset without a date.
    name = "" if value.tzinfo is None else _name_of(value.tzinfo)
    return f"{'T' if value.fold else ''}{value.isoformat()}{name}"


def _unpack_time(text: str) -> datetime.time:
    stamp, _, zone = text.partition("[")
    value = datetime.time.fromisoformat(stamp)
    return value.replace(tzinfo=_named(value, zone), fold=int(stamp.startswith("T")))


# Collections

# A member of a set is compared with all others of the same hash. If many have it, this takes
# quadratic time, and an attacker who knows Python's hashes can send such members.
_COMPARISONS = 10  # for each member, on average
_ALWAYS = 10_000  # comparisons that are always allowed
_FEW = 100  # members, for which no count is necessary


def _unpack_list(items: object) -> list[Any]:
    if type(items) is not list:
        raise TypeError(f"its value is a {type(items).__name__}, not a list")
    return items


def distinct(members: list[Any]) -> Iterable[Any]:
    """
    Return the members of a set without duplicates; raise ValueError if this takes too many
    comparisons.
    """
    if len(members) < _FEW or len(members) == len(set(map(hash, members))):
        return members
    alike: dict[int, list[Any]] = {}
    left = _ALWAYS + _COMPARISONS * len(members)
    for member in members:
        others = alike.setdefault(hash(member), [])
        if member not in others:
            others.append(member)
        left -= len(others)
        if left < 0:
            raise ValueError("too many of its members have the same hash")
    return chain.from_iterable(alike.values())


def _pack_set(value: set[Any] | frozenset[Any]) -> list[Any]:
    """Sort the members by their bytes, so that equal sets become equal bytes."""
    distinct(list(value))  # the reader would refuse it
    return sorted(map(pack, value), key=json.dumps)


def _unpack_dict(pairs: object) -> dict[str, Any]:
    found = dict(_unpack_list(pairs))
    if not set(map(type, found)) <= _KEYS:
        raise TypeError("the keys of a dict are strings")
    return found


def _unpack_bytes(text: str) -> bytes:
    return base64.b64decode(
        "".join(text.split()), validate=True
    )  # some programs break it into lines


def _unpack_safe(text: object) -> SafeString:
    if type(text) is not str:
        raise TypeError(f"its value is a {type(text).__name__}, not a string")
    return mark_safe(text)


# tag: (type, value to JSON, JSON to value)
_TAGGED: Mapping[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "tuple": (
        tuple,
        lambda value: [pack(item) for item in value],
        lambda v: tuple(_unpack_list(v)),
    ),
    "set": (set, _pack_set, lambda value: set(distinct(_unpack_list(value)))),
    "frozenset": (frozenset, _pack_set, lambda value: frozenset(distinct(_unpack_list(value)))),
    "float": (float, repr, float),
    "decimal": (Decimal, str, Decimal),
    "datetime": (_PLAIN["datetime"], _pack_datetime, _unpack_datetime),
    "date": (_PLAIN["date"], _PLAIN["date"].isoformat, _PLAIN["date"].fromisoformat),
    "time": (datetime.time, _pack_time, _unpack_time),
    "timedelta": (
        datetime.timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: datetime.timedelta(*_unpack_list(parts)),
    ),
    "uuid": (uuid.UUID, str, uuid.UUID),
    "bytes": (bytes, lambda value: base64.b64encode(value).decode(), _unpack_bytes),
    "safe": (SafeString, lambda value: value + "", _unpack_safe),
    "dict": (dict, lambda value: [[k, pack(v)] for k, v in value.items()], _unpack_dict),
}
_TAG_OF = {kind: tag for tag, (kind, _, _) in _TAGGED.items()}


def pack(value: Any) -> Any:
    """Return a form of `value` that JSON can carry."""
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
    if tag is None and kind.__module__ == _FREEZEGUN:
        tag = _FAKES.get(kind.__name__)
    if tag is None:
        raise CannotPack
    return {TAG: tag, "value": _TAGGED[tag][1](value)}


def unpack(value: dict[str, Any]) -> Any:
    """Undo `pack` for an object; its members are unpacked already."""
    tag = value.get(TAG)
    if not isinstance(tag, str) or tag not in _TAGGED or value.keys() != {TAG, "value"}:
        return value  # the key of another program
    try:
        return _TAGGED[tag][2](value["value"])
    except Exception as error:  # noqa: BLE001 - whatever a constructor makes of noise
        # No "from error": its text quotes the whole input.
        shown, why = repr_of(value["value"], 60), str_of(error, 100)
        raise SerializationError(f"not a {tag}: {shown} ({why})") from None
