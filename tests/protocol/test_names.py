"""Handles, functions and lanes as they are written on the wire."""

from __future__ import annotations

import pytest

from django_gearman.jobs.identity import new_ids
from django_gearman.protocol.names import (
    delayed_lane,
    full_handle,
    own_handle,
    plain_function,
    quick_lane,
    routing_key,
    served_functions,
    server_of,
    server_of_lane,
    split_handle,
)


@pytest.mark.parametrize("own", [b"H:host:1", b"H://host:2", b"\xff"])
@pytest.mark.parametrize("address", ["127.0.0.1:4730", "[::1]:4730"])
def test_a_handle_names_its_server_and_the_job_there(address, own):
    handle = full_handle(address, own)

    assert server_of(handle) == address
    assert split_handle(handle, [address]) == (address, own)


def test_the_servers_own_handle_comes_back():
    assert own_handle(full_handle("h:1", b"H:\xff:1")) == b"H:\xff:1"


@pytest.mark.parametrize("handle", ["", "h:1", "h:1//", "other:1//H:1", "h:1//" + "x" * 64])
def test_other_text_is_not_a_handle(handle):
    with pytest.raises(ValueError, match="a handle looks like"):
        split_handle(handle, ["h:1"])


def test_delayed_jobs_are_served_too_and_the_first_function_is_registered_last():
    names = served_functions(["first", "second"])

    assert names == [b"second", b"first", b"second@delayed", b"first@delayed"]
    assert {plain_function(name.decode()) for name in names} == {"first", "second"}


def test_generated_uniques_of_a_batch_choose_one_server_and_others_their_own():
    numbers = new_ids()
    batch = [f"{next(numbers):032x}" for _ in range(100)]

    assert len({routing_key(unique) for unique in batch}) <= 2
    assert [routing_key(unique) for unique in ("", "mine", "0" * 32)] == ["", "mine", "0" * 32]


def test_each_connection_of_a_worker_is_one_of_its_server():
    lanes = ["h:1", quick_lane("h:1"), delayed_lane("h:1")]

    assert len(set(lanes)) == 3
    assert [server_of_lane(lane) for lane in lanes] == ["h:1"] * 3
