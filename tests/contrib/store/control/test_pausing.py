"""Pausing queues: the rows, and the looks of an attendant at them."""

from __future__ import annotations

import json
import logging
import os

import pytest
from django.db import OperationalError

from django_gearman.contrib.store.control import ControlError, pause, paused, pausing, resume
from django_gearman.jobs.registry import registry
from django_gearman.supervisor import Notice
from django_gearman.worker import attendant as attending
from django_gearman.worker import pausing as core

pytestmark = pytest.mark.django_db


@pytest.fixture
def notice(monkeypatch):
    made = Notice()
    monkeypatch.setattr(core, "notice", made)
    monkeypatch.setattr(attending, "command", attending.Command(("default", "mail")))
    yield made
    made.close()


def names(notice: Notice) -> list[str]:
    """Return the queues in the notice, as a new process reads it."""
    fresh = Notice(os.dup(notice.descriptor))
    found = json.loads(fresh.news() or b"null")
    fresh.close()
    return found


def test_a_queue_is_paused_once_and_says_by_whom():
    assert pause("mail", "ann") is True
    assert pause("mail", "bob") is False

    [row] = paused().values()
    assert (row.queue, row.paused_by) == ("mail", "ann")
    assert row.paused_at is not None
    assert resume("mail") is True
    assert resume("mail") is False
    assert paused() == {}


@pytest.mark.parametrize(
    ("queue", "reason"),
    [
        ("*", "'\\*' is not a queue name"),
        ("", "is not a queue name"),
        ("mail:2", "'mail:2' is not a queue name"),
        ("two words", "is not a queue name"),
        ("mail\n", "is not a queue name"),
        (None, "a queue name is a string"),
        (3, "a queue name is a string"),
        (b"mail", "a queue name is a string"),
        ("x" * 300, "is not a queue name"),
    ],
)
def test_a_queue_without_jobs_is_refused(queue, reason):
    for change in (pause, resume):
        with pytest.raises(ControlError, match=reason):
            change(queue)
    assert paused() == {}


def test_the_error_for_an_unknown_queue_names_the_others(monkeypatch):
    monkeypatch.setattr(registry, "sources", [])  # of which one has tasks of any queue

    with pytest.raises(ControlError, match="no job is in queue 'mial'; the queues are counting, "):
        pause("mial")


def test_a_queue_of_which_any_may_exist_is_paused():
    assert pause("of-the-open-backend") is True


def test_a_queue_that_is_no_longer_declared_is_resumed():
    pausing.PausedQueue.objects.create(queue="gone", paused_by="ann")

    assert resume("gone") is True


@pytest.mark.parametrize("by", ["", "x" * 1000, "null\0", None, 4])
def test_any_name_of_who_pauses_is_kept_as_far_as_it_fits(by):
    pause("mail", by)

    assert len(paused()["mail"].paused_by) <= 255


def test_the_attendant_announces_changes_and_logs_those_of_its_queues(notice, caplog):
    caplog.set_level(logging.INFO)
    looks = pausing.Pauses()
    looks.look()
    assert names(notice) == []

    pause("mail", "ann")
    pause("slow", "ann")
    caplog.clear()
    looks.look()
    looks.look()
    assert names(notice) == ["mail", "slow"]
    [message] = [record.getMessage() for record in caplog.records]
    assert message == (
        "queue mail is paused by ann: its jobs wait, until gearman_control resume mail"
    )

    resume("mail")
    caplog.clear()
    looks.look()
    assert names(notice) == ["slow"]
    assert [each.getMessage() for each in caplog.records] == ["queue mail is no longer paused"]


def test_without_a_database_the_last_known_state_holds_and_that_is_logged_once(
    notice, caplog, monkeypatch
):
    looks = pausing.Pauses()
    pause("mail")
    looks.look()

    def fail():
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as down:
        down.setattr(pausing, "paused", fail)
        for _ in range(3):
            looks.look()

    assert names(notice) == ["mail"]
    assert (
        caplog.text.count("the last known pauses stay in effect: server closed the connection") == 1
    )
    caplog.set_level(logging.INFO)
    resume("mail")
    looks.look()
    assert "can be read again" in caplog.text
    assert names(notice) == []
