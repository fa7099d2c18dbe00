"""Submitting while servers and connections break."""

from __future__ import annotations

import math
import signal
import time
import uuid
from typing import Any

import pytest

from django_gearman.backends.base import JobSpec, WorkComplete
from django_gearman.exceptions import (
    BackendError,
    ConnectionLost,
    ServerError,
    ServerUnavailable,
    SubmitUncertain,
)
from django_gearman.protocol.packets import RESPONSE, PacketType, encode
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.transport import (
    SUBMITS,
    background,
    grab,
    outcome,
    pause,
    server_of,
    submit,
    unique_for,
)

pytestmark = pytest.mark.gearmand


def test_a_job_that_is_not_acknowledged_is_uncertain_and_not_sent_again(open_backend):
    def swallow(peer: Peer) -> None:
        peer.handshake()
        peer.read()

    with FakeServer(swallow) as server:
        backend = open_backend(server.address)
        [submission] = backend.submit([JobSpec("f", b"work")])

        assert isinstance(submission.error, SubmitUncertain)
        assert submission.handle == ""
        with pytest.raises(SubmitUncertain, match="may or may not"):
            submission.next_update(0)
        with pytest.raises(BackendError):
            backend.job_status(f"{server.address}//H:fake:1")
        assert server.count(*SUBMITS) == 1, "it was sent again"


def test_of_a_broken_batch_the_acknowledged_jobs_are_known(open_backend):
    def serve_three(peer: Peer) -> None:
        peer.handshake()
        peer.acknowledge(3)
        peer.hang_up()
        peer.read()

    with FakeServer(serve_three) as server:
        submissions = open_backend(server.address).submit([JobSpec("f", b"work")] * 10)

    handles = [f"{server.address}//H:fake:{n}" for n in (1, 2, 3)]
    assert [s.handle for s in submissions] == handles + [""] * 7
    assert [type(s.error) for s in submissions] == [type(None)] * 3 + [SubmitUncertain] * 7
    for submission in submissions[:3]:
        with pytest.raises(ConnectionLost):
            submission.next_update(PATIENCE)


def test_acknowledgements_before_a_servers_death_are_known(open_backend):
    def serve(peer: Peer) -> None:
        if peer.number == 0:
            peer.handshake()
            for _ in range(300):
                peer.expect(PacketType.SUBMIT_JOB_BG)
            created = [
                encode(PacketType.JOB_CREATED, b"H:fake:%d" % n, magic=RESPONSE) for n in range(300)
            ]
            peer.raw(b"".join(created))  # at once, so that the reset overtakes none of it
            peer.reset()

    for _ in range(10):
        with FakeServer(serve) as server:
            submissions = open_backend(server.address).submit([background("f")] * 1000)

        assert [s.error for s in submissions[:300]] == [None] * 300
        assert all(s.error for s in submissions[300:])


def test_a_job_that_takes_long_to_send_is_not_taken_for_silence(open_backend):
    def serve(peer: Peer) -> None:
        peer.handshake()
        time.sleep(2.5)  # longer than the server may be silent
        peer.acknowledge(1)
        peer.wait_for_end()

    with FakeServer(serve) as server:
        backend = open_backend(server.address, reply_timeout=2.0)
        [submission] = backend.submit([background("f", bytes(30_000_000))])
        backend.close()

    assert submission.error is None


def test_batches_that_were_not_sent_continue_elsewhere(open_backend, gearmand):
    def serve_three(peer: Peer) -> None:
        peer.handshake()
        peer.acknowledge(3)
        peer.hang_up()

    with FakeServer(serve_three) as server:
        backend = open_backend(server.address, gearmand.address)
        spec = background(uuid.uuid4().hex, unique=unique_for(backend, server.address))
        submissions = backend.submit([spec] * 5000)

    went = [type(s.error) if s.error else server_of(s) for s in submissions]
    assert went[:3] == [server.address] * 3
    # A batch is several writes, of which the connection may break any but the first.
    assert went[3:50] == [SubmitUncertain] * 47
    # The broken one takes another connection, and three jobs, as long as it is not marked down.
    assert set(went[50:]) <= {server.address, SubmitUncertain, gearmand.address}
    assert all(s.handle or s.error for s in submissions)


def test_batches_that_were_not_sent_and_have_no_other_server_say_so(open_backend):
    def serve_three(peer: Peer) -> None:
        if peer.number == 0:
            peer.handshake()
            peer.acknowledge(3)
            peer.hang_up()

    with FakeServer(serve_three) as server:
        submissions = open_backend(server.address).submit([background("f")] * 100_000)

        errors = [type(s.error) for s in submissions]
        assert errors[:3] == [type(None)] * 3
        written = 3 + errors.count(SubmitUncertain)
        assert 50 <= written <= 1000, "no more than a batch is written before it is acknowledged"
        assert set(errors[3:written]) == {SubmitUncertain}
        assert set(errors[written:]) == {ServerUnavailable}
        assert len(server.peers) == 2, "it was tried again for each of the unsent batches"


def test_a_spec_that_cannot_be_sent_stops_all_before_anything_is_sent(open_backend, own_gearmand):
    specs: list[Any] = [background("f")] * 3000

    with pytest.raises(TypeError):
        open_backend(own_gearmand.address).submit([*specs, background("f", "text")])
    with pytest.raises(ValueError, match="NUL"):
        open_backend(own_gearmand.address).submit([*specs, background("f\0")])
    with pytest.raises(ValueError):
        open_backend(own_gearmand.address).submit(
            [*specs, JobSpec("f", b"work", background=True, run_at=math.nan)]
        )

    assert own_gearmand.totals() == {}


def test_a_refused_job_has_the_error_and_the_others_are_fine_and_in_order(
    open_backend, worker_of, own_gearmand
):
    backend, worker = open_backend(own_gearmand.address), worker_of("full", own_gearmand.address)
    submit(backend, background("full"), background("full"))
    own_gearmand.ask("maxqueue full 2")
    specs = [JobSpec("full" if n % 3 == 0 else "open", b"%d" % n) for n in range(9)]

    submissions = backend.submit(specs)

    refused = [s for s in submissions if s.error is not None]
    assert refused == submissions[::3]
    for submission in refused:
        assert isinstance(submission.error, ServerError)
        assert (submission.error.code, submission.error.text) == (
            "QUEUE_ERROR",
            "Job queue is full",
        )
        with pytest.raises(ServerError):
            submission.next_update(0)
    opener = worker_of("open", own_gearmand.address)
    for _ in range(6):
        job = grab(opener)
        opener.send(job, WorkComplete(job.workload))
    accepted = [n for n in range(9) if n % 3]
    assert [outcome(submissions[n]) for n in accepted] == [
        WorkComplete(b"%d" % n) for n in accepted
    ]
    assert grab(worker).workload == b"work"


def test_a_submit_that_an_exception_interrupts_leaves_no_half_packet(open_backend, own_gearmand):
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    backend = open_backend(own_gearmand.address)
    submit(backend, background("f"))
    pause(own_gearmand)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Interrupted):
            backend.submit([background("big", bytes(64 << 20))])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        own_gearmand.resume()

    handles = {s.handle for s in submit(backend, *[background("after")] * 5)}

    assert len(handles) == 5
    assert own_gearmand.totals()["after"][0] == 5
