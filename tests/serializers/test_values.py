"""What a value is when it has travelled, and which values are refused before they do."""

from __future__ import annotations

import collections
import copy
import datetime
import decimal
import enum
import io
import itertools
import json
import math
import pickle
import sys
import time
import traceback
import uuid
import zoneinfo
from decimal import Decimal

import freezegun
import pytest
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_gearman import exceptions, gearman_job
from django_gearman.client.request import JobRequest
from django_gearman.exceptions import GearmanError, JobRaised, SerializationError, SubmitUncertain
from django_gearman.jobs.retries import RetryJob
from django_gearman.serializers import Call, JSONSerializer, PickleSerializer
from tests.app import gearman_jobs as jobs

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
    """Return all that can be seen of a date or time."""
    zone = value.tzinfo
    return repr(value), value.fold, type(value), type(zone), zone and value.tzname()


# Dates and times

offsets = st.timedeltas(
    min_value=datetime.timedelta(hours=-23), max_value=datetime.timedelta(hours=23)
).filter(lambda offset: not offset or abs(offset) >= datetime.timedelta(seconds=1))
fixed_zones = st.one_of(
    offsets.map(datetime.timezone), st.builds(datetime.timezone, offsets, st.text())
)
zones = st.one_of(st.none(), st.timezones(), fixed_zones)


@given(value=st.datetimes(timezones=zones, allow_imaginary=True), fold=st.sampled_from([0, 1]))
def test_a_datetime_comes_back_with_its_zone_and_fold(value, fold):
    value = value.replace(fold=fold)

    assert described(travel(value)) == described(value)


@given(value=st.times(timezones=st.none() | fixed_zones), fold=st.sampled_from([0, 1]))
def test_a_time_comes_back_with_its_offset_and_fold(value, fold):
    value = value.replace(fold=fold)

    assert described(travel(value)) == described(value)


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2026, 10, 25, 2, 30, fold=1),
        datetime.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        datetime.datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN, fold=1),  # an hour that was left out
        datetime.datetime(2026, 6, 1, tzinfo=BERLIN, fold=1),  # where it makes no difference
        datetime.datetime(2026, 6, 1, tzinfo=UTC, fold=1),
        datetime.datetime(2026, 6, 1, tzinfo=fixed(1, "CET")),
        datetime.datetime(2026, 6, 1, tzinfo=fixed(1, "a [name=] with\nnoise]]")),
        datetime.datetime(2026, 6, 1, tzinfo=fixed(0, "")),
        datetime.datetime(2026, 6, 1, tzinfo=zoneinfo.ZoneInfo("UTC")),
        datetime.datetime.min,
        datetime.datetime.max,
        datetime.datetime.max.replace(tzinfo=fixed(-5)),
        datetime.datetime(1, 1, 1, tzinfo=BERLIN),  # an offset with seconds
        datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone(datetime.timedelta(0, 1, 1))),
        datetime.time(2, 30, fold=1),
        datetime.time(2, 30, tzinfo=UTC, fold=1),
        datetime.time.max,
    ],
    ids=str,
)
def test_moments_that_are_easily_lost(value):
    assert described(travel(value)) == described(value)


@pytest.mark.parametrize(
    "value", [datetime.date.min, datetime.date.max, datetime.date(2024, 2, 29)], ids=str
)
def test_dates_at_the_edges(value):
    assert repr(travel(value)) == repr(value)


def test_readers_that_know_nothing_of_fold_read_the_rest():
    written = json.loads(JSON.dumps([datetime.datetime(2026, 10, 25, 2, 30, fold=1)]))[0]["value"]

    assert datetime.datetime.fromisoformat(written) == datetime.datetime(2026, 10, 25, 2, 30)
    written = json.loads(JSON.dumps([datetime.time(2, 30, fold=1)]))[0]["value"]
    assert datetime.time.fromisoformat(written) == datetime.time(2, 30)


@pytest.mark.parametrize(
    ("text", "fold"),
    [
        ("2026-10-25T02:30:00+02:00[Europe/Berlin]", 0),
        ("2026-10-25T02:30:00+01:00[Europe/Berlin]", 1),
        ("2026-10-25t02:30:00+01:00[Europe/Berlin]", 1),
        ("2026-10-25T02:30:00[Europe/Berlin]", 0),
    ],
)
def test_what_others_write_of_a_zone_is_read(text, fold):
    value = JSON.loads(json.dumps({TAG: "datetime", "value": text}).encode())

    assert described(value) == described(
        datetime.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold)
    )


# freezegun


