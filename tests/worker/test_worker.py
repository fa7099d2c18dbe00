"""The reports of a worker while it works, and the connections that it keeps."""

from __future__ import annotations

import threading

import pytest
from django.db import connections

from django_gearman import GearmanClient, GearmanWorker
from django_gearman.signals import job_started, worker_started, worker_stopping
from django_gearman.worker import worker
from django_gearman.worker.observer import WorkerObserver
from tests.app import gearman_jobs as jobs
from tests.integration.gearman_jobs import endless
from tests.support.gearmand import wait_until


@pytest.fixture(autouse=True)
def memory(settings, request):
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}


class Listener(WorkerObserver):
    def __init__(self, most: int | None = None) -> None:
        self.message: list[object] = []
        self.most = most

    def registered(self, session):
        self.message.append("registered")

    def serving(self):
        if self.message[-1] != "serving":
            self.message.append("serving")

    def began(self, assigned, seconds):
        self.message.append(("began", assigned.function, seconds))

    def returned(self):
        self.message.append("returned")

    def ended(self):
        self.message.append("ended")

    def is_over(self, count):
        return count == self.most


def test_an_observer_is_reported_each_job(ran):
    GearmanClient().submit_job("tests.app.note", 1, background=True)
    GearmanClient().submit_job("tests.integration.endless", "python", background=True)
    listener = Listener(most=1)

    assert GearmanWorker(clean_connections=False).work(observer=listener) == 1

    assert listener.message == [
        "registered",
        "serving",
        ("began", "tests.app.note", None),
        "returned",
        "ended",
    ]


def test_an_observer_knows_a_jobs_own_timeout():
    assert jobs.note.timeout is None
    assert endless.timeout == 0.3


def test_signals_tell_of_a_workers_life(ran):
    messages = []

    def tell(name):
        return lambda sender, **about: messages.append(
            (name, sender.__name__, set(about) - {"signal"})
        )

    started, stopping = tell("started"), tell("stopping")
    worker_started.connect(started)
    worker_stopping.connect(stopping)
    try:
        GearmanWorker(clean_connections=False).work(burst=True)
    finally:
        worker_started.disconnect(started)
        worker_stopping.disconnect(stopping)

    assert messages == [
        ("started", "GearmanWorker", {"worker"}),
        ("stopping", "GearmanWorker", {"worker"}),
    ]


def test_an_observer_knows_that_a_worker_stops_before_receivers_do(ran):
    messages = []

    class Noting(WorkerObserver):
        def leaving(self):
            messages.append("leaving")

    def stopping(**about):
        messages.append("stopping")

    worker_stopping.connect(stopping)
    try:
        GearmanWorker(clean_connections=False).work(burst=True, observer=Noting())
    finally:
        worker_stopping.disconnect(stopping)

    assert messages == ["leaving", "stopping"]


def test_a_receiver_that_fails_changes_nothing_for_the_job(ran, caplog):
    def fail(**about):
        raise RuntimeError("the receiver's own affair")

    job_started.connect(fail)
    try:
        GearmanClient().submit_job("tests.app.note", 1, background=True)
        assert GearmanWorker(clean_connections=False).work(burst=True) == 1
    finally:
        job_started.disconnect(fail)

    assert ran == [1]
    assert "the receiver's own affair" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_an_idle_worker_lets_go_of_the_database(monkeypatch):
    monkeypatch.setattr(worker, "RELEASE_SECONDS", 0.0)
    closed = threading.Event()

    idle = GearmanWorker()

    def work() -> None:
        connection = connections["default"]
        connection.ensure_connection()
        close = connection.close
        connection.close = lambda: (closed.set(), close())
        idle.work()
        if connection.connection is not None:  # a database in memory is not closed by that
            connection.connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(closed.is_set, "the connection is closed")
    idle.stop()
    thread.join(20)
    assert not thread.is_alive()
