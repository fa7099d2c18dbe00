"""The first and the last thing that is said over a connection to a job server."""

from __future__ import annotations

import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from django_gearman.backends.connection import Connection
from django_gearman.backends.opening import ping
from django_gearman.exceptions import ConnectionLost
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import RESPONSE, PacketType, encode
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.gearmand import wait_until

ROOT = Path(__file__).parent.parent.parent
ANSWER = encode(PacketType.OPTION_RES, b"exceptions", magic=RESPONSE)


# Goodbye over TLS


Script = Callable[[ssl.SSLSocket], None]


@pytest.fixture
def serve_tls(tmp_path: Path) -> Iterator[Callable[[Script], ServerAddress]]:
    """Start a server over TLS that answers OPTION_REQ, and then follows the script."""
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ExitStack() as servers:

        def start(script: Script) -> ServerAddress:
            def run(peer: Peer) -> None:
                with context.wrap_socket(
                    peer._socket, server_side=True, suppress_ragged_eofs=False
                ) as encrypted:
                    encrypted.recv(1000)
                    encrypted.sendall(ANSWER)
                    script(encrypted)

            port = servers.enter_context(FakeServer(run)).port
            return ServerAddress("127.0.0.1", port, {"cafile": str(tmp_path / "ca.pem")})

        yield start


@pytest.fixture
def tls(serve_tls) -> tuple[ServerAddress, list[str]]:
    """A server that notes how each of its connections ends."""
    ends: list[str] = []

    def note(encrypted: ssl.SSLSocket) -> None:
        try:
            while encrypted.recv(1000):
                pass
            ends.append("goodbye")
        except ssl.SSLError as error:
            ends.append(str(error))

    return serve_tls(note), ends


@pytest.mark.parametrize(
    "leave", [Connection.close, Connection.__del__], ids=["closed", "forgotten"]
)
def test_a_tls_connection_ends_with_a_goodbye(tls, leave: Callable[[Connection], None]):
    server, ends = tls

    leave(Connection(server))

    wait_until(lambda: ends == ["goodbye"], f"the goodbye; seen: {ends}")


def test_a_ping_says_goodbye(tls):
    server, ends = tls

    ping(server, 0.3)  # which gets no answer to its echo

    wait_until(lambda: ends == ["goodbye"], f"the goodbye; seen: {ends}")


def test_a_process_that_ends_says_goodbye_and_its_forks_do_not(tls):
    server, ends = tls
    script = """
        import os, sys
        from django_gearman.backends.connection import Connection
        from django_gearman.protocol.address import ServerAddress

        host, port, cafile = sys.argv[1:]
        kept = Connection(ServerAddress(host, int(port), {"cafile": cafile}))
        if (child := os.fork()) == 0:
            sys.exit()  # with exit handlers
        os.waitpid(child, 0)
        kept.send(b"x")
    """
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(script),
            server.host,
            str(server.port),
            server.tls["cafile"],
        ],
        cwd=ROOT,
        check=True,
        timeout=120,
        capture_output=True,
    )
    assert done.stderr == b""

    wait_until(lambda: ends == ["goodbye"], f"the goodbye; seen: {ends}")


def test_a_goodbye_waits_for_no_answer(serve_tls):
    done = threading.Event()
    connection = Connection(serve_tls(lambda _: done.wait(PATIENCE)), send_timeout=0.3)
    with pytest.raises(ConnectionLost, match="took no more bytes"):
        while True:
            connection.send(b"x" * 100_000)

    started = time.monotonic()
    connection.close()

    assert time.monotonic() - started < PATIENCE
    done.set()


# Servers that have no answer to OPTION_REQ


def without_options(peer: Peer) -> None:
    """Answer like geard: with silence to unknown packets."""
    while (packet := peer.read()) is not None:
        if packet.type is PacketType.GET_STATUS:
            peer.reply(PacketType.STATUS_RES, packet.args[0], b"0", b"0", b"0", b"0")
        elif packet.type is PacketType.GRAB_JOB_UNIQ:
            peer.reply(PacketType.NO_JOB)


def test_a_server_without_options_is_waited_for_once():
    with FakeServer(without_options) as server:
        address = ServerAddress("127.0.0.1", server.port)
        assert ping_by_grab(Connection(address, connect_timeout=1.0))
        # Now it is known; half of this would be too long for the test.
        assert ping_by_grab(Connection(address, connect_timeout=10 * PATIENCE))


def ping_by_grab(connection: Connection) -> bool:
    connection.send(encode(PacketType.GRAB_JOB_UNIQ))
    packet = connection.receive(PATIENCE)
    connection.echo(PATIENCE)
    connection.close()
    return packet is not None and packet.type is PacketType.NO_JOB


def test_a_slow_server_answers_both_questions_and_keeps_its_options():
    def slow(peer: Peer) -> None:
        peer.expect(PacketType.OPTION_REQ)
        handle = peer.expect(PacketType.GET_STATUS).args[0]
        peer.reply(PacketType.OPTION_RES, b"exceptions")
        peer.reply(PacketType.STATUS_RES, handle, b"0", b"0", b"0", b"0")
        peer.expect(PacketType.GRAB_JOB_UNIQ)
        peer.reply(PacketType.NO_JOB)
        peer.reply(PacketType.ECHO_RES, peer.expect(PacketType.ECHO_REQ).args[0])

    with FakeServer(slow) as server:
        address = ServerAddress("127.0.0.1", server.port)
        for _ in range(2):
            assert ping_by_grab(Connection(address, connect_timeout=1.0))


def test_a_silent_server_is_given_up_in_time():
    with (
        FakeServer(lambda peer: peer._socket.recv(1000) and peer.wait_for_end()) as server,
        pytest.raises(ConnectionLost, match="gave no answer in 0"),
    ):
        Connection(ServerAddress("127.0.0.1", server.port), connect_timeout=0.2)
