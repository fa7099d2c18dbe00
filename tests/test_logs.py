from __future__ import annotations

import json
import logging

import pytest

from django_gearman import gearman_job
from django_gearman.jobs.registry import registry
from django_gearman.logs import JobFilter, JSONFormatter, TextFormatter


@pytest.fixture
def logged(caplog):
    """Return a handler that captures all log records, through the filter."""
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

    messages = [(r.name, r.gearman_job, r.gearman_queue, r.gearman_attempt) for r in logged.records]
    job = ("tests.logs.chatty", "chat", 1)
    assert messages == [
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
    messages = [json.loads(line) for line in lines]
    assert not any("\n" in line for line in lines)
    assert {each["job"] for each in messages} == {"tests.logs.chatty"}
    assert messages[-1]["level"] == "ERROR"
    assert "ValueError: bad" in messages[-1]["traceback"]
    assert messages[1]["message"] == "a word: bad"


def test_json_of_a_record_outside_of_jobs():
    record = logging.makeLogRecord({"msg": "%s", "args": (b"\xff",), "levelname": "INFO"})

    message = json.loads(JSONFormatter().format(record))

    assert message["message"] == "b'\\xff'"
    assert "job" not in message


class Broken:
    def __str__(self) -> str:
        raise RecursionError

    __repr__ = __eq__ = __bool__ = __str__
    __hash__ = None


def endless() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        "\udcff\n\x1b",
        float("nan"),
        float("inf"),
        10**5000,
        object(),
        Broken(),
        endless(),
        {1: Broken()},
        b"\xff",
        True,
        None,
        "x" * 10**6,
    ],
    ids=lambda value: type(value).__name__,
)
def test_json_never_fails(value):
    about = {
        "msg": "%s",
        "args": (value,),
        "created": value,
        "name": value,
        "levelname": value,
        "process": value,
        "gearman_job": value,
        "gearman_attempt": value,
        "exc_info": value,
        "exc_text": value,
    }

    line = JSONFormatter().format(logging.makeLogRecord(about))

    assert len(line.splitlines()) == 1
    json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    line.encode()


def test_json_of_arguments_that_do_not_fit():
    record = logging.makeLogRecord({"msg": "%d of %d", "args": ("one",)})

    assert "%d of %d" in json.loads(JSONFormatter().format(record))["message"]


def test_json_of_a_chain_of_errors():
    try:
        try:
            raise ValueError("first\x1b")
        except ValueError as error:
            raise KeyError("second") from error
    except KeyError as error:
        record = logging.makeLogRecord({"exc_info": (KeyError, error, error.__traceback__)})

    trace = json.loads(JSONFormatter().format(record))["traceback"]
    assert r"first\x1b" in trace
    assert "second" in trace


def test_text_keeps_each_record_in_its_line():
    error = ValueError("no\n2026-01-01 all is well\x9b31m")
    about = {"msg": "a\nb %s", "args": ("\x1b[2J",), "exc_info": (ValueError, error, None)}

    first, *others = (
        TextFormatter("%(levelname)s %(message)s")
        .format(logging.makeLogRecord({**about, "levelname": "INFO"}))
        .split("\n")
    )

    assert first == r"INFO a\nb \x1b[2J"
    assert others == ["  | ValueError: no", r"  | 2026-01-01 all is well\x9b31m"]
