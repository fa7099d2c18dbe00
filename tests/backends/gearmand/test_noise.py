"""Job servers that send something else than Gearman's protocol."""

from __future__ import annotations

import socket
import uuid

import pytest

from django_gearman.backends.base import JobSpec
from django_gearman.exceptions import ProtocolError, SubmitUncertain
from django_gearman.protocol.packets import PacketType, encode
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.transport import (
    background,
    grab,
    server_of,
    submit,
)

pytestmark = pytest.mark.gearmand

NOISE = {
    "wrong magic": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "request": encode(PacketType.NOOP),
    "unknown type": b"\0RES\0\0\0\x2b\0\0\0\0",
    "too few arguments": encode(PacketType.WORK_COMPLETE, b"H:fake:1", magic=b"\0RES"),
    "wrong answer": encode(PacketType.ECHO_RES, b"what?", magic=b"\0RES"),
    "wrong kind of answer": encode(PacketType.STATUS_RES, *[b"1"] * 5, magic=b"\0RES"),
}


def noisy(noise: bytes, after: int) -> FakeServer:
    """Return a server that acknowledges some jobs and then loses its mind."""

    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.acknowledge(after)
        if after == 0:
            peer.read()
        peer.raw(noise)
        peer.wait_for_end()

    return FakeServer(serve)


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_noise_in_place_of_an_answer_leaves_the_job_uncertain(open_backend, noise):
    with noisy(noise, after=0) as server:
        backend = open_backend(server.address)
        submissions = backend.submit([JobSpec("f", b"work")] * 3)

        assert [type(s.error) for s in submissions] == [SubmitUncertain] * 3
        assert {type(s.error.__cause__) for s in submissions} == {ProtocolError}
        assert server.address in str(submissions[0].error)


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_noise_while_waiting_is_a_protocol_error(open_backend, noise):
    with noisy(noise, after=1) as server:
        [submission] = submit(open_backend(server.address), JobSpec("f", b"work"))

        with pytest.raises(ProtocolError, match=server.address):
            submission.next_update(PATIENCE)


def test_noise_in_place_of_a_status_is_a_protocol_error(open_backend):
    with noisy(encode(PacketType.JOB_CREATED, b"H:1", magic=b"\0RES"), after=0) as server:
        backend = open_backend(server.address)
        with pytest.raises(ProtocolError, match=server.address):
            backend.job_status(f"{server.address}//H:fake:1")


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_a_worker_treats_noise_like_a_server_that_is_down(open_backend, worker_of, gearmand, noise):
    function = uuid.uuid4().hex
    with noisy(noise, after=0) as server:
        worker = worker_of(function, server.address, gearmand.address)
        submit(open_backend(gearmand.address), background(function))

        assert server_of(grab(worker)) == gearmand.address
        assert worker.grab_job(0.1) is None
        server.close()


@pytest.mark.parametrize("answer", [b"f\t1\n.\n", b"\xff\xfe\n.\n", b"ERR x\r\n.\n"])
def test_noise_in_an_admin_answer_is_a_protocol_error(open_backend, answer):
    def serve(peer: Peer) -> None:
        peer.handshake()
        peer._socket.recv(100)
        peer.raw(answer)

    with FakeServer(serve) as server:
        for ask in (open_backend(server.address).functions, open_backend(server.address).workers):
            with pytest.raises(ProtocolError):
                ask()


def test_names_that_are_not_utf8_are_listed(open_backend, own_gearmand):
    with socket.create_connection(("127.0.0.1", own_gearmand.port), PATIENCE) as foreign:
        foreign.sendall(
            encode(PacketType.SET_CLIENT_ID, b"\xff")
            + encode(PacketType.CAN_DO, b"f\xff\x85")
            + encode(PacketType.ECHO_REQ, b"")
        )
        foreign.recv(100)
        backend = open_backend(own_gearmand.address)

        assert [row.function for row in backend.functions()] == ["f\ufffd\ufffd"]
        assert [row.client_id for row in backend.workers()] == ["\ufffd"]
