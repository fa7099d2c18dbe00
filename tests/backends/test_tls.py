"""Connections over TLS."""

from __future__ import annotations

import gc
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from django_gearman.backends.connection import Connection
from django_gearman.exceptions import BackendError, ConnectionLost
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import Packet, PacketType, encode
from tests.support.connection import connect, echo
from tests.support.fake_server import PATIENCE, FakeServer, tls_proxy

needs_gearmand = pytest.mark.gearmand


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificates(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """Files: the authority's, another authority's, and a client's identity."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "client.pem"
    )
    return {path.stem: str(path) for path in tmp_path.glob("*.pem")}


@pytest.fixture
def tls_server(authority: trustme.CA, gearmand) -> Iterator[FakeServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "jobs.example").configure_cert(context)
    with tls_proxy(context, gearmand.port) as server:
        yield server


@pytest.fixture
def strict_tls_server(authority: trustme.CA, gearmand) -> Iterator[FakeServer]:
    """One that wants a certificate of its clients."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tls_proxy(context, gearmand.port) as server:
        yield server


def connect_tls(server: FakeServer, **tls: object) -> Connection:
    address = {"host": "127.0.0.1", "port": server.port, "tls": tls}
    return Connection(ServerAddress.parse(address), connect_timeout=PATIENCE)


@needs_gearmand
def test_packets_go_over_tls(tls_server, certificates):
    connection = connect_tls(tls_server, cafile=certificates["ca"])

    for size in (0, 100, 16384, 16385, 3_000_000):
        echo(connection, bytes(size))

    assert " - :" in connection.ask("workers", PATIENCE)
    connection.close()


@needs_gearmand
def test_many_small_packets_in_one_tls_record_all_arrive(tls_server, certificates):
    """TLS holds bytes that polling the socket does not show."""
    connection = connect_tls(tls_server, cafile=certificates["ca"])
    connection.send(*[encode(PacketType.ECHO_REQ, b"%d" % n) for n in range(5000)])

    received: list[Packet] = []
    give_up_at = time.monotonic() + PATIENCE
    while len(received) < 5000 and time.monotonic() < give_up_at:
        connection.has_news(PATIENCE)
        while (packet := connection.receive(0)) is not None:
            received.append(packet)

    assert [packet.args for packet in received] == [(b"%d" % number,) for number in range(5000)]
    connection.close()


@needs_gearmand
def test_one_thread_receives_while_another_sends_over_tls(tls_server, certificates):
    connection = connect_tls(tls_server, cafile=certificates["ca"])
    packet = encode(PacketType.ECHO_REQ, bytes(10_000))
    sender = threading.Thread(target=lambda: [connection.send(packet) for _ in range(500)])

    sender.start()
    received = [connection.receive(PATIENCE) for _ in range(500)]
    sender.join()

    assert set(received) == {Packet(PacketType.ECHO_RES, (bytes(10_000),))}
    connection.close()


@needs_gearmand
@pytest.mark.parametrize(
    ("tls", "complaint"),
    [
        ({"cafile": "{other}"}, "CERTIFICATE_VERIFY_FAILED"),
        ({}, "CERTIFICATE_VERIFY_FAILED"),
        ({"cafile": "{ca}", "server_hostname": "else.example"}, "else.example"),
        ({"cafile": "/nowhere/ca.pem"}, "TLS: .*No such file"),
        ({"cafile": "{ca}", "keyfile": "{client}"}, "certfile"),
        ({"cafile": "{ca}", "certfile": "{ca}"}, "TLS"),
        ({"cafile": 5}, "TLS"),
    ],
    ids=repr,
)
def test_wrong_certificates_and_arguments_are_refused(tls_server, certificates, tls, complaint):
    tls = {k: v.format(**certificates) if isinstance(v, str) else v for k, v in tls.items()}

    with pytest.raises(ConnectionLost, match=complaint) as caught:
        connect_tls(tls_server, **tls)

    assert tls_server.address in str(caught.value)
    gc.collect()  # a socket left open would warn now


@needs_gearmand
def test_the_name_in_the_certificate_can_be_another_or_unchecked(tls_server, certificates):
    echo(connect_tls(tls_server, cafile=certificates["ca"], server_hostname="jobs.example"))
    echo(
        connect_tls(
            tls_server,
            cafile=certificates["ca"],
            server_hostname="else.example",
            check_hostname=False,
        )
    )


@needs_gearmand
def test_a_client_certificate_is_shown(strict_tls_server, certificates):
    trust = {"cafile": certificates["ca"]}

    echo(connect_tls(strict_tls_server, certfile=certificates["client"], **trust))
    with pytest.raises(ConnectionLost):
        connect_tls(strict_tls_server, **trust)


@needs_gearmand
def test_tls_to_a_plain_server_and_plain_to_a_tls_server_are_lost(gearmand, tls_server):
    with pytest.raises(ConnectionLost, match="TLS"):
        Connection(ServerAddress("127.0.0.1", gearmand.port, {}))
    with pytest.raises(BackendError, match=tls_server.address):
        connect(tls_server.address)


def test_a_silent_server_is_given_up_in_time_over_tls_too(certificates):
    with FakeServer(lambda peer: peer._socket.recv(100000) and peer._socket.recv(1)) as server:
        started = time.monotonic()
        with pytest.raises(ConnectionLost, match=r"TLS: .*timed out"):
            Connection(ServerAddress("127.0.0.1", server.port, {}), connect_timeout=0.2)

    assert time.monotonic() - started < PATIENCE


@needs_gearmand
def test_a_tls_server_that_ends_is_a_lost_connection(authority, certificates, own_gearmand):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tls_proxy(context, own_gearmand.port) as server:
        connection = connect_tls(server, cafile=certificates["ca"])
        own_gearmand.kill()

        with pytest.raises(ConnectionLost):
            connection.receive(PATIENCE)
