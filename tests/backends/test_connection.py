"""One socket to one job server: addresses, opening, sending, receiving, TLS, forks, descriptors."""

from __future__ import annotations

import gc
import os
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from django_gearman.backends.connection import Connection
from django_gearman.exceptions import BackendError, ConnectionLost, ProtocolError
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import RESPONSE, Packet, PacketType, encode
from django_gearman.testing.gearmand import free_port
from tests.support.fake_server import PATIENCE, FakeServer, Peer, tls_proxy
from tests.support.gearmand import wait_until

needs_gearmand = pytest.mark.gearmand
ROOT = Path(__file__).parent.parent.parent


def connect(address: str, **options: float) -> Connection:
    return Connection(ServerAddress.parse(address), **options)


def echo(connection: Connection, data: bytes = b"hello") -> None:
    connection.send(encode(PacketType.ECHO_REQ, data))
    assert connection.receive(PATIENCE) == Packet(PacketType.ECHO_RES, (data,))


def serve_echo(peer: Peer) -> None:
    peer.handshake()
    while (packet := peer.read()) is not None:
        peer.reply(PacketType.ECHO_RES, *packet.args)


# Addresses


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


# Opening


def test_a_refused_connection_is_lost_at_once_and_named():
    port = free_port()

    with pytest.raises(ConnectionLost, match=rf"127.0.0.1:{port}: .*refused"):
        connect(f"127.0.0.1:{port}")


@pytest.mark.parametrize("host", ["host.invalid", "x" * 70, "a..b"])
def test_a_name_that_cannot_be_looked_up_is_a_lost_connection(host):
    with pytest.raises(ConnectionLost, match="job server"):
        Connection(ServerAddress(host, 4730), connect_timeout=PATIENCE)


def test_a_server_that_says_nothing_is_given_up_in_time():
    with FakeServer(Peer.wait_for_end) as server:
        started = time.monotonic()
        with pytest.raises(ConnectionLost, match=r"accepts connections, but gave no answer in 0.2"):
            connect(server.address, connect_timeout=0.2)

    assert 0.2 <= time.monotonic() - started < PATIENCE


@needs_gearmand
def test_a_stopped_gearmand_is_given_up_in_time(own_gearmand):
    own_gearmand.pause()

    with pytest.raises(ConnectionLost, match="gave no answer"):
        connect(own_gearmand.address, connect_timeout=0.2)


@pytest.mark.parametrize("end", [lambda peer: None, Peer.reset], ids=["close", "reset"])
def test_a_server_that_hangs_up_at_once_is_a_lost_connection(end):
    with FakeServer(end) as server, pytest.raises(ConnectionLost, match=server.address):
        connect(server.address)


def test_something_else_than_a_job_server_is_told():
    def greet(peer):
        peer.raw(b"220 mail.example ESMTP, what can I do for you?\r\n")
        peer._socket.recv(1000)

    with FakeServer(greet) as server, pytest.raises(ProtocolError) as caught:
        connect(server.address)

    assert server.address in str(caught.value)
    assert "220 mail" in str(caught.value)


def test_an_old_server_without_the_option_is_good_enough():
    def serve(peer):
        peer.expect(PacketType.OPTION_REQ)
        peer.reply(PacketType.ERROR, b"UNKNOWN_OPTION", b"what?")
        assert peer.expect(PacketType.ECHO_REQ).args == (b"hello",)
        peer.reply(PacketType.ECHO_RES, b"hello")

    with FakeServer(serve) as server:
        echo(connect(server.address))


# Receiving


@needs_gearmand
def test_packets_go_there_and_back(gearmand):
    connection = connect(gearmand.address)

    for size in (0, 1, 100, 65536, 5_000_000):
        echo(connection, bytes(size))

    assert connection.receive(0) is None


def test_split_packets_are_put_together():
    packet = encode(PacketType.ECHO_RES, b"x" * 50, magic=RESPONSE)

    def serve(peer):
        peer.handshake()
        for number in range(len(packet)):
            peer.raw(packet[number : number + 1])
            time.sleep(0.001)
        peer.wait_for_end()

    with FakeServer(serve) as server:
        connection = connect(server.address)
        assert connection.receive(PATIENCE) == Packet(PacketType.ECHO_RES, (b"x" * 50,))
        connection.close()


def test_waiting_for_a_packet_ends_in_time_and_loses_no_part_of_it():
    packet = encode(PacketType.ECHO_RES, b"x" * 50, magic=RESPONSE)
    go_on = threading.Event()

    def serve(peer):
        peer.handshake()
        peer.raw(packet[:20])
        go_on.wait(PATIENCE)
        peer.raw(packet[20:])
        peer.wait_for_end()

    with FakeServer(serve) as server:
        connection = connect(server.address)
        assert connection.receive(0.05) is None
        assert connection.receive(0) is None
        go_on.set()
        assert connection.receive(PATIENCE) == Packet(PacketType.ECHO_RES, (b"x" * 50,))
        connection.close()


