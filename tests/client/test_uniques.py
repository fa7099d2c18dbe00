"""Equal jobs: one unique, one job."""

from __future__ import annotations

import pytest

from django_gearman import gearman_job


@pytest.mark.parametrize("unique", [True, "-"])
def test_the_same_arguments_are_the_same_job(memory, client, ran, unique):
    same = [
        {"args": [1, 2]},
        {"left": 1, "right": 2},
        {"right": 2, "left": 1},
        {"args": [1], "right": 2},
    ]
    requests = [
        client.submit_job("tests.app.add", unique=unique, background=True, **call) for call in same
    ]

    assert len({request.handle for request in requests}) == 1
    other = client.submit_job("tests.app.add", args=[2, 2], unique=unique, background=True)
    assert other.handle != requests[0].handle


def test_the_same_bytes_are_the_same_job(memory, client):
    @gearman_job(name="carries-bytes", serializer="raw")
    def carry(data): ...

    handles = [
        carry.using(unique=True).do_background(data).handle for data in (b"1.0", b"1.00", b"1.0")
    ]

    assert handles[0] == handles[2] != handles[1]
    assert carry.using(unique=True).do_background(b"[" * 200_000).handle


def test_a_default_that_cannot_be_serialized_is_not_an_obstacle():
    @gearman_job(name="odd-default")
    def odd(value, printer=print):
        return printer is print

    assert odd.using(unique=True).do(1) is True


@pytest.mark.parametrize("unique", [None, "", False])
def test_no_unique_means_a_new_job_each_time(memory, client, unique):
    first, second = (
        client.submit_job("tests.app.note", 1, unique=unique, background=True) for _ in range(2)
    )

    assert first.handle != second.handle
    assert len(first.unique) == 32
