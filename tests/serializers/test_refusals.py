"""Values that would come back as something else are refused before they are sent."""

from __future__ import annotations

import collections
import datetime
import enum
import io
import uuid
import zoneinfo
from decimal import Decimal

import pytest
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy

from django_gearman import gearman_job
from django_gearman.exceptions import JobRaised, SerializationError
from django_gearman.serializers import Call
from tests.support.values import JSON, subclass


class Level(enum.IntEnum):
    HIGH = 1


class Colour(enum.StrEnum):
    RED = "red"


class Zone(datetime.tzinfo):
    def utcoffset(self, moment):
        return datetime.timedelta(hours=1)

    def tzname(self, moment):
        return "zone"

    def dst(self, moment):
        return None


def from_file(key):
    data = b"TZif" + b"\0" * 35 + b"\1" + b"\0\0\0\4" + b"\0\0\0\0" + b"\0\0" + b"UTC\0"
    return zoneinfo.ZoneInfo.from_file(io.BytesIO(data), key=key)


WOULD_CHANGE = [
    Level.HIGH,
    Colour.RED,
    collections.namedtuple("Point", "x y")(1, 2),
    collections.OrderedDict(a=1),
    collections.defaultdict(list),
    collections.Counter("aab"),
    subclass(int)(1),
    subclass(float)(1),
    subclass(str)("x"),
    subclass(bytes)(b"x"),
    subclass(list)(),
    subclass(dict)(),
    subclass(tuple)(),
    subclass(set)(),
    subclass(frozenset)(),
    subclass(Decimal)(1),
    subclass(uuid.UUID)(int=1),
    subclass(datetime.datetime)(2026, 1, 1),
    subclass(datetime.date)(2026, 1, 1),
    subclass(datetime.time)(1),
    subclass(datetime.timedelta)(1),
    subclass(SafeString)("x"),
    subclass(subclass(datetime.datetime))(2026, 1, 1),
    datetime.datetime(2026, 1, 1, tzinfo=Zone()),
    datetime.datetime(2026, 1, 1, tzinfo=subclass(zoneinfo.ZoneInfo)("Europe/Berlin")),
    datetime.datetime(2026, 1, 1, tzinfo=from_file(None)),
    datetime.datetime(2026, 1, 1, tzinfo=from_file("Europe/Berlin")),
    datetime.datetime(2026, 1, 1, tzinfo=from_file("No/Such")),
    datetime.time(1, tzinfo=Zone()),
    datetime.time(1, tzinfo=datetime.timezone(datetime.timedelta(microseconds=1))),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(microseconds=-1))),
    datetime.time(1, tzinfo=zoneinfo.ZoneInfo("UTC")),
    bytearray(b"x"),
    memoryview(b"x"),
    range(3),
    1j,
    {1: 2},
    {subclass(str)("x"): 1},
    {mark_safe("x"): 1},
    "\ud83d\ude00",
    {"\ud83d\ude00": 1},
    gettext_lazy("text"),
    SimpleLazyObject(lambda: "text"),
]


@pytest.mark.parametrize("value", WOULD_CHANGE, ids=lambda value: type(value).__name__)
def test_a_value_that_would_change_is_refused_by_its_path(value):
    for where, call in {
        "args[0]": Call([value]),
        "kwargs['a']['b'][1]": Call([], {"a": {"b": (0, value)}}),
        "context['user']": Call([], {}, 1, {"user": value}),
    }.items():
        with pytest.raises(SerializationError) as caught:
            JSON.dumps_call(call)
        assert f"cannot serialize {where}: " in str(caught.value)
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Level.HIGH, "pass its .value"),
        (collections.OrderedDict(), "would come back as a plain dict"),
        (
            datetime.datetime(2026, 1, 1, tzinfo=Zone()),
            "its time zone, a tests.serializers.test_refusals.Zone",
        ),
        (subclass(datetime.datetime)(2026, 1, 1), "would come back as a plain datetime"),
        ({subclass(str)("x"): 1}, "not 'x', a Mystr"),
        ("\ud83d\ude00", "two surrogates"),
        (gettext_lazy("text"), "pass str() of it"),
        (10**5000, "16610 bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_refusal_says_what_to_do(value, message):
    with pytest.raises(SerializationError) as caught:
        JSON.dumps(value)
    assert message in str(caught.value)


def test_a_lazy_object_is_refused_without_being_made():
    def load():
        raise AssertionError("it was made")

    with pytest.raises(SerializationError, match="LazyObject"):
        JSON.dumps({"user": SimpleLazyObject(load)})


@pytest.mark.parametrize("name", ["job", "update", "context"])
def test_results_updates_and_context_are_refused_alike(name, settings, gearman_client):
    value = {"at": [subclass(datetime.datetime)(2026, 1, 1)]}

    @gearman_job(name="sends", takes_context=True)
    def sends(context):
        if name == "update":
            context.send_data(value)
        return value

    if name == "context":
        settings.GEARMAN_CONTEXT_PROVIDER = lambda: value
    with pytest.raises((SerializationError, JobRaised), match=r"at'?\]?\[0\]: .*plain datetime"):
        sends.do()
