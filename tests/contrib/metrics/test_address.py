"""The address at which `gearman_worker --metrics` listens."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from django_gearman.contrib.metrics.address import ListenAddress, name_of


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9191", "127.0.0.1", 9191),
        (":9191", "", 9191),
        ("[::1]:9191", "::1", 9191),
        ("localhost:0", "localhost", 0),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
        ("metrics.internal:80", "metrics.internal", 80),
    ],
)
def test_an_address_has_a_host_and_a_port(text, host, port):
    address = ListenAddress.parse(text)

    assert address == (host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "9191", "localhost", "localhost:", "127.0.0.1:x", ":65536", ":-1", ": 80"),
        *("::1:9191", "[::1]", "[::1", "[]:80", "http://localhost:80", "a b:80", "host:80/metrics"),
        *("host:\u0663\u0663", "host:80\n", "unix:/run/metrics"),
    ],
)
def test_anything_else_is_refused_with_the_form(text):
    with pytest.raises(
        ValueError, match=r"--metrics .*write host:port, for example 127.0.0.1:9191"
    ):
        ListenAddress.parse(text)


def test_a_free_port_is_chosen_for_0_and_named():
    with closing(ListenAddress.parse("127.0.0.1:0").listen()) as listening:
        name = name_of(listening)

        with socket.create_connection(("127.0.0.1", int(name.removeprefix("127.0.0.1:"))), 10):
            pass


def test_no_host_means_all_addresses():
    with closing(ListenAddress.parse(":0").listen()) as listening:
        assert name_of(listening).startswith("0.0.0.0:")
        with socket.create_connection(("127.0.0.1", listening.getsockname()[1]), 10):
            pass


def test_a_port_in_use_is_an_error():
    with closing(ListenAddress.parse("127.0.0.1:0").listen()) as listening:
        same = ListenAddress("127.0.0.1", listening.getsockname()[1])

        with pytest.raises(OSError, match="in use"):
            same.listen()
