"""Hostile and broken workloads: they cost little, and raise an error of this library."""

from __future__ import annotations

import itertools
import json
import sys
import time
import traceback
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_gearman.exceptions import SerializationError
from django_gearman.jobs.retries import RetryJob
from django_gearman.serializers import Call
from tests.support.values import JSON, TAG, subclass, travel

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
