"""Addresses of job servers, in each documented form."""

from __future__ import annotations

import pytest

from django_gearman.protocol.address import ServerAddress


@pytest.mark.parametrize(
    ("value", "server", "text"),
    [
        ("localhost", ServerAddress("localhost", 4730), "localhost:4730"),
        ("jobs.example:4731", ServerAddress("jobs.example", 4731), "jobs.example:4731"),
        ("10.0.0.7:4731", ServerAddress("10.0.0.7", 4731), "10.0.0.7:4731"),
        ("[::1]", ServerAddress("::1", 4730), "[::1]:4730"),
        ("[::1]:4731", ServerAddress("::1", 4731), "[::1]:4731"),
        (("localhost", 4731), ServerAddress("localhost", 4731), "localhost:4731"),
        (["localhost", "4731"], ServerAddress("localhost", 4731), "localhost:4731"),
        (("::1", 4731), ServerAddress("::1", 4731), "[::1]:4731"),
        ({"host": "localhost"}, ServerAddress("localhost", 4730), "localhost:4730"),
        ({"host": "h", "port": 1, "tls": {}}, ServerAddress("h", 1, {}), "h:1"),
        (
            {"host": "h", "tls": {"cafile": "ca.pem", "server_hostname": "x"}},
            ServerAddress("h", 4730, {"cafile": "ca.pem", "server_hostname": "x"}),
            "h:4730",
        ),
        (ServerAddress("h", 1), ServerAddress("h", 1), "h:1"),
    ],
)
def test_every_documented_form_of_an_address_is_read(value, server, text):
    parsed = ServerAddress.parse(value)

    assert (parsed, str(parsed)) == (server, text)
    assert {parsed: "usable as a key"}
    if parsed.tls is None:
        assert ServerAddress.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    "value",
    [
        "",
        ":4730",
        "host:",
        "host:http",
        "host:0",
        "host:65536",
        "host:-1",
        "host:²",
        "::1",
        "[::1",
        "[::1]4730",
        "http://host:4730",
        "user@host/path",
        "two hosts",
        "a..b",
        "x" * 70,
        "ho\nst",
        "\udcff",
        ("host",),
        ("host", 4730, {}),
        ("host", True),
        ("host", 4730.0),
        (4730, "host"),
        b"host",
        None,
        {"port": 4730},
        {"host": "h", "prot": 4730},
        {"host": "h", "tls": True},
        {"host": "h", "tls": {"ca": "ca.pem"}},
        {"host": "h", "tls": {"server_hostname": "a..b"}},
        {"host": "h", "tls": {"server_hostname": 5}},
    ],
    ids=repr,
)
def test_anything_else_is_refused_with_its_own_words(value):
    with pytest.raises((ValueError, TypeError)) as caught:
        ServerAddress.parse(value)

    assert "'" in str(caught.value), "the message quotes nothing"


@pytest.mark.parametrize("url", ["http://127.0.0.1:4730", "tcp://jobs.example", "gearman://[::1]"])
def test_for_a_url_the_right_form_is_shown(url):
    with pytest.raises(
        ValueError, match=r"is a URL; write host:port, for example '127\.0\.0\.1:4730'"
    ):
        ServerAddress.parse(url)