def test_frozen_dates_travel_as_plain_ones():
    with freezegun.freeze_time("2026-01-02 03:04:05"):
        now, today = datetime.datetime.now(UTC), datetime.date.today()
        written = JSON.dumps([now, today, datetime.datetime.now(), {now}])
        again = JSON.dumps(JSON.loads(written))

    plain = datetime.datetime(2026, 1, 2, 3, 4, 5)
    aware = plain.replace(tzinfo=UTC)
    assert JSON.loads(written) == [aware, datetime.date(2026, 1, 2), plain, {aware}]
    assert again == written == JSON.dumps([aware, datetime.date(2026, 1, 2), plain, {aware}])
    assert [type(item) for item in JSON.loads(written)[:2]] == [datetime.datetime, datetime.date]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_a_frozen_local_time_travels_as_one_does_that_is_not_frozen(zone, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        with freezegun.freeze_time("2026-07-02"):
            now = datetime.datetime.now().astimezone()
            written = JSON.dumps(now)
        plain = datetime.datetime.fromtimestamp(now.timestamp()).astimezone()
    time.tzset()

    assert JSON.loads(written) == plain
    assert JSON.loads(written).tzname() == plain.tzname()
    assert written == JSON.dumps(plain)


def test_plain_dates_are_read_and_written_under_a_frozen_clock():
    values = [
        datetime.datetime(2026, 1, 1, tzinfo=BERLIN),
        datetime.datetime(2026, 10, 25, 2, 30, fold=1),
        datetime.date(2026, 1, 1),
        datetime.time(1),
    ]
    written = JSON.dumps(values)
    with freezegun.freeze_time("2026-01-02"):
        assert JSON.dumps(values) == written
        back = JSON.loads(written)

    assert list(map(repr, back)) == list(map(repr, values))


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_job_gets_the_dates_of_a_frozen_caller(settings, serializer):
    settings.GEARMAN_SERIALIZER = serializer
    with freezegun.freeze_time("2026-01-02"):
        now = datetime.datetime.now(UTC)
        assert jobs.echo.do({"at": now, "day": datetime.date.today()}) == {
            "at": now,
            "day": datetime.date(2026, 1, 2),
        }


# Subclasses, and what else would come back as something else


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


def subclass(base):
    return type(f"My{base.__name__}", (base,), {})


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
def test_what_would_change_is_refused_by_its_path(value):
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
    ("value", "told"),
    [
        (Level.HIGH, "pass its .value"),
        (collections.OrderedDict(), "would come back as a plain dict"),
        (
            datetime.datetime(2026, 1, 1, tzinfo=Zone()),
            "its time zone, a tests.serializers.test_values.Zone",
        ),
        (subclass(datetime.datetime)(2026, 1, 1), "would come back as a plain datetime"),
        ({subclass(str)("x"): 1}, "not 'x', a Mystr"),
        ("\ud83d\ude00", "two surrogates"),
        (gettext_lazy("text"), "pass str() of it"),
        (10**5000, "16610 bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_refusal_says_what_to_do(value, told):
    with pytest.raises(SerializationError) as caught:
        JSON.dumps(value)
    assert told in str(caught.value)


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


# Numbers and texts


@pytest.mark.parametrize(
    "value",
    [
        *(
            Decimal(text)
            for text in ["sNaN", "-sNaN12", "-NaN", "-0", "0E+3", "-0E-10", "1E+999999"]
        ),
        *(Decimal(text) for text in ["Infinity", "-Infinity", "1.10", "1E-999999999999999999"]),
        *(-0.0, float("inf"), -float("inf"), float("nan"), 5e-324, sys.float_info.max),
        *(10**4299, -(10**4299), True, 1, 1.0),
        *("\ud800", "\udc00\ud800", "x\udfff", "\0", "\U0001f600", "\U0001f600\ud83d"),
        *(b"", bytes(range(256)), "", (), set(), frozenset(), [], {}),
        *(datetime.timedelta.min, datetime.timedelta.max, datetime.timedelta(microseconds=-1)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_numbers_and_texts_that_are_easily_lost(value):
    for sent in (value, [value], {"key": (value,)}):
        assert repr(travel(sent)) == repr(sent)
    assert math.copysign(1, travel(-0.0)) == -1


def test_a_decimal_keeps_its_digits_whatever_the_context():
    value = Decimal("1.23456789")
    with decimal.localcontext(prec=2):
        assert str(travel(value)) == str(value)


@given(text=st.text(st.characters()))
def test_a_text_comes_back_or_is_refused(text):
    try:
        written = JSON.dumps([text])
    except SerializationError:
        assert not text.isascii()
    else:
        assert JSON.loads(written) == [text]


# Depth


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("make", [lambda: nested(100_000), lambda: nested(2000)])
def test_what_is_nested_too_deeply_is_refused_by_its_argument(make):
    with pytest.raises(SerializationError, match=r"kwargs\['tree'\]: it is nested too deeply"):
        JSON.dumps_call(Call([1], {"tree": make()}))


@pytest.mark.parametrize("kind", [dict, list])
def test_what_contains_itself_is_refused_by_its_argument(kind):
    value = kind()
    if kind is list:
        value.append(value)
    else:
        value["x"] = value
    with pytest.raises(SerializationError, match=r"args\[1\]: .* contains itself"):
        JSON.dumps_call(Call([1, value]))


@pytest.mark.parametrize(
    "noise",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"__gearman__":"tuple","value":[' * 20_000 + b"]}" * 20_000,
    ],
    ids=["open", "closed", "tuples"],
)
def test_what_is_nested_too_deeply_is_not_read(noise):
    with pytest.raises(SerializationError, match="nested too deeply to be read") as caught:
        JSON.loads_call(noise)
    assert len(str(caught.value)) < 300


# Noise

tags = ["tuple", "set", "frozenset", "float", "decimal", "datetime", "date", "time", "timedelta"]
tags += ["uuid", "bytes", "safe", "dict"]


@pytest.mark.parametrize("tag", tags)
@pytest.mark.parametrize("make", [lambda: "noise- " * 800_000, lambda: [["x" * 5_000_000]]])
def test_noise_in_a_tag_is_not_quoted_whole(tag, make):
    if (tag, type(make())) in (("safe", str), ("tuple", list)):
        return  # which it is, then
    with pytest.raises(SerializationError) as caught:
        JSON.loads(json.dumps({TAG: tag, "value": make()}).encode())

    assert len("".join(traceback.format_exception(caught.value))) < 5000


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(tag=st.sampled_from(tags), value=json_values)
def test_a_tag_of_anything_is_a_value_or_an_error_of_ours(tag, value):
    try:
        found = JSON.loads(json.dumps({TAG: tag, "value": value}).encode())
    except SerializationError:
        return
    assert JSON.dumps(travel(found)) == JSON.dumps(found)


def test_long_arguments_are_not_quoted_whole(gearman_client):
    noise = "x" * 5_000_000
    for wrong in (
        lambda: gearman_client.submit_job("tests.app.echo", noise, args=[1]),
        lambda: gearman_client.submit_job("tests.app.echo", args=noise),
        lambda: gearman_client.submit_job("tests.app.echo", kwargs=noise),
        lambda: gearman_client.submit_job("tests.app.echo", **{noise: 1}),
        lambda: gearman_client.submit_job("tests.app.echo", 1, [noise]),
        lambda: gearman_client.submit_job("tests.app.echo", 1, None, noise),
        lambda: gearman_client.submit_job(noise),
        lambda: gearman_client.submit_job([noise]),
        lambda: gearman_client.using(unique=[noise]),
        lambda: gearman_client.using(wait=noise),
        lambda: gearman_client.get_job_status([noise]),
        lambda: gearman_client.submit_multiple_jobs([noise]),
        lambda: gearman_client.submit_multiple_jobs([{"task": "tests.app.echo", noise: noise}]),
        lambda: JSON.dumps(subclass(str)(noise)),
        lambda: JSON.dumps({noise: object()}),
        lambda: RetryJob(noise),
    ):
        started = time.perf_counter()
        with pytest.raises((TypeError, ValueError)) as caught:
            wrong()
        assert len(str(caught.value)) < 1000
        assert time.perf_counter() - started < 5


# Members with the same hash

PRIME = sys.hash_info.modulus


@pytest.mark.parametrize("kind", ["set", "frozenset"])
@pytest.mark.parametrize(
    "members",
    [
        [number * PRIME for number in range(20_000)],
        [{TAG: "uuid", "value": str(uuid.UUID(int=n * PRIME))} for n in range(10_000)],
        [{TAG: "decimal", "value": str(n * PRIME)} for n in range(10_000)],
        [{TAG: "tuple", "value": [n * PRIME, 1]} for n in range(10_000)],
        [n % 200 + n * PRIME for n in range(40_000)],
    ],
    ids=["int", "uuid", "decimal", "tuple", "mixed"],
)
def test_a_set_that_takes_quadratic_time_is_refused(kind, members):
    data = json.dumps({TAG: kind, "value": members}).encode()
    started = time.process_time()

    with pytest.raises(SerializationError, match="have the same hash"):
        JSON.loads(data)

    assert time.process_time() - started < 1


def test_such_a_set_is_refused_where_it_is_sent():
    value = {number * PRIME for number in range(1000)}
    with pytest.raises(
        SerializationError, match=r"args\[0\]\['ids'\]: a set of 1000 members: too many"
    ):
        JSON.dumps_call(Call([{"ids": value}]))


@pytest.mark.parametrize("make", ["set", "frozenset"])
def test_members_that_share_a_hash_by_chance_travel(make):
    corners = set(itertools.product((-1, -2, 5), repeat=5))  # hash(-1) is hash(-2)

    assert travel(corners) == corners
    assert len({hash(corner) for corner in corners}) < len(corners) / 3


def test_a_dict_of_numbers_is_not_read():
    data = json.dumps({TAG: "dict", "value": [[n * PRIME, 0] for n in range(20_000)]}).encode()
    with pytest.raises(SerializationError, match="not a dict"):
        JSON.loads(data)


def test_members_that_are_sent_twice_are_one():
    data = json.dumps({TAG: "set", "value": [1, 2, 3] * 10_000}).encode()

    assert JSON.loads(data) == {1, 2, 3}


def test_sets_of_many_members_are_read():
    for value in (
        set(range(100_000)),
        {(x, y, z) for x in range(-20, 20) for y in range(-20, 20) for z in range(-3, 3)},
        {float(n) for n in range(-1000, 1000)},
        frozenset(frozenset([n]) for n in range(1000)),
    ):
        assert travel(value) == value


# Uniques


@pytest.mark.gearman("memory")
@pytest.mark.parametrize(
    ("default", "same", "others"),
    [
        (0.0, [0.0], [-0.0, 0, False, None, Decimal(0)]),
        (1, [1], [True, 1.0, Decimal(1), "1"]),
        (float("nan"), [float("nan")], [float("inf"), "nan"]),
        (Decimal("1.0"), [Decimal("1.0")], [Decimal(1), Decimal("1.00"), 1.0]),
        ([1], [[1]], [[True], [1.0], (1,)]),
        ({"a": 1, "b": [2]}, [{"b": [2], "a": 1}], [{"a": True, "b": [2]}, {"b": [2]}]),
        ({1, 2}, [{2, 1}], [frozenset({1, 2}), {1.0, 2}, [1, 2]]),
        (
            datetime.datetime(2026, 10, 25, 2, 30),
            [datetime.datetime(2026, 10, 25, 2, 30)],
            [datetime.datetime(2026, 10, 25, 2, 30, fold=1)],
        ),
        (
            datetime.datetime(2026, 6, 1, 12, tzinfo=UTC),
            [datetime.datetime(2026, 6, 1, 12, tzinfo=UTC)],
            [datetime.datetime(2026, 6, 1, 14, tzinfo=BERLIN)],
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_arguments_are_the_same_if_a_job_cannot_tell_them_apart(
    default, same, others, gearman_client
):
    @gearman_job(name="has-a-default")
    def has_a_default(value=default): ...

    once = has_a_default.using(unique=True)
    first = once.do_background().handle

    assert {once.do_background(value).handle for value in [default, *same]} == {first}
    handles = {once.do_background(value).handle for value in others}
    assert len(handles | {first}) == len(others) + 1


# Errors


def every_error():
    yield SubmitUncertain("uncertain", [])
    yield JobRaised("job", exception_type="ValueError", message="no", traceback="Traceback")
    yield exceptions.ServerError("refused", code="queue_full", text="full")
    left = [GearmanError]
    while left:
        kind = left.pop()
        left += [each for each in kind.__subclasses__() if each.__module__ == exceptions.__name__]
        if kind not in (JobRaised,):
            yield kind("what happened")
    yield exceptions.InvalidBackend("wrong")
    yield RetryJob()
    yield RetryJob(30)
    yield RetryJob(datetime.timedelta(days=1))


ways = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "old pickle": lambda value: pickle.loads(pickle.dumps(value, protocol=0)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", ways)
@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: type(error).__name__)
def test_every_error_can_be_copied_and_pickled(error, way):
    error.add_note("a note")
    same = ways[way](error)

    assert type(same) is type(error)
    assert str(same) == str(error)
    assert same.args == error.args
    assert vars(same) == vars(error)


class Late(RetryJob):
    def __init__(self):
        super().__init__(60)


class Refused(GearmanError):
    def __init__(self, *, reason):
        super().__init__(f"refused: {reason}")
        self.reason = reason


@pytest.mark.parametrize("way", ways)
def test_errors_of_a_projects_own_can_be_copied_too(way):
    assert ways[way](Late()).delay == 60
    assert ways[way](Refused(reason="none")).reason == "none"


@pytest.mark.parametrize("way", ways)
def test_the_requests_of_an_uncertain_submission_go_with_it(way, gearman_client):
    requests = [jobs.echo.do_background(1), gearman_client.submit_job("tests.app.echo", {"a": 2})]
    error = SubmitUncertain("uncertain", requests)
    requests[0].exception = error

    same = ways[way](error)

    assert str(same) == "uncertain"
    one, other = same.requests
    assert isinstance(one, JobRequest)
    assert (one.handle, one.state) == (requests[0].handle, requests[0].state)
    assert other.result == {"a": 2}
