"""Sessions with several jobs at a time, and servers that are slow or silent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from django_gearman.backends.base import JobSpec, WorkComplete, WorkerSession
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


def test_the_silence_of_a_server_costs_no_job_that_runs():
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
