"""Signed messages to supervisors, and their answers."""

from __future__ import annotations

import time

import pytest
from django.core import signing

from django_gearman.contrib.store.control import ControlError, messages

NAME = "app-1:4711"


@pytest.fixture
def function(settings) -> str:
    return messages.function_of(NAME)


@pytest.fixture
def clock(monkeypatch):
    """Return a function that moves the time of the other host."""
    real = time.time

    def move(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return move


def test_a_message_arrives_with_its_arguments(function):
    question = messages.ask(function, "stack", pid=12)

    fields = messages.read(question.message, function)

    assert (fields["command"], fields["pid"], fields["nonce"]) == ("stack", 12, question.nonce)


@pytest.mark.parametrize(
    "message",
    [b"", b"{}", b"\xff\x00", b"list", b'{"command": "reload"}', b"e30:1xXn6f:rydn"],
)
def test_an_unsigned_message_is_refused(function, message):
    with pytest.raises(ControlError, match="not signed with the SECRET_KEY"):
        messages.read(message, function)


def test_a_changed_message_is_refused(function):
    message = messages.ask(function, "list").message

    for place in range(0, len(message), 7):
        changed = bytearray(message)
        changed[place] ^= 1
        with pytest.raises(ControlError, match="not signed"):
            messages.read(bytes(changed), function)


def test_a_message_with_another_key_is_refused_until_that_is_a_fallback(function, settings):
    message = messages.ask(function, "list").message
    before, settings.SECRET_KEY = settings.SECRET_KEY, "the next one"

    with pytest.raises(ControlError, match="not signed"):
        messages.read(message, function)

    settings.SECRET_KEY_FALLBACKS = [before]
    assert messages.read(message, function)["command"] == "list"


def test_an_answer_is_not_a_message(function):
    with pytest.raises(ControlError, match="not signed"):
        messages.read(messages.answer("n", command="reload", to=function), function)


def test_a_message_is_valid_for_half_a_minute(function, clock):
    message = messages.ask(function, "list").message

    clock(28)
    assert messages.read(message, function)
    clock(32)
    with pytest.raises(ControlError, match="older than 30 s: compare the clocks"):
        messages.read(message, function)


def test_a_message_of_the_future_is_refused(function, clock):
    clock(40)
    message = messages.ask(function, "list").message
    clock(0)

    with pytest.raises(ControlError, match="from the future: compare the clocks"):
        messages.read(message, function)


def test_a_message_for_another_supervisor_is_refused(function):
    message = messages.ask(messages.function_of("app-2:1"), "reload").message

    with pytest.raises(ControlError, match=r"for another supervisor, .*app-2:1"):
        messages.read(message, function)


def test_only_the_answer_to_the_question_counts(function):
    assert messages.read_answer(messages.answer("mine", stack="x"), "mine")["stack"] == "x"

    with pytest.raises(ControlError, match="belongs to another message"):
        messages.read_answer(messages.answer("other"), "mine")
    with pytest.raises(ControlError, match="not signed"):
        messages.read_answer(signing.dumps({"nonce": "mine"}).encode(), "mine")


def test_a_refusal_says_why_in_one_short_line():
    with pytest.raises(ControlError, match="refused: it has no process 3"):
        messages.read_answer(messages.refusal(ControlError("it has no process 3")), "n")
    with pytest.raises(ControlError) as raised:  # anybody may send one
        messages.read_answer(b"refused: \x1b[31m\n" + b"x" * 10_000, "n")
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("namer", [None, "shop.{name}", "{name}.shop"])
def test_a_supervisor_is_found_by_its_function(settings, namer):
    settings.GEARMAN_JOB_NAME = namer

    assert messages.supervisor_of(messages.function_of(NAME)) == NAME
    assert messages.supervisor_of(messages.function_of("a:b:1")) == "a:b:1"


@pytest.mark.parametrize(
    "function",
    [
        "shop.mail",
        "django_gearman.control:app-1:4711",
        "blog.django_gearman.control:app-1:4711",
        "shop.django_gearman.control:app-1",
        "shop.django_gearman.control:app-1:x",
        "shop.django_gearman.control:",
    ],
)
def test_functions_of_other_projects_are_left_alone(settings, function):
    settings.GEARMAN_JOB_NAME = "shop.{name}"

    assert messages.supervisor_of(function) is None


def test_a_strange_host_name_makes_a_valid_function(monkeypatch, settings):
    monkeypatch.setattr("socket.gethostname", lambda: "Büro PC:1\n" + "x" * 300)

    assert messages.supervisor_of(messages.function_of(f"{messages.host_name()}:1"))
