"""The options of gearman_server."""

from __future__ import annotations

import pytest
from django.core.management import load_command_class


def parsed(*arguments: str) -> tuple[str, int]:
    parser = load_command_class("django_gearman", "gearman_server").create_parser("", "x")
    options = parser.parse_args(list(arguments))
    return options.host, options.port


@pytest.mark.parametrize(
    ("servers", "address"),
    [
        (["127.0.0.1:4777"], ("127.0.0.1", 4777)),
        (["localhost"], ("localhost", 4730)),
        ([("::1", 4778), "other.example:4779"], ("::1", 4778)),
    ],
)
def test_it_listens_where_the_clients_of_the_project_look_for_it(settings, servers, address):
    settings.GEARMAN_SERVERS = servers

    assert parsed() == address
    assert parsed("--port", "0") == (address[0], 0)


@pytest.mark.parametrize(
    "servers",
    [
        ["other.example:4779"],
        ["0.0.0.0:4779"],
        [{"host": "127.0.0.1", "port": 4779, "tls": {}}],
        ["127.0.0.1:none"],
        [],
        17,
    ],
)
def test_it_listens_on_the_usual_address_if_the_settings_name_none_for_it(settings, servers):
    settings.GEARMAN_SERVERS = servers

    assert parsed() == ("127.0.0.1", 4730)
