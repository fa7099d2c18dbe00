"""Several job servers: the one that a job goes to, and what follows when one dies or comes back."""

from __future__ import annotations

import threading
import uuid

import pytest

from django_gearman.backends.base import JobSpec, JobStatus, WorkComplete
from django_gearman.exceptions import ConnectionLost, ServerUnavailable
from django_gearman.protocol.packets import PacketType
from django_gearman.testing.gearmand import free_port
from tests.support.fake_server import PATIENCE, FakeServer, Peer
from tests.support.gearmand import wait_until
from tests.support.transport import (
    background,
    grab,
    server_of,
    submit,
    unique_for,
)

pytestmark = pytest.mark.gearmand

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
    reported = [record.message for record in caplog.records]
    assert len(reported) == 2, f"not once down, once back: {reported}"
    assert "trying again" in reported[0]
    assert "is back" in reported[1]


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


def test_a_current_job_is_not_mistaken_for_its_namesake_after_a_restart(
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

    with pytest.raises(ConnectionLost, match="no longer has job"):
        worker.send(before, WorkComplete(b""))

    assert backend.job_status(after.handle).running, "the wrong job was completed"
    worker.send(after, WorkComplete(b""))
