"""Results of quick background jobs are written together, and none of them late."""

from __future__ import annotations

import threading
import time

import pytest

from django_gearman.backends.base import JobSpec, WorkComplete, WorkFail, WorkStatus
from django_gearman.backends.connection import Connection
from django_gearman.backends.gearmand import GearmandBackend, buffer, prefetch
from django_gearman.backends.gearmand.buffer import OutcomeBuffer
from django_gearman.exceptions import ConnectionLost
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import RESPONSE, PacketType, encode
from tests.support.fake_server import FakeServer, Peer
from tests.support.gearmand import wait_until

BACKGROUND, FOREGROUND = b"b:dj:x", b"f:dj:x"


class Writes:
    """The writes of a buffer."""

    def __init__(self) -> None:
        self.made: list[tuple[bytes, ...]] = []
        self.error: Exception | None = None

    def __call__(self, *packets: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.made.append(packets)


@pytest.fixture
def writes():
    return Writes()


@pytest.fixture
def patient(monkeypatch):
    """Let no time pass that makes the buffer write."""
    monkeypatch.setattr(buffer, "LATEST_SECONDS", 60.0)
    monkeypatch.setattr(OutcomeBuffer, "_has_thread", lambda self: True)


def test_results_are_written_in_their_order_with_the_next_packet(writes, patient):
    held = OutcomeBuffer(writes)
    held.hold((b"1", b"a"), 0.0, buffer.LATEST_SECONDS)
    held.hold((b"2",), 0.0, buffer.LATEST_SECONDS)

    held.send(b"3")

    assert writes.made == [(b"1", b"a", b"2", b"3")]


def test_many_results_are_written_at_once(writes, patient):
    held = OutcomeBuffer(writes)

    for _ in range(2 * buffer.MOST_RESULTS):
        held.hold((b"x",), 0.0, buffer.LATEST_SECONDS)

    assert [len(each) for each in writes.made] == [buffer.MOST_RESULTS] * 2


def test_a_result_that_somebody_waits_for_is_written_before_its_time(writes, patient):
    held = OutcomeBuffer(writes)
    held.hold((b"1",), 0.0, 60.0)
    held.hold((b"2",), 1.0, 3.0)
    assert not writes.made

    held.hold((b"3",), 4.0, 60.0)
    assert writes.made == [(b"1", b"2", b"3")]

    held.hold((b"4",), 5.0, 60.0)
    assert len(writes.made) == 1, "the time of earlier ones counts no more"


def test_the_result_of_a_waiting_client_does_not_wait_for_a_thread_that_sleeps_long(
    writes, patient
):
    # Given a thread that sleeps for the result of a background job
    held = OutcomeBuffer(writes)
    held.hold((b"1",), 0.0, buffer.LATEST_SECONDS)
    held._thread = threading.current_thread()

    held.hold((b"2",), 0.0, buffer.AWAITED_SECONDS)
    assert writes.made == [(b"1", b"2")]

    held.hold((b"3",), 0.0, buffer.AWAITED_SECONDS)
    assert len(writes.made) == 1, "from now on it sleeps for less"


@pytest.mark.parametrize(
    ("seconds", "is_quick", "background", "waits"),
    [
        (buffer.BRIEF_SECONDS / 2, True, False, buffer.AWAITED_SECONDS),
        (buffer.BRIEF_SECONDS / 2, True, None, buffer.AWAITED_SECONDS),
        (buffer.BRIEF_SECONDS * 2, True, False, 0.0),
        (buffer.BRIEF_SECONDS / 2, False, False, 0.0),
        (60.0, False, True, buffer.LATEST_SECONDS),
    ],
)
def test_only_results_of_the_briefest_jobs_wait_if_a_client_does(
    seconds, is_quick, background, waits
):
    assert buffer.seconds_to_wait(seconds, is_quick, background) == waits


def test_large_results_are_written_at_once(writes, patient):
    held = OutcomeBuffer(writes)

    held.hold((bytes(buffer.MOST_BYTES),), 0.0, buffer.LATEST_SECONDS)

    assert len(writes.made) == 1


def test_a_later_result_writes_those_that_have_waited_for_long(writes, patient):
    held = OutcomeBuffer(writes)
    held.hold((b"1",), 0.0, buffer.LATEST_SECONDS)

    held.hold((b"2",), 61.0, buffer.LATEST_SECONDS)

    assert writes.made == [(b"1", b"2")]


def test_a_result_is_written_while_the_next_job_runs(writes):
    held = OutcomeBuffer(writes)

    held.hold((b"1",), time.monotonic(), buffer.LATEST_SECONDS)

    wait_until(lambda: writes.made == [(b"1",)], "the thread writes it")


def test_the_thread_ends_when_nothing_is_left_and_starts_again(writes, monkeypatch):
    monkeypatch.setattr(buffer, "_IDLE_ROUNDS", 2)
    held = OutcomeBuffer(writes)

    for number in (1, 2):
        held.hold((b"x",), time.monotonic(), buffer.LATEST_SECONDS)
        wait_until(lambda n=number: len(writes.made) == n, "the thread writes it")
        wait_until(lambda: held._thread is None, "the thread has ended")


def test_without_threads_each_result_is_written_at_once(writes, monkeypatch):
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    held = OutcomeBuffer(writes)

    held.hold((b"1",), time.monotonic(), buffer.LATEST_SECONDS)

    assert writes.made == [(b"1",)]


def test_results_that_cannot_be_written_are_counted(writes, patient):
    held = OutcomeBuffer(writes)
    held.hold((b"1",), 0.0, buffer.LATEST_SECONDS)
    held.hold((b"2",), 0.0, buffer.LATEST_SECONDS)
    writes.error = ConnectionLost("it closed the connection")

    with pytest.raises(ConnectionLost):
        held.send(b"3")

    assert held.clear() == 2
    assert held.clear() == 0


# Over a connection


def assigning(peer: Peer, *uniques: bytes) -> None:
    """Answer the first request for jobs, in one write, with one job for each unique."""
    peer.handshake()
    peer.expect(PacketType.GRAB_JOB_UNIQ)
    jobs = [(b"H:fake:%d" % number, b"f", unique, b"") for number, unique in enumerate(uniques)]
    peer.raw(b"".join(encode(PacketType.JOB_ASSIGN_UNIQ, *job, magic=RESPONSE) for job in jobs))


def echo(peer: Peer) -> None:
    """Answer echoes until the worker has left."""
    while (packet := peer.read()) is not None:
        if packet.type is PacketType.ECHO_REQ:
            peer.reply(PacketType.ECHO_RES, *packet.args)


def session_on(server: FakeServer):
    session = GearmandBackend([ServerAddress.parse(server.address)]).register(["f"])
    session.prefetch = 3
    return session


def grab(session):
    return wait_until(lambda: session.grab_job(0.1), "a job")


def completed(server: FakeServer) -> int:
    return sum(packet.type is PacketType.WORK_COMPLETE for packet in server.received)


@pytest.mark.parametrize(("unique", "at_once"), [(BACKGROUND, 0), (FOREGROUND, 1)])
def test_only_results_that_nobody_waits_for_are_held(patient, unique, at_once):
    def serve(peer: Peer) -> None:
        assigning(peer, unique, unique)
        echo(peer)

    with FakeServer(serve) as server:
        session = session_on(server)
        session.send(grab(session), WorkComplete(b""))
        if at_once:
            wait_until(lambda: completed(server) == 1, "the result was written")
        else:
            assert completed(server) == 0

        session.send(grab(session), WorkComplete(b""))

        wait_until(lambda: completed(server) == 2, "both were written")
        session.close()


@pytest.mark.parametrize("update", [WorkStatus(1, 2), WorkFail()])
def test_any_other_update_takes_held_results_along(patient, update):
    def serve(peer: Peer) -> None:
        assigning(peer, BACKGROUND, BACKGROUND, BACKGROUND)
        echo(peer)

    with FakeServer(serve) as server:
        session = session_on(server)
        session.send(grab(session), WorkComplete(b""))

        session.send(grab(session), update)

        wait_until(lambda: completed(server) == 1, "the result was written")
        session.close()


@pytest.mark.parametrize("end", ["flush", "close"])
def test_held_results_are_written_before_the_session_ends(patient, end):
    def serve(peer: Peer) -> None:
        assigning(peer, BACKGROUND, BACKGROUND)
        echo(peer)

    with FakeServer(serve) as server:
        session = session_on(server)
        session.send(grab(session), WorkComplete(b""))

        getattr(session, end)()

        wait_until(lambda: completed(server) == 1, "the result was written")
        session.close()


def test_a_lost_connection_says_how_many_finished_jobs_run_again(patient, caplog):
    leave = threading.Event()

    def serve(peer: Peer) -> None:
        assigning(peer, *[BACKGROUND] * 3)
        leave.wait(20)
        peer.reset()

    with FakeServer(serve) as server:
        session = session_on(server)
        for _ in range(2):
            session.send(grab(session), WorkComplete(b""))

        leave.set()

        wait_until(
            lambda: session.grab_job(0.01) is None and "gives 2 finished jobs" in caplog.text,
            "the log tells of the finished jobs",
        )
        session.close()


@pytest.mark.gearmand
def test_clients_of_many_brief_jobs_get_their_results_in_few_writes(own_gearmand, monkeypatch):
    # Given a worker to which any job is brief, on however busy a machine
    for module, name in [
        (buffer, "BRIEF"),
        (buffer, "AWAITED"),
        (prefetch, "QUICK"),
        (prefetch, "HELD"),
    ]:
        monkeypatch.setattr(module, f"{name}_SECONDS", 60.0)
    monkeypatch.setattr(OutcomeBuffer, "_has_thread", lambda self: True)
    backend = GearmandBackend([ServerAddress.parse(own_gearmand.address)])
    submissions = backend.submit([JobSpec("f", b"") for _ in range(300)])
    session = backend.register(["f"])
    session.prefetch = None
    sent: list[int] = []
    send = Connection.send
    monkeypatch.setattr(
        Connection, "send", lambda self, *chunks: (sent.append(len(chunks)), send(self, *chunks))
    )

    # When it has run them
    for _ in submissions:
        session.send(grab(session), WorkComplete(b"done"))

    # Then each client has its result; also that of the last job, after which none is held
    assert [each.next_update(20) for each in submissions] == [WorkComplete(b"done")] * 300
    assert len(sent) < 100
    session.close()
    backend.close()
