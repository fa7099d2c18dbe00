"""Servers that hang under a client: each wait ends in time."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from django_gearman.backends.base import JobSpec, WorkComplete
from django_gearman.exceptions import (
    ConnectionLost,
    ServerUnavailable,
    SubmitUncertain,
)
from django_gearman.protocol.packets import PacketType, encode
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.gearmand import wait_until
from tests.support.transport import (
    Stopwatch,
    background,
    grab,
    outcome,
    pause,
    submit,
)

pytestmark = pytest.mark.gearmand


def test_a_reply_that_never_comes_is_given_up_in_time(open_backend):
    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.wait_for_end()

    with FakeServer(serve) as server:
        backend, watch = open_backend(server.address, reply_timeout=0.3), Stopwatch()
        submissions = backend.submit([JobSpec("f", b"work")] * 5)
        with pytest.raises(ConnectionLost, match=r"not answered for 0.3 s"):
            backend.job_status(f"{server.address}//H:fake:1")

        assert {type(s.error) for s in submissions} == {SubmitUncertain}
        assert 0.6 <= watch.seconds < 20


def test_a_stopped_server_is_unavailable(open_backend, own_gearmand):
    pause(own_gearmand)
    backend, watch = open_backend(own_gearmand.address, connect_timeout=0.3), Stopwatch()

    for attempt in (lambda: backend.submit([background("f")]), backend.functions, backend.workers):
        with pytest.raises(ServerUnavailable, match="gave no answer"):
            attempt()
    assert watch.seconds < 12


def test_a_server_that_stops_before_a_submit_leaves_it_uncertain(open_backend, own_gearmand):
    backend = open_backend(own_gearmand.address, reply_timeout=0.3)
    submit(backend, background("f"))
    pause(own_gearmand)

    [submission] = backend.submit([background("f")])

    assert isinstance(submission.error, SubmitUncertain)
    own_gearmand.resume()
    submit(backend, background("f"))


@pytest.mark.parametrize("step", [None, 0.02, 0])
def test_a_server_that_stops_under_a_waiting_client_is_lost_in_time(
    open_backend, own_gearmand, step
):
    """However long each single wait is."""
    backend = open_backend(own_gearmand.address, reply_timeout=0.5, status_interval=0.2)
    [submission] = submit(backend, JobSpec("f", b"work"))
    pause(own_gearmand)
    watch = Stopwatch()

    with pytest.raises(ConnectionLost, match="not answered"):
        while watch.seconds < PATIENCE:
            assert submission.next_update(step) is None


def test_short_waits_do_not_flood_the_server_with_questions(open_backend):
    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.acknowledge(1)
        peer.wait_for_end()

    with FakeServer(serve) as server:
        backend = open_backend(server.address, status_interval=0.01, reply_timeout=60)
        [submission] = submit(backend, JobSpec("f", b"work"))
        for _ in range(50):
            assert submission.next_update(0.01) is None

        wait_until(lambda: server.count(PacketType.GET_STATUS), "the question")
        assert server.count(PacketType.GET_STATUS) == 1


def test_waits_keep_their_time_while_another_thread_is_stuck_in_a_submit(
    open_backend, own_gearmand
):
    backend = open_backend(own_gearmand.address, send_timeout=PATIENCE)
    [submission] = submit(backend, JobSpec("f", b"work"))
    pause(own_gearmand)
    stuck = threading.Thread(target=backend.submit, args=([background("f", bytes(64 << 20))],))
    stuck.start()
    time.sleep(0.2)  # until it has filled the socket
    watch = Stopwatch()

    with contextlib.suppress(ConnectionLost):  # should the machine be so slow that it is over
        assert submission.next_update(0.1) is None

    assert watch.seconds < PATIENCE / 2, "the wait lasted as long as the other thread's submit"
    own_gearmand.resume()
    stuck.join()


@pytest.mark.parametrize("kind", ["job", "result"])
def test_a_large_packet_on_a_slow_line_is_not_silence(open_backend, worker_of, kind):
    """It takes twice as long as the server may be silent."""

    def trickle(peer: Peer, packet: bytes) -> None:
        for start in range(0, len(packet), len(packet) // 10):
            peer.raw(packet[start : start + len(packet) // 10])
            time.sleep(0.5)
        peer.wait_for_end()

    def serve(peer: Peer) -> None:
        peer.handshake()
        if kind == "job":
            peer.expect(PacketType.GRAB_JOB_UNIQ)
            assigned = (b"H:fake:1", b"f", b"u", bytes(10_000))
            trickle(peer, encode(PacketType.JOB_ASSIGN_UNIQ, *assigned, magic=b"\0RES"))
        else:
            peer.acknowledge(1)
            result = (b"H:fake:1", bytes(10_000))
            trickle(peer, encode(PacketType.WORK_COMPLETE, *result, magic=b"\0RES"))

    with FakeServer(serve) as server:
        if kind == "job":
            worker = worker_of("f", server.address, reply_timeout=2.5)
            assert grab(worker).workload == bytes(10_000)
            server.close()
        else:
            backend = open_backend(server.address, reply_timeout=2.5, status_interval=0.1)
            [submission] = submit(backend, JobSpec("f", b"work"))
            assert outcome(submission) == WorkComplete(bytes(10_000))
