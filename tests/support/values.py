"""Short words for tests of values that travel."""

from __future__ import annotations

import datetime
import zoneinfo

from django_gearman.serializers import JSONSerializer, PickleSerializer

JSON = JSONSerializer()
PICKLE = PickleSerializer()
TAG = "__gearman__"
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
UTC = datetime.UTC


def travel(value, serializer=JSON):
    return serializer.loads(serializer.dumps(value))


def fixed(hours, name=None):
    offset = datetime.timedelta(hours=hours)
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


def described(value):
    """Return every visible property of a date or time."""
    zone = value.tzinfo
    return repr(value), value.fold, type(value), type(zone), zone and value.tzname()


def subclass(base):
    return type(f"My{base.__name__}", (base,), {})
