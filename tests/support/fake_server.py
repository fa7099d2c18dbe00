"""Fake job servers, which follow a script, each in a thread."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable

from django_gearman.protocol.packets import (
    REQUEST,
    RESPONSE,
    Packet,
    PacketReader,
    PacketType,
    encode,
)

PATIENCE = 60.0  # seconds until a test or a script gives up on what should come at once


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.number = number  # of the connection, from 0
        self.received: list[Packet] = []
        self._socket = connection
        self._reader = PacketReader(REQUEST)
        self._packets: list[Packet] = []

    def read(self) -> Packet | None:
        """Wait for a packet; None when the other side has closed."""
        while not self._packets:
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._packets = self._reader.feed(data)
        packet = self._packets.pop(0)
        self.received.append(packet)
        return packet

    def expect(self, kind: PacketType) -> Packet:
        """Read up to the next packet of a kind, which must come."""
        while (packet := self.read()) is not None:
            if packet.type is kind:
                return packet
        raise AssertionError(f"the connection ended before a {kind.name}")

    def raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reply(self, kind: PacketType, *args: bytes) -> None:
        self.raw(encode(kind, *args, magic=RESPONSE))

    def handshake(self) -> None:
        self.expect(PacketType.OPTION_REQ)
        self.reply(PacketType.OPTION_RES, b"exceptions")

    def acknowledge(self, count: int) -> None:
        """Give handles to the next `count` jobs: H:fake:1 and so on."""
        for number in range(count):
            while (packet := self.read()) is not None:
                if packet.type.name.startswith("SUBMIT_JOB"):
                    self.reply(PacketType.JOB_CREATED, b"H:fake:%d" % (number + 1))
                    break

    def wait_for_end(self) -> None:
        """Read and say nothing, for as long as the other side likes."""
        self._socket.settimeout(None)
        while self.read() is not None:
            pass

    def hang_up(self) -> None:
        """Say no more; a close with something unread would cost the other side what was said."""
        self._socket.shutdown(socket.SHUT_WR)
        self.wait_for_end()

    def reset(self) -> None:
        """Close so that the other side sees a reset."""
        linger = struct.pack("ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()


class FakeServer:
    """
    Listens on a loopback port and runs `script(peer)` for each connection, which it then closes.

    As a context manager it ends every connection, and raises what went wrong in a script.
    """

    def __init__(self, script: Callable[[Peer], None]) -> None:
        self.peers: list[Peer] = []
        self._script = script
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def received(self) -> list[Packet]:
        """Every packet, over all connections."""
        return [packet for peer in self.peers for packet in peer.received]

    def count(self, *kinds: PacketType) -> int:
        return sum(packet.type in kinds for packet in self.received)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            peer = Peer(connection, len(self.peers))
            self.peers.append(peer)
            self._sockets.append(connection)
            thread = threading.Thread(target=self._run, args=(peer, connection), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, peer: Peer, connection: socket.socket) -> None:
        try:
            self._script(peer)
        except BaseException as error:
            if not self._closing and not isinstance(error, ConnectionError):
                self._errors.append(error)
        finally:
            connection.close()

    def close(self) -> None:
        self._closing = True
        for listening_or_not in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                listening_or_not.shutdown(
                    socket.SHUT_RDWR
                )  # wakes its thread, which close() does not
        self._listener.close()
        for thread in [self._acceptor, *self._threads]:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a script of the fake server does not end"

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        if self._errors and exception[0] is None:
            raise self._errors[0]


def tls_proxy(context: ssl.SSLContext, port: int) -> FakeServer:
    """Return a server that takes TLS off and hands on to the job server at `port`."""

    def carry(peer: Peer) -> None:
        try:
            encrypted = context.wrap_socket(peer._socket, server_side=True)
        except OSError:
            return  # the client wanted none of it
        with encrypted, socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
            pairs = {encrypted: plain, plain: encrypted}
            while True:
                ready, _, _ = select.select(pairs, [], [], PATIENCE)
                for source in [encrypted] if encrypted.pending() else ready:
                    try:
                        data = source.recv(65536)
                    except OSError:
                        return
                    if not data:
                        return
                    pairs[source].sendall(data)

    return FakeServer(carry)
