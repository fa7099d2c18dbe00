"""Errors of the store in all processes of a supervisor, and their way to people."""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys

import pytest
from django.db import DataError, OperationalError

from django_gearman.contrib.store import writing
from django_gearman.contrib.store.control import values
from django_gearman.contrib.store.counters import Counter, SharedErrors, gearman_store_errors_total
from django_gearman.utils.interrupts import Place, place_of
from tests.contrib.store.control.supervisors import supervisor

NOW = datetime.datetime(2026, 3, 1, 12, 5, tzinfo=datetime.UTC)


@pytest.fixture
def counter() -> Counter:
    made = Counter("errors")
    made.share()
    return made


@pytest.fixture
def shared(monkeypatch) -> SharedErrors:
    """Let this process share its errors of the store."""
    made = SharedErrors()
    monkeypatch.setattr(gearman_store_errors_total, "shared", made)
    return made


def in_a_process(function) -> None:
    if not (child := os.fork()):
        try:
            function()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_no_time_limit_interrupts_the_count(counter):
    places = []
    counter.also = lambda: places.append(place_of(sys._getframe(), in_a_process.__code__)[0])

    counter.add("an error")

    assert places == [Place.NEVER]


def test_without_errors_there_are_none(counter):
    assert counter.shared.read() is None


def test_the_errors_of_all_processes_are_counted_together(counter):
    in_a_process(lambda: [counter.add("first") for _ in range(3)])
    first = counter.shared.read()
    in_a_process(lambda: counter.add("second"))

    errors = counter.shared.read()

    assert (first.count, first.text, errors.count, errors.text) == (3, "first", 4, "second")
    assert errors.since == first.since <= first.last <= errors.last


def test_no_error_is_lost_if_many_processes_count_at_once(counter):
    children = []
    for _ in range(8):
        if not (child := os.fork()):
            for _ in range(200):
                counter.add("x")
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)

    assert counter.shared.read().count == 8 * 200


def test_a_process_that_dies_while_it_counts_stops_no_other(counter, monkeypatch):
    def die(text: str) -> None:
        monkeypatch.setattr("time.time", lambda: os.kill(os.getpid(), signal.SIGKILL))
        counter.add(text)

    in_a_process(lambda: die("never"))

    counter.add("next")
    assert counter.shared.read().text == "next"


@pytest.mark.parametrize("text", ["x" * 100_000, "\U0010ffff" * 5000, "\udcff\0\x1b[2J\n", ""])
def test_any_text_is_kept_in_one_line_as_far_as_it_fits(counter, text):
    counter.add(text)

    kept = counter.shared.read().text
    assert kept.isprintable()
    assert len(kept) < 4000


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OperationalError("connection refused\nIs it up?"), "OperationalError: connection refused"),
        (DataError("invalid input: hunter2"), "DataError, see the log"),
        (ValueError("hunter2"), "ValueError, see the log"),
    ],
)
@pytest.mark.django_db
def test_an_error_that_may_quote_arguments_is_only_named(shared, monkeypatch, error, text):
    monkeypatch.setattr(writing, "RETRY_SECONDS", 0.0)

    def fail(alias: str) -> None:
        raise error

    writing.safely(fail, "a job")

    assert shared.read().text.startswith(text)
    assert "hunter2" not in shared.read().text


def test_an_answer_keeps_the_errors(counter):
    counter.add("x")
    errors = counter.shared.read()

    found = values.from_json(json.loads(json.dumps(values.as_json(supervisor(errors)))))

    assert found == supervisor(errors)


def test_an_answer_of_another_release_is_read():
    parts = json.loads(json.dumps(values.as_json(supervisor())))
    older = {name: value for name, value in parts.items() if name != "store_errors"}
    process = {**parts["processes"][0], "colour": "red"}
    newer = {**parts, "colour": "red", "processes": [process]}

    assert values.from_json(older) == values.from_json(newer) == supervisor()
