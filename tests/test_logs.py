from __future__ import annotations

import json
import logging

import pytest

from django_gearman import gearman_job
from django_gearman.logs import JobFilter, JSONFormatter
from django_gearman.registry import registry


@pytest.fixture
def logged(caplog):
    """Return what captures all that is logged, through the filter."""
    caplog.set_level(logging.DEBUG)
    caplog.handler.addFilter(handler_filter := JobFilter())
    yield caplog
    caplog.handler.removeFilter(handler_filter)


@pytest.fixture
def chatty():
    @gearman_job("chat", "tests.logs.chatty")
    def chatty(word: str) -> None:
        logging.getLogger("shop").warning("a word: %s", word)
        if word == "bad":
            raise ValueError(word)

    yield chatty
    del registry._jobs["tests.logs.chatty"]


def test_every_record_of_a_job_says_which_job(gearman_client, logged, chatty):
    chatty.do("hello")

    told = [(r.name, r.gearman_job, r.gearman_queue, r.gearman_attempt) for r in logged.records]
    job = ("tests.logs.chatty", "chat", 1)
    assert told == [
        ("django_gearman.jobs", *job),
        ("shop", *job),
        ("django_gearman.jobs", *job),
    ]
    assert logged.records[0].getMessage().endswith("started")
    assert " finished in 0.0" in logged.records[-1].getMessage()
    assert all(r.gearman_handle for r in logged.records)


def test_json_has_a_line_for_each_record(gearman_client, logged, chatty):
    with pytest.raises(ValueError, match="bad"):
        chatty.do("bad")

    lines = [JSONFormatter().format(record) for record in logged.records]
    told = [json.loads(line) for line in lines]
    assert not any("\n" in line for line in lines)
    assert {each["job"] for each in told} == {"tests.logs.chatty"}
    assert told[-1]["level"] == "ERROR"
    assert "ValueError: bad" in told[-1]["traceback"]
    assert told[1]["message"] == "a word: bad"


def test_json_of_a_record_outside_of_jobs():
    record = logging.makeLogRecord({"msg": "%s", "args": (b"\xff",), "levelname": "INFO"})

    told = json.loads(JSONFormatter().format(record))

    assert told["message"] == "b'\\xff'"
    assert "job" not in told
