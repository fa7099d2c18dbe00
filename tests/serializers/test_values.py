"""Numbers, texts and nesting: each value comes back as it was, or is refused."""

from __future__ import annotations

import datetime
import decimal
import math
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_gearman.exceptions import SerializationError
from django_gearman.serializers import Call
from tests.support.values import JSON, travel

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
def test_a_value_nested_too_deeply_is_refused_by_its_argument(make):
    with pytest.raises(SerializationError, match=r"kwargs\['tree'\]: it is nested too deeply"):
        JSON.dumps_call(Call([1], {"tree": make()}))


@pytest.mark.parametrize("kind", [dict, list])
def test_a_value_that_contains_itself_is_refused_by_its_argument(kind):
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
def test_a_workload_nested_too_deeply_is_not_read(noise):
    with pytest.raises(SerializationError, match="nested too deeply to be read") as caught:
        JSON.loads_call(noise)
    assert len(str(caught.value)) < 300
