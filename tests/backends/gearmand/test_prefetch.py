"""How many jobs a worker holds, and that none waits for long because of it."""

from __future__ import annotations

import contextlib
import time
import uuid

import pytest

from django_gearman.backends.base import JobSpec, WorkComplete
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.backends.gearmand.delayed import DelayedConnection
from django_gearman.backends.gearmand.prefetch import (
    HELD_SECONDS,
    MOST_HELD,
    QUICK_SECONDS,
    RecentRuns,
)
from django_gearman.protocol.address import ServerAddress
from django_gearman.protocol.packets import PacketType, encode
from tests.support.fake_server import FakeServer, Peer
from tests.support.gearmand import wait_until

MANY = 3000

# Recent runs


def ran(recent: RecentRuns, function: str, *runs: float) -> None:
    for seconds in runs:
        recent.ran(function, seconds)


def test_a_function_is_quick_after_some_quick_runs():
    recent = RecentRuns()
    changes = [recent.ran("f", 0.001) for _ in range(30)]

    assert changes.count(True) == 1
    assert changes.index(True) == 19
    assert recent.quick == {"f"}


def test_one_slow_run_is_enough_not_to_be():
    recent = RecentRuns()
    ran(recent, "f", *[0.001] * 500)

    assert recent.ran("f", QUICK_SECONDS)
    assert recent.quick == set()
    ran(recent, "f", *[0.001] * 99)
    assert recent.quick == set(), "it is forgotten too soon"
    ran(recent, "f", *[0.001] * 101)
    assert recent.quick == {"f"}


def test_functions_are_judged_by_themselves():
    recent = RecentRuns()
    ran(recent, "slow", *[1.0] * 50)
    ran(recent, "quick", *[0.0001] * 50)

    assert recent.quick == {"quick"}


@pytest.mark.parametrize(
    ("seconds", "window"),
    [(0.0, MOST_HELD), (0.0001, MOST_HELD), (0.0025, 20), (0.0049, 10)],
)
def test_held_jobs_take_no_longer_than_a_moment(seconds, window):
    recent = RecentRuns()
    ran(recent, "f", *[seconds] * 50)

    assert recent.window == window
    assert window * seconds <= HELD_SECONDS


def test_the_slowest_of_the_quick_sets_the_measure():
    recent = RecentRuns()
    ran(recent, "a", *[0.0001] * 50)
    ran(recent, "b", *[0.004] * 50)

    assert recent.window == 12


def test_nothing_is_held_at_first():
    assert RecentRuns().window == 1


# The worker


@pytest.fixture
def server(own_gearmand):
    return own_gearmand


@pytest.fixture
def backend(server):
    backend = GearmandBackend([ServerAddress.parse(server.address)])
    yield backend
    backend.close()


@pytest.fixture
def register(backend):
    sessions = []

    def make(*functions: str, prefetch: int | None = None):
        session = backend.register(functions, "worker")
        session.prefetch = prefetch
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        session.close()


def queue(backend, function: str, number: int) -> None:
    backend.submit([JobSpec(function, b"%d" % each, background=True) for each in range(number)])


def work(session, number: int, seconds: float = 0.0) -> list[bytes]:
    """Run a number of jobs; return their workloads."""
    seen = []
    for _ in range(number):
        job = wait_until(lambda: session.grab_job(0.1), "a job")
        if seconds:
            time.sleep(seconds)
        session.send(job, WorkComplete(b""))
        seen.append(job.workload)
    return seen


def running(server, function: str) -> int:
    return server.totals().get(function, (0, 0, 0))[1]


def work_until_several_are_held(session, server) -> list[bytes]:
    """
    Run jobs until the worker holds several ones; return their workloads.

    It takes many on a busy machine: after a run that was delayed, the function counts as slow.
    """
    seen = []
    while running(server, "f") <= 5:
        seen += work(session, 20)
    return seen


@pytest.mark.gearmand
def test_without_prefetch_nothing_is_assigned_ahead(backend, register, server):
    queue(backend, "f", 100)
    session = register("f", prefetch=0)

    work(session, 50)

    wait_until(lambda: running(server, "f") == 0, "the last one has ended, and there is no other")