def test_a_server_that_never_ends_a_packet_does_not_keep_the_time_from_running_out():
    def serve(peer):
        peer.handshake()
        peer.raw(b"\0RES\0\0\0\x11\xf0\0\0\0")  # an ECHO_RES of 4 GB
        while True:
            peer.raw(bytes(1 << 20))

    with FakeServer(serve) as server:
        connection = connect(server.address)
        started = time.monotonic()
        assert connection.receive(0.1) is None
        assert time.monotonic() - started < 2
        connection.close()


def test_a_server_that_closes_is_a_lost_connection_after_its_last_words():
    def serve(peer):
        peer.handshake()
        peer.reply(PacketType.NO_JOB)

    with FakeServer(serve) as server:
        connection = connect(server.address)
        assert connection.receive(PATIENCE) == Packet(PacketType.NO_JOB)
        with pytest.raises(ConnectionLost, match="closed the connection"):
            connection.receive(PATIENCE)


def test_very_long_timeouts_are_no_errors():
    with FakeServer(serve_echo) as server:
        connection = connect(server.address)
        connection.send(encode(PacketType.ECHO_REQ, b""))
        assert connection.receive(1e12) is not None
        connection.send(encode(PacketType.ECHO_REQ, b""))
        assert connection.has_news(1e12)
        assert connection.receive(float("inf")) is not None


# Sending


def test_a_slow_reader_gets_large_sends_whole():
    chunks = [b"%d" % number * 3000 for number in range(2000)]  # more than one sendmsg() takes

    def serve(peer):
        peer.handshake()
        time.sleep(0.1)  # until the socket is full
        assert peer.expect(PacketType.WORK_DATA).args == (b"H", b"".join(chunks))
        peer.reply(PacketType.NOOP)

    with FakeServer(serve) as server:
        connection = connect(server.address)
        size = 2 + sum(map(len, chunks))
        connection.send(b"\0REQ\0\0\0\x1c" + size.to_bytes(4, "big") + b"H\0", *chunks)
        assert connection.receive(PATIENCE) == Packet(PacketType.NOOP)


def test_a_server_that_takes_nothing_is_given_up_and_never_sent_half_a_packet_more():
    done = threading.Event()

    def serve(peer):
        peer.handshake()
        done.wait(PATIENCE)

    with FakeServer(serve) as server:
        connection = connect(server.address, send_timeout=0.2)
        with pytest.raises(ConnectionLost, match=r"took no more bytes for 0.2 s"):
            connection.send(bytes(64 << 20))
        with pytest.raises(ConnectionLost):
            connection.send(encode(PacketType.ECHO_REQ, b"after half a packet"))
        done.set()


def test_sending_to_a_server_that_is_gone_is_a_lost_connection():
    with FakeServer(Peer.handshake) as server:
        connection = connect(server.address)
        with pytest.raises(ConnectionLost):
            for _ in range(1000):
                connection.send(encode(PacketType.ECHO_REQ, b"x"))
                time.sleep(0.001)


class Polls:
    """Counts the looks at a connection, with what each might wait for, in milliseconds."""

    def __init__(self, connection: Connection) -> None:
        self.timeouts: list[float] = []
        self._poll = connection._readable.poll
        connection._readable = self

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        self.timeouts.append(timeout)
        return self._poll(timeout)


@pytest.fixture
def as_if_alone(monkeypatch):
    """As in a process of one thread, though the fake server has some."""
    monkeypatch.setattr("threading.active_count", lambda: 1)


def test_what_is_due_soon_is_looked_for_before_the_thread_sleeps(as_if_alone, monkeypatch):
    monkeypatch.setattr("django_gearman.backends.connection._SPIN_AGAIN_SECONDS", PATIENCE)
    with FakeServer(serve_echo) as server:
        connection = connect(server.address)
        polls = Polls(connection)

        assert not connection.has_news(0.05, soon=True)
        assert polls.timeouts.count(0) > 1
        assert polls.timeouts[-1] == 50, "it has to sleep in the end"

        polls.timeouts.clear()
        assert not connection.has_news(0.001, soon=True)
        assert polls.timeouts == [1], "it looks on again, although that was in vain just now"


def test_a_thread_among_others_sleeps_at_once():
    with FakeServer(serve_echo) as server:
        connection = connect(server.address)
        polls = Polls(connection)

        assert not connection.has_news(0.001, soon=True)
        assert polls.timeouts == [1]


