"""
What the socket transport does because of how gearmand is, each rule provoked.

Against the real server wherever it can be made to misbehave, else against a scripted one.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_gearman.backends.base import (
    AssignedJob,
    JobSpec,
    JobStatus,
    Submission,
    Update,
    WorkComplete,
    WorkData,
    WorkerSession,
    WorkException,
    WorkFail,
    WorkStatus,
)
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.exceptions import (
    BackendError,
    ConnectionLost,
    InvalidBackend,
    JobLost,
    ProtocolError,
    ServerError,
    ServerUnavailable,
    SubmitUncertain,
)
from django_gearman.protocol.address import Server
from django_gearman.protocol.packets import RESPONSE, Packet, PacketReader, PacketType, encode
from django_gearman.testing.gearmand import free_port
from tests.support.fake_server import FakeServer, Peer
from tests.support.gearmand import Gearmand, wait_until

pytestmark = pytest.mark.gearmand

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 20.0  # seconds until a test gives up on what should come at once

Open = Callable[..., GearmandBackend]


@pytest.fixture
def open_backend() -> Iterator[Open]:
    """Return a way to make a backend for addresses, which is closed at the end."""
    made: list[GearmandBackend] = []

    def make(*addresses: str, **options: float) -> GearmandBackend:
        backend = GearmandBackend([Server.parse(address) for address in addresses], **options)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def worker_of(open_backend: Open) -> Iterator[Callable[..., WorkerSession]]:
    """Return a way to become a worker of a function, which leaves at the end."""
    made: list[WorkerSession] = []

    def make(function: str, *addresses: str, client_id: str = "", **options: float):
        options = {"connect_timeout": 5.0, "reply_timeout": 2.0, **options}
        session = open_backend(*addresses, **options).register([function], client_id)
        made.append(session)
        return session

    yield make
    for session in made:
        session.close()


def submit(backend: GearmandBackend, *specs: JobSpec) -> list[Submission]:
    submissions = backend.submit(specs)
    assert [s.error for s in submissions] == [None] * len(specs)
    return submissions


def grab(worker: WorkerSession) -> AssignedJob:
    job = worker.grab_job(PATIENCE)
    assert job is not None, "no job was assigned in time"
    return job


def outcome(submission: Submission) -> Update:
    return list(submission.updates(PATIENCE))[-1]


def background(function: str, workload: bytes = b"work", unique: str = "") -> JobSpec:
    return JobSpec(function, workload, unique=unique, background=True)


def server_of(submission: Submission) -> str:
    return submission.handle.partition("//")[0]


def unique_for(backend: GearmandBackend, address: str) -> str:
    """Return a unique whose jobs go to the server at `address` while it is up."""
    for number in itertools.count():
        [first, *_] = backend._preferred(JobSpec("f", b"", unique=f"unique-{number}"))
        if str(first) == address:
            return f"unique-{number}"
    raise AssertionError


def pause(server: Gearmand) -> None:
    """Stop a server, and return when none of its threads runs any more."""
    server.pause()
    threads = list(Path(f"/proc/{server.process.pid}/task").iterdir())
    wait_until(
        lambda: all(") T " in (thread / "stat").read_text() for thread in threads),
        "all threads of gearmand are stopped",
    )


class Stopwatch:
    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started


SUBMITS = [kind for kind in PacketType if kind.name.startswith("SUBMIT_JOB")]


# Which server


def test_equal_uniques_meet_on_one_server_and_others_spread(open_backend, gearmand, own_gearmand):
    function = uuid.uuid4().hex
    addresses = [gearmand.address, own_gearmand.address]
    uniques = [f"unique-{number}" for number in range(40)]
    chosen = []

    for order in (addresses, addresses[::-1], addresses):
        specs = [background(function, unique=unique) for unique in uniques]
        chosen.append([s.handle for s in submit(open_backend(*order), *specs)])

    assert chosen[0] == chosen[1] == chosen[2]
    assert {handle.partition("//")[0] for handle in chosen[0]} == set(addresses)
    without = submit(open_backend(*addresses), *[background(function)] * 40)
    assert {server_of(s) for s in without} == set(addresses)


def test_a_server_that_is_down_is_passed_over_and_not_tried_again_and_again(open_backend, gearmand):
    function = uuid.uuid4().hex
    with FakeServer(lambda peer: None) as dying:
        backend = open_backend(dying.address, gearmand.address, down_time=600)

        for _ in range(10):
            for submission in submit(backend, *[background(function)] * 10):
                assert server_of(submission) == gearmand.address

        assert len(dying.peers) == 1, "it was tried again, though it is marked down"


def test_a_server_that_died_is_replaced_by_the_next_and_used_again_later(
    open_backend, gearmand, own_gearmand
):
    backend = open_backend(gearmand.address, own_gearmand.address, down_time=0.2)
    spec = background(uuid.uuid4().hex, unique=unique_for(backend, own_gearmand.address))
    assert server_of(*submit(backend, spec)) == own_gearmand.address

    own_gearmand.kill()
    assert server_of(*submit(backend, spec)) == gearmand.address

    own_gearmand.start()
    wait_until(
        lambda: server_of(*submit(backend, spec)) == own_gearmand.address,
        "the server is used again",
    )


def test_a_server_marked_down_is_tried_when_there_is_no_other(open_backend, own_gearmand):
    backend = open_backend(own_gearmand.address, down_time=600)
    own_gearmand.kill()
    with pytest.raises(ServerUnavailable, match=own_gearmand.address):
        backend.submit([background("f")])

    own_gearmand.start()

    submit(backend, background("f"))


def test_all_servers_down_is_one_error_that_names_them_all(open_backend):
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]

    with pytest.raises(ServerUnavailable) as caught:
        open_backend(*addresses).submit([background("f")])

    assert all(address in str(caught.value) for address in addresses)


def test_handles_of_other_servers_are_refused(open_backend, gearmand, own_gearmand):
    [elsewhere] = submit(open_backend(own_gearmand.address), background("f"))
    backend = open_backend(gearmand.address)
    ours = f"{gearmand.address}//"

    for handle in (elsewhere.handle, "H:vm:1", "", ours, ours + "x" * 64, ours + "\ud800"):
        with pytest.raises(ValueError):
            backend.job_status(handle)
    assert backend.job_status(f"{ours}H:never:1") == JobStatus(known=False, running=False)


# Restarts


def test_a_waiting_client_learns_that_its_server_died(open_backend, own_gearmand):
    [submission] = submit(open_backend(own_gearmand.address), JobSpec("f", b"work"))
    threading.Timer(0.1, own_gearmand.kill).start()

    for _ in range(2):  # and does not forget
        with pytest.raises(ConnectionLost, match=own_gearmand.address):
            submission.next_update(PATIENCE)


def test_the_first_submit_after_a_restart_just_works(open_backend, own_gearmand):
    backend = open_backend(own_gearmand.address)
    for _ in range(3):
        submit(backend, background("f"), JobSpec("f", b"work"))
        own_gearmand.kill()
        own_gearmand.start()

    [submission] = submit(backend, background("f"))
    assert backend.job_status(submission.handle).known


def test_an_idle_worker_comes_back_after_a_restart(open_backend, worker_of, own_gearmand, caplog):
    worker = worker_of("f", own_gearmand.address, client_id="the-worker")
    assert worker.grab_job(0.1) is None
    own_gearmand.kill()
    assert worker.grab_job(0.5) is None

    own_gearmand.start()
    backend = open_backend(own_gearmand.address)
    submit(backend, background("f", b"after the restart"))

    assert grab(worker).workload == b"after the restart"
    [listed] = backend.workers()
    assert (listed.client_id, listed.functions) == ("the-worker", ("f",))
    told = [record.message for record in caplog.records]
    assert len(told) == 2, f"not once down, once back: {told}"
    assert "trying again" in told[0]
    assert "is back" in told[1]


@pytest.mark.parametrize("last_words", [None, PacketType.GRAB_JOB_UNIQ], ids=["connect", "grab"])
def test_a_worker_does_not_spin_on_a_server_that_throws_it_out(worker_of, last_words, caplog):
    """As gearmand does with every worker that grabs a job with too long a header."""

    def throw_out(peer: Peer) -> None:
        if last_words is not None:
            peer.handshake()
            peer.expect(last_words)

    with FakeServer(throw_out) as server:
        worker = worker_of("f", server.address)
        assert worker.grab_job(1.5) is None

        assert 2 <= len(server.peers) <= 8, "without a growing delay between the attempts"
        assert len(caplog.records) == 1, "it is told more than once"


def test_a_job_in_hand_is_not_mistaken_for_its_namesake_after_a_restart(
    open_backend, worker_of, own_gearmand
):
    """gearmand counts handles from 1 again."""
    backend, worker = open_backend(own_gearmand.address), worker_of("f", own_gearmand.address)
    submit(backend, background("f", b"before"))
    before = grab(worker)
    own_gearmand.kill()
    own_gearmand.start()
    submit(backend, background("f", b"after"))
    after = grab(worker)
    assert (before.handle, before.workload) == (after.handle, b"before")

    with pytest.raises(ConnectionLost, match="not in hand"):
        worker.send(before, WorkComplete(b""))

    assert backend.job_status(after.handle).running, "the wrong job was completed"
    worker.send(after, WorkComplete(b""))


# Submitting when things break


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


def test_what_a_server_acknowledged_before_it_died_is_known(open_backend):
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


def test_batches_that_were_not_sent_go_on_elsewhere(open_backend, gearmand):
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


# Servers that hang


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
        assert 0.6 <= watch.seconds < 5


def test_a_stopped_server_is_unavailable(open_backend, own_gearmand):
    pause(own_gearmand)
    backend, watch = open_backend(own_gearmand.address, connect_timeout=0.3), Stopwatch()

    for attempt in (lambda: backend.submit([background("f")]), backend.functions, backend.workers):
        with pytest.raises(ServerUnavailable, match="gave no answer"):
            attempt()
    assert watch.seconds < 5


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
        while watch.seconds < 5:
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

        assert server.count(PacketType.GET_STATUS) == 1


def test_waits_keep_their_time_while_another_thread_is_stuck_in_a_submit(
    open_backend, own_gearmand
):
    backend = open_backend(own_gearmand.address, send_timeout=2)
    [submission] = submit(backend, JobSpec("f", b"work"))
    pause(own_gearmand)
    stuck = threading.Thread(target=backend.submit, args=([background("f", bytes(64 << 20))],))
    stuck.start()
    time.sleep(0.2)  # until it has filled the socket
    watch = Stopwatch()

    with contextlib.suppress(ConnectionLost):  # should the machine be so slow that it is over
        assert submission.next_update(0.1) is None

    assert watch.seconds < 1.5, "the wait lasted as long as the other thread's submit"
    stuck.join()


@pytest.mark.parametrize("kind", ["job", "result"])
def test_a_large_packet_on_a_slow_line_is_no_silence(open_backend, worker_of, kind):
    """It takes twice as long as the server may be silent."""

    def trickle(peer: Peer, packet: bytes) -> None:
        for start in range(0, len(packet), len(packet) // 10):
            peer.raw(packet[start : start + len(packet) // 10])
            time.sleep(0.1)
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
            worker = worker_of("f", server.address, reply_timeout=0.5)
            assert grab(worker).workload == bytes(10_000)
            server.close()
        else:
            backend = open_backend(server.address, reply_timeout=0.5, status_interval=0.1)
            [submission] = submit(backend, JobSpec("f", b"work"))
            assert outcome(submission) == WorkComplete(bytes(10_000))


# Jobs that gearmand loses


def test_a_job_that_gearmand_lost_is_told_to_who_waits(open_backend, worker_of, gearmand):
    """A client joins a queued job whose only client leaves: gearmand drops it without a word."""
    function = uuid.uuid4().hex
    spec = JobSpec(function, b"work", unique="poisoned")
    first = open_backend(gearmand.address)
    handle = submit(first, spec)[0].handle.partition("//")[2]
    first.close()
    marked = f"{handle}\t0\t1\t0\n"
    wait_until(lambda: marked in gearmand.ask("show jobs"), "gearmand marks the job")
    [submission] = submit(open_backend(gearmand.address, status_interval=0.1), spec)

    assert worker_of(function, gearmand.address).grab_job(0.3) is None
    for _ in range(2):  # and again
        with pytest.raises(JobLost, match=submission.handle):
            list(submission.updates(PATIENCE))


def test_a_job_that_waits_long_is_not_taken_for_lost(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    backend = open_backend(gearmand.address, status_interval=0.02)
    [submission] = submit(backend, JobSpec(function, b"work"))
    worker = worker_of(function, gearmand.address)

    assert submission.next_update(0.2) is None
    job = grab(worker)
    assert submission.next_update(0.2) is None
    worker.send(job, WorkComplete(b"done"))

    assert outcome(submission) == WorkComplete(b"done")


def test_what_comes_late_of_a_cancelled_job_is_ignored(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    backend, worker = open_backend(gearmand.address), worker_of(function, gearmand.address)
    [cancelled] = submit(backend, JobSpec(function, b"cancelled"))
    job = grab(worker)
    gearmand.ask(f"cancel job {job.handle.partition('//')[2]}")
    assert outcome(cancelled) == WorkFail()

    worker.send(job, WorkData(b"late"))
    worker.send(job, WorkComplete(b"later"))
    [other] = submit(backend, JobSpec(function, b"other"))
    job = grab(worker)
    worker.send(job, WorkComplete(b"done"))

    assert list(other.updates(PATIENCE)) == [WorkComplete(b"done")]
    assert cancelled.next_update(0) is None


# Other languages


def raw_worker(server: Gearmand, function: str) -> tuple[socket.socket, Packet]:
    """Grab a job as a foreign worker would."""
    connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    connection.sendall(
        encode(PacketType.CAN_DO, function.encode()) + encode(PacketType.GRAB_JOB_UNIQ)
    )
    reader = PacketReader()
    while not (packets := reader.feed(connection.recv(65536))):
        pass
    return connection, packets[0]


def test_the_exception_of_a_foreign_worker_is_understood(open_backend, gearmand):
    function = uuid.uuid4().hex
    [submission] = submit(open_backend(gearmand.address), JobSpec(function, b"work"))

    connection, assigned = raw_worker(gearmand, function)
    with connection:
        connection.sendall(encode(PacketType.WORK_EXCEPTION, assigned.args[0], b"oops\0\xff"))
        assert outcome(submission) == WorkException(b"oops\0\xff")


@pytest.mark.parametrize(("said", "read"), [(b"abc", 0), (b"7", 7), (b"9" * 30, 0), (b"-1", 0)])
def test_progress_that_is_no_number_counts_as_none(open_backend, gearmand, said, read):
    function = uuid.uuid4().hex
    [submission] = submit(open_backend(gearmand.address), JobSpec(function, b"work"))

    connection, assigned = raw_worker(gearmand, function)
    with connection:
        connection.sendall(encode(PacketType.WORK_STATUS, assigned.args[0], said, b"10"))
        assert submission.next_update(PATIENCE) == WorkStatus(read, 10)


def test_the_nul_that_gearmand_leaves_behind_a_handle_is_stripped(open_backend):
    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.acknowledge(1)
        peer.reply(PacketType.WORK_FAIL, b"H:fake:1\0")
        peer.wait_for_end()

    with FakeServer(serve) as server:
        backend = open_backend(server.address)
        assert outcome(*submit(backend, JobSpec("f", b"work"))) == WorkFail()
        backend.close()


# Noise


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
def test_a_worker_takes_noise_for_a_server_that_is_down(open_backend, worker_of, gearmand, noise):
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


def test_names_that_are_no_utf8_are_listed(open_backend, own_gearmand):
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


# Workers


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

    assert watch.seconds < 3


def test_a_worker_without_any_server_waits_as_long_as_it_is_told(worker_of):
    worker = worker_of("f", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    watch = Stopwatch()

    assert worker.grab_job(0.3) is None
    assert 0.3 <= watch.seconds < 3
    assert worker.grab_job(0) is None


def test_a_storm_of_noops_makes_no_worker_grab_in_advance(worker_of):
    grabs: list[float] = []

    def storm(peer: Peer) -> None:
        peer.handshake()
        for round_number in itertools.count(1):
            if (packet := peer.read()) is None:
                return
            if packet.type is PacketType.GRAB_JOB_UNIQ:
                peer.raw(encode(PacketType.NOOP, magic=b"\0RES") * 50)
                if len(grabs) % 2:
                    peer.reply(PacketType.NO_JOB)
                else:
                    job = (b"H:fake:%d" % round_number, b"f", b"u", b"work")
                    peer.reply(PacketType.JOB_ASSIGN_UNIQ, *job)
                grabs.append(time.monotonic())
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
        assert worker.grab_job(0) is None  # asleep now, with a job in hand
        submit(backend, background(function, b"wake"))  # its NOOP stays unread

        worker.send(job, WorkComplete(result))
        worker.close()

        heir = worker_of(function, gearmand.address)
        waker = grab(heir)
        assert waker.workload == b"wake", "the finished job is run again"
        heir.send(waker, WorkComplete(b""))
        heir.close()
        assert list(submission.updates(PATIENCE)) == [WorkComplete(result)]


def test_what_is_no_update_leaves_the_job_in_hand(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    [submission] = submit(open_backend(gearmand.address), JobSpec(function, b"work"))
    worker = worker_of(function, gearmand.address)
    job = grab(worker)

    for wrong in (WorkComplete("text"), WorkStatus("1", 2), "done"):
        with pytest.raises(TypeError):
            worker.send(job, wrong)
    worker.send(job, WorkFail())

    assert outcome(submission) == WorkFail()


# Threads and processes


def test_many_threads_wait_on_one_backend(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    backend, worker = open_backend(gearmand.address), worker_of(function, gearmand.address)
    submissions = submit(backend, *[JobSpec(function, b"%d" % n) for n in range(60)])
    got: dict[int, Any] = {}

    def wait(number: int) -> None:
        try:
            got[number] = list(submissions[number].updates(PATIENCE))
        except Exception as error:
            got[number] = error

    threads = [threading.Thread(target=wait, args=(n,)) for n in range(len(submissions))]
    for thread in threads:
        thread.start()
    jobs = [grab(worker) for _ in submissions]
    for job in jobs[1::2] + jobs[::2][::-1]:
        worker.send(job, WorkData(job.workload))
        worker.send(job, WorkComplete(job.workload))
    for thread in threads:
        thread.join(PATIENCE)

    assert got == {
        n: [WorkData(b"%d" % n), WorkComplete(b"%d" % n)] for n in range(len(submissions))
    }


def test_all_waiting_threads_learn_that_the_server_died(open_backend, own_gearmand):
    backend = open_backend(own_gearmand.address)
    submissions = submit(backend, *[JobSpec("f", b"%d" % n) for n in range(20)])
    raised: list[type[BaseException]] = []

    def wait(submission: Submission) -> None:
        try:
            submission.next_update(PATIENCE)
        except BackendError as error:
            raised.append(type(error))

    threads = [threading.Thread(target=wait, args=(s,)) for s in submissions]
    for thread in threads:
        thread.start()
    own_gearmand.kill()
    for thread in threads:
        thread.join(PATIENCE)

    assert raised == [ConnectionLost] * 20


def test_closing_a_backend_wakes_who_waits_on_it(open_backend, gearmand):
    backend = open_backend(gearmand.address)
    [submission] = submit(backend, JobSpec(uuid.uuid4().hex, b"work"))
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            submission.next_update(PATIENCE)
        except BackendError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    watch = Stopwatch()
    backend.close()
    thread.join(PATIENCE)

    assert watch.seconds < 3, "it went on waiting"
    assert [type(error) for error in raised] == [ConnectionLost]
    assert "was closed" in str(raised[0])


def test_one_thread_submits_while_another_waits(open_backend, worker_of, gearmand):
    function = uuid.uuid4().hex
    backend, worker = open_backend(gearmand.address), worker_of(function, gearmand.address)
    [submission] = submit(backend, JobSpec(function, b"first"))
    got: list[Update] = []
    waiter = threading.Thread(target=lambda: got.extend(submission.updates(PATIENCE)))
    waiter.start()

    later = [submit(backend, JobSpec(function, b"%d" % n))[0] for n in range(300)]
    for _ in range(301):
        job = grab(worker)
        worker.send(job, WorkComplete(job.workload))
    waiter.join(PATIENCE)

    assert got == [WorkComplete(b"first")]
    assert [outcome(s) for s in later] == [WorkComplete(b"%d" % n) for n in range(300)]


def test_a_forked_child_uses_the_backend_and_leaves_the_parent_alone(gearmand):
    """Forked while a thread of the parent reads: whatever locks there are may be taken."""
    script = """
        import os, sys, threading, time
        from django_gearman.backends.base import JobSpec, WorkComplete
        from django_gearman.backends.gearmand import GearmandBackend
        from django_gearman.server import Server
        from django_gearman.exceptions import ConnectionLost

        address, function = sys.argv[1:]
        backend = GearmandBackend([Server.parse(address)], status_interval=0.5)
        [mine] = backend.submit([JobSpec(function, b"parent")])
        got = []
        waiter = threading.Thread(target=lambda: got.extend(mine.updates(20)))
        waiter.start()
        time.sleep(0.1)
        child = os.fork()
        if child == 0:
            try:
                for _ in range(2):
                    [submission] = backend.submit([JobSpec(function, b"child")])
                    assert submission.error is None, submission.error
                    assert backend.job_status(submission.handle).known
                    backend.close()
                try:
                    mine.next_update(1)
                except ConnectionLost as error:
                    assert "fork" in str(error)
                else:
                    raise AssertionError("the child waits on its parent's connection")
            except BaseException as error:
                print("child:", repr(error), flush=True)
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        worker = backend.register([function])
        job = worker.grab_job(20)
        assert job.workload == b"parent", job
        worker.send(job, WorkComplete(b"done"))
        waiter.join(20)
        assert got == [WorkComplete(b"done")], got
        worker.close()
        print("well")
    """
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",  # 3.12 and later warn of a fork beside threads
            "-c",
            textwrap.dedent(script),
            gearmand.address,
            uuid.uuid4().hex,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.stdout, done.stderr) == ("well\n", "")


# Sizes


def test_a_hundred_thousand_jobs_go_in_one_submit(open_backend, own_gearmand):
    backend = open_backend(own_gearmand.address)

    submissions = submit(backend, *[background("f", b"%d" % n) for n in range(100_000)])

    assert len({s.handle for s in submissions}) == 100_000
    assert own_gearmand.totals()["f"][0] == 100_000


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_left_behind_by_200_connections(open_backend, worker_of, gearmand):
    def serve(peer: Peer) -> None:
        peer.handshake()
        peer.acknowledge(1)

    function = uuid.uuid4().hex
    with FakeServer(serve) as server:
        reopening, breaking = open_backend(gearmand.address), open_backend(server.address)
        kept = []
        before = descriptors()
        for _ in range(200):
            kept += submit(reopening, background(function))
            reopening.close()
            kept += breaking.submit([JobSpec(function, b"work")])
            with pytest.raises(ConnectionLost):
                kept[-1].next_update(PATIENCE)
        for _ in range(20):
            worker = worker_of(function, gearmand.address)
            assert worker.grab_job(PATIENCE)
            worker.close()
            reopening.functions()

        wait_until(lambda: descriptors() <= before + 4, "the descriptors are closed")


# Options


@pytest.mark.parametrize(
    "options", [{"connect_timeout": "5"}, {"reply_timeout": None}, {"down_time": 0}], ids=repr
)
def test_options_that_are_no_seconds_are_refused(options):
    with pytest.raises(InvalidBackend, match=next(iter(options))):
        GearmandBackend([Server("localhost")], **options)


def test_very_long_options_are_no_errors(open_backend, gearmand):
    forever = dict.fromkeys(
        ("connect_timeout", "send_timeout", "reply_timeout", "status_interval"), 1e8
    )
    backend = open_backend(gearmand.address, **forever)
    [submission] = submit(backend, JobSpec(uuid.uuid4().hex, b"work"))

    assert submission.next_update(0.05) is None
    assert backend.functions()
