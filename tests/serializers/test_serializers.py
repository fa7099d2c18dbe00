from __future__ import annotations

import collections
import datetime
import enum
import json
import pickle
import uuid
import zlib
import zoneinfo
from contextlib import suppress
from decimal import Decimal

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.utils.safestring import SafeString, mark_safe
from hypothesis import given
from hypothesis import strategies as st

from django_gearman import gearman_job
from django_gearman.exceptions import SerializationError
from django_gearman.serializers import (
    Call,
    JSONSerializer,
    PickleSerializer,
    RawSerializer,
    Serializer,
    get_serializer,
)
from django_gearman.serializers.failures import dump_error, parse_error

JSON = JSONSerializer()
PICKLE = PickleSerializer()
TAG = "__gearman__"

hashable = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.datetimes(),
    st.datetimes(timezones=st.just(datetime.UTC)),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)
keys = st.one_of(st.text(), st.sampled_from([TAG, "value", "args", "kwargs"]))
values = st.recursive(
    hashable | st.frozensets(hashable) | st.sets(hashable),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(keys, inner),
        st.fixed_dictionaries({TAG: inner, "value": inner}),
    ),
    max_leaves=10,
)


def shape(value):
    """Return the value with the types that == does not compare."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [shape(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return type(value), frozenset(map(shape, value))
    return type(value), value


@given(value=values)
def test_a_value_comes_back_unchanged(value):
    for serializer in (JSON, PICKLE):
        assert shape(serializer.loads(serializer.dumps(value))) == shape(value), serializer


@given(args=st.lists(values), kwargs=st.dictionaries(st.text(), values))
def test_a_call_travels_whole(args, kwargs):
    for serializer in (JSON, PICKLE):
        call = serializer.loads_call(serializer.dumps_call(Call(args, kwargs, attempt=3)))

        assert shape(call.args) == shape(args), serializer
        assert shape(call.kwargs) == shape(kwargs), serializer
        assert call.attempt == 3


@given(value=values)
def test_json_is_json(value):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    json.loads(JSON.dumps(value), parse_constant=refuse)


@given(noise=st.binary())
def test_noise_is_an_error_of_ours_or_a_value(noise):
    for serializer in (JSON, PICKLE):
        with suppress(SerializationError):
            serializer.loads_call(noise)


def test_a_zone_keeps_its_name():
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    twice = datetime.datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=1)

    back = JSON.loads(JSON.dumps(twice))

    assert (back.tzinfo.key, back.fold, back.utcoffset()) == ("Europe/Berlin", 1, twice.utcoffset())


@pytest.mark.parametrize("value", [float("nan"), Decimal("NaN")])
def test_nan_and_infinity_travel_too(value):
    assert repr(JSON.loads(JSON.dumps(value))) == repr(value)


def test_a_safe_string_stays_safe():
    assert type(JSON.loads(JSON.dumps(mark_safe("<b>")))) is SafeString


def test_equal_sets_make_equal_bytes():
    assert JSON.dumps(set("abcdef")) == JSON.dumps(set("fedcba"))


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 1


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (Call([1, print]), "args[1]"),
        (Call([], {"when": {"at": [0, object()]}}), "kwargs['when']['at'][1]"),
        (Call([{1: 2}]), "keys of a dict must be strings, not 1"),
        (Call([Colour.RED]), "pass its .value"),
        (Call([Level.HIGH]), "pass its .value"),
        (Call([Point(1, 2)]), "args[0]"),
        (Call([collections.OrderedDict(a=1)]), "OrderedDict"),
        (Call([{"x": (1, {2j})}]), "args[0]['x'][1]"),
        (Call([10**5000]), "4300 digits"),
        (Call([bytearray(b"x")]), "bytearray"),
    ],
)
def test_json_names_what_it_cannot_carry(call, message):
    with pytest.raises(SerializationError) as caught:
        JSON.dumps_call(call)
    assert message in str(caught.value)


def test_a_queryset_is_refused_without_asking_the_database():
    class Item(models.Model):
        class Meta:
            app_label = "tests"

    with pytest.raises(SerializationError, match="list of primary keys"):
        JSON.dumps(Item.objects.all())


def test_a_value_whose_text_cannot_be_had_is_refused_all_the_same():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(SerializationError, match="Broken"):
        JSON.dumps(Broken())


def test_a_time_in_a_zone_is_refused():
    with pytest.raises(SerializationError, match=r"datetime\.time"):
        JSON.dumps(datetime.time(12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")))


def test_a_value_that_contains_itself_is_refused():
    circle: list[object] = []
    circle.append(circle)

    with pytest.raises(SerializationError, match="contains itself"):
        JSON.dumps(circle)


def test_a_model_is_refused_with_advice():
    class Order(models.Model):
        class Meta:
            app_label = "tests"

    with pytest.raises(SerializationError, match=r"pass its \.pk"):
        JSON.dumps_call(Call([Order(pk=1)]))


@pytest.mark.parametrize(
    ("workload", "call"),
    [
        (b"", Call()),
        (b"3", Call([3])),
        (b'"hello"', Call(["hello"])),
        (b"null", Call([None])),
        (b'{"width": 3}', Call([{"width": 3}])),
        (b'{"args": [1], "kwargs": {"a": 2}}', Call([1], {"a": 2})),
        (b'{"args": [1]}', Call([{"args": [1]}])),
        (b'{"args": 1, "kwargs": {}}', Call([{"args": 1, "kwargs": {}}])),
        (b'{"args": [], "kwargs": {}, "x": 1}', Call([{"args": [], "kwargs": {}, "x": 1}])),
        (b'{"__gearman__": "other", "value": 1}', Call([{TAG: "other", "value": 1}])),
    ],
)
def test_clients_in_other_languages_need_no_envelope(workload, call):
    assert JSON.loads_call(workload) == call


@pytest.mark.parametrize(
    "noise",
    [b"\xff\x00", b"{", b"[" * 100_000, b'{"__gearman__": "decimal", "value": "x"}', b"9" * 5000],
)
def test_text_that_is_not_json_is_refused(noise):
    with pytest.raises(SerializationError):
        JSON.loads(noise)


def test_a_pickle_that_was_tampered_with_is_not_loaded():
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("a forged pickle was loaded",)

    forged = pickle.dumps(Bomb())
    signed = PICKLE.dumps("fine")

    for data in (forged, signed[:-1] + b"x", b"x" + signed, b""):
        with pytest.raises(SerializationError, match="SECRET_KEY"):
            PICKLE.loads(data)


def test_a_pickle_signed_with_an_old_key_is_loaded(settings):
    signed = PICKLE.dumps("fine")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]

    assert PICKLE.loads(signed) == "fine"


def test_a_value_that_cannot_be_pickled_is_refused():
    with pytest.raises(SerializationError, match="cannot pickle"):
        PICKLE.dumps(lambda: None)


def test_raw_carries_bytes_only():
    raw = RawSerializer()

    assert raw.loads_call(raw.dumps_call(Call([b"\0\xff"]))) == Call([b"\0\xff"])
    assert raw.dumps(None) == b""
    for call in (Call(["text"]), Call([b"1", b"2"]), Call([b"1"], {"a": 1}), Call()):
        with pytest.raises(SerializationError, match="raw"):
            raw.dumps_call(call)


class Textual(Serializer):
    """Forgets to encode."""

    def dumps(self, value):
        return repr(value)

    def loads(self, data):
        return data.decode()


def test_a_serializer_that_makes_no_bytes_is_named(gearman_client, settings):
    settings.GEARMAN_SERIALIZER = "tests.serializers.test_serializers.Textual"

    with pytest.raises(SerializationError, match="Textual must return bytes, and returned a str"):
        gearman_client.submit_job("tests.app.echo", 1)


def test_a_result_that_is_not_bytes_fails_the_job(gearman_client):
    class Half(Textual):
        def dumps_call(self, call):
            return b"call"

    @gearman_job(name="half", serializer=Half())
    def half(data):
        return data

    with pytest.raises(SerializationError, match=r"the result of job half: .*Half must return"):
        half.do_background(1)


class Packed(JSONSerializer):
    """JSON, compressed."""

    def dumps_call(self, call):
        return zlib.compress(super().dumps_call(call))


def test_equal_calls_have_equal_keys():
    one, other = Call([{"a": 1, "b": 2}]), Call([{"b": 2, "a": 1}])

    assert JSON.unique_key(one) == JSON.unique_key(other) != JSON.unique_key(Call([1]))
    assert Packed().unique_key(one) == Packed().unique_key(one) != Packed().unique_key(Call([1]))
    assert RawSerializer().unique_key(Call([b"1.0"])) != RawSerializer().unique_key(Call([b"1.00"]))


class Upper(Serializer):
    def dumps(self, value):
        return str(value).upper().encode()

    def loads(self, data):
        return data.decode()


def test_a_serializer_of_ones_own_is_found_by_its_path():
    assert isinstance(get_serializer(f"{__name__}.Upper"), Upper)


@pytest.mark.parametrize("spec", ["yaml", "no.such.Thing", f"{__name__}.Point", 5, None])
def test_an_object_that_is_not_a_serializer_is_refused(spec):
    with pytest.raises(ImproperlyConfigured, match="GEARMAN_SERIALIZER"):
        get_serializer(spec)


# Errors of jobs


def test_an_error_travels_to_the_client():
    try:
        raise ValueError("boom")
    except ValueError as error:
        message = parse_error(dump_error(error))

    assert message is not None
    assert (message["exception_type"], message["message"]) == ("ValueError", "boom")
    assert "raise ValueError" in message["traceback"]


def test_an_error_whose_text_cannot_be_had_travels_too():
    class Broken(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    message = parse_error(dump_error(Broken()))

    assert message is not None
    assert "no text" in message["message"]


@given(value=values)
def test_no_warning_of_a_job_is_taken_for_an_error(value):
    assert parse_error(JSON.dumps(value)) is None


@given(noise=st.binary())
def test_noise_is_not_an_error(noise):
    assert parse_error(b'{"__gearman__":"error",' + noise) is None or noise


plain_texts = st.text(st.characters(min_codepoint=35, max_codepoint=91))


@given(items=st.lists(values) | st.lists(plain_texts) | st.lists(plain_texts | st.text()))
def test_many_items_are_written_like_calls_with_each(items):
    json = get_serializer("json")

    assert json.dumps_items(items) == [json.dumps_call(Call((item,))) for item in items]


def test_uuid_is_carried_as_text():
    value = uuid.UUID(int=5)

    assert json.loads(JSON.dumps(value)) == {TAG: "uuid", "value": str(value)}


@given(
    text=st.text(max_size=30),
    place=st.integers(0, 3000),
    filling=st.sampled_from(["x", "é", "\ud800", "\x7f", "]"]),
)
def test_long_texts_are_written_like_short_ones(text, place, filling):
    serializer = get_serializer("json")
    filled = filling * 3000
    value = filled[:place] + text + filled[place:]

    assert serializer.loads(serializer.dumps(value)) == value
    assert serializer.loads_call(serializer.dumps_call(Call([value]))) == Call([value])
    written = serializer.dumps_call(Call([value], {"text": value}))
    assert serializer.loads_call(written) == Call([value], {"text": value})
    assert json.loads(written) == {"args": [value], "kwargs": {"text": value}}


@pytest.mark.parametrize("length", [10, 10_000])
def test_workloads_of_other_programs_are_read_alike_long_or_short(length):
    text = "é" * length
    for raw in (f'"{text}\n"', f' "{text}\n" ', f'"{text}\\n"', f'"{text}\\u000a"'):
        assert JSON.loads(raw.encode()) == f"{text}\n"
    for raw in ("{text}", '"{text}', '"{text}""', '"{text}" "{text}"', '"{text}\\"'):
        with pytest.raises(SerializationError, match="not JSON"):
            JSON.loads(raw.format(text=text).encode())
    for broken in (b'"%b"', b'{"args":["%b"],"kwargs":{}}'):
        with pytest.raises(SerializationError, match="not JSON"):
            JSON.loads_call(broken % (b"\xff" * length))