def test_what_is_there_ends_the_look(as_if_alone):
    with FakeServer(serve_echo) as server:
        connection = connect(server.address)
        connection.send(encode(PacketType.ECHO_REQ, b""))
        assert connection.has_news(PATIENCE)
        polls = Polls(connection)

        assert connection.has_news(PATIENCE, soon=True)
        assert polls.timeouts == [0]


def test_a_closed_connection_is_lost_and_closing_twice_is_fine():
    with FakeServer(serve_echo) as server:
        connection = connect(server.address)
        connection.close()
        connection.close()
        for use in (lambda: connection.send(b"x"), lambda: connection.receive(0)):
            with pytest.raises(ConnectionLost, match="was closed"):
                use()
        with pytest.raises(ConnectionLost):
            connection.take_in()


def test_closing_wakes_a_thread_that_waits():
    with FakeServer(serve_echo) as server:
        connection = connect(server.address)
        raised: list[BaseException] = []

        def wait():
            try:
                connection.receive(PATIENCE)
            except BackendError as error:
                raised.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.05)  # it most likely waits by now; if not, the outcome is the same
        connection.close()
        thread.join(5)

        assert not thread.is_alive(), "the thread waits for ever on a closed connection"
        assert [type(error) for error in raised] == [ConnectionLost]


# The admin protocol


@needs_gearmand
def test_an_admin_command_is_answered_with_its_lines(gearmand):
    assert " - :" in connect(gearmand.address).ask("workers", PATIENCE)


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        ([b".\n"], ""),
        ([b"a\t1\t1\t1\n.\n"], "a\t1\t1\t1\n"),
        ([b"a.", b"\n", b".", b"\n"], "a.\n"),
        ([b"\xff\t1\t1\t1\n.\n"], "\ufffd\t1\t1\t1\n"),
    ],
)
def test_admin_answers_end_at_the_full_stop(parts, lines):
    def serve(peer):
        peer.handshake()
        assert peer._socket.recv(100) == b"status\r\n"
        for part in parts:
            peer.raw(part)
            time.sleep(0.01)

    with FakeServer(serve) as server:
        assert connect(server.address).ask("status", PATIENCE) == lines


@pytest.mark.parametrize("endless", [b"", b"a line\n"], ids=["silence", "flood"])
def test_an_admin_answer_without_an_end_is_given_up_in_time(endless):
    def serve(peer):
        peer.handshake()
        while endless:
            peer.raw(endless * 1000)
        while peer._socket.recv(100):
            pass

    with FakeServer(serve) as server:
        connection = connect(server.address)
        with pytest.raises(ConnectionLost, match=r"no answer to the admin command 'status' in 0.1"):
            connection.ask("status", 0.1)
        connection.close()


# TLS


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


# Forks


@needs_gearmand
def test_a_fork_leaves_the_connection_to_the_parent(gearmand):
    script = """
        import os, sys, threading, time
        from django_gearman.backends.connection import Connection
        from django_gearman.protocol.address import ServerAddress
        from django_gearman.exceptions import ConnectionLost
        from django_gearman.protocol.packets import PacketType, encode

        connection = Connection(ServerAddress.parse(sys.argv[1]))
        # A thread is inside the connection when the process forks.
        reader = threading.Thread(target=connection.receive, args=(20,))
        reader.start()
        time.sleep(0.1)
        child = os.fork()
        if child == 0:
            for use in (
                lambda: connection.send(encode(PacketType.ECHO_REQ, b"child")),
                lambda: connection.receive(0),
            ):
                try:
                    use()
                except ConnectionLost as error:
                    assert "fork" in str(error), error
                else:
                    os._exit(1)
            connection.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        connection.send(encode(PacketType.ECHO_REQ, b"parent"))
        reader.join(20)
        assert not reader.is_alive()
        connection.send(encode(PacketType.ECHO_REQ, b"again"))
        assert connection.receive(20).args == (b"again",)
        print("well")
    """
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::ResourceWarning",
            "-W",
            "ignore::DeprecationWarning",  # 3.12 and later warn of a fork beside threads
            "-c",
            textwrap.dedent(script),
            gearmand.address,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.stdout, done.stderr) == ("well\n", "")


# Descriptors


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nothing_is_left_open_by_connections_that_fail_or_are_forgotten():
    with FakeServer(serve_echo) as good, FakeServer(lambda peer: None) as bad:
        dead = free_port()
        connect(good.address)
        before = descriptors()
        for _ in range(50):
            connect(good.address)  # forgotten, not closed
            for address in (bad.address, f"127.0.0.1:{dead}"):
                with pytest.raises(ConnectionLost):
                    connect(address)
        gc.collect()  # a socket that was not closed would warn now

        wait_until(lambda: descriptors() <= before + 2, "the descriptors are closed")


def test_keepalive_finds_a_server_that_vanished():
    with FakeServer(serve_echo) as server:
        connection = connect(server.address)
        plain = connection._socket

        assert plain.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
