"""Worker sessions on real and on scripted job servers."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections import Counter

import pytest

from django_gearman.backends.base import (
    JobSpec,
    WorkComplete,
    WorkFail,
    WorkStatus,
)
from django_gearman.protocol.packets import RESPONSE, PacketType, encode
from django_gearman.testing.gearmand import free_port
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.gearmand import wait_until
from tests.support.transport import (
    Stopwatch,
    background,
    grab,
    outcome,
    pause,
    server_of,
    submit,
)

pytestmark = pytest.mark.gearmand


def test_a_worker_serves_two_servers(open_backend, worker_of, gearmand, own_gearmand):
    function = uuid.uuid4().hex
    worker = worker_of(function, gearmand.address, own_gearmand.address)
    for server in (gearmand, own_gearmand):
        wait_until(
            lambda: worker.grab_job(0.05) is None and function in server.totals(),  # noqa: B023
            "the worker is there",
        )
    for server in (gearmand, own_gearmand):
        submit(open_backend(server.address), *[background(function)] * 100)

    seen = []
    for _ in range(200):
        job = grab(worker)
        seen.append(server_of(job))
        worker.send(job, WorkComplete(b""))

    assert Counter(seen) == {gearmand.address: 100, own_gearmand.address: 100}
    # Once it has heard of jobs on both, they take turns until one is empty.
    both = next(place for place, address in enumerate(seen) if address != seen[0])
    empty = max(place for place, address in enumerate(seen) if address == seen[0])
    turns = [set(seen[place : place + 4]) for place in range(both, empty - 3)]
    assert turns
    assert all(len(each) == 2 for each in turns), "one had to wait for the other"
    assert worker.grab_job(0.1) is None


@pytest.mark.parametrize("when", ["before it starts", "while it serves"])
def test_a_hung_server_does_not_keep_the_other_waiting(
    open_backend, worker_of, gearmand, own_gearmand, when
):
    function = uuid.uuid4().hex
    backend = open_backend(gearmand.address)
    worker = worker_of(function, own_gearmand.address, gearmand.address, reply_timeout=10.0)
    if when == "before it starts":
        pause(own_gearmand)
    else:
        assert worker.grab_job(0.2) is None
        pause(own_gearmand)
    delays = []

    for _ in range(4):  # beyond the time until it is asked again
        submit(backend, background(function))
        watch = Stopwatch()
        worker.send(grab(worker), WorkComplete(b""))
        assert worker.grab_job(0.4) is None
        delays.append(watch.seconds)

    own_gearmand.resume()
    assert max(delays) < 4, f"a job of the other server and 0.4 s without one took {delays} s"


def test_a_refused_connection_costs_the_worker_no_time(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    worker = worker_of(function, f"127.0.0.1:{free_port()}", gearmand.address)
    submit(open_backend(gearmand.address), *[background(function)] * 50)
    watch = Stopwatch()

    for _ in range(50):
        worker.send(grab(worker), WorkComplete(b""))

    assert watch.seconds < PATIENCE


def test_a_worker_without_any_server_waits_for_the_given_time(worker_of):
    worker = worker_of("f", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    watch = Stopwatch()

    assert worker.grab_job(0.3) is None
    assert 0.3 <= watch.seconds < PATIENCE
    assert worker.grab_job(0) is None


@pytest.mark.parametrize(
    "packet",
    [encode(PacketType.NOOP, magic=RESPONSE), encode(PacketType.ECHO_RES, b"x", magic=RESPONSE)],
    ids=["NOOP", "ECHO_RES"],
)
def test_a_server_that_says_everything_but_the_answer_is_given_up_by_a_worker(
    open_backend, worker_of, gearmand, packet, caplog
):
    """Only an answer, or a large packet on its way, is a sign that the server still works on it."""

    def talk(peer: Peer) -> None:
        peer.handshake()
        peer.expect(PacketType.GRAB_JOB_UNIQ)
        while not done.is_set():
            peer.raw(packet)
            time.sleep(0.02)

    function, done = uuid.uuid4().hex, threading.Event()
    with FakeServer(talk) as server:
        worker = worker_of(function, server.address, gearmand.address, reply_timeout=0.5)
        watch = Stopwatch()
        while "has not answered for 0.5 s" not in caplog.text:
            assert watch.seconds < PATIENCE, "it goes on waiting for the answer"
            assert worker.grab_job(0.1) is None
        done.set()

        submit(open_backend(gearmand.address), background(function))
        assert server_of(grab(worker)) == gearmand.address


def test_a_storm_of_noops_makes_no_worker_grab_in_advance(worker_of):
    grabs: list[int] = []

    def storm(peer: Peer) -> None:
        peer.handshake()
        for round_number in itertools.count(1):
            if (packet := peer.read()) is None:
                return
            if packet.type is PacketType.GRAB_JOB_UNIQ:
                peer.raw(encode(PacketType.NOOP, magic=b"\0RES") * 50)
                grabs.append(round_number)
                if len(grabs) % 2 == 0:
                    peer.reply(PacketType.NO_JOB)
                else:
                    job = (b"H:fake:%d" % round_number, b"f", b"u", b"work")
                    peer.reply(PacketType.JOB_ASSIGN_UNIQ, *job)
                peer.raw(encode(PacketType.NOOP, magic=b"\0RES") * 50)

    with FakeServer(storm) as server:
        worker = worker_of("f", server.address, reply_timeout=0.2)
        for number in range(1, 6):
            job = grab(worker)
            time.sleep(0.02)
            assert len(grabs) == 2 * number - 1, "it grabbed another with a job in hand"
            worker.send(job, WorkComplete(b""))
        server.close()


def test_a_worker_holds_one_job_however_often_it_is_woken(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    backend = open_backend(gearmand.address)
    workers = [worker_of(function, gearmand.address) for _ in range(2)]

    for _ in range(10):
        for worker in workers:
            assert worker.grab_job(0) is None  # asleep: the next job wakes both
        submit(backend, background(function))
        assert workers[0].grab_job(PATIENCE) or workers[1].grab_job(PATIENCE)
        submit(backend, *[background(function)] * 5)
        jobs = [(worker, grab(worker)) for worker in workers]
        [row] = [row for row in backend.functions() if row.function == function]

        assert row.running == 3, "a job was assigned that nobody asked for"
        for worker, job in jobs:
            worker.send(job, WorkComplete(b""))
        for worker in workers:
            while (job := worker.grab_job(0)) is not None:
                worker.send(job, WorkComplete(b""))
        for worker in workers:
            worker.close()  # with the first of the jobs, which goes to the other one
        workers = [worker_of(function, gearmand.address) for _ in range(2)]
        worker = workers[0]
        worker.send(grab(worker), WorkComplete(b""))


def test_a_large_result_is_not_lost_by_closing_with_unread_packets(
    open_backend, worker_of, gearmand
):
    """The kernel answers unread bytes at close with a reset, which can overtake the result."""
    function, result = uuid.uuid4().hex, bytes(1 << 20)
    backend = open_backend(gearmand.address)
    for _ in range(20):
        [submission] = submit(backend, JobSpec(function, b"work"))
        worker = worker_of(function, gearmand.address)
        job = grab(worker)
        assert worker.grab_job(0) is None  # asleep now, with a current job
        submit(backend, background(function, b"wake"))  # its NOOP stays unread

        worker.send(job, WorkComplete(result))
        worker.close()

        heir = worker_of(function, gearmand.address)
        waker = grab(heir)
        assert waker.workload == b"wake", "the finished job is run again"
        heir.send(waker, WorkComplete(b""))
        heir.close()
        assert list(submission.updates(PATIENCE)) == [WorkComplete(result)]


def test_an_object_that_is_not_an_update_leaves_the_current_job(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    [submission] = submit(open_backend(gearmand.address), JobSpec(function, b"work"))
    worker = worker_of(function, gearmand.address)
    job = grab(worker)

    for wrong in (WorkComplete("text"), WorkStatus("1", 2), "done"):
        with pytest.raises(TypeError):
            worker.send(job, wrong)
    worker.send(job, WorkFail())

    assert outcome(submission) == WorkFail()
