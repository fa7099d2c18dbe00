"""Idle workers sleep, and wake up for what concerns them."""

from __future__ import annotations

import os
import select
import threading
import time

import pytest

from django_gearman.backends.base import JobSpec
from django_gearman.backends.gearmand import delayed
from django_gearman.backends.gearmand.backend import GearmandBackend
from django_gearman.backends.gearmand.delayed import DelayedConnection
from django_gearman.backends.gearmand.link import WorkerConnection
from django_gearman.backends.gearmand.wakeup import WakeUp
from django_gearman.protocol.address import ServerAddress
from django_gearman.supervisor import Lease
from django_gearman.testing.gearmand import free_port
from tests.support.gearmand import wait_until


@pytest.fixture
def session_on():
    sessions = []

    def register(address: str):
        session = GearmandBackend([ServerAddress.parse(address)]).register(["f"], "worker")
        sessions.append(session)
        return session

    yield register
    for session in sessions:
        session.close()


@pytest.mark.gearmand
@pytest.mark.parametrize("is_up", [True, False])
def test_an_idle_worker_that_is_to_stop_does_so_at_once(gearmand, session_on, is_up):
    session = session_on(gearmand.address if is_up else f"127.0.0.1:{free_port()}")
    session.grab_job(0.5)
    threading.Timer(0.1, session.ask_no_more).start()
    started = time.monotonic()

    assert session.grab_job(60) is None

    assert time.monotonic() - started < 30


@pytest.mark.gearmand
def test_an_idle_worker_wakes_up_seldom(own_gearmand, session_on, monkeypatch):
    # Given an idle worker that leaves delayed jobs to another one
    session = session_on(own_gearmand.address)
    session.may_poll = lambda: False
    wait_until(lambda: session.grab_job(0.1) is None and len(session._links) == 2, "it is idle")
    session.grab_job(1.0)
    wakes = []
    original = session._wait
    monkeypatch.setattr(session, "_wait", lambda *times: (original(*times), wakes.append(times)))

    for _ in range(3):
        session.grab_job(session.idle_seconds)

    assert len(wakes) <= 8, wakes  # once a second, with some room for timers that were due


@pytest.mark.gearmand
def test_an_idle_worker_asks_for_delayed_jobs_every_second(own_gearmand, session_on):
    session = session_on(own_gearmand.address)
    wait_until(lambda: session.grab_job(0.1) is None and len(session._links) == 2, "it is idle")
    asked = []
    session.may_poll = lambda: asked.append(1) or True

    session.grab_job(6.0)

    assert len(asked) >= 3, "six, on a machine with nothing else to do"


@pytest.mark.gearmand
def test_the_worker_that_may_poll_gets_the_delayed_jobs(own_gearmand, session_on, monkeypatch):
    monkeypatch.setattr(DelayedConnection, "sleep_seconds", 0.05)
    monkeypatch.setattr(WorkerConnection, "sleep_seconds", 600.0)
    monkeypatch.setattr(delayed, "WAKE_SECONDS", 600.0)
    leaving, polling = session_on(own_gearmand.address), session_on(own_gearmand.address)
    leaving.may_poll = lambda: False
    for session in (leaving, polling):
        wait_until(lambda s=session: s.grab_job(0.1) is None and len(s._links) == 2, "it is idle")
        session.grab_job(0.5)
    backend = GearmandBackend([ServerAddress.parse(own_gearmand.address)])
    backend.submit([JobSpec("f", b"late", background=True, run_at=time.time() + 1)])
    backend.close()

    def look() -> str | None:
        return next((name for name, session in sessions if session.grab_job(0.05)), None)

    sessions = [("leaving", leaving), ("polling", polling)]
    assert wait_until(look, "one of them gets it") == "polling"


def test_a_wake_up_is_seen_until_it_is_cleared():
    wake_up, poller = WakeUp(), select.poll()
    poller.register(wake_up, select.POLLIN)
    assert poller.poll(0) == []

    for _ in range(100_000):  # more than its buffer takes
        wake_up.wake()
    assert poller.poll(0) != []
    while poller.poll(0):
        wake_up.clear()

    poller.unregister(wake_up)
    wake_up.close()
    wake_up.wake()  # after its end it does nothing


def test_one_process_at_a_time_has_the_lease():
    lease = Lease()
    assert lease.take()
    assert lease.take()
    assert not take_elsewhere(lease)

    lease.give_up()
    assert take_elsewhere(lease)

    assert lease.take()  # the other process has ended
    lease.give_up()
    lease.close()


def take_elsewhere(lease: Lease) -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if lease.take() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
