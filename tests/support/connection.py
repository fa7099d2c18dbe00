"""Short words for tests of one connection to a job server."""

from __future__ import annotations

from django_gearman.backends.connection import Connection
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import Packet, PacketType, encode
from tests.support.fake_server import PATIENCE, Peer


def connect(address: str, **options: float) -> Connection:
    return Connection(ServerAddress.parse(address), **options)


def echo(connection: Connection, data: bytes = b"hello") -> None:
    connection.send(encode(PacketType.ECHO_REQ, data))
    assert connection.receive(PATIENCE) == Packet(PacketType.ECHO_RES, (data,))


def serve_echo(peer: Peer) -> None:
    peer.handshake()
    while (packet := peer.read()) is not None:
        peer.reply(PacketType.ECHO_RES, *packet.args)
