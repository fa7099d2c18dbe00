"""The link for delayed jobs: its worker sleeps through the answers that bring none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from django_gearman.backends.base import WorkComplete, WorkerSession
from django_gearman.backends.gearmand import slots, worker
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.backends.gearmand.delayed import DelayedConnection
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import PacketType
from django_gearman.utils.clock import monotonic
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.gearmand import wait_until

JOB = b"H:fake:1", b"f@delayed", b"", b"work"


class Scripted:
    """A server whose `on_grab(kind, peer)` answers the requests over the "plain" or "delayed" link."""

    def __init__(self, on_grab: Callable[[str, Peer], None]) -> None:
        self.on_grab = on_grab
        self.peers: dict[str, Peer] = {}
        self.grabs = {"plain": 0, "delayed": 0}
        self.is_there = False  # another job

    def __call__(self, peer: Peer) -> None:
        peer.handshake()
        kind = (
            "delayed" if peer.expect(PacketType.CAN_DO).args[0].endswith(b"@delayed") else "plain"
        )
        self.peers[kind] = peer
        while (packet := peer.read()) is not None:
            if packet.type is PacketType.GRAB_JOB_UNIQ:
                self.grabs[kind] += 1
                self.on_grab(kind, peer)


def assign_or_not(kind: str, peer: Peer) -> None:
    if kind == "plain":
        peer.reply(PacketType.JOB_ASSIGN_UNIQ, b"H:fake:2", b"f", b"", b"other")
    else:
        peer.reply(PacketType.NO_JOB)


def no_job(kind: str, peer: Peer) -> None:
    peer.reply(PacketType.NO_JOB)


@pytest.fixture
def patient(monkeypatch):
    """Let workers wait for each answer, so that a test that needs another one fails."""
    for module in (worker, slots):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 600.0)


@pytest.fixture(params=[1, 3])
def register(request) -> Iterator[Callable[..., WorkerSession]]:
    """Return a function that registers a session with fake servers."""
    sessions = []

    def register(*servers: FakeServer) -> WorkerSession:
        addresses = [ServerAddress.parse(server.address) for server in servers]
        backend = GearmandBackend(addresses, reply_timeout=600.0)
        session = backend.register(["f"], "worker", slots=request.param)
        sessions.append(session)
        return session

    yield register
    for session in sessions:
        for link in session._links:  # a fake server answers no goodbye
            link.disconnect()
        session.close()


def lane_of(session: WorkerSession) -> DelayedConnection | None:
    return next((link for link in session._links if link.is_delayed), None)


def test_the_answer_that_there_is_no_job_wakes_no_idle_worker(register, monkeypatch):
    # Given a worker with all its times divided by ten
    monkeypatch.setattr(DelayedConnection, "sleep_seconds", 0.12)
    for module in (worker, slots):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
        monkeypatch.setattr(module, "EARLY_SECONDS", 0.05)
    script = Scripted(no_job)
    with FakeServer(script) as server:
        session = register(server)
        session.idle_seconds = 0.13
        wait_until(lambda: session.grab_job(0.13) or script.grabs["delayed"], "it asks")
        wakes = []
        wait = session._watched.wait
        monkeypatch.setattr(session._watched, "wait", lambda *args: wakes.append(1) or wait(*args))

        before = script.grabs["delayed"]
        wait_until(lambda: session.grab_job(0.13) or script.grabs["delayed"] >= before + 20, "asks")

        assert len(wakes) < 32, "one for each of the 20 requests, and some room"


def test_a_job_wakes_an_idle_worker(register, monkeypatch):
    monkeypatch.setattr(DelayedConnection, "sleep_seconds", 600.0)

    def assign(kind: str, peer: Peer) -> None:
        if kind == "plain":
            no_job(kind, peer)
        else:
            wait_until(lambda: (lane := lane_of(session)) and lane.is_quiet, "it sleeps")
            peer.reply(PacketType.JOB_ASSIGN_UNIQ, *JOB)

    with FakeServer(Scripted(assign)) as server:
        session = register(server)
        job = session.grab_job(PATIENCE)

        assert job is not None
        assert (job.function, job.workload) == ("f", b"work")


@pytest.mark.usefixtures("patient")
def test_a_worker_that_another_link_wakes_waits_for_the_answer(register, monkeypatch):
    """It could get two jobs otherwise, one of which would wait."""
    monkeypatch.setattr(DelayedConnection, "sleep_seconds", 600.0)

    # Given a server that is slow to answer about delayed jobs
    def answer(kind: str, peer: Peer) -> None:
        if kind == "delayed":
            return
        if not script.is_there:
            no_job(kind, peer)
        else:
            peer.reply(PacketType.JOB_ASSIGN_UNIQ, b"H:fake:2", b"f", b"", b"other")

    def wake() -> None:
        wait_until(lambda: (lane := lane_of(session)) and lane.is_quiet, "it sleeps")
        # When a job arrives elsewhere, and the answer follows
        script.is_there = True
        script.peers["plain"].reply(PacketType.NOOP)
        wait_until(lambda: not lane_of(session).is_quiet, "it is awake")
        no_job("delayed", script.peers["delayed"])

    script = Scripted(answer)
    with FakeServer(script) as server:
        session = register(server)
        thread = threading.Thread(target=wake)
        thread.start()

        job = session.grab_job(PATIENCE)
        thread.join()

        # Then it gets that job
        assert job is not None
        assert job.workload == b"other"


@pytest.mark.usefixtures("patient")
def test_a_link_that_is_to_be_asked_waits_for_the_answer_only(register, monkeypatch):
    # Given a worker whose last job took so long that it is to ask for delayed ones, too
    monkeypatch.setattr(DelayedConnection, "sleep_seconds", 0.05)
    script = Scripted(no_job)
    with FakeServer(script) as server:
        session = register(server)
        wait_until(lambda: session.grab_job(0.1) or script.grabs["delayed"], "it asks")
        script.on_grab = assign_or_not
        script.peers["plain"].reply(PacketType.NOOP)
        job = session.grab_job(PATIENCE)
        lane = lane_of(session)

        def is_to_ask() -> bool:
            if not lane.is_quiet:
                lane.read()  # its answer may come after the job
            return lane.is_idle or monotonic() > lane.next_event

        wait_until(is_to_ask, "it is time to ask")
        monkeypatch.setattr(DelayedConnection, "sleep_seconds", 600.0)

        # When it asks for the next job
        session.send(job, WorkComplete(b""))
        following = session.grab_job(PATIENCE)

        # Then it gets one at once
        assert following is not None


def test_a_silent_server_is_not_asked_again_and_again(register, monkeypatch):
    monkeypatch.setattr(DelayedConnection, "sleep_seconds", 0.05)
    script = Scripted(lambda kind, peer: None if kind == "delayed" else no_job(kind, peer))
    with FakeServer(script) as server:
        session = register(server)
        wait_until(lambda: session.grab_job(0.1) or script.grabs["delayed"], "it asks")
        wakes = []
        wait = session._watched.wait
        monkeypatch.setattr(session._watched, "wait", lambda *args: wakes.append(1) or wait(*args))

        session.grab_job(2.0)

        assert script.grabs["delayed"] == 1
        assert len(wakes) < 10
