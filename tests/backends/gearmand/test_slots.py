"""Sessions with several jobs at a time, and servers that are slow or silent."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from django_gearman.backends.base import (
    AssignedJob,
    JobSpec,
    Submission,
    WorkComplete,
    WorkerSession,
)
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import PacketType
from django_gearman.utils.clock import monotonic
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.gearmand import wait_until

SLOTS = 5


@contextmanager
def session_of(*addresses: str, reply_timeout: float = 30.0) -> Iterator[WorkerSession]:
    servers = [ServerAddress.parse(each) for each in addresses]
    backend = GearmandBackend(servers, reply_timeout=reply_timeout)
    session = backend.register(["f"], "slots", slots=SLOTS)
    try:
        yield session
    finally:
        for link in session._links:  # a silent server answers no goodbye
            link.disconnect()
        session.close()
        backend.close()


class Listener:
    """A server that answers no request for a job until it is allowed to, and counts them."""

    def __init__(self) -> None:
        self.grabs = 0
        self.may_answer = threading.Event()

    def __call__(self, peer: Peer) -> None:
        peer.handshake()
        while (packet := peer.read()) is not None:
            if packet.type is PacketType.GRAB_JOB_UNIQ and peer.number == 0:
                self.grabs += 1
                if self.may_answer.is_set():
                    peer.reply(PacketType.NO_JOB)


def test_a_silent_server_is_asked_once_for_each_slot():
    listener = Listener()
    with FakeServer(listener) as server, session_of(server.address) as session:
        wait_until(
            lambda: session.grab_job(0.1) is None and listener.grabs == SLOTS, "the requests"
        )
        until = monotonic() + 1.0
        while monotonic() < until:
            assert session.grab_job(0.1) is None

    assert listener.grabs == SLOTS


def test_a_server_without_jobs_is_asked_once_even_if_it_answers_one_request_after_the_other():
    grabs: list[int] = []

    def answer(peer: Peer) -> None:
        peer.handshake()
        while (packet := peer.read()) is not None:
            if packet.type is PacketType.GRAB_JOB_UNIQ and not peer.number:
                grabs.append(1)
                wait_until(lambda: session._sleeps, "the worker waits for this answer")
                peer.reply(PacketType.NO_JOB)
                wait_until(lambda: link.asked < SLOTS, "it has read that")

    with FakeServer(answer) as server, session_of(server.address) as session:
        link = session._links[0]
        until = monotonic() + PATIENCE
        while link.asleep_since == math.inf or link.asked:
            assert session.grab_job(0.1) is None
            assert monotonic() < until, "the worker does not fall asleep"

    assert len(grabs) == SLOTS


@pytest.mark.gearmand
def test_another_server_gets_the_slots_that_a_silent_one_does_not_fill(own_gearmand):
    listener = Listener()
    client = GearmandBackend([ServerAddress.parse(own_gearmand.address)])
    addresses = own_gearmand.address
    with (
        closing(client),
        FakeServer(listener) as server,
        session_of(server.address, addresses) as session,
    ):
        client.submit([JobSpec("f", b"%d" % n, background=True) for n in range(SLOTS)])

        found = set()
        until = monotonic() + PATIENCE
        while len(found) < SLOTS and monotonic() < until:
            if (job := session.grab_job(0.1)) is not None:
                found.add(job.workload)
                session.send(job, WorkComplete(b""))

    assert found == {b"%d" % n for n in range(SLOTS)}
    assert listener.grabs <= SLOTS


def test_the_silence_of_a_server_does_not_cost_a_job_that_runs():
    ends: list[bytes] = []

    def assign(peer: Peer) -> None:
        """Assign one job, and answer no other request for one."""
        peer.handshake()
        if peer.number:  # for delayed jobs, or again after a loss
            peer.wait_for_end()
            return
        peer.expect(PacketType.GRAB_JOB_UNIQ)
        peer.reply(PacketType.JOB_ASSIGN_UNIQ, b"H:fake:1", b"f", b"u", b"work")
        ends.append(peer.expect(PacketType.WORK_COMPLETE).args[1])
        peer.wait_for_end()

    with FakeServer(assign) as server, session_of(server.address, reply_timeout=0.3) as session:
        job = session.grab_job(PATIENCE)
        assert job is not None

        until = monotonic() + 1.5
        while monotonic() < until:
            assert session.grab_job(0.1) is None
        session.send(job, WorkComplete(b"done"))

        until = monotonic() + PATIENCE
        while not ends and monotonic() < until:
            session.attend(0.05)
    assert ends == [b"done"]


# Other functions, while jobs run


def submit(address: str, *specs: JobSpec) -> list[Submission]:
    with closing(GearmandBackend([ServerAddress.parse(address)])) as client:
        return client.submit(specs)


def grab(session: WorkerSession) -> AssignedJob:
    until = monotonic() + 20.0
    while monotonic() < until:
        if (job := session.grab_job(0.1)) is not None:
            return job
    raise AssertionError("no job came")


def settle(session: WorkerSession) -> None:
    """Attend to a session until each of its connections has ended that has a successor."""
    until = monotonic() + 20.0
    while session._retired:
        session.attend(0.02)
        assert monotonic() < until, "a connection has not ended"


def rows(own_gearmand) -> dict[str, tuple[str, ...]]:
    """Return the functions of each worker, by its client id."""
    with closing(GearmandBackend([ServerAddress.parse(own_gearmand.address)])) as client:
        return {row.client_id: row.functions for row in client.workers() if row.functions}


def background(function: str, workload: bytes) -> JobSpec:
    return JobSpec(function, workload, background=True)


@pytest.mark.gearmand
def test_other_functions_are_served_while_jobs_run_and_those_end_once(own_gearmand):
    with session_of(own_gearmand.address) as session:
        [first] = submit(own_gearmand.address, background("f", b"runs"))
        running = grab(session)
        assert session.serve(["g", "h"], "later")
        submit(own_gearmand.address, background("f", b"waits"), background("h", b"other"))

        assert grab(session).workload == b"other"
        assert session.grab_job(0.5) is None, "nobody serves f, and its job that runs is not given"
        assert own_gearmand.totals()["f"][:2] == (2, 1)
        session.send(running, WorkComplete(b""))
        settle(session)

        assert rows(own_gearmand) == {"later": ("g", "h")}
        assert own_gearmand.totals()["f"] == (1, 0, 0)
    assert first.handle


@pytest.mark.gearmand
def test_the_functions_change_often_while_a_job_runs(own_gearmand):
    with session_of(own_gearmand.address) as session:
        submit(own_gearmand.address, background("f", b"runs"))
        running = grab(session)

        for number in range(20):
            session.serve(["g"] if number % 2 else ["f", "g"], f"name-{number}")
            submit(own_gearmand.address, background("g", b"%d" % number))
            job = grab(session)
            assert job.workload == b"%d" % number
            session.send(job, WorkComplete(b""))

        assert len(session._links) < 8, "connections without a job have ended"
        session.send(running, WorkComplete(b""))
        settle(session)
        assert rows(own_gearmand) == {"name-19": ("g",)}
        assert own_gearmand.totals()["f"][:2] == (0, 0)


@pytest.mark.gearmand
def test_jobs_in_advance_of_functions_that_do_not_run_go_back(own_gearmand):
    with session_of(own_gearmand.address) as session:
        session.prefetch = 2
        submit(own_gearmand.address, *(background("f", b"%d" % n) for n in range(SLOTS + 2)))
        running = [grab(session) for _ in range(SLOTS)]
        for job in running:
            session.send(job, WorkComplete(b""))
        session.serve(["g"], "later")
        settle(session)

        assert session.grab_job(0.3) is None
        assert own_gearmand.totals()["f"] == (2, 0, 0)


def test_a_server_that_is_down_gets_the_new_functions_when_it_is_back():
    names: list[bytes] = []

    def listen(peer: Peer) -> None:
        peer.handshake()
        names.append(peer.expect(PacketType.CAN_DO).args[0])
        peer.wait_for_end()

    with FakeServer(listen) as server, session_of(server.address) as session:
        session.serve(["g"], "later")
        until = monotonic() + 20.0
        while not names and monotonic() < until:
            session.grab_job(0.05)

    assert names[0] == b"g"


def test_a_connection_with_a_successor_ends_after_the_answers_to_its_requests():
    """Any of them may bring a job, whose outcome must arrive before the end."""
    has_ended, may_answer = threading.Event(), threading.Event()

    # Given a server that answers one request after the outcome of a job
    def assign(peer: Peer) -> None:
        peer.handshake()
        if peer.number:
            peer.wait_for_end()
            return
        peer.expect(PacketType.GRAB_JOB_UNIQ)
        peer.reply(PacketType.JOB_ASSIGN_UNIQ, b"H:fake:1", b"f", b"u", b"first")
        peer.expect(PacketType.WORK_COMPLETE)
        has_ended.set()
        may_answer.wait(PATIENCE)
        peer.reply(PacketType.JOB_ASSIGN_UNIQ, b"H:fake:2", b"f", b"u", b"second")
        for _ in range(SLOTS - 2):
            peer.reply(PacketType.NO_JOB)
        while (packet := peer.read()) is not None:
            if packet.type is PacketType.GET_STATUS:
                peer.reply(PacketType.STATUS_RES, packet.args[0], b"0", b"0", b"0", b"0")

    with FakeServer(assign) as server, session_of(server.address) as session:
        job = grab(session)
        session.serve(["g"], "later")
        session.send(job, WorkComplete(b""))
        wait_until(lambda: session.attend(0.02) or has_ended.is_set(), "the outcome")

        # When the session has other work meanwhile
        for _ in range(5):
            session.attend(0.02)

        may_answer.set()
        job = grab(session)
        assert job.workload == b"second"
        session.send(job, WorkComplete(b""))
        settle(session)

    # Then it asks for a last answer after the last outcome
    last = (PacketType.WORK_COMPLETE, PacketType.GET_STATUS)
    received = [packet.type for packet in server.peers[0].received if packet.type in last]
    assert received == [PacketType.WORK_COMPLETE, *last]


def test_a_wake_up_of_the_first_connection_is_one_for_the_last():
    """gearmand may wake one connection of a worker for all of them."""
    peers: dict[bytes, Peer] = {}

    # Given a session whose functions have changed twice, while jobs run
    def assign(peer: Peer) -> None:
        peer.handshake()
        function = peer.expect(PacketType.CAN_DO).args[0]
        peers[function] = peer
        is_first = not function.endswith(b"@delayed")
        while (packet := peer.read()) is not None:
            if packet.type is PacketType.GRAB_JOB_UNIQ:
                if is_first:
                    handle = b"H:fake:" + function
                    peer.reply(PacketType.JOB_ASSIGN_UNIQ, handle, function, b"u", b"work")
                else:
                    peer.reply(PacketType.NO_JOB)
                is_first = False

    with FakeServer(assign) as server, session_of(server.address) as session:
        for following in ("g", "h", ""):
            job = grab(session)
            if following:
                assert session.serve([following], following)
        assert job.function == "h"
        [last] = [
            each for each in session._links if each.functions == ["h"] and not each.is_delayed
        ]
        wait_until(lambda: session.grab_job(0.05) or not (last.asked or last.is_idle), "it sleeps")
        requests = len([p for p in peers[b"h"].received if p.type is PacketType.GRAB_JOB_UNIQ])

        # When the server wakes the first connection
        peers[b"f"].reply(PacketType.NOOP)

        # Then the last one asks
        def has_asked() -> bool:
            session.grab_job(0.05)
            grabs = [p for p in peers[b"h"].received if p.type is PacketType.GRAB_JOB_UNIQ]
            return len(grabs) > requests

        wait_until(has_asked, "another request", 5)


def test_a_silent_server_keeps_no_connection_for_ever():
    """It took the outcome, and answers nothing any more."""

    def assign(peer: Peer) -> None:
        peer.handshake()
        if not peer.number:
            peer.expect(PacketType.GRAB_JOB_UNIQ)
            peer.reply(PacketType.JOB_ASSIGN_UNIQ, b"H:fake:1", b"f", b"u", b"work")
        peer.wait_for_end()

    with FakeServer(assign) as server, session_of(server.address, reply_timeout=0.3) as session:
        job = grab(session)
        session.serve(["g"], "later")
        session.send(job, WorkComplete(b"done"))

        settle(session)
