"""One socket to one job server: opening, sending, receiving, forks, descriptors."""

from __future__ import annotations

import gc
import itertools
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from django_gearman.backends.connection import Connection
from django_gearman.exceptions import BackendError, ConnectionLost, ProtocolError
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import RESPONSE, Packet, PacketType, encode
from django_gearman.testing.gearmand import free_port
from tests.support.connection import connect, echo, serve_echo
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.gearmand import wait_until

needs_gearmand = pytest.mark.gearmand
ROOT = Path(__file__).parent.parent.parent


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


def test_something_else_than_a_job_server_is_reported():
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
        assert time.monotonic() - started < PATIENCE
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


def test_very_long_timeouts_are_not_errors():
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


def test_the_thread_busy_waits_for_data_that_is_due_soon(as_if_alone, monkeypatch):
    with FakeServer(serve_echo) as server:
        connection = connect(server.address)
        polls = Polls(connection)
        clock = itertools.count(0.0, 2**-13)  # each look takes 0.12 ms; such sums are exact
        monkeypatch.setattr("django_gearman.backends.connection.monotonic", lambda: next(clock))

        assert not connection.has_news(0.05, soon=True)
        assert polls.timeouts == [0, 0, 0, 50], "it looks for 0.3 ms, and sleeps in the end"

        polls.timeouts.clear()
        assert not connection.has_news(0.001, soon=True)
        assert polls.timeouts == [1], "it looks on again, although that was in vain just now"


def test_a_thread_among_others_sleeps_at_once():
    with FakeServer(serve_echo) as server:
        connection = connect(server.address)
        polls = Polls(connection)

        assert not connection.has_news(0.001, soon=True)
        assert polls.timeouts == [1]


def test_available_data_ends_the_busy_wait(as_if_alone):
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
                connection.receive(3 * PATIENCE)
            except BackendError as error:
                raised.append(error)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        time.sleep(0.05)  # it most likely waits by now; if not, the outcome is the same
        connection.close()
        thread.join(PATIENCE)

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
        timeout=120,
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
