"""Paused queues, as workers learn of them."""

from __future__ import annotations

import datetime

import pytest

from django_gearman import GearmanWorker
from django_gearman.backends.base import WorkerSession
from django_gearman.worker import pausing
from django_gearman.worker.observer import WorkerObserver

AT = datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def pauses(monkeypatch) -> dict[str, pausing.Pause]:
    """Return the stored pauses, which a test changes."""
    stored: dict[str, pausing.Pause] = {}
    monkeypatch.setattr(pausing, "find", lambda: stored)
    monkeypatch.setattr(pausing, "notice", None)
    return stored


def test_without_the_app_there_is_no_notice(monkeypatch):
    monkeypatch.setattr(pausing, "find", None)

    assert pausing.begin(None) is None
    assert not pausing.PausedQueues(None).have_changed()


def test_a_worker_knows_from_its_start_which_queues_are_paused(pauses):
    pauses["mail"] = pausing.Pause("ann", AT)

    queues = pausing.PausedQueues(pausing.begin(None))

    assert queues.have_changed()
    assert queues.names == {"mail"}
    assert not queues.have_changed()


def test_a_change_is_noticed_once(pauses):
    notice = pausing.begin(None)
    queues = pausing.PausedQueues(notice)
    assert not queues.have_changed(), "no queue is paused, which is nothing new"

    pausing.announce(notice, ["b", "a"])
    assert (queues.have_changed(), queues.names) == (True, {"a", "b"})
    pausing.announce(notice, ["a", "b"])
    assert not queues.have_changed()
    pausing.announce(notice, [])
    assert (queues.have_changed(), queues.names) == (True, frozenset())


def test_the_last_known_pauses_hold_without_a_database(pauses, monkeypatch, caplog):
    pauses["mail"] = pausing.Pause("ann", AT)
    before = pausing.begin(None)

    def fail():
        raise OSError("no route to the database")

    monkeypatch.setattr(pausing, "find", fail)
    queues = pausing.PausedQueues(pausing.begin(before.descriptor))

    assert queues.have_changed()
    assert queues.names == {"mail"}
    assert "no route to the database; the last known pauses stay in effect" in caplog.text
    pausing.begin(None)
    assert "no route to the database; all are served" in caplog.text


class Withholding(WorkerObserver):
    """An observer that withholds queues, one set a look, and stops the worker after the last."""

    def __init__(self, worker: GearmanWorker, looks: list[frozenset[str] | None]) -> None:
        self.worker, self.looks = worker, looks
        self.sessions: list[WorkerSession] = []

    def registered(self, session: WorkerSession) -> None:
        self.sessions.append(session)

    def withheld(self) -> frozenset[str] | None:
        if not self.looks:
            self.worker.stop()
            return None
        return self.looks.pop(0)


@pytest.mark.gearman("memory")
def test_a_worker_registers_anew_without_the_functions_of_a_paused_queue(gearman_client):
    worker = GearmanWorker(["mail", "default"], name="w", clean_connections=False)
    observer = Withholding(worker, [None, frozenset({"mail"}), None, frozenset()])

    worker.work(observer=observer)

    first, second, third = observer.sessions
    assert "send-mail" in first.functions & third.functions
    assert "send-mail" not in second.functions
    assert "tests.app.note" in first.functions & second.functions & third.functions
    assert [each.client_id.rpartition("/")[2] for each in observer.sessions] == [
        "mail,default",
        "default",
        "mail,default",
    ]


@pytest.mark.gearman("memory")
def test_a_worker_of_paused_queues_only_continues_without_a_function(gearman_client):
    worker = GearmanWorker(["mail"], clean_connections=False)
    observer = Withholding(worker, [frozenset({"mail"}), None])

    worker.work(observer=observer)

    assert [each.functions for each in observer.sessions] == [frozenset()]