@pytest.mark.gearmand
def test_a_fixed_number_is_assigned_ahead(backend, register, server):
    queue(backend, "f", 100)
    session = register("f", prefetch=5)

    seen = work(session, 50)

    wait_until(lambda: running(server, "f") == 5, "five are assigned ahead")
    assert seen == [b"%d" % each for each in range(50)]


def test_the_next_job_is_asked_for_with_an_outcome_and_sleep_only_when_there_was_none():
    # Given a server that has two jobs at first, and another one later
    def serve(peer: Peer) -> None:
        peer.handshake()
        for number, answer in enumerate([1, 1, 0, 1]):
            peer.expect(PacketType.GRAB_JOB_UNIQ)
            if answer:
                handle = b"H:fake:%d" % number
                peer.reply(PacketType.JOB_ASSIGN_UNIQ, handle, b"f", b"u", b"")
            else:
                peer.reply(PacketType.NO_JOB)
                peer.expect(PacketType.PRE_SLEEP)
                peer.reply(PacketType.NOOP)
        peer.wait_for_end()

    with FakeServer(serve) as server:
        backend = GearmandBackend([ServerAddress.parse(server.address)], reply_timeout=0.5)
        session = backend.register(["f"])
        session.prefetch = 1
        # When a worker runs them
        for _ in range(3):
            work(session, 1)
            session._links[0].connection.send(encode(PacketType.ECHO_REQ, b"what was sent by then"))
        session.close()

    # Then it asks for the next one in the write of each outcome, and sleeps when there is none
    message = {
        PacketType.GRAB_JOB_UNIQ: "grab",
        PacketType.WORK_COMPLETE: "outcome",
        PacketType.PRE_SLEEP: "sleep",
        PacketType.ECHO_REQ: "|",
    }
    sent = " ".join(message[packet.type] for packet in server.received if packet.type in message)
    assert sent.startswith("grab outcome grab | outcome grab | sleep grab outcome grab |")


@pytest.mark.gearmand
def test_quick_jobs_are_held_and_each_is_done_once(backend, register, server):
    queue(backend, "f", MANY)
    session = register("f")

    seen = work_until_several_are_held(session, server)

    seen += work(session, MANY - len(seen))
    assert sorted(map(int, seen)) == list(range(MANY))
    assert session.grab_job(0.1) is None


@pytest.mark.gearmand
def test_a_job_is_followed_while_the_next_one_of_its_function_is_held(backend, register, server):
    queue(backend, "f", MANY)
    session = register("f")
    seen, said = [], set()

    while len(seen) < MANY:
        job = wait_until(lambda: session.grab_job(0.1), "a job")
        said.add(session.is_followed)
        if session.is_followed:
            session.send(job, WorkComplete(b""))
            seen.append(job.workload)
            job = session.grab_job(0)
            assert job is not None, "the session said that the next job was there"
        session.send(job, WorkComplete(b""))
        seen.append(job.workload)

    assert said == {True, False}
    assert not session.is_followed, "it was the last one"
    assert sorted(map(int, seen)) == list(range(MANY))


@pytest.mark.gearmand
def test_slow_jobs_are_never_held(backend, register, server):
    queue(backend, "f", 60)
    session = register("f")

    work(session, 25, seconds=0.006)

    wait_until(lambda: running(server, "f") <= 1, "no more than the next one is held")


@pytest.mark.gearmand
def test_one_slow_run_gives_back_what_is_held(backend, register, server):
    queue(backend, "f", MANY)
    session = register("f")
    seen = work_until_several_are_held(session, server)

    seen += work(session, 1, seconds=0.02)
    seen += work(session, 1)

    wait_until(lambda: running(server, "f") <= 1, "the server has them back")
    seen += work(session, MANY - len(seen))
    assert sorted(map(int, seen)) == list(range(MANY))


@pytest.mark.gearmand
def test_held_jobs_run_when_no_more_are_asked_for(backend, register, server):
    queue(backend, "f", 500)
    session = register("f")
    seen = work(session, 100)

    session.ask_no_more()
    while session.holds_jobs and (job := session.grab_job(0)) is not None:
        session.send(job, WorkComplete(b""))
        seen.append(job.workload)
    session.close()

    assert 100 < len(seen) < 200
    assert server.totals()["f"][0] == 500 - len(seen)
    assert len(set(seen)) == len(seen)


