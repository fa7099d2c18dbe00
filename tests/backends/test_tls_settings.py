"""TLS arguments in GEARMAN_SERVERS that do not load are found at once, and named."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from django.core.management import call_command
from django.core.management.base import CommandError, SystemCheckError

from django_gearman import GearmanClient
from django_gearman.backends import close_backends, get_backend
from django_gearman.checks import check_settings
from django_gearman.exceptions import InvalidBackend, ServerUnavailable
from django_gearman.protocol.address import ServerAddress
from django_gearman.testing.gearmand import free_port


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of certificates and keys, good and bad."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for name in ("client", "other"):
        identity = authority.issue_cert(name)
        identity.private_key_pem.write_to_path(directory / f"{name}.key")
        identity.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
    (directory / "junk.pem").write_text("hello")
    key = serialization.load_pem_private_key((directory / "client.key").read_bytes(), None)
    (directory / "encrypted.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return directory


WRONG = [
    ({"cafile": "no.pem"}, "'cafile' is '.*no.pem': No such file"),
    ({"cafile": ""}, "'cafile' is '': No such file"),
    ({"cafile": "."}, "'cafile' is '.*': Is a directory"),
    ({"cafile": "junk.pem"}, "'cafile': no certificate can be loaded"),
    ({"cafile": 5}, "'cafile' is 5: .*int"),
    ({"capath": "no"}, "'capath' is '.*no': No such file"),
    ({"capath": "ca.pem"}, "'capath' is '.*ca.pem': Not a directory"),
    ({"cadata": "junk"}, "'cadata': no certificate can be loaded"),
    ({"certfile": "no.pem"}, "'certfile' is '.*no.pem': No such file"),
    ({"certfile": "client.pem"}, "'certfile' is '.*client.pem': not a certificate and its key"),
    ({"certfile": "client.pem", "keyfile": "no"}, "'keyfile' is '.*no': No such file"),
    ({"certfile": "client.pem", "keyfile": "other.key"}, "the key belongs to another certificate"),
    ({"certfile": "client.key", "keyfile": "client.pem"}, "not a certificate and its key"),
    ({"keyfile": "client.key"}, "'keyfile' without 'certfile'"),
    ({"password": "secret"}, "'password' without 'certfile'"),
    (
        {"certfile": "client.pem", "keyfile": "encrypted.key", "password": "wrong"},
        "encrypted, and 'password' does not open it",
    ),
    ({"certfile": "client.pem", "keyfile": "encrypted.key"}, "'password' is not given"),
    (
        {"certfile": "client.pem", "keyfile": "client.key", "password": 5},
        "'password' must be a string or a function, not a int",
    ),
    ({"check_hostname": "False"}, "'check_hostname' of job server .* must be True or False"),
    ({"ca": "ca.pem"}, r"unknown \['ca'\]; known: .*cafile"),
]
_PATHS = ("cafile", "capath", "certfile", "keyfile")


def address(files: Path, tls: dict[str, object]) -> dict[str, object]:
    found = {
        name: str(files / value) if name in _PATHS and isinstance(value, str) and value else value
        for name, value in tls.items()
    }
    return {"host": "127.0.0.1", "port": free_port(), "tls": found}


@pytest.mark.parametrize(("tls", "reported"), WRONG, ids=repr)
def test_each_start_says_which_argument_is_wrong(settings, files, production, tls, reported):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [wrong := address(files, tls)]

    [message] = check_settings()
    assert message.id == "django_gearman.E001"
    for start in (
        lambda: call_command("check"),
        lambda: call_command("gearman_worker", "--check"),
        lambda: call_command("gearman_health"),
        lambda: GearmanClient().submit_job("tests.app.echo", 1, background=True),
        lambda: GearmanClient([wrong]).submit_job("tests.app.echo", 1),
    ):
        with pytest.raises(
            (SystemCheckError, CommandError, InvalidBackend), match=reported
        ) as caught:
            start()
        assert "secret" not in str(caught.value)
        assert "is it running" not in str(caught.value).lower()


@pytest.mark.parametrize(
    "tls",
    [
        {},
        {"cafile": "ca.pem", "certfile": None},
        {"certfile": "client.pem", "keyfile": "client.key"},
        {"certfile": "client.pem", "keyfile": "encrypted.key", "password": "secret"},
        {"certfile": "client.pem", "keyfile": "encrypted.key", "password": lambda: "secret"},
        {"certfile": "client.pem", "keyfile": "client.key", "password": "needless"},
    ],
    ids=["none", "authority", "client", "encrypted", "callable", "needless"],
)
def test_arguments_that_load_are_fine(settings, files, tls):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [address(files, tls)]

    assert check_settings() == []


def test_a_file_may_be_a_path(files):
    context = ServerAddress.parse({"host": "h", "tls": {"cafile": files / "ca.pem"}}).tls_context()

    assert len(context.get_ca_certs()) == 1


def test_a_transport_that_reaches_no_server_needs_no_certificates(settings, files):
    settings.GEARMAN_SERVERS = [address(files, {"cafile": "no.pem"})]

    assert check_settings() == []


def test_a_file_that_has_gone_since_is_named_as_well(settings, files, tmp_path, production):
    copy = tmp_path / "ca.pem"
    copy.write_bytes((files / "ca.pem").read_bytes())
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [{"host": "127.0.0.1", "port": 1, "tls": {"cafile": str(copy)}}]
    get_backend()
    copy.unlink()

    with pytest.raises(ServerUnavailable, match=r"'cafile' is .*No such file.*'tls' in GEARMAN"):
        GearmanClient().submit_job("tests.app.echo", 1)
    close_backends()
