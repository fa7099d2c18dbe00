from __future__ import annotations

import pickle
import socket

import pytest

from django_gearman import GearmanClient
from django_gearman.backends.base import AssignedJob
from django_gearman.exceptions import (
    GearmanError,
    JobLost,
    JobNotRegistered,
    JobTimeout,
    SerializationError,
    ServerError,
    SubmitUncertain,
)
from django_gearman.jobs.context import JobContext
from django_gearman.jobs.registry import registry
from django_gearman.serializers import Call
from django_gearman.supervisor.health import notify
from django_gearman.testing.describe import describe_call, show
from django_gearman.utils.text import printable, printable_lines, repr_of, str_of

HOSTILE = [
    ("\n", r"\n"),
    ("\r", r"\r"),
    ("\0", r"\x00"),
    ("\b", r"\x08"),
    ("\x1b[2J", r"\x1b[2J"),
    ("\x7f", r"\x7f"),
    ("\x85", r"\x85"),
    ("\x9b31m", r"\x9b31m"),
    ("\u2028", r"\u2028"),
    ("\u2029", r"\u2029"),
    ("\u202e", r"\u202e"),
    ("\u2066", r"\u2066"),
    ("\ud800", r"\ud800"),
    ("\udcff", r"\xff"),
    ("\U000e0001", r"\U000e0001"),
]


@pytest.mark.parametrize(("character", "shown"), HOSTILE)
def test_characters_that_are_not_shown_are_escaped(character, shown):
    assert printable(f"ä{character}日") == f"ä{shown}日"
    assert str_of(ValueError(character)) == shown
    assert printable(f"ä{character}日").isprintable()


@pytest.mark.parametrize("text", ["", "a b", "naïve 日本 🙂", r"a\nb"])
def test_text_that_is_shown_stays(text):
    assert printable(text) == text


def test_long_text_is_cut():
    assert printable("x" * 3000) == "x" * 2000 + "... (3000 characters)"
    assert printable("x" * 9, 5) == "xxxxx... (9 characters)"
    assert len("".join(printable_lines("line\n" * 100_000))) < 100_000


def test_lines_are_kept_apart_and_escaped():
    assert printable_lines("a\x1b\nb\r\nc") == [r"a\x1b", "b", "c"]


@pytest.mark.parametrize("error", [ValueError, RecursionError, SystemExit, KeyboardInterrupt])
def test_an_object_that_cannot_describe_itself_is_named(error):
    class Broken:
        def __repr__(self) -> str:
            raise error

    assert repr_of(Broken()).endswith(f"Broken: its repr() raised {error.__name__}>")
    assert str_of(Broken()).endswith(f"Broken: its str() raised {error.__name__}>")


def test_a_value_that_contains_itself_to_any_depth_is_named():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]

    assert "RecursionError" in repr_of(value)


# Where it is used


@pytest.mark.parametrize(
    "error",
    [
        GearmanError("x\n\x1b"),
        ServerError("x\n\x1b", code="E", text="\n\x1b"),
        SubmitUncertain("x\n\x1b"),
        JobNotRegistered("x\n\x1b"),
        JobTimeout("x\n\x1b"),
        SerializationError("x\n\x1b"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_ours_is_one_line(error):
    assert str(error) == r"x\n\x1b"
    assert error.args == ("x\n\x1b",)
    assert str(pickle.loads(pickle.dumps(error))) == r"x\n\x1b"


def test_a_handle_is_what_a_server_made_up():
    request = GearmanClient().using(on_commit=False).prepare("tests.app.echo", Call([1]), False)
    request.handle = "h:1//H:x\n\x1b:1"

    assert repr(request).isprintable()
    request.fail(JobLost(f"{request._name} is lost"))
    with pytest.raises(JobLost) as caught:
        request.result  # noqa: B018
    assert str(caught.value).isprintable()


def test_a_record_of_a_job_carries_a_printable_handle(gearman_client, caplog):
    job = registry.get("tests.app.echo")
    assigned = AssignedJob("h:1//H:x\n\x1b:1", "tests.app.echo", "", b"1")

    assert JobContext(job, assigned, None, None).log_fields["gearman_handle"].isprintable()


def test_systemd_gets_one_line_for_each(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        notify("STATUS=a\nMAINPID=1", "READY=1")

        assert listening.recv(1000) == b"STATUS=a\\nMAINPID=1\nREADY=1"


def test_the_reports_of_tests_are_printable():
    class Odd:
        def __repr__(self) -> str:
            return "a\n\x1b[2J"

    class Broken:
        def __repr__(self) -> str:
            raise RecursionError

    call = Call([Odd(), Broken(), "\u202e"], {"x": Odd()})

    assert describe_call(call).isprintable()
    assert show("x" * 1000) == "'" + "x" * 199 + "..."