@pytest.mark.gearmand
def test_no_job_waits_for_a_slow_one_of_another_function(backend, register, server):
    # Given two workers, to which both functions are known
    quick, slow = uuid.uuid4().hex, uuid.uuid4().hex
    sessions = [register(quick, slow), register(quick, slow)]
    queue(backend, quick, 400)
    done = sum(len(work(session, 100)) for session in sessions)
    # When one of them runs a slow job, while quick ones are queued before and after it
    queue(backend, quick, 100)
    queue(backend, slow, 1)
    queue(backend, quick, 100)
    stuck, free = sessions
    while (job := wait_until(lambda: stuck.grab_job(0.1), "a job")).function != slow:
        stuck.send(job, WorkComplete(b""))
        done += 1
    # Then the other one can have all that are left
    done += len(work(free, 600 - done))
    assert done == 600
    stuck.send(job, WorkComplete(b""))


def work_until(session, is_due) -> int:
    """Run jobs until there is one that is due; return how many that took."""
    number, job = 0, None
    while job is None or not is_due(job):
        job = wait_until(lambda: session.grab_job(0.1), "a job")
        time.sleep(0.0001)  # as a job takes: a turn is to be fewer than there are
        session.send(job, WorkComplete(b""))
        number += 1
    return number


@pytest.mark.gearmand
def test_quick_jobs_do_not_starve_others(backend, register):
    # Given a worker that is in the midst of many quick jobs
    session = register("quick", "other")
    queue(backend, "quick", 4000)
    work(session, 500)

    # When a job of another function comes
    queue(backend, "other", 1)

    # Then it does not wait until the others are done
    assert work_until(session, lambda job: job.function == "other") < 2000


@pytest.mark.gearmand
@pytest.mark.parametrize("prefetch", [0, 1, None])
def test_delayed_jobs_that_are_due_do_not_wait_for_the_last_other_one(
    backend, register, monkeypatch, prefetch
):
    # Given a worker that is in the midst of many jobs, and delayed ones
    monkeypatch.setattr(DelayedConnection, "sleep_seconds", 0.02)
    due = time.time() + 1
    backend.submit([JobSpec("f", b"due", background=True, run_at=due) for _ in range(3)])
    session = register("f", prefetch=prefetch)
    queue(backend, "f", 20_000)
    seen = work(session, 50)

    # When these are due
    while time.time() < due + 1.1:
        seen += work(session, 10, seconds=0.001)

    # Then they do not wait until the others are done
    while seen.count(b"due") < 3:
        seen += work(session, 10, seconds=0.001)
    assert len(seen) < 20_000


@pytest.mark.gearmand
def test_quick_jobs_of_one_server_do_not_starve_those_of_another(gearmand, own_gearmand):
    # Given a worker of two servers, that is in the midst of many quick jobs of one of them
    function = uuid.uuid4().hex
    servers = [ServerAddress.parse(server.address) for server in (gearmand, own_gearmand)]
    session = GearmandBackend(servers).register([function])
    session.prefetch = None
    one, other = (GearmandBackend([server]) for server in servers)
    with contextlib.closing(session), contextlib.closing(one), contextlib.closing(other):
        queue(one, function, 4000)
        work(session, 500)

        # When a job comes from the other one
        queue(other, function, 1)

        # Then it does not wait until the others are done
        from_other = work_until(session, lambda job: job.handle.startswith(own_gearmand.address))
        assert from_other < 2000


@pytest.mark.gearmand
def test_a_lost_connection_loses_no_held_job(backend, register, server):
    queue(backend, "f", MANY)
    session = register("f")
    seen = work_until_several_are_held(session, server)

    for each in session._links:
        session._lose(each, ConnectionError("cut"))

    seen += work(session, MANY - len(seen))
    assert set(map(int, seen)) == set(range(MANY))


@pytest.mark.gearmand
def test_a_restart_of_the_server_is_reported_once_and_survived(backend, register, server, caplog):
    queue(backend, "f", 200)
    session = register("f")
    work(session, 200)

    server.kill()
    wait_until(lambda: session.grab_job(0.1) is None and not session.is_known, "the loss")
    server.start()
    message = f"{server.address} is back"
    wait_until(lambda: session.grab_job(0.1) is None and message in caplog.text, "it is back")

    assert caplog.text.count("trying again") == 1
    assert caplog.text.count(message) == 1
    queue(backend, "f", 100)
    assert sorted(map(int, work(session, 100))) == list(range(100))
