"""Job servers that answer admin commands with given bytes."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.fake_server import FakeServer, Peer

UNKNOWN = b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n"


def answering(answers: Mapping[bytes, bytes]) -> FakeServer:
    """Return a server with these answers; it knows no other admin commands."""

    def serve(peer: Peer) -> None:
        peer.handshake()
        with peer._socket.makefile("rb") as lines:
            for line in lines:
                peer.raw(answers.get(line.strip(), UNKNOWN))

    return FakeServer(serve)


def hanging() -> FakeServer:
    """Return a server that accepts connections, and says nothing, like one that is stopped."""
    return FakeServer(Peer.wait_for_end)
